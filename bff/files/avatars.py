"""Avatars: pictures of users and groups, in the file store. A token is used in one place, and once."""

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

import structlog
import trio
from quart import Quart, request
from quart import Response as HttpResponse
from quart_schema import hide
from werkzeug.exceptions import NotFound

from bff.files.models import AvatarQuery, AvatarSize, MadeAvatar
from bff.files.served import POLICY
from bff.http.bodies import Content, StreamedBody, TooSlow, slowest
from bff.http.endpoints import Response, endpoint, in_time, parse_query
from bff.http.problems import problem
from bff.http.proxy_headers import client_address
from bff.services import Services
from shared.accounts.tokens import Claims
from shared.contract.avatars import SETTABLE_MS, is_avatar, is_avatar_of, new_avatar
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import wall_clock_ms
from shared.files import protocol as files
from shared.files.keys import AVATARS, avatar_key, avatar_keys
from shared.throttle import DAY, Attempt, Throttle, too_many

MAX_AVATAR_BYTES = 5_000_000
"""Most bytes of an uploaded picture, which is in memory until it is decoded."""

MAX_AT_ONCE = 8
"""Pictures that are received and decoded at once, each of another user."""

MAX_READS = 16
"""Avatars that are read from the file store at once: anybody may ask for them, and files need its connections too."""

MAX_READS_OF_CLIENT = 8
"""Avatars of these that are read for one client's address."""

MAX_WAITING = 1_000
"""Requests for avatars of one client's address that wait for these reads: a page behind a proxy with HTTP/2 asks for
those of all its chats at once, and an office has one address. A request for an avatar that is being read waits for that
read, and does not count."""

KEPT_BYTES = 16 << 20
"""Bytes of the avatars that were read last, which are kept: slow readers of one share its bytes."""

KEPT_SECONDS = 60.0
"""Seconds for which a read avatar is kept: for so long it is also there after its deletion by another process."""

SLOW_SECONDS = 5.0
"""Seconds for which the client of a picture was waited for, after which it may make room for another: usual clients
have sent theirs by then."""

AVATARS_PER_DAY = 20
"""Pictures that one BFF accepts from a user."""

UPLOAD_SECONDS = 60.0
"""Seconds for the body, and for the squares."""

FORGET_SECONDS = 2.0
"""Seconds for the deletion of a former picture. The sweep deletes the pictures whose deletion takes longer."""

YEAR = 31_536_000

_TOO_MANY = Refusal(Code.RATE_LIMITED, "Too many pictures at once: try again soon.")

_log = structlog.get_logger(__name__)


