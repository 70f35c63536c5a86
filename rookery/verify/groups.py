"""The groups of a verification: users join and leave them, and they change, while it runs."""

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from itertools import count, product

import trio

from rookery.client import ROLE_ADMIN, Client, Message, Refused, Unreachable
from rookery.client.backoff import Backoff
from rookery.load.sessions import for_each
from rookery.verify.histories import AT_ONCE, RETRY_PAUSE, retry, wait_after
from rookery.verify.membership import fold
from rookery.verify.records import EVERYONE, GroupRecord, Key, Sent, View
from shared.contract.ids import wall_clock_ms

PAUSE_SECONDS = 0.5
"""Seconds between two control changes of one user: a user may make 60 additions a minute by default."""

AWAY = 3
"""Users whom one user has removed and not added again, at most."""

MAX_TIMES = 15
"""Times that a user is removed: spans of 20 times are kept."""

RENAME_EVERY = 7
"""One control change in this many is a new name."""

RENAME_SECONDS = 2.0
"""Seconds between two new names once there is no other change: a user may change settings 60 times a minute."""

LINK_EVERY = 3
"""One time in this many, a user comes back by the invite link, at most 5 times: a user may join a group 10 times an
hour, and a retry may count."""

Request = Callable[[str], Awaitable[Message]]
"""Makes a control change with a client id."""


