"""Accounts and sign-ins: `/v1/users`, `/v1/password-resets`, `/v1/tokens` and `/v1/me`."""

import trio
from quart import request

from bff.deletions import Deletions
from bff.device_tokens import DeviceTokens
from bff.files.avatars import Avatars
from bff.gateways import Gateways
from bff.http.endpoints import Response, endpoint, parse_id
from bff.http.measures import counted
from bff.http.proxy_headers import audited_address, client_address, hostname
from bff.http.sign_in_throttle import SignInThrottle
from bff.models import accounts as models
from bff.models.people import Profile
from bff.services import Services, administration_of
from bff.sign_ins import WRONG_CREDENTIALS, SignIns
from shared.accounts.audit import Actor
from shared.accounts.links import creator_of, read_link
from shared.accounts.people import WhoMayStart
from shared.accounts.sign_outs import completed
from shared.accounts.store import Credentials, User
from shared.accounts.tokens import Claims
from shared.contract.errors import Code, Refusal, Unavailable
from shared.telemetry.metrics.catalogue import PASSWORD_RESETS, REFRESHES, REGISTRATIONS, SIGN_INS
from shared.throttle import HOUR, Attempt, Throttle, too_many

SIGN_INS_PER_HOUR = 240
"""Successful sign-ins of one account at one BFF, all devices together: each is a row that stays for weeks, or leaves a
tombstone."""

RENAMES_PER_HOUR = 60
"""New display names of a user at one BFF: each replaces dozens of rows of the search for people."""

_WRONG_PASSWORD = Refusal(Code.FORBIDDEN, "The current password is wrong.", field="current_password")

_NO_INVITE = Refusal(Code.INVITE_REQUIRED, "An account needs an invite here: ask an admin for a link.", field="invite")

_WRONG_INVITE = Refusal(
    Code.INVITE_REQUIRED, "This invite has expired, is used up or was revoked: ask an admin for a new link.", "invite"
)

_WRONG_RESET = Refusal(
    Code.NOT_FOUND, "This link has expired, or was used or replaced: ask an admin for a new one.", field="token"
)

_REGISTRATION_RESULTS = {
    Code.NAME_TAKEN: "name_taken",
    Code.INVITE_REQUIRED: "invite_required",
    Code.RATE_LIMITED: "throttled",
}
"""Labels in the metrics for refused registrations."""

_SIGN_IN_RESULTS = {
    Code.UNAUTHENTICATED: "wrong_password",
    Code.RATE_LIMITED: "throttled",
    Code.SUSPENDED: "suspended",
}
"""Labels in the metrics for refused sign-ins."""


