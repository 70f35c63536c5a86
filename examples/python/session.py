"""One user's session over gRPC: kept connected, so that no message is lost or shown twice.

It follows the rules of docs/client-guide.md.
"""

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Callable

import grpc
import session_pb2 as pb
from api import Api, ApiError
from session_pb2_grpc import SessionServiceStub

ANSWER_SECONDS = 10.0  # for Welcome, and for any frame after a Ping
HISTORY_MS = 24 * 3_600_000  # the part of the history that is shown at first
OVERLAP_MS = 300_000  # history is read from this much earlier: a message accepted on a retry keeps its first id
LAG_SECONDS = 3.0  # history may lag behind live events by this much
MAX_SEEN = 10_000  # remembered message ids: more than a server replays


class Leave(Exception):
    """The reason for leaving a connection, the pause after it, and the next gateway."""

    def __init__(self, why: str, *, after: float = 0.0, moved_to: str = "", is_signed_out: bool = False) -> None:
        super().__init__(why)
        self.after = after
        self.moved_to = moved_to
        self.is_signed_out = is_signed_out


class Session:
    """`on_message(sender_id, text)` is called once for each message of the chat that was not sent here."""

    def __init__(
        self,
        api: Api,
        my_id: int,
        other_id: int,
        tasks: asyncio.TaskGroup,
        on_message: Callable[[int, str], None],
        on_status: Callable[[str], None],
    ) -> None:
        self.api = api
        self.my_id = my_id
        self.other_id = other_id
        self.chat_id = f"d-{min(my_id, other_id)}-{max(my_id, other_id)}"
        self.tasks = tasks
        self.on_message = on_message
        self.on_status = on_status
        # State that outlives a connection.
        self.position: pb.Position | None = None  # where to resume
        self.pending: pb.Send | None = None  # not accepted yet
        self.first_sent_ms = 0  # when it was first sent; 0 until then
        self.outcome = asyncio.Future[str]()
        self.seen: dict[tuple[int, str], None] = {}  # a dict keeps the order, so that the oldest can be removed
        self.newest_ms = int(time.time() * 1000) - HISTORY_MS  # of the newest event, never of an own accepted message
        self.failures = 0
        self.failing_since = 0.0
        # State of one connection.
        self.token = ""
        self.outgoing: asyncio.Queue[pb.ClientFrame] | None = None  # None while there is no session
        self.welcome = pb.Welcome()
        self.replay_left = 0
        self.sequence = 0
        tasks.create_task(self.stay_connected())

    # ---- sending

    async def send(self, text: str) -> str:
        """Returns when the message can't be lost, or is refused for good.

        One at a time: messages keep their order, even if one has to be sent again. What is `pending` is kept in
        memory; a client that may be killed keeps it on disk.
        """
        self.pending = pb.Send(client_message_id=secrets.token_hex(16), recipient_id=self.other_id)
        self.pending.text.body = text
        self.first_sent_ms = 0
        self.is_new(self.my_id, self.pending.client_message_id)  # a replay of it is not shown
        self.outcome = asyncio.Future()
        self.send_pending()
        return await self.outcome

    def send_pending(self) -> None:
        """Send it again whenever it may be lost: the server keeps one message per client_message_id."""
        if self.pending is None or self.outgoing is None:
            return
        now_ms = int(time.time() * 1000)
        self.first_sent_ms = self.first_sent_ms or now_ms
        self.pending.first_sent_ms_ago = (now_ms - self.first_sent_ms) % 2**32  # very long, if the clock was set back
        self.say(send=self.pending)

    def say(self, **frame: object) -> None:
        if self.outgoing is not None:
            self.outgoing.put_nowait(pb.ClientFrame(**frame))

    # ---- one connection after the other

    async def stay_connected(self) -> None:
        moved_to = stale_token = ""
        while True:
            try:
                self.token = await self.api.access_token(stale_token)
                if self.position is None:  # the messages of the newest seconds will be replayed
                    await self.read_history(self.newest_ms)
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
        self.sequence = 0
        # A channel that could not connect retries with its own backoff of up to two minutes, so make a new one.
        async with open_channel(address) as channel:
            stream = SessionServiceStub(channel).Connect()
            writing = self.tasks.create_task(write(stream, outgoing))
            try:
                self.receive(await self.next_frame(stream, ANSWER_SECONDS))
                self.outgoing = outgoing
                self.send_pending()
                while True:
                    self.receive(await self.next_frame(stream, self.welcome.heartbeat_interval_ms / 1000))
            finally:
                writing.cancel()

    async def next_frame(self, stream: grpc.aio.StreamStreamCall, patience: float) -> pb.ServerFrame:
        """A server may vanish silently: ping a silent one, and leave it if it does not answer."""
        reading = asyncio.ensure_future(stream.read())
        for seconds in (patience, ANSWER_SECONDS):
            await asyncio.wait([reading], timeout=seconds)  # not `wait_for`: to cancel a read cancels the stream
            if reading.done():
                break
            self.say(ping=pb.Ping())
        else:
            reading.cancel()
            raise Leave("the server is silent")
        if (frame := reading.result()) is grpc.aio.EOF:
            raise Leave("the server ended the session")
        return frame

    # ---- received frames

    def receive(self, frame: pb.ServerFrame) -> None:
        if frame.sequence > self.sequence + 1:
            self.send_pending()  # frames were dropped: Gap covers events, but a dropped frame may have been an answer
        self.sequence = frame.sequence
        match frame.WhichOneof("frame"):
            case "welcome":
                self.begin(frame.welcome)
            case "event":
                self.receive_event(frame.event)
            case "accepted" if self.is_pending(frame.accepted.client_message_id):
                self.finish("accepted")
            case "refused" if self.is_pending(frame.refused.client_message_id):
                if frame.refused.retryable:
                    pause = max(frame.refused.retry_after_ms / 1000, 1.0)
                    asyncio.get_running_loop().call_later(pause, self.send_pending)
                else:
                    self.finish(f"refused ({frame.refused.message})")
            case "gap":
                if frame.gap.HasField("position"):
                    self.position = frame.gap.position
                self.on_status("* events are missing: reading history")
                self.tasks.create_task(self.fill_gap(self.newest_ms - OVERLAP_MS))
            case "expiring":
                self.tasks.create_task(self.renew())
            case "reconnect":
                raise Leave("the gateway stops", after=frame.reconnect.after_ms / 1000)
            case "moved":
                raise Leave("the gateway is another", moved_to=frame.moved.grpc)
            case "goodbye":
                raise Leave(frame.goodbye.message, is_signed_out=frame.goodbye.code == "unauthenticated")

    def begin(self, welcome: pb.Welcome) -> None:
        self.on_status("* connected")
        self.failures = 0
        self.welcome = welcome
        self.replay_left = welcome.replayed
        if not welcome.replayed:
            self.position = welcome.position

    def receive_event(self, event: pb.Event) -> None:
        self.position = event.position
        if self.replay_left:
            self.replay_left -= 1
            if not self.replay_left:  # not sooner: the rest of an unfinished replay must come with the next connection
                self.position = self.welcome.position
        if event.message.chat_id == self.chat_id:  # reactions, receipts and typing would be handled here
            self.newest_ms = max(self.newest_ms, (event.message.message_id >> 22) + 1767225600000)
            self.hear(event.message.sender_id, event.message.client_message_id, event.message.text.body)

    def is_pending(self, client_message_id: str) -> bool:
        return self.pending is not None and self.pending.client_message_id == client_message_id

    def finish(self, outcome: str) -> None:
        self.pending = None
        self.outcome.set_result(outcome)

    def hear(self, sender_id: int, client_message_id: str, text: str) -> None:
        if self.is_new(sender_id, client_message_id):
            self.on_message(sender_id, text)

    def is_new(self, sender_id: int, client_message_id: str) -> bool:
        """Whether the message is new: replays, retries and history repeat messages."""
        key = sender_id, client_message_id
        if is_new := key not in self.seen:
            self.seen[key] = None
            if len(self.seen) > MAX_SEEN:
                del self.seen[next(iter(self.seen))]
        return is_new

    # ---- HTTP requests in the background

    async def read_history(self, since_ms: int) -> None:
        async for message in self.api.history(self.chat_id, since_ms):
            text = message.get("text", {}).get("body", "")  # one kind of content; others may follow
            self.hear(int(message["sender_id"]), message["client_message_id"], text)

    async def fill_gap(self, since_ms: int) -> None:
        """Read the missing messages, with retries, and then once more, as history may lag behind."""
        reads = 0
        while reads < 2:
            try:
                await self.read_history(since_ms)
                reads += 1
            except ApiError as error:
                if not error.is_retryable:
                    raise
            await asyncio.sleep(LAG_SECONDS)

    async def renew(self) -> None:
        try:
            self.token = await self.api.access_token(stale=self.token)
            self.say(renew=pb.Renew(access_token=self.token))
        except ApiError as error:  # the session ends with its token, and the next begins with a new one
            self.on_status(f"* no new token: {error}")


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
