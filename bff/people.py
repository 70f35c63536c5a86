"""Relationships between users: `/v1/me/connections`, `/v1/me/blocks` and `/v1/reports`."""

import json
from collections.abc import Sequence

import trio

from bff.http.endpoints import Response, endpoint
from bff.http.measures import counted
from bff.models import people as models
from bff.people_changes import announce_change
from bff.services import Services
from rookery.v1.archive_pb2 import GetChatRequest, GetMessageRequest, HistoryMessage
from shared.accounts.people import (
    MAX_BLOCKS,
    MAX_CONNECTIONS,
    Relationship,
    Report,
    State,
    Step,
    block,
    invite,
    part,
    take_step,
    unblock,
)
from shared.accounts.sign_outs import completed
from shared.accounts.tokens import Claims
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.wire import to_object
from shared.telemetry.metrics.catalogue import REPORTS
from shared.throttle import DAY, Attempt, Throttle, too_many
from shared.unknown_chats import UnknownChatLimit

CHANGES_PER_MINUTE = 60
"""Changes of connections and blocks by a user at one BFF: each is a transaction and two records in the log."""

INVITATIONS_PER_DAY = 100
"""Invitations to connect that one BFF accepts from a user."""

REPORTS_PER_DAY = 20
"""Reports that one BFF accepts from a user."""


_REPORT_RESULTS = {Code.RATE_LIMITED: "throttled", Code.INVALID: "invalid", Code.NOT_FOUND: "not_found"}
"""Labels in the metrics for refused reports."""

_OWN_LIMIT = Refusal(Code.OUT_OF_ORDER, f"You have {MAX_CONNECTIONS:,} connections and invitations: remove some first.")

_OTHER_LIMIT = Refusal(Code.OUT_OF_ORDER, "This user can get no further invitations now.", field="user_id")

_BLOCKS_LIMIT = Refusal(Code.OUT_OF_ORDER, f"You block {MAX_BLOCKS:,} users: unblock some first.")

_NOT_RECORDED = Refusal(Code.UNAVAILABLE, "The message is too new: try again soon.", "message_ids", 1_000)


