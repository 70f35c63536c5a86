"""Two BFFs, two gateways and two archives with TLS on real engines: one platform to users, also while some stop."""

import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain, count, cycle
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from rookery.client import open_client
from rookery.client.reconnector import Transport
from rookery.client.trust import client_tls
from rookery.v1 import session_pb2 as pb
from shared.contract.chats import group_chat_id, home_partition
from shared.settings import CassandraSettings
from tests.system.commands import list_processes
from tests.system.sessions import (
    Session,
    SessionOver,
    connector,
    open_session,
    open_sessions,
    text_to,
    until_answered,
)
from tests.system.talk import sign_up_at, talking
from tests.waiting import until
from tools.engines.kinds import Engines
from tools.launch.certificates import Authority, Issued
from tools.launch.cluster import ENGINES, PARTITIONS, Cluster, running_cluster
from tools.launch.live import configure
from tools.launch.people import PASSWORD, PATIENCE, Person, open_http, read_history, sign_up
from tools.launch.process import Process, Rookery, stop_all, wait_until

each_transport = pytest.mark.parametrize("transport", ["websocket", pytest.param("grpc", marks=pytest.mark.slow)])

MOVE_SECONDS = 10.0
"""Until a client has a session again after the kill of its gateway: promised for 99 of 100 clients."""

