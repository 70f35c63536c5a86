"""One verification from its accounts to its result: `open_verification` starts it, `Run.finish` ends it."""

import math
import secrets
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import chain

import trio

from rookery.client import Client, RookeryError
from rookery.load.measure import summarize
from rookery.load.sessions import for_each
from rookery.verify.absences import PAUSE_SECONDS, Presence
from rookery.verify.accounts import AT_ONCE, Accounts, Report
from rookery.verify.background_load import Churn, SlowClient
from rookery.verify.changes import Expected, changes_of, script_of
from rookery.verify.chat_lists import read_chat_list
from rookery.verify.checker import check_records
from rookery.verify.files import ClientFiles, due_reads, read_files
from rookery.verify.groups import Group
from rookery.verify.heads import newest_due
from rookery.verify.histories import Reading, read_histories
from rookery.verify.membership import Membership
from rookery.verify.participant import MAX_WAITING, Participant
from rookery.verify.pipeline import send_again
from rookery.verify.plan import TRANSPORTS, Plan, VerifyError, check_plan, group_sizes, partners, share
from rookery.verify.records import Copy, FileRead, Key, Listed, Made, Records, Sent, by_key
from rookery.verify.result import Result
from shared.background import open_background
from shared.contract.chats import direct_members
from shared.contract.ids import wall_clock_ms
from shared.net.open_files import allow_most_open_files

POLL_SECONDS = 0.05
"""The interval of the checks for the end: an event would add work to every message."""

CLOCK_MARGIN_MS = 60_000
"""History is read from so long before the first message: the server's clock may differ."""


