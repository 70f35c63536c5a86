"""Deletes accounts. A deletion goes on without its request: its user can't repeat it, since the account is suspended
first."""

import structlog
import trio

from bff.files.avatars import Avatars
from bff.services import Services, administration_of
from bff.work import FAULT, STOPS, Work
from shared.accounts.audit import Actor
from shared.accounts.store import User
from shared.contract.errors import Code, Refusal, Unavailable

PAUSES = (0.0, 1.0, 10.0, 60.0, 300.0)
"""Seconds before each attempt to complete a deletion, while the store is away."""

MAX_DELETIONS = 1_000
"""Accounts that are deleted at once, or wait for the store."""

_BUSY = Refusal(Code.UNAVAILABLE, "Too many accounts are deleted now: try again soon.")

_AWAY = Refusal(Code.UNAVAILABLE, "The store does not answer: try again soon.")

_log = structlog.get_logger(__name__)


class Deletions:
    """Deletes accounts for their users and for admins."""

    def __init__(self, services: Services, avatars: Avatars) -> None:
        self._services = services
        self._nursery = services.deletions
        self._avatars = avatars
        self._administration = administration_of(services)

    async def delete(self, actor: Actor, user: User) -> Refusal | None:
        """Delete an account, with its picture, and begin to take it out of its groups. The work goes on if the caller
        is cancelled. Repeating it does all of it again.

        Refuses an admin's account, and `unavailable`. Raises Unavailable if nothing is deleted yet."""
        if len(self._nursery.child_tasks) >= MAX_DELETIONS:
            return _BUSY
        if refusal := await self._administration.record_deletion(actor, user):
            return refusal
        work = Work[None]()
        self._nursery.start_soon(self._run, user, work)
        await work.done.wait()
        return work.result

    async def _run(self, user: User, work: Work[None]) -> None:
        try:
            for pause in PAUSES:
                await trio.sleep(pause)
                work.result = await self._attempt(user)
                if work.result != _AWAY:
                    return
        finally:
            if work.result in (_AWAY, FAULT, STOPS):
                _log.warning("account_not_deleted", user_id=str(user.user_id), reason=work.result.message)
            work.done.set()

    async def _attempt(self, user: User) -> Refusal | None:
        try:
            if refusal := await self._administration.complete_deletion(user):
                return refusal
            self._services.leave_groups(user.user_id)
            await self._avatars.forget(str(user.user_id), user.avatar)
        except Unavailable:
            return _AWAY
        except Exception as error:  # a fault of ours ends this deletion, and not the BFF
            _log.error("deletion_failed", user_id=str(user.user_id), exc_info=error)
            return FAULT
        return None
