"""One run of the load: makes the users, holds their sessions, sends at a rate or as fast as it can, and reports."""

import ipaddress
import math
import secrets
import socket
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import trio

from rookery.load.accounts import Bff
from rookery.load.counters import RECORDS, ROSTERS, WRITES, read_counters
from rookery.load.files import FileLoad, FileReport
from rookery.load.grpc import open_grpc_sessions
from rookery.load.measure import MAX_MESSAGES, GroupRecord, Record, Report, Schedule
from rookery.load.passwords import new_password
from rookery.load.process import cpu_seconds, difference, pid_listening_on, resident_bytes, total
from rookery.load.sessions import LoadError, LoadUser, Sessions
from rookery.load.websocket import open_websocket_sessions
from shared.background import open_background
from shared.contract.groups import MAX_CHANNEL_MEMBERS, MAX_MEMBERS
from shared.net.open_files import allow_most_open_files

if TYPE_CHECKING:
    from rookery.load.stored_accounts import OpenAccounts

DRAIN_SECONDS = 5.0
"""Bound of the wait for the deliveries at the end, in seconds."""

SETTLE_SECONDS = 1.0
"""Seconds between opening idle sessions and reading the server's memory."""

MAX_USERS = 20_000
MAX_FILE_USERS = 200
MAX_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of a run. Without a `rate` (messages a second, of all users), send as fast as answers arrive."""

    url: str
    users: int = 200
    """Users with a session, who send in turn: to each other in pairs, or to the group."""
    password: str = field(default_factory=new_password, repr=False, compare=False)
    """The password of the users, which later runs need: they reuse the users."""
    group: int = 0
    """Members of a group that is created, the users included; 0: no group. More than MAX_MEMBERS: a channel."""
    open: int = 0
    """Users who have the channel open, and send; the others follow it. 0: all users."""
    transport: Literal["websocket", "grpc"] = "websocket"
    rate: float | None = 500
    in_flight: int = 1
    """Unanswered messages of each user at once, without a rate."""
    seconds: float = 20
    warm_up: float = 2
    """Seconds before the measured ones."""
    size: int = 256
    """Bytes of each message's text."""
    files: int = 0
    """Users who also upload and download files, all the time."""
    file_bytes: int = 64 << 20
    """Bytes of each file."""
    idle: int = 0
    """Sessions to open first, to measure the memory of one."""
    server_pids: tuple[int, ...] = ()
    """The processes to measure; if empty, the one that listens on the port of `url` on this machine."""
    engine_pids: tuple[int, ...] = ()
    """The processes of engines, whose CPU is reported too."""
    is_embedded: bool = False
    """Whether one process has all roles, so that it is the gateway of all users."""
    anywhere: bool = False
    """Whether the server may be on another machine."""
    ca_file: Path | None = None
    """The authority of a server with TLS; None: the system's authorities."""
    metrics: tuple[str, ...] = ()
    """The URLs of the metrics of the servers' processes."""

    @property
    def is_channel(self) -> bool:
        return self.group > MAX_MEMBERS

    @property
    def senders(self) -> int:
        """The users who send, the first ones: in a channel those who have it open."""
        return self.open or self.users


@dataclass(frozen=True, slots=True)
class Counted:
    """The counters of the servers at a moment, or their increase in a run."""

    accepted: int
    """Accepted messages."""
    records: float
    """Log records that were acknowledged."""
    writes: float
    """Batches of events that were written to the chat store."""
    roster_bytes: float
    """The memory of the rosters of all groups, at the end."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a run. Without a known server process, or if one has ended, its CPU and memory are None."""

    plan: Plan
    report: Report
    server_pids: tuple[int, ...]
    server_cpu_us_per_message: float | None
    """Microseconds of the servers' CPU for each delivery."""
    server_cpu_share: float | None
    """The servers' share of one core."""
    server_resident_bytes: float | None
    """The resident memory of the servers at the end."""
    engine_cpu_us_per_message: float | None
    """Microseconds of the engines' CPU for each delivery."""
    bytes_per_idle_session: float | None
    generator_cpu_us_per_message: float
    """CPU of the generator, which runs beside the server."""
    counted: Counted | None
    """None without metrics, or if a server did not return them."""
    files: FileReport | None = None
    """None without users who upload files."""
    creation_seconds: float | None = None
    """Seconds in which the group was created with all members; None without one."""