class Run:
    """A run that sends messages, made by `open_verification`. The caller may disturb the servers at the same time."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.clients: list[Client] = []
        self.participants = [Participant(number, self) for number in range(plan.clients)]
        self.accepted_count = 0
        self.churn = Churn((), 0, None)
        self._run_id = secrets.token_hex(3)
        self._began = self._stops = 0.0
        self._began_ms = 0
        self._by_user: dict[int, Participant] = {}
        self._made: list[Made] = []
        self._unmade = 0
        """The changes that are not answered yet."""
        self._delivered: set[Key] = set()
        self._undelivered: dict[Key, Sent | Made] = {}
        """The accepted messages that the user who changes them too has not received, and changes that the other member
        of a direct chat has not."""
        self._groups: list[Group] = []
        self._channels: set[str] = set()
        self._files: dict[int, ClientFiles] = {}
        """The files of the clients, by user."""
        self._sending = trio.CancelScope()
        self._pipelines = trio.CancelScope()
        self._uploads = trio.CancelScope()
        self._ended = trio.Event()
        self._waiting: dict[trio.Event, int] = {}

    # ---- for the caller

    async def until(self, *, accepted: int) -> None:
        """Wait until so many messages are accepted, or sending has ended."""
        reached = trio.Event()
        self._waiting[reached] = accepted
        try:
            if self.accepted_count < accepted and not self._ended.is_set():
                await reached.wait()
        finally:
            del self._waiting[reached]

    async def until_live(self) -> None:
        """Wait until every client has a session."""
        while not all(client.is_connected for client in self.clients):  # noqa: ASYNC110 - see POLL_SECONDS
            await trio.sleep(POLL_SECONDS)

    def outages_since(self, moment: float) -> list[float]:
        """Return the outages, in seconds, that began after a moment of Trio's clock, also the unfinished ones."""
        return [end - begin for begin, end in self._outages() if begin >= moment]

    def outages_after(self, moment: float) -> list[float]:
        """Return the part after a moment, in seconds, of each outage that lasts until then or begins later."""
        return [end - max(begin, moment) for begin, end in self._outages() if end > moment]

    def stop(self) -> None:
        """Send no new messages."""
        self._stops = min(self._stops, trio.current_time())

    async def finish(self) -> Result:
        """Wait for all answers, all deliveries and the whole history, and check them. Raises VerifyError if messages or
        changes have no answer in this time, and no broken promise is found: the result would not be complete."""
        settle = self.plan.settle_seconds
        with trio.CancelScope(deadline=self._stops + settle):
            await self._ended.wait()
        self._sending.cancel()
        self._uploads.cancel()
        ended = trio.current_time()
        with trio.move_on_after(settle):
            await self.until_live()
            while self._unmade or self._awaits_deliveries():  # noqa: ASYNC110 - see POLL_SECONDS
                await trio.sleep(POLL_SECONDS)
            await self._group_deliveries()
            while self._unmade:  # noqa: ASYNC110 - changes of messages that arrived meanwhile
                await trio.sleep(POLL_SECONDS)
        unanswered = self._unanswered()  # before clients read missed messages, whose changes are not sent any more
        self._pipelines.cancel()
        await self._send_again_late()
        histories = await self._read_histories()
        with trio.move_on_after(settle):
            await self._catch_up()
        records = self._records(histories)
        records.groups = [await group.record(trio.current_time() + settle) for group in self._groups]
        records.listed = await self._read_chat_lists(records.histories)
        records.file_reads = await self._read_files(records)
        result = self._result(records, ended)
        if unanswered and not result.violations:
            raise VerifyError(
                f"{unanswered} messages and changes had no answer within --settle ({settle:g} s): allow more"
            )
        return result

    # ---- Observer

    def accepted(self, sent: Sent) -> None:
        self.accepted_count += sent.is_accepted
        if sent.other_id and sent.is_accepted:
            self._change(sent, sent.key[0])
            self._undelivered[sent.key] = sent
            self._change_as_other(sent.key)
        for reached, count in self._waiting.items():
            if self.accepted_count >= count:
                reached.set()

    def delivered(self, key: Key) -> None:
        self._delivered.add(key)
        if isinstance(self._undelivered.get(key), Sent):
            self._change_as_other(key)
        else:
            self._undelivered.pop(key, None)

    def made(self, made: Made) -> None:
        self._unmade -= 1
        if _is_due(made) and made.target.recipient_id and made.key not in self._delivered:
            self._undelivered[made.key] = made

    def _change_as_other(self, key: Key) -> None:
        """Let the other user change an accepted message that they have received."""
        sent = self._undelivered[key]
        if isinstance(sent, Sent) and self._by_user[sent.other_id].has(key):
            del self._undelivered[key]
            self._change(sent, sent.other_id)
            if not sent.may_be_deleted:
                self._files[sent.other_id].forward(sent)

    def _change(self, sent: Sent, actor_id: int) -> None:
        """Let a member make the changes of an accepted message."""
        script = script_of(sent, self.plan.changes)
        for made in changes_of(sent, actor_id, script) if script else ():
            sent.may_be_deleted |= made.change.HasField("deleted")
            self._made.append(made)
            self._unmade += 1
            self._by_user[actor_id].put_change(made)

    # ---- start

    async def begin(self, accounts: Accounts, nursery: trio.Nursery) -> None:
        """Open all sessions, and start sending. Raises VerifyError or RookeryError."""
        plan = self.plan
        names = [f"{plan.accounts}-{number:05}" for number in range(plan.clients)]
        extra = [f"{plan.accounts}-{kind}-{n:05}" for n in range(plan.slow_clients) for kind in ("writer", "slow")]
        await accounts.register(names)
        await accounts.register(extra)

        async def hold(number: int) -> Client:
            client: Client = await nursery.start(self._hold, accounts, names[number], number)
            return client

        self.clients = await for_each(hold, range(plan.clients), at_once=AT_ONCE)
        for number in range(plan.slow_clients):
            await nursery.start(self._hold_slow, accounts, extra[2 * number], extra[2 * number + 1], number)
        self.churn = Churn(self.clients, plan.churn, plan.ca_file)
        self._began = trio.current_time()
        self._began_ms = wall_clock_ms() - CLOCK_MARGIN_MS
        self._stops = self._began + plan.seconds
        for participant in self.participants:
            participant.began_ms = self._began_ms
        self._by_user = {client.me.user_id: each for client, each in self._pairs()}
        openers = {client.me.user_id for client, each in self._pairs() if each.opens_channels}
        for number, (size, is_channel) in enumerate(group_sizes(plan)):
            first = 2 * number % plan.clients  # each group has another owner and another admin, if there are enough
            members = [*self.clients[first:], *self.clients[:first]][:size]
            self._groups.append(Group(number, members, self._run_id, open_at=openers if is_channel else None))
        for group in self._groups:
            await group.create()
        self._channels = {group.chat_id for group in self._groups if group.open_at is not None}
        for client, each in self._pairs():
            prefix = f"{self._run_id}-{each.number}"
            self._files[client.me.user_id] = ClientFiles(client, prefix, plan.files, each.number)
        await nursery.start(self._run_pipelines)
        nursery.start_soon(self._upload_all)
        nursery.start_soon(self._send_all)

    async def _hold(self, accounts: Accounts, name: str, number: int, *, task_status: trio.TaskStatus[Client]) -> None:
        participant = self.participants[number]
        async with accounts.open_client(name, number // 2, TRANSPORTS[number % 2], participant.presence) as client:
            task_status.started(client)
            await participant.listen(client)

    async def _hold_slow(
        self, accounts: Accounts, writer_name: str, name: str, number: int, *, task_status: trio.TaskStatus[None]
    ) -> None:
        transport = TRANSPORTS[number % 2]
        async with (
            accounts.open_client(writer_name, number, transport, Presence()) as writer,
            accounts.open_api(name, number) as api,
        ):
            await api.sign_in()
            task_status.started()
            plan = self.plan
            await SlowClient(api, writer, transport, reads=plan.slow_clients_read, ca_file=plan.ca_file).run()

    async def _send_all(self) -> None:
        user_ids = [client.me.user_id for client in self.clients]
        plan = self.plan
        with self._sending:
            async with trio.open_nursery() as changers:
                for group in self._groups:
                    changers.start_soon(group.change)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.churn.run)
                    for number in range(min(plan.absences, plan.clients)):
                        nursery.start_soon(self._leave, number)
                    for participant, client in zip(self.participants, self.clients, strict=True):
                        number = participant.number
                        recipients = [user_ids[other] for other in partners(number, plan.clients)]
                        nursery.start_soon(
                            participant.send_all,
                            client,
                            self._run_id,
                            recipients,
                            [group for group in self._groups if client.me.user_id in group.clients],
                            self._files[client.me.user_id],
                            self._moments(number),
                            plan.size,
                            MAX_WAITING if plan.rate else plan.in_flight,
                        )
                for group in self._groups:
                    group.stop()
        self._ended.set()
        for reached in self._waiting:
            reached.set()

    async def _run_pipelines(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self._pipelines:
            async with trio.open_nursery() as nursery:
                for client, each in self._pairs():
                    await nursery.start(each.run_pipeline, client)
                task_status.started()

    async def _upload_all(self) -> None:
        with self._uploads:
            async with trio.open_nursery() as nursery:
                for files in self._files.values() if self.plan.files else ():
                    nursery.start_soon(files.upload_all)

    async def _leave(self, number: int) -> None:
        """Be away as this client: one client after the other, and the first again when all have been."""
        await trio.sleep(number * PAUSE_SECONDS)
        for _ in range(number, self.plan.absences, self.plan.clients):
            await self.participants[number].presence.leave()
            await trio.sleep(PAUSE_SECONDS)

    async def _moments(self, number: int) -> AsyncGenerator[None, None]:
        """Yield at each moment at which this client may send a message."""
        plan = self.plan
        for own in range(share(number, plan)):
            due = self._began + (own * plan.clients + number) / plan.rate if plan.rate else 0.0
            await trio.sleep_until(min(due, self._stops))
            if trio.current_time() >= self._stops:
                return
            yield

    # ---- end

    def _awaits_deliveries(self) -> bool:
        """Whether an accepted message or change is undelivered to a client whose session must have it."""
        return any(not self._may_miss(event.other_id, event) for event in self._undelivered.values())

    def _may_miss(self, user_id: int, event: Sent | Made) -> bool:
        """Whether an event may not arrive in the session of a client, but from history: one from before the client's
        last Gap, and of a channel one from before the Follow after it."""
        each, chat_id = self._by_user[user_id], event.target.chat_id if isinstance(event, Made) else event.chat_id
        return event.at <= (each.behind_until(chat_id) if chat_id in self._channels else each.gap_at)

    def _behind(self) -> Mapping[tuple[int, str], float]:
        """By user and channel, for the clients with a Gap: the moment up to which events may be missing."""
        with_gap = [(client.me.user_id, each) for client, each in self._pairs() if each.gaps]
        return {
            (user_id, chat_id): each.behind_until(chat_id) for user_id, each in with_gap for chat_id in self._channels
        }

    async def _group_deliveries(self) -> None:
        """Wait until each accepted message of a group has reached its recipients, and each change the members
        throughout, except clients that may miss it; and until the clients that follow a channel know its newest
        event."""
        groups = [each.records() for each in self._groups]
        records = Records(by_key(self._sent()), made=self._made, groups=groups, behind=self._behind())
        membership = Membership(records)
        due = [sent for sent in self._sent() if sent.is_accepted and not sent.recipient_id]
        missing: list[tuple[int, Sent | Made]] = [(user, sent) for sent in due for user in membership.recipients(sent)]
        for group in self._groups:
            users = {user for user in group.stay if membership.has_open(group.chat_id, user)}
            changes = (each for each in self._made if each.change.chat_id == group.chat_id and _is_due(each))
            missing += [(user, each) for each in changes for user in users - {each.change.actor_id}]

        def is_missing(user: int, event: Sent | Made) -> bool:
            return not self._by_user[user].has(event.key) and not self._may_miss(user, event)

        while missing := [each for each in missing if is_missing(*each)]:  # noqa: ASYNC110 - see POLL_SECONDS
            await trio.sleep(POLL_SECONDS)
        heads = [(self._by_user[user], chat_id, newest) for user, chat_id, newest in newest_due(records, membership)]
        while any(each.newest[chat_id] < newest for each, chat_id, newest in heads):  # noqa: ASYNC110 - see POLL_SECONDS
            await trio.sleep(POLL_SECONDS)

    def _pairs(self) -> Iterable[tuple[Client, Participant]]:
        return zip(self.clients, self.participants, strict=True)

    def _outages(self) -> list[tuple[float, float]]:
        """The begin and the end of each outage; an unfinished one ends now."""
        now = trio.current_time()
        lost = [span for each in self.participants for span in each.outages]
        return lost + [(each.lost_at, now) for each in self.participants if each.lost_at is not None]

    async def _send_again_late(self) -> None:
        """Send some of the accepted messages again, when the server may have forgotten them."""
        direct = [sent for sent in self._sent() if sent.is_accepted and sent.recipient_id]
        accepted = sorted(direct, key=lambda sent: sent.accepted_at)
        if not self.plan.late_retries or not accepted:
            return
        chosen = accepted[:: -(-len(accepted) // self.plan.late_retries)]
        by_id = {client.me.user_id: client for client in self.clients}
        await trio.sleep_until(chosen[-1].accepted_at + self.plan.late_after)
        with trio.move_on_after(self.plan.settle_seconds):
            await for_each(lambda sent: send_again(by_id[sent.key[0]], sent), chosen, at_once=AT_ONCE)

    async def _read_histories(self) -> dict[tuple[int, str], list[Copy]]:
        """Read every chat, as all who were members at some time."""
        by_id = {client.me.user_id: client for client in self.clients}
        readings: dict[tuple[int, str], Reading] = {}
        due: dict[tuple[int, str], set[Key]] = defaultdict(set)
        membership = Membership(Records({}, groups=[group.records() for group in self._groups]))
        users = {group.chat_id: list(group.clients) for group in self._groups}
        for sent in self._sent():
            for member in users.get(sent.chat_id) or (sent.key[0], sent.recipient_id):
                readings[member, sent.chat_id] = Reading(by_id[member], sent.chat_id)
                if sent.is_accepted and membership.allows(sent.chat_id, member, sent.message_id):
                    due[member, sent.chat_id].add(sent.key)
        expected, sent_keys = Expected(self._made, membership), {sent.key for sent in self._sent()}

        def is_complete(reader: int, chat_id: str, copies: Sequence[Copy]) -> bool:
            return due[reader, chat_id].issubset(copy.key for copy in copies) and all(
                expected.agrees(copy.message_id, copy.changes, reader) for copy in copies if copy.key in sent_keys
            )

        deadline = trio.current_time() + self.plan.settle_seconds
        return await read_histories(list(readings.values()), is_complete, self._began_ms, deadline)

    async def _read_chat_lists(self, histories: Mapping[tuple[int, str], Sequence[Copy]]) -> list[Listed]:
        """Let each client read its chats up to the first message of the run, or to the middle; read its chat list."""
        marks: dict[int, dict[str, int]] = defaultdict(dict)
        present = {group.chat_id: group.present for group in self._groups}
        for place, ((user_id, chat_id), copies) in enumerate(sorted(histories.items())):
            ids = sorted(copy.message_id for copy in copies)
            if ids and user_id in present.get(chat_id, {user_id}):
                marks[user_id][chat_id] = ids[len(ids) // 2 if place % 2 else 0]
        clients = [client for client in self.clients if marks[client.me.user_id]]
        for client in clients:
            for chat_id, message_id in marks[client.me.user_id].items():
                client.mark(chat_id, read_up_to=message_id)
        deadline = trio.current_time() + self.plan.settle_seconds
        lists = await for_each(
            lambda client: read_chat_list(client, marks[client.me.user_id], deadline), clients, at_once=AT_ONCE
        )
        return [listed for of_client in lists for listed in of_client]

    async def _read_files(self, records: Records) -> Sequence[FileRead]:
        """Read the files of all messages, as all users who may read them, and as some users who may not."""
        clients = {client.me.user_id: client for client in self.clients}
        due = due_reads(records, list(clients), {group.chat_id: list(group.clients) for group in self._groups})
        return await read_files(list(due), clients, trio.current_time() + self.plan.settle_seconds)

    async def _catch_up(self) -> None:
        """Let each client with a Gap read once more, as history is complete now."""
        behind = [(client, each) for client, each in self._pairs() if each.gaps]
        await for_each(lambda both: both[1].read_rest(both[0]), behind, at_once=AT_ONCE)

    def _sent(self) -> Iterable[Sent]:
        """All messages and control changes."""
        return chain((sent for each in self.participants for sent in each.sent), *(g.controls for g in self._groups))

    def _unanswered(self) -> int:
        """The number of messages, control changes and changes that were neither accepted nor refused."""
        sent = sum(not each.is_accepted and not each.refused for each in self._sent())
        return sent + sum(each.event is None and not each.refused for each in self._made)

    def _records(self, histories: dict[tuple[int, str], list[Copy]]) -> Records:
        """Return the records, without messages of earlier runs with the same accounts."""
        first_id = min((sent.message_id for sent in self._sent() if sent.is_accepted), default=math.inf)
        ours = f"{self._run_id}-"

        def counts(copy: Copy) -> bool:
            return copy.key[1].startswith(ours) or copy.message_id >= first_id

        deliveries = {
            client.me.user_id: [delivery for delivery in each.deliveries if counts(delivery.copy)]
            for client, each in self._pairs()
        }
        kept = {place: [copy for copy in copies if counts(copy)] for place, copies in histories.items()}
        sent = by_key(self._sent())

        def missed(user_id: int, keys: Iterable[Key]) -> Sequence[Key]:
            return [key for key in keys if key in sent and not self._may_miss(user_id, sent[key])]

        return Records(
            sent,
            deliveries,
            kept,
            made=self._made,
            received_changes={client.me.user_id: each.received_changes for client, each in self._pairs()},
            states={client.me.user_id: each.states for client, each in self._pairs()},
            answers={client.me.user_id: each.answers for client, each in self._pairs()},
            heads={client.me.user_id: each.heads for client, each in self._pairs()},
            not_uploaded=[failure for files in self._files.values() for failure in files.failures],
            behind=self._behind(),
            missed={client.me.user_id: missed(client.me.user_id, each.read_at_end) for client, each in self._pairs()},
        )

    def _result(self, records: Records, ended: float) -> Result:
        sent = [each for each in records.sent.values() if not each.is_control and not each.refused]
        accepted = [each for each in sent if each.is_accepted]
        to_others = [
            delivery
            for user_id, deliveries in records.deliveries.items()
            for delivery in deliveries
            if delivery.copy.key[0] != user_id and delivery.copy.key in records.sent
        ]
        live = [delivery for delivery in to_others if delivery.is_live]
        return Result(
            plan=self.plan,
            seconds=ended - self._began,
            sent=len(sent),
            accepted=len(accepted),
            delivered=len(live),
            caught_up=len(to_others) - len(live),
            archived=sum(len(each) for (_, chat_id), each in records.histories.items() if direct_members(chat_id)) // 2,
            in_groups=sum(not each.recipient_id for each in accepted),
            controls=sum(each.is_accepted for group in records.groups for each in group.controls),
            not_members=sum(bool(each.refused) and not each.is_control for each in records.sent.values()),
            refused=dict(sum((each.refused for each in self.participants), Counter())),
            not_followed=dict(sum((each.not_followed for each in self.participants), Counter())),
            unanswered=sum(each.unanswered for each in self.participants),
            retried=sum(each.retried for each in sent),
            changed=sum(each.event is not None for each in self._made),
            changes_retried=sum(each.retried for each in self._made if each.event is not None),
            gaps=sum(each.gaps for each in self.participants),
            reconnects=sum(len(each.outages) for each in self.participants),
            to_accepted=summarize([each.accepted_at - each.at for each in accepted]),
            to_delivered=summarize([delivery.at - records.sent[delivery.copy.key].at for delivery in live]),
            outages=summarize(self.outages_since(-math.inf)),
            longest_pause_ms=longest_pause(sent, self._began, ended) * 1000,
            files=sum(len(each.files) for each in accepted),
            files_read=sum(bool(each.expected) for each in records.file_reads),
            files_tried=sum(not each.expected for each in records.file_reads),
            listed=len(records.listed),
            feeds=sum(bool(answer.chat_id) for answers in records.answers.values() for answer in answers),
            heads=sum(map(len, records.heads.values())),
            churned=self.churn.opened,
            churn_failed=self.churn.failed,
            violations=tuple(check_records(records)),
        )


def _is_due(made: Made) -> bool:
    """Whether a change must reach others. One of a message that is deleted meanwhile may reach nobody."""
    return made.event is not None and not made.is_private and not made.target.may_be_deleted


def longest_pause(sent: Sequence[Sent], began: float, ended: float) -> float:
    """Return the longest time, in seconds, in which a message waited and none was accepted."""
    # All moments in order: a pause begins with an answer, or with a message while none waits.
    moments = sorted([(each.at, 1) for each in sent] + [(min(each.accepted_at, ended), -1) for each in sent])
    waiting, since, longest = 0, began, 0.0
    for moment, change in moments:
        if waiting == 0:
            since = moment
        if change < 0:
            longest, since = max(longest, moment - since), moment
        waiting += change
    return longest


@asynccontextmanager
async def open_verification(plan: Plan, report: Report = lambda text: None) -> AsyncIterator[Run]:
    """Register the accounts, open the sessions and start sending. `report` receives long waits.

    Raises VerifyError if the plan can't run, RookeryError if the server refuses a client or does not answer.
    """
    check_plan(plan)
    allow_most_open_files()
    run = Run(plan)
    async with open_background() as nursery:
        await run.begin(Accounts(plan, report), nursery)
        yield run


async def verify(plan: Plan, report: Report) -> Result:
    """Run the plan to its end, while someone else disturbs the servers. Raises VerifyError if it can't run."""
    try:
        async with open_verification(plan, report) as run:
            return await run.finish()
    except (OSError, RookeryError) as error:
        raise VerifyError(str(error)) from error
