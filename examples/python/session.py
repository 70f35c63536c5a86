"""One user's session over gRPC: kept connected, so that no message is lost or shown twice.

It follows the rules of docs/client-guide.md.
"""

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
from api import Api, ApiError
from google.protobuf.json_format import ParseDict

from rookery.v1 import session_pb2 as pb
from rookery.v1 import session_pb2_grpc

ANSWER_SECONDS = 10.0  # for any frame after a Ping
WELCOME_SECONDS = 20.0  # for the connection and its Welcome, at first
LONGEST_WELCOME_SECONDS = 40.0  # each attempt without one doubles the time of the next
CATCH_UP_SECONDS = 5.0  # between two readings of missed events
LONGEST_CATCH_UP_SECONDS = 30.0  # while the server does not answer
EPOCH_MS = 1767225600000  # of the times in ids
MAX_SEEN = 10_000  # remembered events: more than a server replays


class Leave(Exception):
    """The reason for leaving a connection, the pause after it, and the next gateway."""

    def __init__(self, why: str, *, after: float = 0.0, moved_to: str = "", is_signed_out: bool = False) -> None:
        super().__init__(why)
        self.after = after
        self.moved_to = moved_to
        self.is_signed_out = is_signed_out


@dataclass(eq=False)
class Command:
    """A message or a change that has no final answer yet."""

    frame: pb.ClientFrame  # has a client id, by which the server recognises it when it is sent again
    number: int = 0  # of its newest frame in this connection
    first_sent_ms: int = 0
    outcome: asyncio.Future[str] = field(default_factory=asyncio.Future)


