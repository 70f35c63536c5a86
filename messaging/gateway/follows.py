"""Handles Follow: looks up the channels, and has the session follow them; and sends the heads that are due."""

from collections.abc import Sequence

import structlog
import trio

from messaging.gateway.access import ROSTER_DROPPED, Access
from messaging.gateway.channels import Channels
from messaging.gateway.requests import FollowRequest, no_channel
from messaging.gateway.rosters import Rosters
from messaging.gateway.session import RETRY_AFTER_MS, Command, State
from rookery.v1.session_pb2 import Accepted
from shared.contract.chats import no_such_chat
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.groups import Roster
from shared.contract.ids import wall_clock_ms
from shared.throttle import Throttle, too_many

MAX_FOLLOWED_HERE = 500_000
"""Channels that the sessions of this gateway follow, each counted for each session: about 100 MB. Further ones are
refused."""

FOLLOWS_PER_MINUTE = 120
"""Follow frames of a user, all sessions together: some while the user opens one channel after another."""

CONCURRENT_LOADS = 10
"""Rosters that one Follow loads at once."""

TICK_SECONDS = 0.5
"""How often it is checked whether heads are due."""

LOOK_UPS = 3
"""Look-ups of the channels of a Follow: look-ups of other users may displace its user from the roster after the first
ones. Users whom the roster has need none."""

HEAD_PAUSE = 0.0005
"""Seconds without heads for each that was sent: messages do not wait behind the heads of thousands of sessions."""

_log = structlog.get_logger(__name__)

_FULL = Refusal(
    Code.UNAVAILABLE, "The sessions of this gateway follow too many channels.", "follow.chat_ids", RETRY_AFTER_MS
)


class Follows:
    """Handles Follow, and sends the heads that are due; one for each gateway."""

    def __init__(self, channels: Channels, rosters: Rosters, access: Access) -> None:
        self._channels = channels
        self._rosters = rosters
        self._access = access
        self._throttle = Throttle()

    async def run(self) -> None:
        """Send heads until cancelled."""
        while True:
            await trio.sleep(TICK_SECONDS)
            while due := self._channels.due(trio.current_time()):
                for channel in due:
                    await trio.sleep(self._channels.send_heads(channel, trio.current_time()) * HEAD_PAUSE)

    async def follow(self, command: Command, request: FollowRequest) -> Refusal | None:
        """Accept, and have the session follow the channels in place of its former ones, if its user is a member of
        each."""
        session = command.session
        if wait := self._throttle.take(str(session.user_id), FOLLOWS_PER_MINUTE, trio.current_time()):
            return too_many("follow frames", wait)
        for _ in range(LOOK_UPS):
            if refusal := await self._look_up(session.user_id, request.chat_ids):
                return refusal
        # No `await` from here on: a control change that is read later finds the session among the followers.
        if session.state is not State.LIVE:
            return None
        rosters: list[Roster] = []
        for index, chat_id in enumerate(request.chat_ids):
            found = self._find(session.user_id, index, chat_id)
            if isinstance(found, Refusal):
                return found
            rosters.append(found)
        if len(self._channels) + len(rosters) - len(session.followed) > MAX_FOLLOWED_HERE:
            return _FULL
        session.accept(Accepted(frame=command.frame, at_ms=wall_clock_ms()))
        self._channels.follow(session, rosters, request.open_chat_ids, trio.current_time())
        return None

    async def _look_up(self, user_id: int, chat_ids: Sequence[str]) -> Refusal | None:
        """Load the rosters of these chats that are not cached. The refusal of a chat that is no channel of the user's,
        or can't be loaded."""
        unknown = [
            index for index, chat_id in enumerate(chat_ids) if isinstance(self._find(user_id, index, chat_id), Refusal)
        ]
        for start in range(0, len(unknown), CONCURRENT_LOADS):
            refusals: list[Refusal] = []
            async with trio.open_nursery() as nursery:
                for index in unknown[start : start + CONCURRENT_LOADS]:
                    nursery.start_soon(self._load, user_id, index, chat_ids[index], refusals)
            if refusals:
                return refusals[0]
        return None

    async def _load(self, user_id: int, index: int, chat_id: str, refusals: list[Refusal]) -> None:
        """Load the roster of a chat. Append the refusal of one that is no channel of the user's, or can't be loaded."""
        try:
            refusal = await self._access.find_roster([user_id], chat_id, _field(index))
        except Unavailable as error:
            _log.warning("roster_not_loaded", error=str(error))
            refusal = ROSTER_DROPPED
        found = refusal or self._find(user_id, index, chat_id)
        if isinstance(found, Refusal):
            refusals.append(found)

    def _find(self, user_id: int, index: int, chat_id: str) -> Roster | Refusal:
        """The cached roster of a channel. A Refusal if it is not cached, or is no channel of the user's."""
        roster = self._rosters.cached(chat_id)
        if roster is None or not roster.knows([user_id]):
            return ROSTER_DROPPED
        if user_id not in roster:
            return no_such_chat(_field(index))
        return roster if roster.is_channel else no_channel(index)


def _field(index: int) -> str:
    return f"follow.chat_ids[{index}]"
