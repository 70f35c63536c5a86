"""Ten devices of three users in direct chats, a group and a channel, every kind of operation and of fault: in the end
all of them, the server and a model agree on everything."""

import math
import secrets
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from heapq import nlargest
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from rookery.client import Client, Refused
from rookery.v1.archive_pb2 import Chat, HistoryMessage, ListMessagesResponse, ListVersionsRequest
from rookery.v1.group_service_pb2 import ChangeGroupRequest, CreateGroup
from rookery.v1.groups_pb2 import GroupSettings
from rookery.v1.session_pb2 import (
    Change,
    Deleted,
    Edited,
    Event,
    Marked,
    Mention,
    Message,
    Reacted,
    Send,
    Text,
)
from shared.contract.changes import KINDS, LISTED, TOGGLED
from shared.contract.chats import direct_chat_id, group_chat_id
from shared.contract.groups import DEFAULT_PERMISSIONS
from shared.contract.ids import MAX_ID, time_of
from tests.devices.device import Device, View
from tests.devices.model import ChatModel, content_of, shown
from tests.devices.world import USERS, World, WorldApi, open_world

DEVICES = 10
OPERATION_SECONDS = 0.05
"""The mean time from one operation to the next."""

FAULTS = 0.05
"""The share of the operations that come with a fault."""

SETTLE_SECONDS = 600.0
"""Of the mock clock: bound of the time from the last fault until nothing is missing anywhere."""

NEWEST = 300
"""Messages of each chat and device that are compared, except at the end."""

LATE_MS = 10_000
"""The age of an id in the log, above which a list of changes may lack the event: see docs/decisions/0033-feed.md."""

QUIET_EVERY = 1_000
"""Operations between two comparisons, about."""


GROUP, CHANNEL = [group_chat_id(USERS[0], client_id) for client_id in ("crew", "news")]
"""The group and the channel of all users, whose owner is the first."""


