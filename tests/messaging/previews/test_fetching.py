"""Pages that are fetched from a server, and pages that are not, with names and addresses of the tests."""

import gzip
import ssl
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trio

from messaging.previews import connections, fetching
from messaging.previews.connections import Connector
from messaging.previews.fetching import MAX_PAGE_BYTES, MAX_PICTURE_BYTES, MAX_REDIRECTS, Page, fetch
from messaging.previews.hosts import HOST_PAGES
from messaging.previews.metadata import Metadata
from tests.messaging.previews.conftest import PAGE, Names, Server, response
from tools.launch.certificates import Authority

LOOPBACK = ip_network("127.0.0.1/32")

PICTURE = response(b"picture", "image/png")

CHUNKED = (
    b"HTTP/1.1 200 x\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"7\r\n<title>\r\n5\r\nchunk\r\n0\r\n\r\n"
)


@pytest.fixture
def connector() -> Connector:
    return Connector(allowed=[LOOPBACK])


async def test_a_page_with_its_picture(web: Server, names: Names, connector: Connector) -> None:
    names.addresses = {"example.com": [["127.0.0.1"]], "cdn.example.com": [["127.0.0.1"]]}
    page = PAGE.replace(b"picture.png", b"//cdn.example.com/p.png")
    web.answers = {"/a?b=%20": response(page), "/p.png": PICTURE}
    assert await fetch("http://example.com/a?b=%20#c", connector) == Page(
        Metadata("Title", picture="//cdn.example.com/p.png"), b"picture"
    )
    assert b"\r\nhost: example.com\r\n" in web.heads[0].lower()
    assert b"cookie" not in web.heads[0].lower()


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        (response(gzip.compress(PAGE), content_encoding="gzip"), "Title"),
        (response(b"x", "image/webp"), "page"),
        (response(status=302, location="/other"), "Title"),
        (CHUNKED, "chunk"),
        (response(PAGE, "application/xhtml+xml; charset=utf-8"), "Title"),
        (response(PAGE, status=500), None),
        (response(PAGE, "text/plain"), None),
        (response(b"<p>no title"), None),
        (response(PAGE, content_encoding="br"), None),
        (response(b"no gzip", content_encoding="gzip"), None),
        (b"SSH-2.0-OpenSSH\r\n", None),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, None),
        (b"", None),
        *(
            (response(status=302, location=location), None)
            for location in (
                *(
                    "file:///etc/passwd",
                    "gopher://127.0.0.1/",
                    "http://user:secret@127.0.0.1/other",
                    "http://127.0.0.1:22/",
                ),
                *(
                    "http://169.254.169.254/latest/meta-data/",
                    "http://[::1]/",
                    "http://10.0.0.1/",
                    "http://0/",
                    "//",
                    "http://[",
                ),
            )
        ),
    ],
)
async def test_responses(answer: bytes, title: str | None, web: Server, connector: Connector) -> None:
    web.answers = {"/page": answer, "/other": response(PAGE)}
    page = await fetch("http://127.0.0.1/page", connector)
    assert (page and page.metadata.title) == title


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.2/page", "http://localhost/page", "http://2130706434/page", "http://[::ffff:127.0.0.2]/page"),
        *("ftp://127.0.0.1/page", "http://127.0.0.1:8080/page", "http://u@127.0.0.1/page", "//127.0.0.1/page", "x", ""),
        f"http://127.0.0.1/page?{'x' * 2_048}",
    ],
)
async def test_urls_that_are_not_fetched(url: str, web: Server) -> None:
    web.answers = {"/page": response(PAGE)}
    assert await fetch(url, Connector()) is None
    assert await fetch("http://127.0.0.1/page", Connector()) is None
    assert web.requests == []


@pytest.mark.parametrize("addresses", [["127.0.0.1", "10.0.0.1"], ["169.254.169.254"], ["::ffff:10.0.0.1"], []])
async def test_a_name_with_an_address_that_is_not_public_is_not_fetched(
    addresses: list[str], web: Server, names: Names, connector: Connector
) -> None:
    names.addresses = {"example.com": [addresses]}
    web.answers = {"/": response(PAGE)}
    assert await fetch("http://example.com/", connector) is None
    assert web.requests == []


async def test_a_name_that_resolves_to_another_address_after_the_check_is_fetched_from_the_checked_one(
    web: Server, names: Names, connector: Connector
) -> None:
    names.addresses = {"example.com": [["127.0.0.1"], ["10.0.0.1"]]}
    web.answers = {"/": response(b"<title>T</title>")}
    assert await fetch("http://example.com/", connector) == Page(Metadata("T"))
    assert names.addresses == {"example.com": [["10.0.0.1"]]}


