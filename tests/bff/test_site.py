"""The page: the files that are served, their policy, and the files that can't be reached."""

import gzip
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.app import make_app
from bff.site import MAX_VERSIONS, Site
from shared.coordination.ownership import GatewayAddress
from tests.bff.conftest import Api


@pytest.fixture(autouse=True)
def looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a test writes are on the page at once."""
    monkeypatch.setattr("bff.site.LOOK_SECONDS", 0)


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
    assert (rules["script-src"], rules["style-src"], rules["worker-src"]) == ("'self'", "'self'", "'self'")
    assert rules["connect-src"] == "'self' ws://chat.example.org:8081 wss://two.example.org"
    assert "unsafe" not in policy


async def test_the_page_may_connect_to_the_origins_of_the_settings(api: Api) -> None:
    services = replace(api.services, websocket_origins=("wss://*.example.org",), files_origin="https://s3.example.org")
    app = make_app(services, api.web_root)
    policy = (await app.test_client().get("/")).headers["Content-Security-Policy"]
    assert "connect-src 'self' ws://localhost:8081 wss://*.example.org;" in policy
    assert "img-src 'self' https://s3.example.org data: blob:; media-src 'self' https://s3.example.org blob:;" in policy


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


PAGE = """<link rel="icon" href="{{assets}}/icon.svg">
{{preloads main.js later.js}}
<script type="module" src="{{assets}}/main.js">"""


async def test_the_page_names_its_files_by_their_content_and_preloads_its_modules(api: Api) -> None:
    root = api.web_root
    (root / "parts").mkdir()
    (root / "index.html").write_text(PAGE)
    (root / "main.js").write_text('import {\n  one,\n} from "./parts/one.js";\nexport let a = import("./later.js");\n')
    (root / "parts/one.js").write_text('/** @import {Two} from "./types.js" */\nexport * from "../two.js";\n')
    (root / "later.js").write_text(
        'import{one as t}from"./parts/one.js";import"./main.js";import"./three.js";export{t};'
    )
    for name in ("two.js", "three.js", "parts/types.js"):
        (root / name).write_text('import "./main.js";')
    (root / "sw.js").write_text("{{modules three.js}}")
    assets = Site(root).newest().assets
    names = ["icon.svg", "main.js", "parts/one.js", "two.js", "later.js", "three.js", "main.js"]
    served = (await api.call("GET", "/")).text.decode()
    assert re.findall(r'"(/[^"]+)"', served) == [f"{assets}/{name}" for name in names]
    assert (await api.call("GET", "/sw.js")).text == b"three.js main.js parts/one.js two.js"


async def test_a_file_of_a_version_is_kept_by_browsers_and_served_after_updates(api: Api) -> None:
    (api.web_root / "index.html").write_text("{{assets}}")
    (api.web_root / "sw.js").write_text('"{{assets}}"')
    first = (await api.call("GET", "/")).text.decode()
    for change in range(1, MAX_VERSIONS + 1):
        old = await api.call("GET", f"{first}/main.js")
        assert (old.text, old.headers["Cache-Control"]) == (b"export {};", "public, max-age=31536000, immutable")
        (api.web_root / "main.js").write_text(f"export const changes = {change};")
        newest = (await api.call("GET", "/")).text.decode()
        assert newest != first
        worker = await api.call("GET", "/sw.js")
        assert (worker.text.decode(), worker.headers["Cache-Control"]) == (f'"{newest}"', "no-cache")
        assert "connect-src 'self'" in worker.headers["Content-Security-Policy"]
    forgotten = await api.call("GET", f"{first}/main.js")
    assert (forgotten.status, forgotten.headers["Cache-Control"]) == (404, "no-store")


async def test_opening_the_page_often_does_not_read_the_folder_each_time(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bff.site.LOOK_SECONDS", 60)
    first = await api.call("GET", "/")
    monkeypatch.delattr("os.scandir")
    assert (await api.call("GET", "/")).text == first.text


async def test_a_page_of_another_process_s_version_recovers(api: Api) -> None:
    (api.web_root / "recover.js").write_text("reload")
    assert (await api.call("GET", f"/assets/{'0' * 16}/recover.js")).text == b"reload"


async def test_an_unknown_address_is_a_page_for_browsers_and_a_problem_for_programs(api: Api) -> None:
    (api.web_root / "not-found.html").write_text("Page not found")
    in_browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    for path in ("/none", "/v1/none"):
        page = await api.call("GET", path, headers={"Accept": in_browser})
        assert (page.status, page.text, page.headers["Content-Type"]) == (
            404,
            b"Page not found",
            "text/html; charset=utf-8",
        )
        for accept in ("*/*", "application/json"):
            assert (await api.call("GET", path, headers={"Accept": accept})).refusal[:2] == (404, "not_found")


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
    "/assets/0123456789abcdef/main.js",
    "/link.js",
    f"/{'a' * 300}.js",
    f"/{'a/' * 3_000}a.js",
)


async def test_other_files_are_not_found(api: Api, tmp_path: Path) -> None:
    (api.web_root / "link.js").symlink_to(tmp_path / "outside.js")
    for path in UNREACHABLE:
        reply = await api.call("GET", path)
        assert reply.refusal[:2] == (404, "not_found"), path


@pytest.fixture(scope="module")
def site() -> Site:
    """Of the files beside this one."""
    return Site(Path(__file__).parent)


@given(path=st.text(max_size=40))
def test_no_path_leads_out(site: Site, path: str) -> None:
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
