"""The sessions of this gateway, and the sessions of each user."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import trio

from messaging.gateway.session import Session
from shared.accounts.tokens import Claims


class Registry:
    """A session is registered while its connection is open, and under its user once it is authenticated."""

    def __init__(self) -> None:
        self._all: set[Session] = set()
        self._by_transport: Counter[str] = Counter()
        self._by_user: dict[int, list[Session]] = {}
        self._signing_in: dict[int, dict[Session, str]] = {}  # by user, with the sign-in that is checked
        self._empty = trio.lowlevel.ParkingLot()
        self.on_presence: Callable[[int], None] = lambda user_id: None
        """Called with a user when their first session is attached, and when their last one is removed."""

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._all))

    async def wait_empty(self) -> None:
        """Wait until no session is left."""
        while self._all:
            await self._empty.park()

    def count(self, transport: str) -> int:
        """The number of sessions on this transport."""
        return self._by_transport[transport]

    def add(self, session: Session) -> None:
        self._all.add(session)
        self._by_transport[session.transport] += 1

    @contextmanager
    def signing_in(self, session: Session, claims: Claims) -> Iterator[None]:
        """Have the end of a sign-in that is being checked end the session, too: the store may have been read before."""
        sessions = self._signing_in.setdefault(claims.user_id, {})
        sessions[session] = claims.family_id
        try:
            yield
        finally:
            del sessions[session]
            if not sessions:
                del self._signing_in[claims.user_id]

    def attach(self, session: Session) -> None:
        """Register the session under its user."""
        sessions = self._by_user.setdefault(session.user_id, [])
        sessions.append(session)
        if len(sessions) == 1:
            self.on_presence(session.user_id)

    def remove(self, session: Session) -> None:
        if session in self._all:
            self._all.remove(session)
            self._by_transport[session.transport] -= 1
        if not self._all:
            self._empty.unpark_all()
        sessions = self._by_user.get(session.user_id)
        if sessions is not None and session in sessions:
            sessions.remove(session)
            if not sessions:
                del self._by_user[session.user_id]
                self.on_presence(session.user_id)

    def of(self, user_id: int) -> list[Session]:
        """The user's live sessions. Not to be changed."""
        return self._by_user.get(user_id, _NONE)

    def of_sign_in(self, user_id: int, family_id: str) -> list[Session]:
        """The user's sessions of a sign-in, or of all if `family_id` is empty; sessions whose sign-in is being
        checked, too."""
        sign_ins = {session: session.family_id for session in self.of(user_id)} | self._signing_in.get(user_id, {})
        return [session for session, sign_in in sign_ins.items() if family_id in ("", sign_in)]

    def of_all(self, user_ids: Iterable[int]) -> list[Session]:
        """The live sessions of all these users."""
        sessions: list[Session] = []
        for user_id in user_ids:
            sessions += self._by_user.get(user_id, _NONE)
        return sessions

    def users(self) -> tuple[int, ...]:
        """The users with a live session."""
        return tuple(self._by_user)


_NONE: list[Session] = []
