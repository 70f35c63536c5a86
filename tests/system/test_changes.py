"""What becomes of a message: devices that were there or away, history and the store agree on it."""

from collections.abc import Iterable, Sequence

import trio

from rookery.client import HistoryMessage, State, apply_change
from rookery.v1 import session_pb2 as pb
from rookery.v1.archive_pb2 import ListChangesResponse
from shared.contract.errors import Refusal
from shared.contract.ids import first_id_at, time_of, wall_clock_ms
from shared.contract.wire import from_json
from shared.drivers.cassandra.session import open_session as open_cassandra
from shared.settings import CassandraSettings
from tests.system.sessions import connector, open_session
from tools.launch.people import PATIENCE, Person, open_http, read_history, sign_up
from tools.launch.process import Process, Rookery

TEXTS = ["words that are deleted", "words of an edit that are deleted"]


async def test_devices_history_and_store_agree_on_messages_that_changed_while_a_device_was_away(
    own_platform: tuple[str, Process],
) -> None:
    url, gateway = own_platform
    ada, grace = await sign_up(url, "ada"), await sign_up(url, "grace")
    chat_id, thumb = ada.chat_with(grace), pb.Reacted(emoji="👍", set=True)
    connect = connector(gateway, "grpc")
    async with (
        open_session(connect, ada) as phone,
        open_session(connect, ada) as tab,
        open_session(connect, grace) as friend,
        open_session(connect, grace) as other,
    ):
        async with open_session(connect, ada) as away:
            deleted = await phone.send_text(chat_id, TEXTS[0])
            kept = await phone.send_text(chat_id, "teh text")
            await away.receive_messages(2)
        for target, text in ((deleted, TEXTS[1]), (kept, "the text")):
            await phone.change(chat_id, target.event_id, edited=pb.Edited(text=pb.Text(body=text)))
            await friend.change(chat_id, target.event_id, reacted=thumb)
        deletion = await phone.change(chat_id, deleted.event_id, deleted=pb.Deleted())
        for session in (tab, other):
            await session.next_where(lambda frame: frame.event.event_id == deletion.event_id)
        async with open_session(connect, ada, position=away.position) as back:
            await back.next_where(lambda frame: frame.event.event_id == deletion.event_id)
    history = await read_history(url, grace, chat_id, until=is_first_deleted)
    feed = await read_feed(url, ada, chat_id)

    assert [item.message.text.body for item in history] == ["", "teh text"]
    states = states_of(event for item in history for event in item.changes)
    assert [each.event_id for each in states[deleted.event_id].values()] == [deletion.event_id]
    assert {each.change.WhichOneof("body") for each in states[kept.event_id].values()} == {"edited", "reacted"}
    for session in (tab, other, back):
        assert states_of(frame.event for frame in session.frames if frame.event.HasField("change")) == states
    assert [event.message for event in feed if event.HasField("message")] == [item.message for item in history]
    assert states_of(event for event in feed if event.HasField("change")) == states
    assert [text for text in TEXTS if text in str(back.frames)] == []
    assert await stored_texts(gateway) == []


def is_first_deleted(items: Sequence[HistoryMessage]) -> bool:
    return [item.message.HasField("text") for item in items] == [False, True]


async def read_feed(url: str, reader: Person, chat_id: str) -> Sequence[pb.Event]:
    """All events of the chat, once the archives know up to where they have recorded."""
    path, query = f"/v1/chats/{chat_id}/changes", {"after": first_id_at(wall_clock_ms() - 600_000)}
    async with open_http(url) as http:
        with trio.fail_after(PATIENCE):
            while True:
                response = await http.get(path, params=query, headers=reader.headers)
                feed = from_json(ListChangesResponse, response.raise_for_status().content)
                assert not isinstance(feed, Refusal)
                if time_of(feed.complete_up_to) > wall_clock_ms() - 30_000:
                    return feed.events
                await trio.sleep(0.1)


def states_of(events: Iterable[pb.Event]) -> dict[int, State]:
    """Fold changes by their target."""
    states: dict[int, State] = {}
    for event in events:
        event.ClearField("position")
        apply_change(states.setdefault(event.change.target_id, {}), event)
    return states


async def stored_texts(gateway: Process) -> list[str]:
    """The deleted texts that the store of the chats has."""
    if isinstance(gateway, Rookery):
        await trio.to_thread.run_sync(gateway.terminate)  # SQLite's write-ahead log ends with its last connection
        stored = [str(file.read_bytes()) for file in gateway.data.glob("chats.db*")]
    else:
        stored = await tables_of(gateway.environment)
    assert any("teh text" in each for each in stored)
    return [text for text in TEXTS if any(text in each for each in stored)]


async def tables_of(environment: dict[str, str]) -> list[str]:
    """The rows of each table of the keyspace."""
    host, port, keyspace = [environment[f"ROOKERY_CASSANDRA__{name}"] for name in ("HOSTS", "PORT", "KEYSPACE")]
    tables = f"SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{keyspace}'"
    async with open_cassandra(CassandraSettings(hosts=(host,), port=int(port), timeout_seconds=30)) as session:
        names = [row[0] for row in await session.execute(tables)]
        return [str(await session.execute(f"SELECT * FROM {keyspace}.{name}")) for name in names]