async def test_each_redirect_is_checked_and_there_are_few(web: Server, names: Names, connector: Connector) -> None:
    names.addresses = {"example.com": [["127.0.0.1"]], "inside.example.com": [["192.168.0.1"]]}
    web.answers = {"/": response(status=307, location="http://inside.example.com/")}
    assert await fetch("http://example.com/", connector) is None
    web.answers = {f"/{n}": response(status=301, location=f"/{n + 1}") for n in range(9)} | {"/9": response(PAGE)}
    for start, is_found in ((9 - MAX_REDIRECTS, True), (8 - MAX_REDIRECTS, False)):
        assert bool(await fetch(f"http://127.0.0.1/{start}", connector)) == is_found


async def test_an_endless_page_is_read_up_to_its_limit(web: Server, connector: Connector) -> None:
    head = response(b"<title>T</title>", content_length=str(1 << 40))
    web.answers, web.endless = {"/": head}, {"/": b"x" * 65_536}
    with trio.fail_after(30):
        assert await fetch("http://127.0.0.1/", connector) == Page(Metadata("T"))
        await web.gone.wait()


async def test_a_page_that_unpacks_to_more_is_cut(web: Server, connector: Connector) -> None:
    bomb = gzip.compress(b"<title>T</title>" + bytes(100 << 20))
    web.answers = {"/": response(bomb, content_encoding="gzip")}
    assert await fetch("http://127.0.0.1/", connector) == Page(Metadata("T"))
    assert len(bomb) * 10 > MAX_PAGE_BYTES


@pytest.mark.parametrize("size", [MAX_PICTURE_BYTES, MAX_PICTURE_BYTES + 1])
async def test_a_page_is_shown_without_a_picture_that_is_too_large(
    size: int, web: Server, connector: Connector
) -> None:
    web.answers = {"/": response(PAGE), "/picture.png": response(bytes(size), "image/png")}
    page = await fetch("http://127.0.0.1/", connector)
    assert page is not None
    assert len(page.picture) == (size if size <= MAX_PICTURE_BYTES else 0)


async def test_what_takes_too_long_is_left_out(
    web: Server, connector: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TOTAL_SECONDS", 2.0)
    web.answers = {"/": response(PAGE), "/picture.png": PICTURE[:-1], "/slow": b"HTTP/1.1 "}
    web.endless = dict.fromkeys(("/picture.png", "/slow"), b"")
    assert await fetch("http://127.0.0.1/", connector) == Page(Metadata("Title", picture="picture.png"))
    monkeypatch.setattr(fetching, "TOTAL_SECONDS", 0.1)
    assert await fetch("http://127.0.0.1/slow", connector) is None


async def test_a_certificate_has_to_be_that_of_the_name(
    server: Server, names: Names, nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued.certificate, issued.key)
    (listener,) = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
    sockets: Any = listener.transport_listener
    monkeypatch.setitem(connections.PORTS, "https", sockets.socket.getsockname()[1])
    nursery.start_soon(trio.serve_listeners, server.serve, [listener])
    names.addresses = {name: [["127.0.0.1"]] * 2 for name in ("localhost", "example.com")}
    server.answers = {"/": response(b"<title>T</title>")}
    trusting, others = Connector(allowed=[LOOPBACK], tls=authority.trusting()), Connector(allowed=[LOOPBACK])
    fetched = partial(fetch, "https://localhost/")
    assert await fetched(trusting) == Page(Metadata("T"))
    assert await fetched(others) is None
    assert await fetch("https://example.com/", trusting) is None
    nursery.cancel_scope.cancel()


async def test_a_proxy_gets_the_url_and_its_password(server: Server) -> None:
    connector = Connector(f"http://me:secret@127.0.0.1:{server.port}")
    server.answers = {"http://example.com/a": response(b"<title>T</title>")}
    assert await fetch("http://example.com/a", connector) == Page(Metadata("T"))
    assert await fetch("https://example.com/a", connector) is None  # 404
    assert await fetch("http://10.0.0.1/", connector) is None
    assert server.requests == ["http://example.com/a", "example.com:443"]
    assert all(b"Basic bWU6c2VjcmV0" in head for head in server.heads)


@pytest.mark.parametrize(
    "answer",
    [
        response(status=302, location="http://site.example/p"),
        response(b"<title>T</title><meta property=og:image content=http://site.example/p>"),
    ],
    ids=["redirects", "pictures"],
)
async def test_many_hosts_that_lead_to_one_have_its_limit(
    answer: bytes, web: Server, names: Names, connector: Connector
) -> None:
    hosts = [f"a{number}.example" for number in range(HOST_PAGES + 2)]
    names.addresses = {"site.example": [["127.0.0.1"]] * len(hosts)} | {host: [["127.0.0.1"]] for host in hosts}
    web.answers = {"/": answer, "/p": response(b"x", "image/png")}
    for host in hosts:
        await fetch(f"http://{host}/", connector)
    assert [web.requests.count(target) for target in ("/", "/p")] == [len(hosts), HOST_PAGES]
