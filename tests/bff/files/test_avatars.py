"""Avatars: pictures that are uploaded, shown to everybody who has their token, and used in one place."""

import io
from dataclasses import replace

import pytest
import trio
from PIL import Image

from bff.app import make_app
from bff.files.avatars import AVATARS_PER_DAY, MAX_AVATAR_BYTES, Avatars
from shared.contract.errors import Unavailable
from tests.bff.conftest import Api, Reply

GROUP = "g-12"


def picture(width: int = 300, height: int = 200) -> bytes:
    exif = Image.Exif()
    exif[0x0110] = "Camera 7"
    content = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(content, "JPEG", exif=exif)
    return content.getvalue()


async def upload(api: Api, token: str, content: bytes, query: str = "") -> Reply:
    return await api.call("POST", f"/v1/avatars{query}", raw=content, token=token)


async def test_everybody_who_has_the_token_sees_squares_without_metadata(api: Api, token: str) -> None:
    reply = await upload(api, token, picture())
    assert reply.status == 201
    for query, edge in (("", 512), ("?size=512", 512), ("?size=96", 96)):
        shown = await api.call("GET", f"/avatars/{reply.body['avatar']}{query}")
        square = Image.open(io.BytesIO(shown.text))
        assert (square.format, square.size, "exif" in square.info) == ("WEBP", (edge, edge), False)
        assert shown.headers["Content-Type"] == "image/webp"
        assert shown.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert shown.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'; ")


async def test_a_token_is_for_one_place_and_ends_with_its_picture(api: Api, token: str) -> None:
    user_id = (await api.call("GET", "/v1/me", token=token)).body["user_id"]
    service = Avatars(api.services)
    for place, query in ((user_id, ""), (GROUP, f"?chat_id={GROUP}")):
        avatar = (await upload(api, token, picture(), query)).body["avatar"]
        assert await service.check(place, avatar) is None
        for other in ("", "1", f"{place}1", "g-1"):
            assert await service.check(other, avatar) is not None
            await service.forget(other, avatar)
        assert (await api.call("GET", f"/avatars/{avatar}")).status == 200
        await service.forget(place, avatar)
        assert await service.check(place, avatar) is not None
        assert (await api.call("GET", f"/avatars/{avatar}")).status == 404


@pytest.mark.parametrize(
    ("content", "query", "refusal"),
    [
        (b"", "", (422, "invalid", "body")),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "", (422, "invalid", "body")),
        (picture()[:200], "", (422, "invalid", "body")),
        (bytes(MAX_AVATAR_BYTES + 1), "", (413, "too_large", "body")),
        (picture(), "?chat_id=d-1-2", (422, "invalid", "chat_id")),
        (picture(), "?chat_id=g-0/../1", (422, "invalid", "chat_id")),
    ],
)
async def test_what_is_no_picture_for_a_place_is_refused(
    api: Api, token: str, content: bytes, query: str, refusal: tuple[int, str, str]
) -> None:
    assert (await upload(api, token, content, query)).refusal == refusal


async def test_other_addresses_have_no_picture(api: Api) -> None:
    known = f"7.{'a' * 22}"
    for path in (known, f"{known}?size=97", "7", f"..%2f{known}", f"x{known}", f"{known}%00", f"{'9' * 50}.{'a' * 22}"):
        assert (await api.call("GET", f"/avatars/{path}")).status == 404


async def test_pictures_of_a_user_are_bounded_by_day_and_at_once(api: Api, token: str) -> None:
    decoding, go_on = trio.Event(), trio.Event()

    async def slow(_: bytes) -> None:
        decoding.set()
        await go_on.wait()

    api.app = make_app(replace(api.services, make_squares=slow), api.web_root)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(upload, api, token, b"x")
        await decoding.wait()
        assert (await upload(api, token, b"x")).refusal == (429, "rate_limited", "")
        go_on.set()
    for _ in range(AVATARS_PER_DAY - 1):
        assert (await upload(api, token, b"x")).status == 422
    reply = await upload(api, token, b"x")
    assert (reply.status, reply.body["detail"].partition(":")[0]) == (429, "Too many pictures")


async def test_a_store_that_is_away_is_a_503_and_keeps_the_former_picture(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    avatar = (await upload(api, token, picture(), f"?chat_id={GROUP}")).body["avatar"]

    async def away(*_: object) -> None:
        raise Unavailable("away")

    monkeypatch.setattr(type(api.services.files), "put", away)
    monkeypatch.setattr(type(api.services.files), "delete", away)
    assert (await upload(api, token, picture())).refusal == (503, "unavailable", "")
    await Avatars(api.services).forget(GROUP, avatar)
    assert (await api.call("GET", f"/avatars/{avatar}")).status == 200