class Accounts:
    """Register, sign in and out, and change the account."""

    def __init__(self, services: Services, avatars: Avatars, deletions: Deletions) -> None:
        self._services = services
        self._avatars = avatars
        self._deletions = deletions
        self._sign_ins = SignIns(services)
        self._administration = administration_of(services)
        self._gateways = Gateways(services.directory, services.publisher.partitions)
        self._devices = DeviceTokens(services.issuer.keys, clock_ms=services.clock_ms)
        self._attempts = SignInThrottle()
        self._own_passwords = Throttle()
        self._registrations = Throttle()
        self._resets = Throttle()
        self._started = Throttle(period=HOUR)
        self._renames = Throttle(period=HOUR)

    @endpoint("POST", "/v1/users", models.User, status=201)
    @counted(REGISTRATIONS, _REGISTRATION_RESULTS)
    async def register(self, body: models.Registration) -> Response | Refusal:
        """Register an account. If sign-up is by invite, this takes one use of the invite."""
        services = self._services
        per_minute = services.live.value.registrations_per_minute
        attempt = self._registrations.begin(client_address(request), per_minute, trio.current_time())
        if not isinstance(attempt, Attempt):
            return too_many("registrations from this address", attempt)
        needs_invite = services.live.value.sign_up == "invite"
        if needs_invite and not body.invite:
            return _NO_INVITE
        user = User.new(await services.ids.next(), body.name, body.display_name, services.clock_ms())
        try:
            password_hash = await services.passwords.hash(body.password, client_address(request))
        except Unavailable:
            attempt.forgive()
            raise
        invite_id, digest = read_link(body.invite)
        with completed():
            if needs_invite and not await services.accounts.use_invite(invite_id, digest, now_ms=user.created_at_ms):
                return _WRONG_INVITE
            if not await services.accounts.add_user(user, password_hash):
                if needs_invite:
                    await services.accounts.return_use(invite_id)
                return Refusal(Code.NAME_TAKEN, f"The name {body.name} is taken.", field="name")
        return Response(models.User.of(user), status=201)

    @endpoint("POST", "/v1/password-resets", models.PasswordReset)
    @counted(PASSWORD_RESETS, {Code.NOT_FOUND: "wrong_link", Code.RATE_LIMITED: "throttled"})
    async def reset_password(self, body: models.NewPasswordByLink) -> Response | Refusal:
        """Set the password with the link of an admin, once. Every sign-in of the account ends, with its sessions."""
        attempt = self._resets.begin(client_address(request), *self._sign_in_limit())
        if not isinstance(attempt, Attempt):
            return too_many("wrong links from this address", attempt)
        try:
            credentials = await self._use_reset(body)
        except Unavailable:
            attempt.forgive()
            raise
        if isinstance(credentials, Refusal):
            return credentials
        attempt.forgive()
        user = await self._user(credentials.user_id)
        device_token = await self._devices.issue(user.name, credentials.password_hash)
        return Response(models.PasswordReset(**dict(Profile.of(user)), device_token=device_token))

    @endpoint("POST", "/v1/tokens", models.SignedIn)
    @counted(SIGN_INS, _SIGN_IN_RESULTS)
    async def sign_in(self, body: models.SignIn) -> Response | Refusal:
        """Sign in."""
        device_id = await self._known_device(body)
        attempt = self._attempts.begin(body.name, client_address(request), device_id, *self._sign_in_limit())
        verified = await self._check(body.name, body.password, attempt)
        if isinstance(verified, Refusal):
            return verified
        if wait := self._started.take(str(verified.user_id), SIGN_INS_PER_HOUR, trio.current_time()):
            return too_many("sign-ins to this account", wait)
        user = await self._user(verified.user_id)
        tokens = await self._sign_ins.start(user, verified.password_hash, body.device_name)
        if isinstance(tokens, Refusal):
            return tokens
        device_token = await self._devices.issue(body.name, verified.password_hash)
        return Response(models.SignedIn(**dict(tokens), device_token=device_token))

    @endpoint("POST", "/v1/tokens/refresh", models.Tokens)
    @counted(REFRESHES, {Code.UNAUTHENTICATED: "ended", Code.SUSPENDED: "suspended"})
    async def refresh(self, body: models.Refresh) -> Response | Refusal:
        """Get new tokens for a refresh token."""
        tokens = await self._sign_ins.renew(body.refresh_token)
        return tokens if isinstance(tokens, Refusal) else Response(tokens)

    @endpoint("DELETE", "/v1/tokens/current", status=204)
    async def sign_out(self, claims: Claims) -> Response | Refusal:
        """Sign out. The sessions of this sign-in end at once."""
        await self._sign_ins.end(claims.user_id, claims.family_id)
        return Response()

    @endpoint("GET", "/v1/me", models.User)
    async def get_me(self, claims: Claims) -> Response | Refusal:
        """The account that is signed in."""
        return _account(await self._user(claims.user_id), claims)

    @endpoint("PATCH", "/v1/me", models.User)
    async def change_me(self, claims: Claims, body: models.ProfileChange) -> Response | Refusal:
        """Change the profile, if it is still at the given version."""
        changed: User | None = None
        place = str(claims.user_id)
        user = await self._user(claims.user_id)
        new = body.avatar if body.avatar != user.avatar else None
        if new and (refusal := await self._avatars.check(place, new)):
            return refusal
        if user.version == body.version:  # else omitted fields would be taken from another version
            display_name = user.display_name if body.display_name is None else body.display_name
            if display_name != user.display_name and (
                wait := self._renames.take(place, RENAMES_PER_HOUR, trio.current_time())
            ):
                return too_many("new names", wait)
            try:
                changed = await self._services.accounts.update_profile(
                    user.user_id,
                    display_name=display_name,
                    about=user.about if body.about is None else body.about,
                    version=body.version,
                    who_may_start=None if body.who_may_start is None else WhoMayStart(body.who_may_start),
                    shows_presence=body.shows_presence,
                    shows_read_marks=body.shows_read_marks,
                    avatar=body.avatar,
                )
            finally:  # after a lost answer too: a repeated request would have an old version, and signal nothing
                self._services.signals.profile_changed(user.user_id)
        if changed is None:
            message = f"The profile is not at version {body.version} any more: read it again."
            return Refusal(Code.VERSION_CONFLICT, message, field="version")
        if changed.avatar != user.avatar:
            await self._avatars.forget(place, user.avatar)
        return _account(changed, claims)

    @endpoint("PUT", "/v1/me/password", models.ChangedPassword)
    async def change_password(self, claims: Claims, body: models.PasswordChange) -> Response | Refusal:
        """Change the password. Every other sign-in of the account ends, with its sessions."""
        user = await self._user(claims.user_id)
        verified = await self._confirm(claims, user, body.current_password)
        if isinstance(verified, Refusal):
            return verified
        password_hash = await self._services.passwords.hash(body.new_password, client_address(request))
        device_token = await self._devices.issue(user.name, password_hash)  # before the change, which can't be repeated
        if refusal := await self._overtaken(claims, verified):
            return refusal
        with completed():
            is_set = await self._set_password(
                claims.user_id, password_hash, former=verified.password_hash, kept_family_id=claims.family_id
            )
        if not is_set:  # it was changed while this request was under way
            return _WRONG_PASSWORD
        return Response(models.ChangedPassword(device_token=device_token))

    # A POST, since proxies may drop the body of a DELETE.
    @endpoint("POST", "/v1/me/deletion", status=204)
    async def delete_me(self, claims: Claims, body: models.Confirmation) -> Response | Refusal:
        """Delete this account for ever. Its chats stay with their other members; it leaves its groups, of which another
        member becomes the owner. An admin can't be deleted. After `timed_out` the deletion goes on."""
        user = await self._user(claims.user_id)
        verified = await self._confirm(claims, user, body.current_password)
        if isinstance(verified, Refusal):
            return verified
        if refusal := await self._overtaken(claims, verified):
            return refusal
        actor = Actor(user.user_id, user.name, audited_address(request))
        return await self._deletions.delete(actor, user) or Response()

    @endpoint("GET", "/v1/me/sign-ins", models.OwnSignIns)
    async def list_sign_ins(self, claims: Claims) -> Response | Refusal:
        """The sign-ins of this account."""
        families = await self._services.accounts.families(
            claims.user_id, now_ms=self._services.clock_ms(), limit=models.MAX_SIGN_INS
        )
        current_id = claims.family_id
        return Response(
            models.OwnSignIns(sign_ins=[models.SignInDetails.of(each, current_id=current_id) for each in families])
        )

    @endpoint("DELETE", "/v1/me/sign-ins/others", status=204)
    async def end_other_sign_ins(self, claims: Claims) -> Response | Refusal:
        """End every other sign-in of this account, with its sessions."""
        await self._sign_ins.end_others(claims.user_id, claims.family_id)
        return Response()

    @endpoint("DELETE", "/v1/me/sign-ins/<sign_in_id>", status=204)
    async def end_sign_in(self, claims: Claims, sign_in_id: str) -> Response | Refusal:
        """End a sign-in of this account, with its sessions."""
        if await self._services.accounts.sign_in_status(sign_in_id, claims.user_id) is None:
            return Refusal(Code.NOT_FOUND, "This sign-in has ended, or there was none.", field="sign_in_id")
        await self._sign_ins.end(claims.user_id, sign_in_id)
        return Response()

    @endpoint("GET", "/v1/me/gateway", models.GatewayLocation)
    async def get_gateway(self, claims: Claims, query: models.GatewayQuery) -> Response | Refusal:
        """The addresses of the gateway for this user's sessions, for WebSocket and for gRPC.

        If no gateway serves this user now, the response waits until one does, and is a refusal after 5 seconds. With
        `unreachable` it waits up to 2 seconds for another address.
        """
        host = hostname(request)
        if not host:
            return Refusal(Code.MALFORMED, "The `Host` header must be the host of this request.", field="Host")
        location = await self._gateways.locate(claims.user_id, host, query.unreachable)
        return location if isinstance(location, Refusal) else Response(location)

    def _sign_in_limit(self) -> tuple[int, float]:
        """Failed sign-ins per minute, and the time of the attempt."""
        return self._services.live.value.sign_ins_per_minute, trio.current_time()

    async def _use_reset(self, body: models.NewPasswordByLink) -> Credentials | Refusal:
        """Use the link of a password reset; the new credentials of its user. Raises Unavailable."""
        services = self._services
        key, digest = read_link(body.token)
        user_id = parse_id("token", key)
        if isinstance(user_id, Refusal):
            return _WRONG_RESET
        password_hash = await services.passwords.hash(body.password, client_address(request))
        if not await self._may_reset(user_id, creator_of(body.token)):
            return _WRONG_RESET
        with completed():
            if not await services.accounts.use_password_reset(user_id, digest, now_ms=services.clock_ms()):
                return _WRONG_RESET
            is_set = await self._set_password(user_id, password_hash)
            return Credentials(user_id, password_hash) if is_set else _WRONG_RESET

    async def _set_password(
        self, user_id: int, password_hash: str, *, former: str | None = None, kept_family_id: str = ""
    ) -> bool:
        """Set the password, as the store does, and end every sign-in but one. Raises Unavailable.

        The sign-ins end first: a request that failed between the two would leave the sign-in of a thief, and could not
        be repeated, since its password, or its link, is used up. Those that began meanwhile end afterwards.
        """
        await self._sign_ins.end_others(user_id, kept_family_id)
        try:
            return await self._services.accounts.set_password(user_id, password_hash, former=former)
        finally:  # after a lost answer too: a repeated request would be refused, and leave them
            await self._sign_ins.end_others(user_id, kept_family_id)

    async def _may_reset(self, user_id: int, creator: str) -> bool:
        """Whether a link of this creator may be used; one without was made by a command."""
        if not creator:
            return True
        creator_id = parse_id("token", creator)
        return isinstance(creator_id, int) and await self._administration.may_reset(creator_id, user_id)

    async def _known_device(self, body: models.SignIn) -> str | None:
        """The id of the device, if it has signed in to this account with the present password."""
        device = await self._devices.verify(body.device_token, body.name) if body.device_token else None
        credentials = await self._services.accounts.credentials(body.name) if device else None
        return device.device_id if device and credentials and device.has_password(credentials.password_hash) else None

    async def _user(self, user_id: int) -> User:
        (user,) = await self._services.accounts.users([user_id])
        return user

    async def _confirm(self, claims: Claims, user: User, password: str) -> Credentials | Refusal:
        """The credentials of the signed-in user, if this is the password."""
        attempt = self._own_passwords.begin(claims.family_id, *self._sign_in_limit())
        checked = await self._check(user.name, password, attempt)
        return _WRONG_PASSWORD if checked == WRONG_CREDENTIALS else checked

    async def _overtaken(self, claims: Claims, verified: Credentials) -> Refusal | None:
        """A refusal if the password has changed, or the sign-in has ended, since the password was verified: hashes wait
        for each other, so the user may have shut out a thief meanwhile."""
        if await self._services.accounts.password_hash(verified.user_id) != verified.password_hash:
            return _WRONG_PASSWORD
        checked = await self._services.verifier.check(claims)
        return checked if isinstance(checked, Refusal) else None

    async def _check(self, name: str, password: str, attempt: Attempt | float) -> Credentials | Refusal:
        """Verify name and password. The refusal and its duration do not disclose which is wrong."""
        if not isinstance(attempt, Attempt):
            return too_many("failed sign-ins", attempt)
        try:
            credentials = await self._services.accounts.credentials(name)
            password_hash = credentials.password_hash if credentials else None
            correct = await self._services.passwords.verify(password_hash, password, client_address(request))
        except Unavailable:
            attempt.forgive()
            raise
        if credentials is None or not correct:
            return WRONG_CREDENTIALS
        attempt.forgive()
        return credentials


def _account(user: User, claims: Claims) -> Response:
    etag = f"{user.user_id}-{user.version}{'-admin' if claims.is_admin else ''}"
    return Response(models.User.of(user, is_admin=claims.is_admin), etag=etag)