class _Read:
    """An avatar that is being read from the file store."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.picture = b""
        self.failure: NotFound | Unavailable | None = None
        """The exception of the read, which its waiting requests raise, too. Without an exception and without a picture
        they read anew."""


class Avatars:
    """Makes avatars, checks the avatars of profiles and groups, and deletes former ones. A place is the id of a user
    or of a group."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._files = services.files
        self._made = Throttle(period=DAY)
        self._receiving: dict[int, tuple[StreamedBody, trio.CancelScope]] = {}
        """The pictures that are received and decoded, by user."""
        self._reads = trio.CapacityLimiter(MAX_READS)
        self._reads_of: WeakValueDictionary[str, trio.CapacityLimiter] = WeakValueDictionary()
        """By the client's address, as long as a request waits or reads."""
        self._under_way: dict[str, _Read] = {}
        """By the avatar's key."""
        self._kept: dict[str, tuple[bytes, float]] = {}
        """Avatars by their key, with the time of their reading, the oldest first."""
        self._kept_bytes = 0

    @endpoint("POST", "/v1/avatars", MadeAvatar, status=201, seconds=UPLOAD_SECONDS)
    async def make_avatar(self, claims: Claims, query: AvatarQuery, content: Content) -> Response | Refusal:
        """Make an avatar of a picture, the body, for the user's profile or for a group: the square of its centre,
        without the data of its camera. It is shown once the profile or the group has its token."""
        if content.size > MAX_AVATAR_BYTES:
            return Refusal(Code.TOO_LARGE, f"A picture may have {MAX_AVATAR_BYTES} bytes at most.", field="body")
        with self._reception(claims.user_id, content.pieces) as refusal:
            if refusal is not None:
                return refusal
            try:
                picture = b"".join([piece async for piece in content.pieces])
            except TooSlow:
                return Refusal(Code.INCOMPLETE, "Too little was received for too long.", field="body")
            squares = await self._services.make_squares(picture)
            if squares is None:
                return Refusal(Code.INVALID, "This is not a picture that can be shown.", field="body")
            token = new_avatar(query.chat_id or str(claims.user_id))
            for size in sorted(AVATARS, reverse=True):  # `check` looks for the smallest
                await self._files.put(avatar_key(token, size), squares[size])
            return Response(MadeAvatar(avatar=token), 201)
        return _TOO_MANY  # it was ended for the picture of another user

    def mount(self, app: Quart) -> None:
        """Add the route of the pictures. It is not in the description of the API, since it returns no JSON."""

        async def show(token: str) -> HttpResponse:
            return await in_time(self._show(token))

        app.add_url_rule("/avatars/<token>", "avatar", hide(show), methods=["GET"])

    async def check(self, place: str, token: str) -> Refusal | None:
        """Refuse a new token of the place unless it was made for it within SETTABLE_MS, and its picture is not deleted.
        Raises Unavailable."""
        if is_avatar_of(place, token):
            after_ms = wall_clock_ms() - SETTABLE_MS
            found = await self._files.keys(avatar_key(token, AVATARS[0]), limit=1)
            if found and found[0].at_ms > after_ms:
                return None
        return Refusal(Code.INVALID, "This picture does not exist: upload it again.", field="avatar")

    async def forget(self, place: str, token: str) -> None:
        """Delete a picture that the place does not have any more. It stays if the store is away, or too slow."""
        if not is_avatar_of(place, token):
            return
        try:
            with trio.fail_after(FORGET_SECONDS):
                await self._files.delete(avatar_keys(token))
            for key in avatar_keys(token):
                self._drop(key)
        except (Unavailable, trio.TooSlowError) as error:
            _log.warning("avatar_left", place=place, error=str(error) or "too slow")

    async def _show(self, token: str) -> HttpResponse:
        """The picture with this token; `size` is one of AVATARS, by default the largest."""
        query = parse_query(AvatarSize, request.query_string)
        if not is_avatar(token) or isinstance(query, Refusal) or query.size not in map(str, AVATARS):
            raise NotFound
        picture = await self._read(avatar_key(token, int(query.size)))
        if isinstance(picture, Refusal):
            return problem(picture)
        headers = {
            "Cache-Control": f"public, max-age={YEAR}, immutable",
            "Content-Disposition": 'inline; filename="avatar.webp"',
            "Content-Security-Policy": POLICY,
        }
        return HttpResponse(picture, 200, headers, content_type="image/webp")

    async def _read(self, key: str) -> bytes | Refusal:
        """Return the picture with this key, in the turn of its client. Raises NotFound and Unavailable."""
        client = client_address(request)
        own = self._reads_of.get(client)
        if own is None:
            own = self._reads_of[client] = trio.CapacityLimiter(MAX_READS_OF_CLIENT)
        while (picture := self._find(key) or await self._end_of_read(key)) is None:
            if own.statistics().tasks_waiting >= MAX_WAITING:
                return Refusal(Code.RATE_LIMITED, "Too many pictures at once for this address: try again soon.")
            async with own, self._reads:
                if key not in self._under_way and self._find(key) is None:
                    return await self._fetch(key)
        return picture

    async def _end_of_read(self, key: str) -> bytes | None:
        """Wait for the read of this key, and return its picture; None if there is no read, or it was cancelled. Raises
        what the read raised."""
        if (read := self._under_way.get(key)) is None:
            return None
        await read.ended.wait()
        match read.failure:
            case NotFound():
                raise NotFound
            case Unavailable() as failure:
                raise Unavailable(str(failure))
        return read.picture or None

    async def _fetch(self, key: str) -> bytes:
        read = self._under_way[key] = _Read()
        try:
            async with self._files.read(key) as chunks:
                read.picture = b"".join([chunk async for chunk in chunks])
        except files.NotFound:
            read.failure = NotFound()
            raise read.failure from None
        except Unavailable as error:
            read.failure = error
            raise
        finally:
            del self._under_way[key]
            read.ended.set()
        self._keep(key, read.picture)
        return read.picture

    def _find(self, key: str) -> bytes | None:
        """The kept picture, if there is one that is not too old."""
        picture, read_at = self._kept.get(key, (b"", 0.0))
        return picture if picture and trio.current_time() < read_at + KEPT_SECONDS else None

    def _keep(self, key: str, picture: bytes) -> None:
        self._drop(key)
        self._kept[key] = picture, trio.current_time()
        self._kept_bytes += len(picture)
        while self._kept_bytes > KEPT_BYTES:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        picture, _ = self._kept.pop(key, (b"", 0.0))
        self._kept_bytes -= len(picture)

    @contextmanager
    def _reception(self, user_id: int, body: StreamedBody) -> Iterator[Refusal | None]:
        """Count a picture while it is received and decoded. Yields the refusal if there are too many. The block ends
        early if the picture makes room for that of another user."""
        if user_id in self._receiving:
            yield _TOO_MANY
            return
        attempt = self._made.begin(str(user_id), AVATARS_PER_DAY, trio.current_time())
        if not isinstance(attempt, Attempt):
            yield too_many("pictures", attempt)
            return
        if len(self._receiving) >= MAX_AT_ONCE and not self._make_room():
            attempt.forgive()
            yield _TOO_MANY
            return
        scope = trio.CancelScope()
        received = self._receiving[user_id] = body, scope
        try:
            with scope:
                yield None
        except Unavailable:
            attempt.forgive()
            raise
        finally:
            if self._receiving.get(user_id) is received:
                del self._receiving[user_id]
        if scope.cancelled_caught:
            attempt.forgive()

    def _make_room(self) -> bool:
        """End the reception of the picture that comes slowest; return whether there was one that is slow."""
        users = {body: user_id for user_id, (body, _) in self._receiving.items()}
        slow = slowest(users, SLOW_SECONDS)
        if slow is None:
            return False
        _, scope = self._receiving.pop(users[slow])
        scope.cancel()
        return True
