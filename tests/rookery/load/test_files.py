"""Users of a load upload and download files while others chat, on a real platform."""

from typing import Any

import httpx
import pytest

from bff.http.server import open_http_server
from rookery.load.files import _SignedIn
from rookery.load.report import show
from rookery.load.run import Plan, run
from shared.net.tls import ServerTls
from tools.launch.certificates import Authority, Issued
from tools.launch.people import PASSWORD
from tools.launch.process import Rookery


@pytest.mark.parametrize(("size", "is_refused"), [(300_000, False), (1 << 40, True)])
async def test_files_are_uploaded_and_downloaded_beside_messages(rookery: Rookery, size: int, is_refused: bool) -> None:
    plan = Plan(rookery.url, users=2, password=PASSWORD, files=2, file_bytes=size, rate=20, seconds=3, warm_up=0)
    result = await run(plan)
    assert result.report.lost == 0
    assert result.files is not None
    assert result.files.failures.keys() == ({"too_large"} if is_refused else set())
    assert (result.files.uploaded_per_second > 0) == (result.files.downloaded_per_second > 0) == (not is_refused)
    assert " by 2 users" in show(result, as_json=False)


async def test_a_download_follows_a_redirect_to_a_server_with_a_certificate_of_the_authority(
    authority: Authority, issued: Issued
) -> None:
    async def respond(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"bytes"})

    tls = ServerTls(issued.settings(), issued.certificate)
    async with open_http_server(respond, "127.0.0.1", 0, tls=tls) as store:
        location = f"https://127.0.0.1:{store.address[1]}/bucket"
        bff = httpx.MockTransport(lambda _: httpx.Response(307, headers={"Location": location}))
        async with (
            httpx.AsyncClient(base_url="https://bff", transport=bff) as http,
            _SignedIn(http, "token", authority.file).stream("/v1/files/5", {}) as answer,
        ):
            assert await answer.aread() == b"bytes"