async def run(plan: Plan, open_accounts: "OpenAccounts | None" = None) -> Result:
    """Run the plan. With `open_accounts`, write the users into the account store instead of registering them over HTTP.

    Raises LoadError if it can't run, RookeryError if the server refuses or does not answer. A server that ends in the
    measured time is reported.
    """
    check_plan(plan)
    allow_most_open_files()
    if plan.metrics:
        await read_counters(plan.metrics, plan.ca_file)  # a wrong URL ends the run here
    bff = Bff(plan.url, plan.ca_file, plan.password)
    if open_accounts:  # the other members of a group need no sign-in
        users = await _make_users(open_accounts, max(plan.users, plan.idle), plan.password)
    else:
        users = await bff.sign_in(max(plan.users, plan.group))
    users = await bff.locate(users, together=plan.is_embedded)
    for gateway in {user.gateway for user in users}:
        check_target(gateway.websocket if plan.transport == "websocket" else _url_of(gateway.grpc), plan.anywhere)
    found = pid_listening_on(_port_of(plan.url))
    servers = plan.server_pids or (() if found is None else (found,))
    per_session = await _measure_idle(plan, users, servers) if plan.idle and servers else None
    run_id, creation_seconds = secrets.token_hex(4) + "-", None
    if plan.group:
        members = [user.user_id for user in users[: plan.group]]
        if open_accounts:
            members += await _make_members(open_accounts, len(members), plan.group, plan.password)
        creating = bff.make_group(users[0].token, members[1:], run_id, is_channel=plan.is_channel)
        chat_id, creation_seconds = await creating
        users = [replace(user, chat_id=chat_id) for user in users]
    if plan.is_channel:
        users = [replace(user, follows="open" if n < plan.senders else "closed") for n, user in enumerate(users)]
    file_load = FileLoad(plan.url, plan.ca_file, [user.token for user in users[: plan.files]], plan.file_bytes)
    async with _open_sessions(plan, users[: plan.users], run_id) as sessions, open_background() as background:
        background.start_soon(file_load.run, servers, plan.warm_up, plan.seconds)
        load = Load(plan, sessions, run_id)
        report, server_cpu, engine_cpu, own_cpu, counted = await load.run(servers)
        files = await file_load.report()
    return Result(
        plan=plan,
        report=report,
        server_pids=servers,
        server_cpu_us_per_message=None if server_cpu is None else _per_message(server_cpu, report),
        server_cpu_share=None if server_cpu is None else server_cpu / plan.seconds,
        server_resident_bytes=total(resident_bytes, servers),
        engine_cpu_us_per_message=None if engine_cpu is None else _per_message(engine_cpu, report),
        bytes_per_idle_session=per_session,
        generator_cpu_us_per_message=_per_message(own_cpu, report),
        counted=counted,
        files=files if plan.files else None,
        creation_seconds=creation_seconds,
    )