class Group:
    """A group, and the control changes that its owner, an admin, and leaving and joining members make at the same
    time."""

    def __init__(
        self, number: int, clients: Sequence[Client], run_id: str, *, open_at: Collection[int] | None = None
    ) -> None:
        """The clients are of the first members: the owner, the admin, some who stay, and the ones who come and go. With
        `open_at`, it is a channel, which the clients of these users have open, the owner and the admin among them."""
        self.chat_id = ""
        self.open_at = open_at
        self.controls: list[Sent] = []
        self.clients = {client.me.user_id: client for client in clients}
        """The clients of all users who are members at some time in the run."""
        self.present = set(self.clients)
        """The members, as far as is known."""
        self.stay = set(list(self.clients)[: len(clients) - len(clients) // 2])
        """The members of the whole run."""
        self._name = f"Verify {run_id} {number}"
        self._prefix = f"{run_id}-g{number}"
        self._names = count()
        self._token = ""
        """The token of the invite link."""
        self._is_over = False

    @property
    def owner(self) -> Client:
        return next(iter(self.clients.values()))

    def mentioned_by(self, user_id: int) -> int:
        """Return the user whom messages of this one mention: EVERYONE those of members with the permission, else the
        owner."""
        return EVERYONE if user_id in [*self.clients][:2] else self.owner.me.user_id

    def partner_of(self, user_id: int) -> int:
        """Return the member who changes messages of this one as the recipient of a direct message does; 0 if nobody
        changes them, as they may leave."""
        owner_id, admin_id, *_ = self.clients
        return (admin_id if user_id == owner_id else owner_id) if user_id in self.stay else 0

    async def create(self) -> None:
        """Create the group, and make its second member an admin. Raises RookeryError."""
        owner_id, admin_id, *others = self.clients
        groups, user_ids = self.owner.groups, [admin_id, *others]
        creation = self._note(owner_id)
        is_channel, key = self.open_at is not None, creation.key[1]
        creation.accept(await groups.create(self._name, user_ids, is_channel=is_channel, client_change_id=key))
        self.chat_id = creation.chat_id
        change = self._note(owner_id)
        key = change.key[1]
        change.accept(await groups.change_member(self.chat_id, admin_id, role=ROLE_ADMIN, client_change_id=key))

    async def change(self) -> None:
        """Create the invite link, then make control changes until `stop`."""
        owner, admin = list(self.clients.values())[:2]
        await self._request(owner.me.user_id, self._create_link)
        movers = [client for user_id, client in self.clients.items() if user_id not in self.stay]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._change_as, owner, movers[::2])
            nursery.start_soon(self._change_as, admin, movers[1::2])

    def stop(self) -> None:
        """Begin no further control change."""
        self._is_over = True

    async def _change_as(self, client: Client, movers: Sequence[Client]) -> None:
        for number, (actor, request) in enumerate(self._requests(client, movers)):
            if self._is_over:
                return
            if number % RENAME_EVERY == RENAME_EVERY - 1:
                await self._request(client.me.user_id, self._rename(client))
            await self._request(actor.me.user_id, request)
            await trio.sleep(PAUSE_SECONDS)
        while not self._is_over:
            await self._request(client.me.user_id, self._rename(client))
            await trio.sleep(RENAME_SECONDS)

    def _requests(self, client: Client, movers: Sequence[Client]) -> Iterator[tuple[Client, Request]]:
        """Yield the client that makes each change, and the change: each mover is removed, or leaves, and is added again
        or joins by the link after some others."""
        returns: deque[tuple[Client, Request]] = deque()
        for number, (times, (place, mover)) in enumerate(product(range(MAX_TIMES), enumerate(movers))):
            if len(returns) == min(AWAY, len(movers)):
                yield returns.popleft()
            is_by_link = (times + place) % LINK_EVERY == 0
            returns.append((mover, self._join(mover)) if is_by_link else (client, self._add(client, mover)))
            has_left = is_by_link or number % 2  # a removed user only asks to join
            yield (mover, self._leave(mover)) if has_left else (client, self._remove(client, mover))

    def _rename(self, client: Client) -> Request:
        name = f"{self._name} {next(self._names)}"
        return lambda key: client.groups.change_settings(self.chat_id, name=name, client_change_id=key)

    def _add(self, client: Client, mover: Client) -> Request:
        return lambda key: client.groups.add_members(self.chat_id, [mover.me.user_id], client_change_id=key)

    def _join(self, mover: Client) -> Request:
        return lambda key: mover.groups.join(self._token, client_change_id=key)

    def _remove(self, client: Client, mover: Client) -> Request:
        return lambda key: client.groups.remove_member(self.chat_id, mover.me.user_id, client_change_id=key)

    def _leave(self, mover: Client) -> Request:
        return lambda key: mover.groups.leave(self.chat_id, client_change_id=key)

    async def _create_link(self, key: str) -> Message:
        """Create the invite link. Only history has its control change, whose id is that of the link."""
        created = await self.owner.groups.create_invite(self.chat_id, client_change_id=key)
        self._token, link_id = created.token, created.invite.invite_id
        while True:
            page = await retry(self.owner.api.history, self.chat_id, limit=1, after_id=link_id - 1)
            for item in page.messages if page else ():
                if item.message.message_id == link_id:
                    return item.message
            await trio.sleep(RETRY_PAUSE)

    async def _request(self, actor_id: int, request: Request) -> None:
        """Make a control change, and record its answer. Repeats it until there is one."""
        control, backoff = self._note(actor_id), Backoff(trio.current_time())
        while True:
            try:
                message = await request(control.key[1])
                break
            except (Unreachable, Refused) as failure:
                control.retried = True
                if isinstance(failure, Refused) and not failure.retryable:
                    control.refused, control.refused_at = f"{failure.code}, {failure}", trio.current_time()
                    return
                await wait_after(failure, backoff)
        control.accept(message)
        for member in message.control.members:
            (self.present.add if member.role else self.present.discard)(member.user_id)

    def _note(self, actor_id: int) -> Sent:
        """Record a control change that is requested now."""
        key: Key = actor_id, f"{self._prefix}-{len(self.controls)}"
        control = Sent(key, self.chat_id, 0, "", -1, at=trio.current_time(), at_ms=wall_clock_ms(), is_overdue=True)
        self.controls.append(control)
        return control

    def records(self, views: Mapping[int, View] | None = None) -> GroupRecord:
        return GroupRecord(self.chat_id, self.owner.me.user_id, self.controls, views or {}, self.stay, self.open_at)

    async def record(self, deadline: float) -> GroupRecord:
        """Read the members as the server shows them to each user, again until they are right. At the deadline (on
        Trio's clock) the last answer counts."""
        members = fold(control.control for control in self.controls)
        roles = {user_id: member.role for user_id, member in members.items() if member.role}
        newest = max(control.control.version for control in self.controls if control.control is not None)
        views: dict[int, View] = {}

        def is_right(user_id: int, view: View) -> bool:
            is_newest = not view.own.role or (view.roles == roles and view.version >= newest)
            return view.own == members[user_id] and is_newest

        async def read(client: Client) -> None:
            user_id = client.me.user_id
            with trio.CancelScope(deadline=deadline):
                while True:
                    if (view := await self._view(client)) is not None:
                        views[user_id] = view
                        if is_right(user_id, view):
                            return
                    await trio.sleep(RETRY_PAUSE)

        await for_each(read, list(self.clients.values()), at_once=AT_ONCE)
        return self.records(views)

    async def _view(self, client: Client) -> View | None:
        chat = await retry(client.api.chat, self.chat_id)
        if chat is None:
            return None
        page = await retry(client.groups.members, self.chat_id) if chat.own.role else None
        return View(chat.version, chat.own, {member.user_id: member.role for member in page.members} if page else {})
