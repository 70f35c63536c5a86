"""Strange requests without an account: no response is a 5xx, and each costs one line in the log at most."""

from collections.abc import Iterator

import pytest
import trio

from tools.launch.process import Rookery, port_of

DEADLINE = 20.0
"""Seconds; only ends a test that has failed."""

JSON = "Content-Type: application/json\r\n"

PATHS = (
    f"/{'a' * 300}", f"/{'a' * 300}.js", f"/{'a/' * 3_000}a.js", "/%00", "/%ff%fe.js", "/..%2f..%2fetc/passwd", "//",
    "/?%",
    "/v1/chats/%00/messages", f"/v1/chats/{'9' * 4_000}", "/v1/profiles/-1", f"/v1/profiles/{'9' * 400}",
    "/v1/me?x[]=%",
    "/v1/admin/users", "/metrics?%00", "/.well-known/jwks.json/..", "http://[::1", "*",
)  # fmt: skip

BODIES = (
    "", "{", "[]", "null", "\x00", "{}", '{"name": null}', '{"name": {}}', '{"name": 1e999, "password": "x"}',
    f'{{"name": "{"a" * 60_000}", "password": "x"}}', f"{'[' * 5_000}", '{"name": "\\ud800", "password": "\\udfff"}',
    '{"refresh_token": "\\u0000"}', f'{{"name": "ada", "password": "x", "device_token": "{"a." * 1_000}"}}',
)  # fmt: skip

HEADS = (
    "Authorization: Bearer \x01\r\n", f"Authorization: Bearer {'a' * 4_000}\r\n", "Authorization: Basic Og==\r\n",
    "Host: \xff\r\n", "Cookie: =;=\r\n", "If-None-Match: W/\r\n", "Range: bytes=9-1\r\n", "Accept-Encoding: ;q=x\r\n",
    "Expect: 100-continue\r\n", "X-Forwarded-For: ,,,\r\n", "traceparent: 00-0-0-0\r\n", "Content-Type: \x7f\r\n",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("chatting")


def requests() -> Iterator[str]:
    for path in PATHS:
        for method in ("GET", "HEAD", "OPTIONS", "POST", "PROPFIND"):
            yield f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    for path in ("/v1/users", "/v1/tokens", "/v1/tokens/refresh", "/v1/me/password"):
        for body in BODIES:
            head = f"Host: x\r\n{JSON}Content-Length: {len(body.encode())}\r\nConnection: close\r\n"
            yield f"POST {path} HTTP/1.1\r\n{head}\r\n{body}"
    for fields in (
        "Content-Length: 100\r\n\r\n{",
        "Transfer-Encoding: gzip\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n1\r\n",
    ):
        yield f"POST /v1/tokens HTTP/1.1\r\nHost: x\r\n{JSON}{fields}"
    yield "GET / HTTP/3.0\r\nHost: x\r\n\r\n"
    for head in HEADS:
        yield f"GET /v1/me HTTP/1.1\r\nHost: x\r\n{head}Connection: close\r\n\r\n"


async def status_of(port: int, request: str) -> int:
    """The status of the response; 0 if the connection is closed without one."""
    response = b""
    with trio.fail_after(DEADLINE):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(request.encode())
            try:
                while data := await stream.receive_some():
                    response += data
            except trio.BrokenResourceError:
                pass
    return int(response.split()[1]) if response else 0


@pytest.mark.parametrize("name", ["page", "websocket", "gateway_health"])
async def test_no_request_without_an_account_gets_a_5xx_or_two_lines_in_the_log(name: str, rookery: Rookery) -> None:
    port = port_of(rookery.addresses[name])
    before = len(rookery.log_lines())
    sent = list(requests())
    statuses = [(await status_of(port, request), request[:80]) for request in sent]
    assert [each for each in statuses if each[0] >= 500] == []
    lines = rookery.log_lines()[before:]
    assert [line for line in lines if line["level"] not in ("info", "debug")] == []
    assert len([line for line in lines if line["level"] == "info"]) <= len(sent)