SLACK_SECONDS = 45.0
"""Margin for a busy machine. Together with MOVE_SECONDS below the patience of `until`."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    """The only authority that this process and the processes of the cluster trust."""
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority.file))
        client_tls.cache_clear()  # which this process may have cached before
        yield authority
    client_tls.cache_clear()


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    """The certificate of every process, as server and as client."""
    return authority.issue()


@pytest.fixture(scope="module")
def shared_cluster(
    tmp_path_factory: pytest.TempPathFactory,
    engines: Engines,
    cassandra_settings: CassandraSettings,
    authority: Authority,
    issued: Issued,
) -> Iterator[Cluster]:
    """One for all tests of this module, with TLS on every listener; archives require client certificates.

    None of its processes logs an error, and each stops cleanly at the end.
    """
    settings = issued.environment(client_ca_file=authority.file)
    settings["ROOKERY_CASSANDRA__KEYSPACE"] = cassandra_settings.keyspace
    with running_cluster(Cluster(tmp_path_factory.mktemp("cluster"), engines, settings=settings)) as ready:
        yield ready
        last = ready.running()
    assert [process.name for process in last if process.process.returncode != 0] == []
    for process in ready.processes:
        assert [line for line in process.log_lines() if line["level"] == "error"] == [], process.name


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """The cluster with all its processes running, whatever the test before did."""
    shared_cluster.restore()
    return shared_cluster


# ---- one platform


@pytest.mark.parametrize(
    ("transport", "other_transport"), [("websocket", "grpc"), pytest.param("grpc", "websocket", marks=pytest.mark.slow)]
)
async def test_users_of_two_gateways_chat_and_each_bff_has_their_history(
    cluster: Cluster, transport: str, other_transport: str
) -> None:
    first, second = cluster.gateways
    ada, grace = await sign_up_at(cluster, first), await sign_up_at(cluster, second)
    async with (
        open_session(connector(first, transport), ada) as ada_session,
        open_session(connector(second, other_transport), grace) as grace_session,
    ):
        sent = await ada_session.send_text(grace.user_id, "from ada")
        (received,) = await grace_session.receive_messages(1)
        assert (received.message_id, received.text.body) == (sent.event_id, "from ada")
        answer = await grace_session.send_text(sent.chat_id, "from grace")
        (received,) = await ada_session.receive_messages(1)
        assert (received.message_id, received.text.body) == (answer.event_id, "from grace")
    for bff in cluster.bffs:
        for reader in (ada, grace):
            history = await read_history(bff.url, reader, sent.chat_id, until=lambda messages: len(messages) == 2)
            assert [item.message.text.body for item in history] == ["from ada", "from grace"]


@asynccontextmanager
async def repeated(session: Session, **frame: Any) -> AsyncIterator[None]:
    """Send a frame every three seconds during the block: its signal may be lost."""

    async def repeat() -> None:
        while True:
            await session.send_frame(**frame)
            await trio.sleep(3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(repeat)
        yield
        nursery.cancel_scope.cancel()


async def test_users_see_who_comes_online_and_types_at_another_gateway(cluster: Cluster) -> None:
    first, second = cluster.gateways
    ada, grace = await sign_up_at(cluster, first), await sign_up_at(cluster, second)
    async with open_session(connector(first, "websocket"), ada) as viewer:
        async with repeated(viewer, watch=pb.Watch(user_ids=[grace.user_id])):
            assert not (await viewer.next_event("presence")).presence.is_online
        async with open_session(connector(second, "grpc"), grace) as watched:
            online = pb.Presence(user_id=grace.user_id, is_online=True)
            await viewer.next_where(lambda frame: frame.event.presence == online)  # offline may be shown twice
            async with repeated(watched, typing=pb.Typing(chat_id=grace.chat_with(ada))):
                assert (await viewer.next_event("typing")).typing.user_id == grace.user_id


@pytest.mark.slow
async def test_users_see_who_has_left_another_gateway_once_no_reconnect_is_expected(cluster: Cluster) -> None:
    first, second = cluster.gateways
    ada, grace = await sign_up_at(cluster, first), await sign_up_at(cluster, second)
    async with open_session(connector(first, "websocket"), ada) as viewer:

        def shown() -> list[pb.Presence]:
            return [frame.event.presence for frame in viewer.frames if frame.event.HasField("presence")]

        async with open_session(connector(second, "grpc"), grace):
            await viewer.ask(watch=pb.Watch(user_ids=[grace.user_id]))
            await viewer.next_event("presence")
        with trio.fail_after(2 * PATIENCE):  # it takes 30 s, in which the session must exchange frames
            while len(shown()) == 1:
                await viewer.check_alive()
                await trio.sleep(1)
    online, offline = shown()
    assert (online.is_online, offline.is_online, offline.last_seen_ms > 0) == (True, False, True)


@each_transport
async def test_a_session_at_the_wrong_gateway_gets_the_address_of_the_right_one(
    cluster: Cluster, transport: str
) -> None:
    right, wrong = cluster.gateways
    person = await sign_up_at(cluster, right)
    moved: list[pb.Moved] = []
    with trio.fail_after(PATIENCE):
        while not moved:  # until it knows the other gateway, it sends `reconnect` only
            async with connector(wrong, transport)() as stream:
                session = Session(stream)
                with pytest.raises(SessionOver):
                    await session.authenticate(person.access_token)
            moved = [frame.moved for frame in session.frames if frame.HasField("moved")]
    assert [(each.websocket, each.grpc) for each in moved] == [(right.websocket, right.grpc)]


async def test_live_configuration_reaches_every_process_that_uses_it(cluster: Cluster) -> None:
    people = [await sign_up_at(cluster, gateway) for gateway in cluster.gateways]
    connects = [connector(gateway, "websocket") for gateway in cluster.gateways]
    async with open_sessions(*zip(connects, people, strict=True)) as sessions:
        await trio.to_thread.run_sync(cluster.run, "config", "set", "max_text_bytes", "11")
        for session, other in zip(sessions, reversed(people), strict=True):
            await until_answered(session, other, "refused")
        await until_logged(cluster, [11])
        await trio.to_thread.run_sync(configure, cluster.environment, {"max_text_bytes": 16384})
        for session, other in zip(sessions, reversed(people), strict=True):
            await until_answered(session, other, "accepted")
        await until_logged(cluster, [11, 16384])


async def until_logged(cluster: Cluster, values: list[int]) -> None:
    """Wait until each process that uses max_text_bytes has logged these values, in order."""

    def logged(process: Process) -> list[int]:
        changes = [line for line in process.log_lines() if line["event"] == "configuration_changed"]
        return [line["max_text_bytes"] for line in changes if "max_text_bytes" in line]

    for process in (*cluster.gateways, *cluster.bffs):
        await until(lambda process=process: logged(process) == values)  # type: ignore[misc]


# ---- some of them stop


async def test_queries_to_an_archive_that_is_frozen_are_answered_by_the_other(cluster: Cluster) -> None:
    person = await sign_up(cluster.bffs[0].url)
    async with open_http(cluster.bffs[0].url) as http:
        (await http.get("/v1/chats", headers=person.headers)).raise_for_status()
        cluster.archives[0].freeze()
        try:
            # So many that each archive is asked. On a busy machine, the healthy one may answer one of them too late.
            answers = [await http.get("/v1/chats", headers=person.headers) for _ in range(6)]
            assert [answer.status_code for answer in answers].count(200) >= 5, [answer.text for answer in answers]
        finally:
            cluster.archives[0].thaw()


@pytest.mark.slow  # one that is killed is harder for its users
@each_transport
async def test_a_gateway_that_is_stopped_moves_its_users_without_a_failed_send(
    cluster: Cluster, transport: Transport
) -> None:
    gateway = cluster.gateways[0]
    async with talking(cluster, transport) as talk:
        await talk.run_past(gateway.terminate)


@each_transport
async def test_a_gateway_that_is_killed_leaves_its_users_to_the_other_soon(
    cluster: Cluster, transport: Transport
) -> None:
    gateway = cluster.gateways[1]
    async with talking(cluster, transport) as talk:
        seconds = await talk.run_past(gateway.kill)
    print(f"live again after {seconds:.1f} s")
    assert seconds < MOVE_SECONDS + SLACK_SECONDS


ADMINS = 10


@pytest.mark.slow
@pytest.mark.parametrize("end", [Process.kill, Process.freeze, Process.terminate])
async def test_ten_admins_change_a_group_while_the_gateway_that_orders_their_changes_ends(
    cluster: Cluster, end: Callable[[Process], object]
) -> None:
    """Each change is made once, in one order, and each admin goes on when the other gateway owns the group."""
    gateway = cluster.gateways[1]
    owners = await trio.to_thread.run_sync(cluster.wait_until_owned)
    people = [await sign_up(cluster.bffs[0].url) for _ in range(2 * ADMINS)]
    admins, others = people[:ADMINS], people[ADMINS:]
    versions: list[int] = []
    has_begun = trio.Event()

    async def change(admin: Person, method: str, path: str, client_id: str, **body: Any) -> dict[str, Any]:
        """Make a change, with retries at both BFFs in turn."""
        fields = body | {"client_change_id": client_id}
        sent: dict[str, Any] = {"params": fields} if method == "DELETE" else {"json": fields}
        for bff in cycle(cluster.bffs):
            async with open_http(bff.url) as http:
                answer = await http.request(method, f"/v1/chats{path}", headers=admin.headers, **sent)
            if answer.status_code not in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT):
                message: dict[str, Any] = answer.raise_for_status().json()["message"]
                versions.append(int(message["control"]["version"]))
                return message
        raise AssertionError

    async def administrate(admin: Person, other: Person) -> None:
        for number in range(0, 8, 2):
            ids = [str(other.user_id)]
            await change(admin, "POST", f"/{chat_id}/members", f"{number}", user_ids=ids)
            await change(admin, "DELETE", f"/{chat_id}/members/{other.user_id}", f"{number + 1}")
            has_begun.set()

    with trio.fail_after(3 * PATIENCE):
        client_ids = (f"group {number}" for number in count())
        homes = ((each, home_partition(group_chat_id(admins[0].user_id, each), PARTITIONS)) for each in client_ids)
        client_id = next(each for each, home in homes if owners[home] == gateway.grpc)
        ids = [str(admin.user_id) for admin in admins[1:]]
        chat_id = (await change(admins[0], "POST", "", client_id, name="Admins", user_ids=ids))["chat_id"]
        for admin in admins[1:]:
            await change(
                admins[0], "PATCH", f"/{chat_id}/members/{admin.user_id}", f"admin {admin.user_id}", role="ROLE_ADMIN"
            )
        async with trio.open_nursery() as nursery:
            for admin, other in zip(admins, others, strict=True):
                nursery.start_soon(administrate, admin, other)
            await has_begun.wait()
            await trio.to_thread.run_sync(end, gateway)
    if end is Process.freeze:
        gateway.thaw()
    expected = list(range(1, 1 + ADMINS + 8 * ADMINS))
    assert sorted(versions) == expected
    for bff in cluster.bffs:
        history = await read_history(bff.url, admins[1], chat_id, until=lambda all_: len(all_) == len(expected))
        assert [item.message.control.version for item in history] == expected
        async with open_http(bff.url) as http:
            answer = await http.get(f"/v1/chats/{chat_id}/members", headers=admins[1].headers)
        assert {int(each["user_id"]) for each in answer.json()["members"]} == {admin.user_id for admin in admins}


@pytest.mark.slow
@each_transport
async def test_members_at_two_gateways_follow_a_channel_until_they_are_removed(
    cluster: Cluster, transport: str
) -> None:
    first, second = cluster.gateways
    ada, grace, alan = [await sign_up_at(cluster, gateway) for gateway in (first, second, second)]
    async with (
        open_http(cluster.bffs[0].url) as http,
        open_sessions(*((connector(second, transport), person) for person in (grace, alan))) as (reader, other),
        open_session(connector(first, transport), ada) as author,
    ):
        body = {"name": "News", "is_channel": True, "user_ids": [str(grace.user_id), str(alan.user_id)]}
        created = await http.post("/v1/chats", json=body | {"client_change_id": "new"}, headers=ada.headers)
        chat_id = created.raise_for_status().json()["message"]["chat_id"]
        await reader.receive_distinct(1)
        await other.receive_distinct(1)
        assert (await author.answer(follow=pb.Follow(chat_ids=["g-1"]))).refused.field == "follow.chat_ids[0]"
        await reader.ask(follow=pb.Follow(chat_ids=[chat_id], open_chat_ids=[chat_id]))
        await other.ask(follow=pb.Follow(chat_ids=[chat_id]))
        sent = await author.send_text(chat_id, "to all")
        assert (await reader.receive_distinct(2))[1] == sent.event_id
        shows = pb.ChannelHead(chat_id=chat_id, newest_id=sent.event_id)
        await other.next_where(lambda frame: frame.channel_head == shows)
        mention = text_to(chat_id, "@alan")
        mention.text.mentions.add(user_id=alan.user_id, name="alan")
        mentioned = await author.ask(send=mention, first_sent_ms_ago=0)
        assert (await other.receive_distinct(2))[1:] == [mentioned.event_id]
        path = f"/v1/chats/{chat_id}/members/{grace.user_id}"
        removed = await http.delete(path, params={"client_change_id": "end"}, headers=ada.headers)
        await author.send_text(chat_id, "after")
        direct = await author.send_text(grace.user_id, "You left")
        last = [int(removed.raise_for_status().json()["message"]["message_id"]), direct.event_id]
        assert (await reader.receive_distinct(5))[2:] == [mentioned.event_id, *last]


@pytest.mark.slow
@pytest.mark.parametrize("end", [Process.terminate, Process.kill])
async def test_the_end_of_an_archive_fails_no_send(cluster: Cluster, end: Callable[[Process], object]) -> None:
    archive = cluster.archives[0]
    async with talking(cluster, "grpc") as talk:
        await talk.run_past(partial(end, archive))


@pytest.mark.slow
@pytest.mark.parametrize("end", [Process.terminate, Process.kill])
async def test_the_end_of_a_bff_disturbs_no_session(cluster: Cluster, end: Callable[[Process], object]) -> None:
    bff = cluster.bffs[0]
    async with talking(cluster, "websocket") as talk:
        await talk.run_past(partial(end, bff))


@pytest.mark.slow
async def test_new_certificates_are_used_by_all_while_people_talk(
    cluster: Cluster, authority: Authority, issued: Issued
) -> None:
    async with talking(cluster, "websocket") as talk:
        await talk.run_past(partial(renew, cluster, authority))
    listening = [address for process in cluster.processes for address in process.addresses.values()]
    assert {authority.certificate_at(address) for address in listening} == {issued.newest}


def renew(cluster: Cluster, authority: Authority) -> None:
    """Replace the certificate of all, and have each process reload it."""
    authority.issue()
    for process in cluster.processes:
        process.signal(signal.SIGHUP)
    for process in cluster.processes:
        assert wait_until(partial(has_reloaded, process)), process.name


def has_reloaded(process: Process) -> bool:
    return "tls_reloaded" in {line["event"] for line in process.log_lines()}


# ---- admins


@pytest.mark.slow
async def test_an_admin_sees_every_process_with_its_partitions_and_its_lag(cluster: Cluster) -> None:
    bff, (first, second) = cluster.bffs[0], cluster.gateways
    admin = await sign_up_at(cluster, first)
    others = [await sign_up_at(cluster, second) for _ in range(2)]
    await trio.to_thread.run_sync(cluster.run, "user", "admin", admin.name)
    members = [(connector(first, "websocket"), admin), *((connector(second, "grpc"), other) for other in others)]
    async with open_sessions(*members) as sessions:
        for session, other in zip(sessions, (others[0], admin, admin), strict=True):
            await session.send_text(other.user_id, "a first record of the partition")
        expected = {"websocket": 1, "grpc": 0}, {"websocket": 0, "grpc": 2}
        with trio.fail_after(PATIENCE):
            answer = await list_processes(bff, admin, *expected)
            while not is_whole(cluster, answer):
                answer = await list_processes(bff, admin, *expected)
    processes = {each["instance"]: each for each in answer["processes"]}
    owned = {gateway.name: processes[gateway.name]["owned"] for gateway in cluster.gateways}
    assert sorted(chain(*owned.values())) == list(range(PARTITIONS))
    for each in answer["partitions"]:
        assert each["partition"] in owned[each["owner"]]
    for name, partitions in owned.items():
        assert processes[name]["lag"].keys() <= set(map(str, partitions))
    assert processes["bff-1"]["lag"] is processes["bff-1"]["owned"] is processes["bff-1"]["sessions"] is None
    lines = cluster.run("processes", "--json").splitlines()
    assert sorted(json.loads(line)["instance"] for line in lines) == sorted(processes)


def is_whole(cluster: Cluster, answer: dict[str, Any]) -> bool:
    """Whether exactly the running processes are ready, and the roles that read the log report their lag."""
    ready = [each["instance"] for each in answer["processes"] if each["ready"]]
    reading = {each["role"] for each in answer["processes"] if each["lag"]}
    everyone = sorted(process.name for process in cluster.processes)
    return sorted(ready) == everyone and len(answer["processes"]) == len(everyone) and reading >= {"gateway", "archive"}


@pytest.mark.slow
async def test_a_gateway_that_was_killed_is_left_out_and_its_partitions_have_another_owner(cluster: Cluster) -> None:
    bff, (first, second) = cluster.bffs[0], cluster.gateways
    admin = await sign_up_at(cluster, first)
    await trio.to_thread.run_sync(cluster.run, "user", "admin", admin.name)
    await trio.to_thread.run_sync(second.kill)
    answer = await list_processes(bff, admin, {"websocket": 0, "grpc": 0})
    with trio.fail_after(PATIENCE):
        while {each["owner"] for each in answer["partitions"]} != {"gateway-1"}:
            answer = await list_processes(bff, admin, {"websocket": 0, "grpc": 0})


@pytest.mark.slow
@each_transport
async def test_a_suspension_by_command_ends_the_sessions_at_any_gateway(cluster: Cluster, transport: str) -> None:
    gateway = cluster.gateways[1]
    person = await sign_up_at(cluster, gateway)
    async with open_session(connector(gateway, transport), person) as session:
        await trio.to_thread.run_sync(cluster.run, "user", "suspend", person.name, "--reason", "spam")
        assert (await session.read_to_end())[-1].goodbye.code == "unauthenticated"
    for bff in cluster.bffs:
        async with open_http(bff.url) as http:
            refused = await http.post("/v1/tokens", json={"name": person.name, "password": PASSWORD})
        assert (refused.status_code, refused.json()["code"]) == (403, "suspended")
    audit = [json.loads(line) for line in cluster.run("audit", "--json").splitlines()]
    assert (audit[-1]["act"], audit[-1]["target"]) == ("suspend_user", f"{person.name} ({person.user_id})")


@pytest.mark.slow
async def test_one_process_on_the_same_engines_is_a_platform_too(cluster: Cluster, tmp_path: Path) -> None:
    """`rookery up --engines` with its own topic, keyspace and prefix, which it creates."""
    own = {
        "ROOKERY_KAFKA__TOPIC": "up-events",
        "ROOKERY_KAFKA__DEAD_LETTER_TOPIC": "up-dead-letters",
        "ROOKERY_CASSANDRA__KEYSPACE": "up",
        "ROOKERY_REDIS__PREFIX": "up:",
    }
    engines = {key: value for key, value in cluster.environment.items() if "__" in key}
    rookery = Rookery(tmp_path / "data", settings={"ROOKERY_ENGINES": ENGINES, **engines, **own})
    try:
        await trio.to_thread.run_sync(rookery.start)
        async with open_client(rookery.url, "ada", PASSWORD, register=True) as ada:
            grace = await sign_up(rookery.url, "grace")
            sent = await ada.send(grace.user_id, "hello")
        history = await read_history(rookery.url, grace, sent.chat_id)
        assert [item.message.text.body for item in history] == ["hello"]
        assert await trio.to_thread.run_sync(rookery.terminate) == 0
    finally:
        stop_all([rookery])
    assert [each.name for each in rookery.data.iterdir()] == ["files"], "without `files.url`, that is their only place"
