"""Access control: bad tokens, pages of other origins, and ended sign-ins are refused; others are not disturbed."""

import base64
import json

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from rookery.v1 import session_pb2 as pb
from tests.system.sessions import SUBPROTOCOL, TRANSPORTS, Session, connector, open_session, text_to
from tools.launch.people import Person, issue_token, open_http, sign_in, sign_out, sign_up
from tools.launch.process import Rookery

pytestmark = pytest.mark.usefixtures("undisturbed")

each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture
async def victim(strict: Rookery) -> Person:
    return await sign_up(strict.url, "victim")


@each_transport
@pytest.mark.parametrize(
    "frame", [pb.ClientFrame(ping=pb.Ping()), pb.ClientFrame(send=text_to(1, "x")), pb.ClientFrame()]
)
async def test_a_frame_before_authentication_ends_the_session(
    strict: Rookery, transport: str, frame: pb.ClientFrame
) -> None:
    async with connector(strict, transport)() as stream:
        session = Session(stream)
        await stream.send(frame)
        assert (await session.next("goodbye")).goodbye.code in ("unauthenticated", "malformed")
        assert len(await session.read_to_end()) == 1


async def bad_tokens(strict: Rookery, person: Person) -> dict[str, str]:
    """Bad tokens of a signed-in user, by kind."""
    head, payload, signature = person.access_token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    key_id = json.loads(base64.urlsafe_b64decode(head + "=="))["kid"]
    other_key = OKPKey.generate_key("Ed25519")
    unsigned = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": key_id}).encode()).decode().rstrip("=")
    another = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "1"}).encode()).decode().rstrip("=")
    revoked = await sign_in(strict.url, person.name)
    await sign_out(strict.url, revoked)
    return {
        "expired": await issue_token(strict, person, -1),
        "by another key": jwt.encode({"alg": "Ed25519", "kid": key_id}, claims, other_key, algorithms=["Ed25519"]),
        "unsigned": f"{unsigned}.{payload}.",
        "changed": f"{head}.{another}.{signature}",
        "revoked": revoked.access_token,
        "a refresh token": person.refresh_token,
        "no token": "x",
        "huge": "x" * 50_000,
    }


async def test_expired_forged_and_revoked_tokens_are_refused_everywhere(strict: Rookery, victim: Person) -> None:
    tokens = await bad_tokens(strict, victim)
    for name, token in tokens.items():
        for transport in TRANSPORTS:
            async with connector(strict, transport)() as stream:
                session = Session(stream)
                await session.send_frame(authenticate=pb.Authenticate(access_token=token))
                assert (await session.next("goodbye")).goodbye.code == "unauthenticated", (name, transport)
    async with open_http(strict.url) as http:
        for name, token in tokens.items():
            if len(token) < 10_000:  # else the request head is too large
                answer = await http.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
                problem = answer.status_code, answer.json()["code"]
                assert problem == (httpx.codes.UNAUTHORIZED, "unauthenticated"), name


@each_transport
async def test_signing_out_over_http_ends_the_live_sessions_of_that_sign_in_alone(
    strict: Rookery, victim: Person, transport: str
) -> None:
    other_device = await sign_in(strict.url, victim.name)
    connect = connector(strict, transport)
    async with open_session(connect, victim) as session, open_session(connect, other_device) as other:
        await sign_out(strict.url, victim)
        assert (await session.next("goodbye")).goodbye.code == "unauthenticated"
        await session.read_to_end()
        await other.check_alive()


HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Protocol": SUBPROTOCOL,
}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/session", {}, 101),
        ("/session", {"Origin": "http://127.0.0.1:8080"}, 101),
        ("/session", {"Origin": "https://evil.example"}, 403),
        ("/session", {"Origin": "http://127.0.0.1.evil.example"}, 403),
        ("/session", {"Origin": "null"}, 403),
        ("/session", {"Origin": "http://["}, 403),
        ("/session", {"Sec-WebSocket-Protocol": "chat"}, 400),
        ("/other", {}, 404),
    ],
)
async def test_only_a_page_of_our_own_gets_a_session(
    strict: Rookery, path: str, headers: dict[str, str], status: int
) -> None:
    url = strict.websocket.replace("ws:", "http:").removesuffix("/session")
    async with open_http(url) as http, http.stream("GET", path, headers=HANDSHAKE | headers) as answer:
        assert answer.status_code == status