def check_plan(plan: Plan) -> None:
    """Raises LoadError for a plan out of bounds."""
    if plan.group and not 2 <= plan.users <= min(plan.group, MAX_USERS) <= plan.group <= MAX_CHANNEL_MEMBERS:
        raise LoadError(
            f"--group must be from 2 to {MAX_CHANNEL_MEMBERS}, and --online from 2 to that number, at most {MAX_USERS}"
        )
    if plan.open and not (plan.is_channel and 2 <= plan.open <= plan.users):
        raise LoadError(f"--open is for groups of more than {MAX_MEMBERS}, from 2 to the number of --online")
    if plan.group and plan.rate is None:
        raise LoadError("--saturate is for pairs: with --group, messages have a rate")
    if not plan.group and (plan.users % 2 or not 2 <= plan.users <= MAX_USERS):
        raise LoadError(f"--users must be an even number from 2 to {MAX_USERS}: they write to each other in pairs")
    if not 0 <= plan.files <= min(plan.users, MAX_FILE_USERS):
        raise LoadError(f"--files must be from 0 to the number of users, at most {MAX_FILE_USERS}")
    if not 0 < plan.seconds + plan.warm_up <= MAX_SECONDS:
        raise LoadError(f"a run may last {MAX_SECONDS:g} s at most")
    recipients = plan.senders - 1 if plan.group else 1
    if plan.rate is not None and not 0 < plan.rate * (plan.seconds + plan.warm_up) * recipients <= MAX_MESSAGES:
        raise LoadError(f"a run may send {MAX_MESSAGES} messages at most, counted for each recipient")
    check_target(plan.url, plan.anywhere)


def check_target(url: str, anywhere: bool) -> None:
    """Raises LoadError for a server on another machine, unless its owner allows it."""
    host = urlsplit(url).hostname
    if host is None:
        raise LoadError(f"{url!r} names no host")
    if anywhere:
        return
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise LoadError(f"{host} can't be resolved: {error}") from error
    if not all(ipaddress.ip_address(address).is_loopback for address in addresses):
        raise LoadError(f"{host} is not this machine: if you own the server there, add --i-own-this-server")


class Load:
    """Sends the messages, and records the answers and deliveries."""

    def __init__(self, plan: Plan, sessions: Sessions, run_id: str) -> None:
        self.record = GroupRecord(recipients=plan.senders - 1) if plan.group else Record()
        self._plan = plan
        self._sessions = sessions
        self._run_id = run_id
        self._until = -math.inf
        self._next = 0
        self._all_sent = trio.Event()

    async def run(self, server_pids: Sequence[int]) -> tuple[Report, float | None, float | None, float, Counted | None]:
        """Return the report; the CPU seconds of servers, engines and this process in the measured time; and what the
        servers counted for the messages. CPU is None without processes, or if one has ended."""

        def used() -> list[float | None]:
            return [total(cpu_seconds, server_pids), total(cpu_seconds, self._plan.engine_pids)]

        async with open_background() as nursery:
            nursery.start_soon(self._sessions.listen, self)
            begin = trio.current_time() + self._plan.warm_up
            self._until = begin + self._plan.seconds
            nursery.start_soon(self._send)
            await trio.sleep_until(begin)
            before, own_before = used(), time.process_time()
            if self._plan.metrics and self._plan.rate is not None:
                await trio.sleep(0.5 / self._plan.rate)  # between two messages: of none, only a part is counted
            counted = await self._count()
            await trio.sleep_until(self._until)
            own = time.process_time() - own_before
            servers, engines = map(difference, used(), before)
            with trio.move_on_after(DRAIN_SECONDS):
                await self._all_sent.wait()
                while self.record.unanswered or self.record.lost:  # noqa: ASYNC110 - an event would cost every message something
                    await trio.sleep(0.05)
            if counted is not None:
                await trio.sleep(SETTLE_SECONDS)  # the archive records the last messages
                counted = _difference(counted, await self._count())
        return self.record.report(begin, self._until), servers, engines, own, counted

    async def _count(self) -> Counted | None:
        """Return None without metrics, and if a server does not return them, which is an error in the report."""
        if not self._plan.metrics:
            return None
        try:
            counters = await read_counters(self._plan.metrics, self._plan.ca_file)
        except LoadError:
            self.record.errors["metrics"] += 1
            return None
        return Counted(self.record.accepted_count, counters[RECORDS], counters[WRITES], counters[ROSTERS])

    async def _send(self) -> None:
        if self._plan.rate is None:
            for user in [*range(self._plan.senders)] * self._plan.in_flight:
                self._send_next(user, trio.current_time())
        else:
            await self._send_at_rate(self._plan.rate)
        self._all_sent.set()

    async def _send_at_rate(self, rate: float) -> None:
        schedule = Schedule(trio.current_time(), rate)
        while (due := schedule.due(self._next)) < self._until:
            await trio.sleep_until(due)
            for number in range(self._next, schedule.due_by(trio.current_time())):
                self._send_next(number % self._plan.senders, schedule.due(number))

    def _send_next(self, user: int, intended: float) -> None:
        number = self.record.sent(intended, trio.current_time())
        self._next = number + 1
        self._sessions.send(user, number)

    def _answered(self, user: int, now: float) -> None:
        if self._plan.rate is None and now < self._until and self._next < MAX_MESSAGES:
            self._send_next(user, now)

    def _number(self, key: str) -> int | None:
        """Return the number of this run's message with the client_message_id; None for another message."""
        return int(key[len(self._run_id) :]) if key.startswith(self._run_id) else None

    # ---- SessionObserver

    def accepted(self, user: int, key: str, now: float) -> None:
        if (number := self._number(key)) is not None:
            self.record.accept(number, now)
            self._answered(user, now)

    def delivered(self, key: str, now: float) -> None:
        if (number := self._number(key)) is not None:
            self.record.deliver(number, now)

    def shown(self) -> None:
        self.record.heads += 1

    def refused(self, user: int, key: str, code: str) -> None:
        if self._number(key) is not None:
            self.record.refused[code] += 1
            self._answered(user, trio.current_time())

    def failed(self, kind: str) -> None:
        self.record.errors[kind] += 1