class Play:
    """One run: operations and faults until it is quiet, then the comparison; and again."""

    def __init__(self, world: World, device: type[Device] = Device) -> None:
        self.world = world
        self.random = world.random
        self.devices = [device(world, USERS[number % len(USERS)], number, CHANNEL) for number in range(DEVICES)]
        self.models = {direct_chat_id(*pair): ChatModel(pair) for pair in combinations(USERS, 2)}
        self.models |= {chat_id: ChatModel(USERS) for chat_id in (GROUP, CHANNEL)}
        self.refused: list[tuple[Change, Refused]] = []
        self.pause = 0.0
        """Seconds without an operation."""
        self.faults = [
            self._kill_gateway,
            self._kill_gateway_at_a_publish,
            self._stop_gateway,
            self._fail_publishes,
            self._pause_archive,
            self._kill_archive,
            self._hide_archive,
            self._step_clock,
            self._stall_engines,
            *4 * [self._cut_device],
            *3 * [self._lose_position],
            *2 * [self._stop_reading],
            *2 * [self._kill_device],
            self._wait,
        ]

    async def run(self, operations: int) -> None:
        await self._create_group(GROUP, "crew")
        await self._create_group(CHANNEL, "news")
        for device in self.devices:
            self.world.nursery.start_soon(device.run)
        left = operations
        while left:
            some = min(left, self.random.randrange(1, 2 * QUIET_EVERY))
            for _ in range(some):
                if self.random.random() < FAULTS:
                    self.random.choice(self.faults)()
                self.world.nursery.start_soon(self._operate, self.random.choice(self.devices))
                await trio.sleep(self.random.expovariate(1 / OPERATION_SECONDS) + self.pause)
                self.pause = 0.0
            left -= some
            await self._settle()
            await self.compare(is_last=not left)

    async def _create_group(self, chat_id: str, client_id: str) -> None:
        """Create a group at the gateway that owns it, and wait until archives have recorded that."""
        settings = GroupSettings(name="Crew", permissions=DEFAULT_PERMISSIONS, is_channel=chat_id == CHANNEL)
        creation = CreateGroup(settings=settings, user_ids=USERS[1:])
        request = ChangeGroupRequest(chat_id=chat_id, client_change_id=client_id, create=creation)
        while not self.models[chat_id].messages:
            await trio.sleep(1)
            for gateway in [*self.world.gateways.values()]:
                answer = await gateway.gateway.sequencer.change(USERS[0], request)
                if isinstance(answer, Event):
                    self.models[chat_id].add(answer)
        while chat_id not in [chat.chat_id for chat in await WorldApi(self.world, USERS[0]).all_chats()]:
            await trio.sleep(1)

    # ---- operations

    async def _operate(self, device: Device) -> None:
        """Send a random command that the device's user could send, of the events that it shows."""
        chat_id = self.random.choice([each for each, model in self.models.items() if device.user_id in model.members])
        view = device.chats[chat_id]
        newest = [each for each in sorted(view.messages)[-50:] if not view.messages[each].HasField("control")]
        if not newest or self.random.random() < 0.3:
            reply_to = self.random.choice(newest) if newest and self.random.random() < 0.2 else 0
            forwarded = self.random.random() < 0.1
            target_id, text = 0, self._text(chat_id, device.user_id)
            send = Send(chat_id=chat_id, text=text, reply_to=reply_to, forwarded=forwarded)
            answer = await device.send(send)
        else:
            message_id = self.random.choice(newest)
            is_own = view.messages[message_id].sender_id == device.user_id
            name, body = self._change(chat_id, message_id, device.user_id if is_own else 0)
            target_id = 0 if KINDS[name].is_of_chat else message_id
            answer = await device.change(Change(chat_id=chat_id, target_id=target_id, **{name: body}))
        if isinstance(answer, Refused):
            self.refused.append((Change(chat_id=chat_id, target_id=target_id), answer))
        else:
            self.models[chat_id].add(answer)

    def _change(self, chat_id: str, message_id: int, author_id: int) -> tuple[str, Any]:
        """The kind and the body of a change; `author_id` is the user if the message is theirs, else 0."""
        is_set = self.random.random() < 0.7
        bodies: dict[str, Callable[[], Any]] = {
            "reacted": lambda: Reacted(emoji=self.random.choice("👍🎉❤"), set=is_set),
            **{kind: partial(dict, set=is_set) for kind in TOGGLED},
            "marked": lambda: Marked(read_up_to=message_id, delivered_up_to=message_id),
        }
        if author_id:
            bodies |= {"edited": lambda: Edited(text=self._text(chat_id, author_id)), "deleted": Deleted}
        name = self.random.choice(list(bodies))
        return name, bodies[name]()

    def _text(self, chat_id: str, author_id: int) -> Text:
        text = Text(body=f"text {self.random.getrandbits(30)}")
        if self.random.random() < 0.2:
            text.body += " @you"
            text.mentions.append(Mention(user_id=self.random.choice(self.models[chat_id].members), name="you"))
            text.mentions_everyone = chat_id == GROUP and author_id == USERS[0] and self.random.random() < 0.5
        return text

    # ---- faults

    def _gateway(self) -> Any:
        return self.random.choice([*self.world.gateways.values()]) if self.world.gateways else None

    def _replace(self, gateway: Any) -> None:
        async def start() -> None:
            await trio.sleep(self.random.uniform(0, 10))
            self.world.start_gateway(gateway.place)

        self.world.nursery.start_soon(start)

    def _kill_gateway(self) -> None:
        if gateway := self._gateway():
            gateway.kill()
            self._replace(gateway)

    def _kill_gateway_at_a_publish(self) -> None:
        if gateway := self._gateway():
            gateway.dies_at_publish = True
            self._replace(gateway)

    def _stop_gateway(self) -> None:
        if gateway := self._gateway():
            self.world.nursery.start_soon(gateway.stop)
            self._replace(gateway)

    def _fail_publishes(self) -> None:
        if gateway := self._gateway():
            gateway.log.fails_until = trio.current_time() + self.random.uniform(0, 40)

    def _pause_archive(self) -> None:
        self.random.choice(self.world.archives).paused_until = trio.current_time() + self.random.uniform(0, 25)

    def _kill_archive(self) -> None:
        self.random.choice(self.world.archives).scope.cancel()

    def _hide_archive(self) -> None:
        archive = self.random.choice(self.world.archives)
        archive.is_reachable = not archive.is_reachable

    def _step_clock(self) -> None:
        self.world.skews[self.random.randrange(len(self.world.skews))] = self.random.choice([-12_000, -3_000, 0, 5_000])

    def _stall_engines(self) -> None:
        self.world.stalled_until = trio.current_time() + self.random.uniform(0, 12)

    def _cut_device(self) -> None:
        self.random.choice(self.devices).disconnect()

    def _lose_position(self) -> None:
        device = self.random.choice(self.devices)
        device.loses_position = True
        device.disconnect()

    def _stop_reading(self) -> None:
        self.random.choice(self.devices).stops_until = trio.current_time() + self.random.uniform(0, 10)

    def _kill_device(self) -> None:
        self.random.choice(self.devices).die(forgets=self.random.random() < 0.3)

    def _wait(self) -> None:
        """Let minutes pass, so that tails forget."""
        self.pause = self.random.uniform(0, 90)

    # ---- quiet

    async def _settle(self) -> None:
        for archive in self.world.archives:
            archive.is_reachable = True
        with trio.fail_after(SETTLE_SECONDS):
            while not all(device.is_quiet for device in self.devices):
                await trio.sleep(1)
            await trio.sleep(30)  # the watermarks come up to the last events
            while not all(device.is_quiet for device in self.devices):
                await trio.sleep(1)

    async def compare(self, *, is_last: bool) -> None:
        for change, refused in self.refused:
            assert refused.code == "not_found", refused
            assert self.models[change.chat_id].is_deleted(change.target_id), (change, refused)
        for device in self.devices:
            for chat_id in self._chats_of(device.user_id):
                self._compare_device(device, chat_id, newest=len(self.models[chat_id].messages) if is_last else NEWEST)
        for user_id in USERS:
            api = WorldApi(self.world, user_id)
            listed = {chat.chat_id: chat for chat in await api.all_chats()}
            for chat_id in self._chats_of(user_id):
                self._compare_list(chat_id, user_id, listed.get(chat_id))
                await self._compare_history(api, chat_id, user_id, pages=math.inf if is_last else 5)
                await self._compare_lists_of_messages(api, chat_id, user_id)
        self._check_promises()

    def _chats_of(self, user_id: int) -> Iterator[str]:
        return (chat_id for chat_id, model in self.models.items() if user_id in model.members)

    def _compare_device(self, device: Device, chat_id: str, *, newest: int) -> None:
        model, view, where = self.models[chat_id], device.chats[chat_id], f"device {device.number}, {chat_id}"
        first = max([view.floor, *nlargest(newest, model.messages)[-1:]])
        due = {message_id for message_id in model.messages if message_id >= first}
        have = {message_id for message_id in view.messages if message_id >= first}
        # A gateway does not deliver a message that was deleted before it arrives.
        have |= {message_id for message_id in due if view.is_deleted(message_id)}
        assert have == due, f"{where} lacks {sorted(due - have)}, has too many: {sorted(have - due)}"
        for message_id in due & view.messages.keys():
            self._compare_message(
                model, device.user_id, view.messages[message_id], view.states[message_id].values(), where
            )
        assert shown(view.states[0].values()) == model.state(0, device.user_id), where
        found, right = marks_of(view), model.visible_marks(device.user_id)
        assert found == right, f"the marks of {where} are {found}, not {right}"

    def _compare_message(self, model: ChatModel, viewer: int, message: Any, changes: Any, where: str) -> None:
        found, right = shown(changes), model.state(message.message_id, viewer)
        assert found == right, f"{message.message_id} of {where} is {found}, not {right}"
        assert content_of(message) == model.content(message.message_id), where

    def _compare_list(self, chat_id: str, user_id: int, chat: Chat | None) -> None:
        model, where = self.models[chat_id], f"list of {user_id}: {chat_id}"
        assert (chat is not None) == bool(model.messages), where
        if chat is None:
            return
        assert chat.newest.message.message_id == max(model.messages), where
        self._compare_message(model, user_id, chat.newest.message, chat.newest.changes, where)
        assert shown(chat.changes) == model.state(0, user_id), where
        assert (chat.unread, chat.unread_mentions) == (model.unread(user_id), model.mentions(user_id)), where
        marks = {mark.user_id: (mark.delivered_up_to, mark.read_up_to) for mark in chat.marks}
        assert marks == model.visible_marks(user_id), where

    async def _compare_history(self, api: WorldApi, chat_id: str, user_id: int, *, pages: float) -> None:
        model, where, found = self.models[chat_id], f"history of {user_id}: {chat_id}", list[HistoryMessage]()
        has_older, anchor = True, dict[str, int]()
        while has_older and len(found) < 100 * pages:
            page = await api.history(chat_id, limit=100, **anchor)
            found[:0], has_older = page.messages, page.has_older
            if has_older:
                anchor = {"before_id": found[0].message.message_id}
        first = found[0].message.message_id if has_older else 0
        assert [each.message.message_id for each in found] == sorted(each for each in model.messages if each >= first)
        for each in found:
            self._compare_message(model, user_id, each.message, each.changes, where)

    async def _compare_lists_of_messages(self, api: WorldApi, chat_id: str, user_id: int) -> None:
        model = self.models[chat_id]
        for kind in LISTED:
            right = list(islice(model.having(kind, user_id), 100))
            found = (await api.history(chat_id, limit=100, having=kind)).messages
            assert [each.message.message_id for each in found] == right[::-1], (chat_id, kind)
        for message_id in self.random.sample(sorted(model.messages), min(3, len(model.messages))):
            request = ListVersionsRequest(user_id=user_id, chat_id=chat_id, message_id=message_id, kind="edited")
            versions = await api._ask("ListVersions", request)
            edits = [e.event_id for e in model.changes.get(message_id, ()) if e.change.HasField("edited")]
            kept = [] if model.is_deleted(message_id) else sorted(edits)
            assert [event.event_id for event in versions.changes] == kept[-100:], message_id

    def _check_promises(self) -> None:
        """Check that each answer had every event up to its `complete_up_to`, except late ones."""
        feeds = {
            (chat_id, user): sorted(self._due(chat_id, user)) for user in USERS for chat_id in self._chats_of(user)
        }
        for device in self.devices:
            for answer in device.api.answers:
                feed = feeds[answer.chat_id, device.user_id]
                due = feed[bisect_right(feed, answer.after) : bisect_right(feed, answer.complete_up_to)]
                missing = answer.event_ids.symmetric_difference(due).intersection(due)
                assert not missing, f"device {device.number}: {missing} not in {answer}"
            device.api.answers.clear()

    def _due(self, chat_id: str, user_id: int) -> Iterator[int]:
        for event in self.models[chat_id].feed(user_id):
            if self.world.logged_ms[event.event_id] - time_of(event.event_id) <= LATE_MS:
                yield event.event_id


