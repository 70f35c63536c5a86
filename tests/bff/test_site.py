"""The page: the files that are served, their policy, and the files that can't be reached."""

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.app import make_app
from bff.site import Site
from shared.coordination.ownership import GatewayAddress
from tests.bff.conftest import Api


@pytest.mark.parametrize(
    ("path", "media_type", "text"),
    [
        ("/", "text/html; charset=utf-8", b"<!doctype html><title>page</title>"),
        ("/main.js", "text/javascript; charset=utf-8", b"export {};"),
        ("/styles/main.css", "text/css; charset=utf-8", b"body {}"),
    ],
)
async def test_files_have_their_media_type(api: Api, path: str, media_type: str, text: bytes) -> None:
    reply = await api.call("GET", path)
    assert (reply.status, reply.headers["Content-Type"], reply.text) == (200, media_type, text)


@pytest.mark.parametrize("path", ["/admin", "/admin/"])
async def test_a_folder_s_page_is_served_with_the_page_s_policy(api: Api, path: str) -> None:
    (api.web_root / "admin").mkdir()
    (api.web_root / "admin" / "index.html").write_text("<!doctype html><title>admin</title>")
    reply = await api.call("GET", path)
    assert (reply.status, reply.text) == (200, b"<!doctype html><title>admin</title>")
    first = (await api.call("GET", "/")).headers
    assert reply.headers["Content-Security-Policy"] == first["Content-Security-Policy"]


async def test_the_page_may_load_only_from_the_bff_and_connect_to_its_gateways(api: Api) -> None:
    other = GatewayAddress("wss://two.example.org/session", "two.example.org:443")
    api.services.directory.publish(other, [3], 1)
    policy = (await api.call("GET", "/", headers={"Host": "chat.example.org:8080"})).headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert (rules["default-src"], rules["frame-ancestors"]) == ("'none'", "'none'")
    assert (rules["script-src"], rules["style-src"]) == ("'self'", "'self'")
    assert rules["connect-src"] == "'self' ws://chat.example.org:8081 wss://two.example.org"
    assert "unsafe" not in policy


async def test_the_page_may_connect_to_the_origins_of_the_settings(api: Api) -> None:
    services = replace(api.services, websocket_origins=("wss://*.example.org",))
    app = make_app(services, api.web_root)
    policy = (await app.test_client().get("/")).headers["Content-Security-Policy"]
    assert "connect-src 'self' ws://localhost:8081 wss://*.example.org;" in policy


async def test_an_invalid_host_does_not_get_into_the_policy(api: Api) -> None:
    for host in ("", "a b", "evil; script-src *", "x'y", 'x"', "host:port", "a" * 300, "x,y"):
        policy = (await api.call("GET", "/", headers={"Host": host})).headers["Content-Security-Policy"]
        assert "script-src 'self';" in policy, host
        assert "connect-src 'self';" in policy, host


async def test_a_cached_file_is_revalidated_and_sent_only_if_it_changed(api: Api) -> None:
    first = await api.call("GET", "/main.js")
    assert first.headers["Cache-Control"] == "no-cache"
    same = await api.call("GET", "/main.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (same.status, same.text) == (304, b"")
    (api.web_root / "main.js").write_text("export const changed = 1;")
    changed = await api.call("GET", "/main.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (changed.status, changed.text) == (200, b"export const changed = 1;")


async def test_the_page_is_sent_again_when_its_policy_changed(api: Api) -> None:
    etag = (await api.call("GET", "/")).headers["ETag"]
    assert (await api.call("GET", "/", headers={"If-None-Match": etag})).status == 304
    api.services.directory.publish(GatewayAddress("ws://:9999/session", ":9998"), range(4), 1)
    assert (await api.call("GET", "/", headers={"If-None-Match": etag})).status == 200


UNREACHABLE = (
    "/../outside.js",
    "/styles/../../outside.js",
    "/%2e%2e/outside.js",
    "/..%2foutside.js",
    "/styles/..%5c..%5coutside.js",
    "/.hidden.js",
    "/secret.key",
    "/styles",
    "/styles/",
    "/main.js/",
    "/main.js%00",
    "/main.js%00.css",
    "/./main.js",
    "/C:/main.js",
    "/~root/main.js",
    "/none.js",
    "/link.js",
    f"/{'a' * 300}.js",
    f"/{'a/' * 3_000}a.js",
)


async def test_other_files_are_not_found(api: Api, tmp_path: Path) -> None:
    (api.web_root / "link.js").symlink_to(tmp_path / "outside.js")
    for path in UNREACHABLE:
        reply = await api.call("GET", path)
        assert reply.refusal[:2] == (404, "not_found"), path


@given(st.text(max_size=40))
def test_no_path_leads_out(path: str) -> None:
    site = Site(Path(__file__).parent)
    file = site.find(path)
    assert file is None or (Path(__file__).parent / path).is_file()


async def test_every_response_has_the_security_headers(api: Api, token: str) -> None:
    for path in ("/", "/main.js", "/v1/me", "/v1/none", "/docs", "/openapi.json", "/asyncapi.json", "/livez"):
        headers = (await api.call("GET", path, token=token)).headers
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"], path
        assert "default-src 'none'" in headers["Content-Security-Policy"], path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Referrer-Policy"] == "no-referrer", path


async def test_a_browser_that_accepts_gzip_receives_less(api: Api) -> None:
    (api.web_root / "main.js").write_text("export const words = 1;\n" * 100)
    plain = await api.call("GET", "/main.js")
    compressed = await api.call("GET", "/main.js", headers={"Accept-Encoding": "br, gzip;q=0.8"})
    refused = await api.call("GET", "/main.js", headers={"Accept-Encoding": "gzip;q=0"})
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed.text) == plain.text == refused.text
    assert len(compressed.text) < len(plain.text) / 3
    assert compressed.headers["ETag"] != plain.headers["ETag"]
    assert compressed.headers["Vary"] == "Accept-Encoding"
    again = {"Accept-Encoding": "gzip", "If-None-Match": compressed.headers["ETag"]}
    assert (await api.call("GET", "/main.js", headers=again)).status == 304