class People:
    """The user's connections and blocks, and reports of users to the admins."""

    def __init__(self, services: Services, chat_limit: UnknownChatLimit) -> None:
        self._services = services
        self._chat_limit = chat_limit
        self._changes = Throttle()
        self._invitations = Throttle(period=DAY)
        self._reports = Throttle(period=DAY)

    # ---- connections

    @endpoint("GET", "/v1/me/connections", models.Connections)
    async def list_connections(self, claims: Claims) -> Response | Refusal:
        """The user's connections, and the invitations from and to the user: 1,000 at most, besides invitations that
        came while the user blocked their senders."""
        found = await self._services.accounts.relationships_of(claims.user_id)
        return Response(models.Connections(connections=[models.Connection.of(each) for each in found if each.state]))

    @endpoint("PUT", "/v1/me/connections/<user_id>", models.OneConnection)
    async def connect(self, claims: Claims, user_id: int) -> Response | Refusal:
        """Invite a user to be a connection, or accept their invitation. Repeating it changes nothing."""
        if refusal := await self._check_other(claims, user_id):
            return refusal
        relationship = (await self._services.accounts.relationships(claims.user_id, [user_id]))[user_id]
        is_new = relationship.state is State.NONE and not relationship.blocks_ms
        changed = await (self._invite(claims, user_id) if is_new else self._take(claims, user_id, invite))
        if isinstance(changed, Refusal):
            return changed
        return Response(models.OneConnection(connection=models.Connection.of(changed)))

    async def _invite(self, claims: Claims, user_id: int) -> Relationship | Refusal:
        """Invite a user within the limits. An invitation that is refused, or gets no answer, does not count towards the
        daily limit."""
        attempt = self._invitations.begin(str(claims.user_id), INVITATIONS_PER_DAY, trio.current_time())
        if not isinstance(attempt, Attempt):
            return too_many("invitations", attempt)
        try:
            refusal = await self._check_connections(claims.user_id, user_id)
            invited = refusal or await self._take(claims, user_id, invite)
        except Unavailable:
            attempt.forgive()
            raise
        if isinstance(invited, Refusal):
            attempt.forgive()
        return invited

    async def _check_connections(self, user_id: int, other_id: int) -> Refusal | None:
        """The refusal of an invitation by a user, or to one, with too many connections."""
        for each, refusal in ((user_id, _OWN_LIMIT), (other_id, _OTHER_LIMIT)):
            if sum(bool(found.state) for found in await self._of(each)) >= MAX_CONNECTIONS:
                return refusal
        return None

    @endpoint("DELETE", "/v1/me/connections/<user_id>", status=204)
    async def disconnect(self, claims: Claims, user_id: int) -> Response | Refusal:
        """Remove a connection, cancel an invitation, or decline one. Repeating it changes nothing."""
        changed = await self._take(claims, user_id, part)
        return changed if isinstance(changed, Refusal) else Response()

    # ---- blocks

    @endpoint("GET", "/v1/me/blocks", models.Blocks)
    async def list_blocks(self, claims: Claims) -> Response | Refusal:
        """The users whom the user blocks; 1,000 at most."""
        user_ids = [str(each.other_id) for each in await self._of(claims.user_id) if each.blocks_ms]
        return Response(models.Blocks(user_ids=user_ids))

    @endpoint("PUT", "/v1/me/blocks/<user_id>", status=204)
    async def block(self, claims: Claims, user_id: int) -> Response | Refusal:
        """Block a user: neither can write to the other in their direct chat, or see whether the other is online, and a
        connection ends. Groups stay as they are. The blocked user gets no notice."""
        if refusal := await self._check_other(claims, user_id):
            return refusal
        blocked = {each.other_id for each in await self._of(claims.user_id) if each.blocks_ms}
        if user_id not in blocked and len(blocked) >= MAX_BLOCKS:
            return _BLOCKS_LIMIT
        changed = await self._take(claims, user_id, block)
        return changed if isinstance(changed, Refusal) else Response()

    @endpoint("DELETE", "/v1/me/blocks/<user_id>", status=204)
    async def unblock(self, claims: Claims, user_id: int) -> Response | Refusal:
        """End a block. The users are not connected again."""
        changed = await self._take(claims, user_id, unblock)
        return changed if isinstance(changed, Refusal) else Response()

    # ---- reports

    @endpoint("POST", "/v1/reports", models.ReportReceipt, status=201)
    @counted(REPORTS, _REPORT_RESULTS)
    async def report(self, claims: Claims, body: models.NewReport) -> Response | Refusal:
        """Report a user to the admins, with messages that the reporter can read; 20 reports a day at most. The messages
        are stored with the report as they are now. The reported user gets no notice. A report of a deleted account
        needs messages."""
        if refusal := await self._check_other(claims, body.user_id, may_be_deleted=bool(body.message_ids)):
            return refusal
        attempt = self._reports.begin(str(claims.user_id), REPORTS_PER_DAY, trio.current_time())
        if not isinstance(attempt, Attempt):
            return too_many("reports", attempt)
        try:
            report_id = await self._store(claims, body)
        except Unavailable:
            attempt.forgive()
            raise
        if isinstance(report_id, Refusal):
            attempt.forgive()
            return report_id
        return Response(models.ReportReceipt(report_id=str(report_id)), status=201)

    async def _store(self, claims: Claims, body: models.NewReport) -> int | Refusal:
        """Store a report with its messages, and return its id. Raises Unavailable."""
        messages = await self._read(claims, body)
        if isinstance(messages, Refusal):
            return messages
        report = Report(
            report_id=await self._services.ids.next(),
            reporter_id=claims.user_id,
            user_id=body.user_id,
            chat_id=body.chat_id,
            messages=json.dumps([to_object(message) for message in messages]),
            reason=body.reason,
        )
        await self._services.accounts.add_report(report)
        return report.report_id

    async def _read(self, claims: Claims, body: models.NewReport) -> Sequence[HistoryMessage] | Refusal:
        """The reported messages of the reporter's chat, as they are now."""
        archive, user_id, chat_id = self._services.archive, claims.user_id, body.chat_id
        if body.message_ids and not chat_id:
            return Refusal(Code.INVALID, "Messages need their `chat_id`.", field="chat_id")
        if chat_id and not body.message_ids:
            request = GetChatRequest(user_id=user_id, chat_id=chat_id)
            found = await self._chat_limit.call(user_id, archive.get_chat, request)
            return found if isinstance(found, Refusal) else []
        messages = []
        for place, message_id in enumerate(body.message_ids):
            message = GetMessageRequest(user_id=user_id, chat_id=chat_id, message_id=message_id)
            answer = await self._chat_limit.call(user_id, archive.get_message, message)
            if isinstance(answer, Refusal):
                return answer
            if not answer.HasField("message"):
                if message_id > answer.complete_up_to:
                    return _NOT_RECORDED
                return Refusal(Code.NOT_FOUND, "There is no such message in the chat.", field=f"message_ids[{place}]")
            # Not the others: some are private to the reporter, and a message may have thousands.
            edits = [event for event in answer.message.changes if event.change.HasField("edited")]
            messages.append(HistoryMessage(message=answer.message.message, changes=edits))
        return messages

    # ---- steps

    async def _of(self, user_id: int) -> Sequence[Relationship]:
        return await self._services.accounts.relationships_of(user_id)

    async def _check_other(self, claims: Claims, user_id: int, *, may_be_deleted: bool = False) -> Refusal | None:
        """The refusal of a request that names its own user, an unknown user, or a deleted one that it may not name."""
        if user_id == claims.user_id:
            return Refusal(Code.INVALID, "This needs another user than yourself.", field="user_id")
        users = await self._services.accounts.users([user_id])
        if users and (may_be_deleted or not users[0].is_deleted):
            return None
        return Refusal(Code.NOT_FOUND, f"There is no user {user_id}.", field="user_id")

    async def _take(self, claims: Claims, user_id: int, step: Step) -> Relationship | Refusal:
        """Change the user's relationship to the other one, and announce it."""
        services = self._services
        if wait := self._changes.take(str(claims.user_id), CHANGES_PER_MINUTE, trio.current_time()):
            return too_many("changes of connections and blocks", wait)
        found = list[Relationship]()

        def noted_step(before: Relationship, now_ms: int) -> Relationship | Refusal:
            found.append(before)
            return step(before, now_ms)

        with completed():
            try:
                taken = await take_step(services.accounts, claims.user_id, user_id, noted_step, services.clock_ms())
            except BaseException:  # after a lost answer too: the change may be stored
                unknown = Relationship(claims.user_id, user_id)
                notified_ids = _notified_by(step, found[-1]) if found else [claims.user_id]
                await announce_change(services.publisher, unknown, unknown, notified_ids)
                raise
            if isinstance(taken, Refusal):
                return taken
            before, after = taken
            # Without a difference, too: an earlier attempt may have been stored without an answer.
            notified_ids = _notified_by(step, after) if before == after else ()
            await announce_change(services.publisher, before, after, notified_ids)
        return after


def _notified_by(step: Step, relationship: Relationship) -> Sequence[int]:
    """The users whose sessions get an event after a step of the first one that may have changed the relationship. Not
    the other user if one blocks the other, or after a block or its end: a block is not revealed."""
    if relationship.is_blocked or step not in (invite, part):
        return [relationship.user_id]
    return [relationship.user_id, relationship.other_id]