def marks_of(view: View) -> dict[int, tuple[int, int]]:
    changes = [event.change for event in view.states[0].values() if event.change.HasField("marked")]
    return {each.actor_id: (each.marked.delivered_up_to, each.marked.read_up_to) for each in changes}


def play(
    seed: int,
    operations: int,
    folder: Path,
    patch: pytest.MonkeyPatch,
    *,
    device: type[Device] = Device,
    faults: str = "",
) -> Play:
    """Run in a Trio of its own, whose order of tasks depends on the seed too. `faults` are the only ones, by name."""
    clock = MockClock(autojump_threshold=0)

    async def main() -> Play:
        trio._core._run._r.seed(seed)
        patch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
        async with open_world(seed, clock, folder, patch) as world:
            run = Play(world, device)
            run.faults = [getattr(run, name) for name in faults.split()] or run.faults
            await run.run(operations)
        return run

    print(f"seed {seed}")
    return trio.run(main, clock=clock)


def leaves(error: BaseException) -> Iterator[BaseException]:
    for each in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from leaves(each)
    yield error


@pytest.mark.parametrize("seed", [*(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2)), None])
def test_all_devices_the_server_and_a_model_agree(
    seed: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a random seed, which is printed. It is no parameter, since all workers must collect the same tests."""
    play(secrets.randbelow(1_000_000) if seed is None else seed, 650, tmp_path, monkeypatch)


@pytest.mark.slow
def test_they_agree_after_many_operations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = play(secrets.randbelow(1_000_000), 100_000, tmp_path, monkeypatch)
    assert sum(device.gaps for device in run.devices) > 0  # a short run may have none


class NewestHeld(Device):
    """Takes the newest id that it holds as the `after` of its next reading."""

    def _new_client(self) -> Client:
        client, newest = super()._new_client(), lambda chat_id: max(self.chats[chat_id].messages, default=0)
        client.catch_up._after = newest  # type: ignore[method-assign]
        return client


def test_a_device_that_reads_after_the_newest_id_that_it_holds_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BaseExceptionGroup) as raised:
        play(2, 300, tmp_path, monkeypatch, device=NewestHeld, faults="_kill_device _pause_archive")
    texts = [str(error) for error in leaves(raised.value)]  # it lacks messages, or changes of those that it has
    assert any(" lacks " in text or "}, not {" in text for text in texts), texts


class LosesTheOldest(WorldApi):
    """Has two pages of a chat."""

    messages: Sequence[Message] = ()

    async def history(self, chat_id: str, *, limit: int = 50, **anchor: Any) -> ListMessagesResponse:
        await trio.lowlevel.checkpoint()
        older = [each for each in self.messages if each.message_id < anchor.get("before_id", MAX_ID)]
        page = [HistoryMessage(message=each) for each in older[-limit:]]
        return ListMessagesResponse(messages=page, has_older=not anchor)


async def test_a_history_that_ends_before_its_oldest_messages_is_found(mock_clock: MockClock) -> None:
    world = World(1, mock_clock)
    run, api = Play(world), LosesTheOldest(world, USERS[0])
    api.messages = [Message(message_id=number, chat_id=GROUP, sender_id=USERS[0]) for number in range(1, 251)]
    for each in api.messages:
        run.models[GROUP].add(Event(event_id=each.message_id, message=each))
    await run._compare_history(api, GROUP, USERS[0], pages=1)
    with pytest.raises(AssertionError, match=r"\[51, 52"):
        await run._compare_history(api, GROUP, USERS[0], pages=math.inf)