class Session:
    """`on_message(sender_id, text)` is called once for each message and edit of the chat that was not sent here."""

    def __init__(
        self,
        api: Api,
        my_id: int,
        chat_id: str,
        tasks: asyncio.TaskGroup,
        on_message: Callable[[int, str], None],
        on_status: Callable[[str], None],
    ) -> None:
        self.api = api
        self.my_id = my_id
        self.chat_id = chat_id
        self.tasks = tasks
        self.on_message = on_message
        self.on_status = on_status
        # State that outlives a connection.
        self.position: pb.Position | None = None  # where to resume
        self.unanswered: list[Command] = []
        self.newest_sent = 0  # the id of the newest own message
        self.seen: dict[str, int] = {}  # a dict keeps the order, so that the oldest can be removed
        self.after = 0  # all events up to this id were received
        self.missed_until_ms = 0  # some events before this time are missing, until that id has it
        self.failures = 0
        self.failing_since = 0.0
        self.welcome_seconds = WELCOME_SECONDS
        # State of one connection.
        self.token = ""
        self.outgoing: asyncio.Queue[pb.ClientFrame] | None = None  # None while there is no session
        self.welcome = pb.Welcome()
        self.replay_left = 0
        self.number = 0  # of the newest frame that was sent
        tasks.create_task(self.stay_connected())

    # ---- sending

    async def send(self, text: str, file_id: int = 0) -> str:
        """Returns when the message can't be lost, or is refused for good.

        One at a time: messages keep their order, even if one has to be sent again. What is unanswered is kept in
        memory; a client that may be killed keeps it on disk.
        """
        client_id = secrets.token_hex(16)
        self.is_new(f"message {self.my_id} {client_id}")  # a replay of it is not shown
        message = pb.Send(client_message_id=client_id, chat_id=self.chat_id, text=pb.Text(body=text))
        if file_id:
            message.files.add(file_id=file_id)
        return await self.command(pb.ClientFrame(send=message))

    async def edit(self, text: str) -> str:
        """Replace the text of the newest own message."""
        change = pb.Change(chat_id=self.chat_id, target_id=self.newest_sent, client_change_id=secrets.token_hex(16))
        change.edited.text.body = text
        return await self.command(pb.ClientFrame(change=change))

    async def command(self, frame: pb.ClientFrame) -> str:
        command = Command(frame)
        self.unanswered.append(command)
        self.transmit(command)
        return await command.outcome

    def resend(self) -> None:
        """Send the unanswered frames again: the server keeps one message or change per client id."""
        for command in list(self.unanswered):
            self.transmit(command)

    def transmit(self, command: Command) -> None:
        now_ms = int(time.time() * 1000)
        if self.outgoing is not None:
            command.first_sent_ms = command.first_sent_ms or now_ms
            ms_ago = (now_ms - command.first_sent_ms) % 2**32  # very long, if the clock was set back
            command.frame.first_sent_ms_ago = ms_ago
            limit = self.welcome.limits.max_frame_bytes
            if command.frame.ByteSize() > limit:  # the server might end the connection, each time
                self.settle(command, f"refused (A frame may have {limit} bytes at most.)")
            else:
                command.number = self.send_frame(command.frame)

    def send_frame(self, frame: pb.ClientFrame) -> int:
        """Send a frame, and return its number; Authenticate was number 1."""
        if self.outgoing is not None:
            self.number += 1
            self.outgoing.put_nowait(frame)
        return self.number

    # ---- one connection after the other

    async def stay_connected(self) -> None:
        moved_to = stale_token = ""
        while True:
            try:
                self.token = await self.api.access_token(stale_token)
                if self.after == 0:
                    await self.read_history()
                await self.converse(moved_to or await self.api.gateway())
            except Leave as leave:
                left = leave
            except grpc.aio.AioRpcError as error:
                left = Leave(error.details())
            except ApiError as error:
                if not error.is_retryable:
                    raise
                left = Leave(str(error), after=error.retry_after)
            self.outgoing = None
            moved_to, stale_token = left.moved_to, self.token if left.is_signed_out else ""
            pause = self.pause(left)
            self.on_status(f"* no session, next try in {pause:.1f} s: {left}")
            await asyncio.sleep(pause)

    def pause(self, left: Leave) -> float:
        """A random pause, so that the clients of a gateway do not reconnect together; it grows, up to a low bound."""
        if left.after:
            return left.after + random.uniform(0.0, 0.5)  # the server is up: this is no failure
        now = time.monotonic()
        self.failing_since = self.failing_since if self.failures else now
        self.failures = min(self.failures + 1, 10)
        if left.moved_to and self.failures == 1:
            return 0.0  # if the user is not there either, the gateways disagree: give them time
        longest = min(max((now - self.failing_since) / 4, 2.0), 5.0)
        return random.uniform(0.0, min(2.0 ** (self.failures - 2), longest))

    async def converse(self, address: str) -> None:
        """Hold one connection, until it ends with an exception."""
        outgoing = asyncio.Queue[pb.ClientFrame]()
        authenticate = pb.Authenticate(access_token=self.token, last_position=self.position, client_name="Python")
        outgoing.put_nowait(pb.ClientFrame(authenticate=authenticate))
        self.number = 1
        # A channel that could not connect retries with its own backoff of up to two minutes, so make a new one.
        async with open_channel(address) as channel:
            stream = session_pb2_grpc.SessionServiceStub(channel).Connect()
            writing = self.tasks.create_task(write(stream, outgoing))
            seconds, self.welcome_seconds = self.welcome_seconds, min(2 * self.welcome_seconds, LONGEST_WELCOME_SECONDS)
            try:
                self.receive(await self.next_frame(stream, seconds))
                self.outgoing = outgoing
                self.resend()
                while True:
                    heartbeat_seconds = self.welcome.heartbeat_interval_ms / 1000
                    self.receive(await self.next_frame(stream, heartbeat_seconds, ANSWER_SECONDS))
            finally:
                writing.cancel()

    async def next_frame(self, stream: grpc.aio.StreamStreamCall, *patience: float) -> pb.ServerFrame:
        """A server may vanish silently: ping a silent one after each of these seconds, and leave it after the last."""
        reading = asyncio.ensure_future(stream.read())
        for seconds in patience:
            await asyncio.wait([reading], timeout=seconds)  # not `wait_for`: to cancel a read cancels the stream
            if reading.done():
                break
            self.send_frame(pb.ClientFrame(ping=pb.Ping()))
        else:
            reading.cancel()
            raise Leave("the server is silent")
        if (frame := reading.result()) is grpc.aio.EOF:
            raise Leave("the server ended the session")
        return frame

    # ---- received frames

    def receive(self, frame: pb.ServerFrame) -> None:
        match frame.WhichOneof("frame"):
            case "welcome":
                self.begin(frame.welcome)
            case "event":
                self.receive_event(frame.event)
            case "accepted":
                self.accept(frame.accepted)
            case "refused" if frame.refused.retryable:
                pause = max(frame.refused.retry_after_ms / 1000, 1.0)
                asyncio.get_running_loop().call_later(pause, self.resend)
            case "refused":
                self.finish(frame.refused.frame, f"refused ({frame.refused.message})")
            case "gap":
                if frame.gap.HasField("position"):
                    self.position = frame.gap.position
                self.on_status("* events are missing: reading them")
                self.catch_up(frame.gap.at_ms)
            case "expiring":
                self.tasks.create_task(self.renew())
            case "reconnect":
                raise Leave("the gateway stops", after=frame.reconnect.after_ms / 1000)
            case "moved":
                raise Leave("the gateway is another", moved_to=frame.moved.grpc)
            case "goodbye":
                if frame.goodbye.is_final:  # each connection would end in the same way
                    raise ApiError(frame.goodbye.message, status=400)
                after, is_signed_out = frame.goodbye.retry_after_ms / 1000, frame.goodbye.code == "unauthenticated"
                raise Leave(frame.goodbye.message, after=after, is_signed_out=is_signed_out)

    def begin(self, welcome: pb.Welcome) -> None:
        self.on_status("* connected")
        self.failures = 0
        self.welcome_seconds = WELCOME_SECONDS
        self.welcome = welcome
        self.replay_left = welcome.replayed
        if self.position is None:  # messages that were sent since `read_history`, or just before it, are missing
            self.catch_up(welcome.at_ms)
        if not welcome.replayed:
            self.position = welcome.position

    def receive_event(self, event: pb.Event) -> None:
        if not event.HasField("position"):  # a signal, such as typing: it is not kept, and no place to resume from
            return
        self.position = event.position
        if self.replay_left:
            self.replay_left -= 1
            if not self.replay_left:  # not sooner: the rest of an unfinished replay must come with the next connection
                self.position = self.welcome.position
        self.hear_event(event)

    def hear_event(self, event: pb.Event) -> None:
        message, change = event.message, event.change  # one of them is empty
        if message.chat_id == self.chat_id:
            files = [f"[{file.name}]" for file in message.files]
            text = " ".join([message.text.body, *files]).lstrip()
            self.hear(message.sender_id, message.client_message_id, text)
        elif change.chat_id == self.chat_id and change.HasField("edited"):  # or another kind of change
            self.hear_edit(event.event_id, change.target_id, change.actor_id, change.edited.text.body)

    def accept(self, accepted: pb.Accepted) -> None:
        """Apply an own message or change: the session that sent it receives no event for it."""
        command = self.finish(accepted.frame, "accepted")
        if command and command.frame.HasField("send"):
            self.newest_sent = accepted.event_id
        elif command:
            self.is_new(f"edited {command.frame.change.target_id}", accepted.event_id)

    def finish(self, number: int, outcome: str) -> Command | None:
        """Answer the command whose frame has this number; None if that was another frame, or it was sent again."""
        for command in self.unanswered:
            if command.number == number:
                self.settle(command, outcome)
                return command
        return None

    def settle(self, command: Command, outcome: str) -> None:
        self.unanswered.remove(command)
        command.outcome.set_result(outcome)

    def hear(self, sender_id: int, client_message_id: str, text: str) -> None:
        if self.is_new(f"message {sender_id} {client_message_id}") and text:  # a deleted message has no text
            self.on_message(sender_id, text)

    def hear_edit(self, event_id: int, message_id: int, sender_id: int, text: str) -> None:
        if self.is_new(f"edited {message_id}", event_id):  # the edit with the highest id stays
            self.on_message(sender_id, f"{text} (edited)")

    def is_new(self, key: str, event_id: int = 1) -> bool:
        """Whether the event is new: replays, retries and history repeat events, and an older one may come later."""
        if event_id <= self.seen.get(key, 0):
            return False
        self.seen[key] = event_id
        if len(self.seen) > MAX_SEEN:
            del self.seen[next(iter(self.seen))]
        return True

    # ---- HTTP requests in the background

    async def read_history(self) -> None:
        page = await self.api.history(self.chat_id)
        for item in page["messages"]:
            for event in ({"message": item["message"]}, *item.get("changes", [])):  # the message is as it was sent
                self.hear_event(ParseDict(event, pb.Event(), ignore_unknown_fields=True))
        self.after = max(self.after, int(page["complete_up_to"]))

    def catch_up(self, until_ms: int) -> None:
        """Read the events that were missed before this time of the server, in a task; one task does it for all."""
        is_running = time_of(self.after) < self.missed_until_ms
        self.missed_until_ms = max(self.missed_until_ms, until_ms)
        if not is_running:
            self.tasks.create_task(self.read_missed())

    async def read_missed(self) -> None:
        """A client with more chats reads the list of changed chats first, to learn which of them to read."""
        pause = CATCH_UP_SECONDS
        while True:
            try:
                await self.read_changes()
                pause = CATCH_UP_SECONDS
            except ApiError as error:
                if not error.is_retryable:
                    raise
                pause = min(2 * pause, LONGEST_CATCH_UP_SECONDS)
            if time_of(self.after) >= self.missed_until_ms:
                return
            await asyncio.sleep(pause)

    async def read_changes(self) -> None:
        page = await self.api.changes(self.chat_id, self.after)
        if page["too_old"]:
            await self.read_history()
        for event in page["events"]:
            self.hear_event(ParseDict(event, pb.Event(), ignore_unknown_fields=True))
        self.after = max(self.after, int(page["complete_up_to"]))  # not the newest event: older ones may be missing

    async def renew(self) -> None:
        try:
            self.token = await self.api.access_token(stale=self.token)
            self.send_frame(pb.ClientFrame(renew=pb.Renew(access_token=self.token)))
        except ApiError as error:  # the session ends with its token, and the next begins with a new one
            self.on_status(f"* no new token: {error}")


def time_of(event_id: int) -> int:
    """In milliseconds since 1970."""
    return (event_id >> 22) + EPOCH_MS


def open_channel(address: str) -> grpc.aio.Channel:
    """Gateways are announced as grpcs://host:port with TLS, as host:port without."""
    if address.startswith("grpcs://"):
        return grpc.aio.secure_channel(address.removeprefix("grpcs://"), grpc.ssl_channel_credentials())
    return grpc.aio.insecure_channel(address)


async def write(stream: grpc.aio.StreamStreamCall, frames: asyncio.Queue[pb.ClientFrame]) -> None:
    """Write the frames one after the other, as gRPC requires."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the reader gets the error
        while True:
            await stream.write(await frames.get())