async def _make_users(open_accounts: "OpenAccounts", count: int, password: str) -> list[LoadUser]:
    from rookery.load.stored_accounts import make_users  # here, as it needs the extra `server`

    return await make_users(open_accounts, count, password)


async def _make_members(open_accounts: "OpenAccounts", first: int, last: int, password: str) -> list[int]:
    from rookery.load.stored_accounts import make_members  # as above

    return await make_members(open_accounts, range(first, last), password)


def _open_sessions(plan: Plan, users: Sequence[LoadUser], run_id: str) -> AbstractAsyncContextManager[Sessions]:
    if plan.transport == "websocket":
        return open_websocket_sessions(users, run_id, plan.size, plan.ca_file)
    return open_grpc_sessions(users, run_id, plan.size, plan.ca_file)


async def _measure_idle(plan: Plan, users: Sequence[LoadUser], pids: Sequence[int]) -> float | None:
    """Return the bytes of server memory for each idle session; None if a server has ended.

    A few sessions are opened and closed first, so that memory which the server needs once is not counted.
    """
    async with _open_sessions(plan, users[:16], ""):
        await trio.sleep(SETTLE_SECONDS)
    before = total(resident_bytes, pids)
    idle = [users[number % len(users)] for number in range(plan.idle)]
    async with _open_sessions(plan, idle, ""):
        await trio.sleep(SETTLE_SECONDS)
        after = total(resident_bytes, pids)
    await trio.sleep(SETTLE_SECONDS)
    growth = difference(after, before)
    return None if growth is None else growth / plan.idle


def _difference(before: Counted, after: Counted | None) -> Counted | None:
    if after is None:
        return None
    return Counted(
        after.accepted - before.accepted,
        after.records - before.records,
        after.writes - before.writes,
        after.roster_bytes,
    )


def _url_of(grpc: str) -> str:
    """Return the address as a URL, also for `host:port`."""
    return grpc if "://" in grpc else f"//{grpc}"


def _port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _per_message(cpu: float, report: Report) -> float:
    return cpu / report.delivered_in_window * 1e6 if report.delivered_in_window else math.nan
