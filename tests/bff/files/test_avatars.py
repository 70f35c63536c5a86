"""Avatars: pictures that are uploaded, shown to everybody who has their token, and used in one place."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest
import trio
import trio.testing
from PIL import Image

from bff.app import make_app
from bff.files.avatars import AVATARS_PER_DAY, MAX_AVATAR_BYTES, Avatars
from bff.http.bodies import StreamedBody
from rookery.v1.archive_pb2 import Chat, GetChatRequest, GetChatResponse, ListMembersResponse
from rookery.v1.group_service_pb2 import ChangeGroupResponse, ChangeSettings
from rookery.v1.groups_pb2 import Control, GroupSettings
from rookery.v1.session_pb2 import Event, Message
from shared.contract.avatars import SETTABLE_MS, new_avatar
from shared.contract.errors import Unavailable
from shared.files.keys import avatar_keys
from shared.files.protocol import FileStore, Opened
from tests.bff.conftest import PASSWORD, Api, Reply
from tests.bff.http.connections import connected, serving
from tests.waiting import until

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


async def test_a_token_is_for_one_place_and_ends_with_its_picture(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bff.files.avatars.KEPT_SECONDS", 0.0)
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


async def test_readers_of_a_picture_share_its_bytes_and_those_of_one_address_leave_room_for_others(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bff.files.avatars.MAX_READS_OF_CLIENT", 1)
    monkeypatch.setattr("bff.files.avatars.MAX_WAITING", 1)
    one, second, third, other = [await stored(api, GROUP) for _ in range(4)]
    read, reads, goes_on = type(api.services.files).read, list[str](), trio.Event()
    replies: list[Reply] = []

    @asynccontextmanager
    async def read_slowly(self: FileStore, key: str) -> AsyncIterator[Opened]:
        reads.append(key)
        if key not in avatar_keys(other):
            await goes_on.wait()
        async with read(self, key) as opened:
            yield opened

    async def show(avatar: str) -> None:
        replies.append(await api.call("GET", f"/avatars/{avatar}"))

    monkeypatch.setattr(type(api.services.files), "read", read_slowly)
    async with trio.open_nursery() as nursery:
        for each in (one, one, one, second, third):
            nursery.start_soon(show, each)
            await trio.testing.wait_all_tasks_blocked()
        await until(lambda: replies)
        assert replies.pop().refusal == (429, "rate_limited", "")
        assert (await api.call("GET", f"/avatars/{other}", address="192.0.2.2")).status == 200
        goes_on.set()
    await show(one)
    assert [reply.status for reply in replies] == [200] * 5
    assert len(reads) == 3


async def test_requests_for_a_picture_share_the_failure_of_its_read_and_not_its_cancellation(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, key = Avatars(api.services), avatar_keys(await stored(api, GROUP))[0]
    read, fates = type(api.services.files).read, ["cancelled", "unavailable"]
    results: list[object] = []

    @asynccontextmanager
    async def read_badly(self: FileStore, key: str) -> AsyncIterator[Opened]:
        match fates.pop(0) if fates else "":
            case "cancelled":
                await trio.sleep_forever()
            case "unavailable":
                await trio.testing.wait_all_tasks_blocked()
                raise Unavailable("away")
        async with read(self, key) as opened:
            yield opened

    async def show(scope: trio.CancelScope) -> None:
        with scope:
            try:
                results.append(await service._read(key))
            except Unavailable:
                results.append("unavailable")

    monkeypatch.setattr(type(api.services.files), "read", read_badly)
    monkeypatch.setattr("bff.files.avatars.client_address", lambda _: "192.0.2.1")
    monkeypatch.setattr("bff.files.avatars.request", None)
    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(3)]
        for scope in scopes:
            nursery.start_soon(show, scope)
            await trio.testing.wait_all_tasks_blocked()
        scopes[0].cancel()
    assert results == ["unavailable"] * 2
    assert await service._read(key)


async def test_kept_pictures_have_a_bounded_size_and_age(
    api: Api, monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr("bff.files.avatars.KEPT_BYTES", 15)  # two pictures have 12 bytes
    monkeypatch.setattr("bff.files.avatars.KEPT_SECONDS", 60.0)
    pictures = [await stored(api, GROUP) for _ in range(3)]
    assert [await is_there(api, each) for each in pictures] == [True] * 3
    for each in pictures:
        await api.services.files.delete(avatar_keys(each))
    assert [await is_there(api, each) for each in pictures] == [False, True, True]
    mock_clock.jump(61)
    assert [await is_there(api, each) for each in pictures] == [False] * 3


async def test_the_slowest_picture_makes_room_for_that_of_another_user(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bff.files.avatars.MAX_AT_ONCE", 1)
    monkeypatch.setattr("bff.files.avatars.SLOW_SECONDS", 60.0)
    monkeypatch.setattr("bff.files.avatars.AVATARS_PER_DAY", 1)
    await api.register("bob")
    bob = str((await api.sign_in("bob"))["access_token"])
    head = f"POST /v1/avatars HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n\r\nx"
    waiting, receive_piece = trio.Event(), StreamedBody._receive_piece

    async def receive(body: StreamedBody) -> bytes | None:
        if body.rate:
            waiting.set()
        return await receive_piece(body)

    monkeypatch.setattr(StreamedBody, "_receive_piece", receive)
    async with serving(api.app) as server, connected(server) as slow:
        await slow.send(head)
        await waiting.wait()
        assert (await upload(api, bob, picture())).refusal == (429, "rate_limited", "")
        monkeypatch.setattr("bff.files.avatars.SLOW_SECONDS", 0.0)
        assert (await upload(api, bob, picture())).status == 201
        await slow.send(bytes(9))
        assert (await slow.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 429")
    assert (await upload(api, token, picture())).status == 201, "what was ended for another does not count"


async def test_a_user_who_may_make_no_more_pictures_ends_none_of_another_user(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bff.files.avatars.AVATARS_PER_DAY", 1)
    service, unused = Avatars(api.services), cast(Any, None)
    body = StreamedBody(unused, unused)
    with service._reception(1, body):
        pass
    monkeypatch.setattr("bff.files.avatars.MAX_AT_ONCE", 1)
    monkeypatch.setattr("bff.files.avatars.SLOW_SECONDS", 0.0)
    with service._reception(2, body) as refusal:
        assert refusal is None
        with service._reception(1, body) as limited:
            assert limited is not None
        assert list(service._receiving) == [2]


async def test_pictures_of_a_user_are_bounded_by_day_and_at_once(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.register("bob")
    other = str((await api.sign_in("bob"))["access_token"])
    decoding, go_on = trio.Event(), trio.Event()

    async def slow(_: bytes) -> None:
        decoding.set()
        await go_on.wait()

    api.app = make_app(replace(api.services, make_squares=slow), api.web_root)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(upload, api, token, b"x")
        await decoding.wait()
        monkeypatch.setattr("bff.files.avatars.MAX_AT_ONCE", 1)
        monkeypatch.setattr("bff.files.avatars.SLOW_SECONDS", 0.0)
        for each in (token, other):  # what is decoded makes no room
            assert (await upload(api, each, b"x")).refusal == (429, "rate_limited", "")
        monkeypatch.undo()
        go_on.set()
    for _ in range(AVATARS_PER_DAY - 1):
        assert (await upload(api, token, b"x")).status == 422
    reply = await upload(api, token, b"x")
    assert (reply.status, reply.body["detail"].partition(":")[0]) == (429, "Too many pictures")


async def test_a_store_that_is_away_is_a_503_and_keeps_the_former_picture(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bff.files.avatars.AVATARS_PER_DAY", 2)
    avatar = (await upload(api, token, picture(), f"?chat_id={GROUP}")).body["avatar"]

    async def away(*_: object) -> None:
        raise Unavailable("away")

    monkeypatch.setattr(type(api.services.files), "put", away)
    monkeypatch.setattr(type(api.services.files), "delete", away)
    for _ in range(2):
        assert (await upload(api, token, picture())).refusal == (503, "unavailable", "")
    await Avatars(api.services).forget(GROUP, avatar)
    assert (await api.call("GET", f"/avatars/{avatar}")).status == 200


async def stored(api: Api, place: str) -> str:
    """A token of a place whose picture is in the store."""
    avatar = new_avatar(place)
    for key in avatar_keys(avatar):
        await api.services.files.put(key, b"square")
    return avatar


async def is_there(api: Api, avatar: str) -> bool:
    return (await api.call("GET", f"/avatars/{avatar}")).status == 200


async def test_a_profile_has_the_picture_made_for_it_until_it_is_replaced_or_deleted(api: Api, token: str) -> None:
    user_id = (await api.call("GET", "/v1/me", token=token)).body["user_id"]
    pictures = [await stored(api, user_id) for _ in range(2)]
    for version, avatar in enumerate(pictures, 1):
        changed = await api.call("PATCH", "/v1/me", {"version": version, "avatar": avatar}, token=token)
        assert changed.body["avatar"] == avatar
        assert (await api.call("GET", f"/v1/profiles/{user_id}", token=token)).body["avatar"] == avatar
    assert [await is_there(api, each) for each in pictures] == [False, True]
    for avatar in (pictures[0], await stored(api, "1"), await stored(api, GROUP)):
        refused = await api.call("PATCH", "/v1/me", {"version": 3, "avatar": avatar}, token=token)
        assert refused.refusal == (422, "invalid", "avatar")
    deleted = await api.call("POST", "/v1/me/deletion", {"current_password": PASSWORD}, token=token)
    assert (deleted.status, await is_there(api, pictures[1])) == (204, False)


async def test_an_object_store_that_hangs_does_not_hold_up_a_profile(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await trio.sleep_forever()

    avatar = await stored(api, (await api.call("GET", "/v1/me", token=token)).body["user_id"])
    await api.call("PATCH", "/v1/me", {"version": 1, "avatar": avatar}, token=token)
    monkeypatch.setattr(type(api.services.files), "delete", hang)
    monkeypatch.setattr("bff.files.avatars.FORGET_SECONDS", 0.01)
    changed = await api.call("PATCH", "/v1/me", {"version": 2, "avatar": ""}, token=token)
    assert (changed.status, changed.body["avatar"]) == (200, "")


async def test_an_old_upload_cant_be_set_any_more(api: Api, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    user_id = (await api.call("GET", "/v1/me", token=token)).body["user_id"]
    present, unset = await stored(api, user_id), await stored(api, user_id)
    uploaded_ms = max(each.at_ms for each in await api.services.files.keys(f"avatars/{user_id}/"))
    for version, avatar, age_ms, status in (
        (1, present, SETTABLE_MS - 60_000, 200),
        (2, unset, SETTABLE_MS, 422),
        (2, present, SETTABLE_MS, 200),
    ):
        monkeypatch.setattr("bff.files.avatars.wall_clock_ms", partial(int, uploaded_ms + age_ms))
        changed = await api.call("PATCH", "/v1/me", {"version": version, "avatar": avatar}, token=token)
        assert changed.status == status


async def test_a_change_of_a_group_that_repeats_its_picture_keeps_it(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    avatar = await stored(api, GROUP)

    async def get_chat(_: GetChatRequest) -> GetChatResponse:
        return GetChatResponse(chat=Chat(version=3, settings=GroupSettings(avatar=avatar)))

    monkeypatch.setattr(api.archive, "get_chat", get_chat)
    api.archive.response = ListMembersResponse(version=4)
    control = Control(version=4, settings=GroupSettings(name="New", avatar=avatar), changed=["name"])
    api.groups.response = ChangeGroupResponse(event=Event(message=Message(control=control)))
    body = {"client_change_id": "a", "name": "New", "avatar": avatar}
    assert (await api.call("PATCH", f"/v1/chats/{GROUP}", body, token=token)).status == 200
    assert await is_there(api, avatar)


@pytest.mark.parametrize(("version", "keeps"), [(4, False), (3, True)], ids=["a change", "a retry of an old change"])
async def test_the_former_picture_of_a_group_is_deleted_by_the_change_that_replaces_it(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch, version: int, keeps: bool
) -> None:
    former, avatar = await stored(api, GROUP), await stored(api, GROUP)

    async def get_chat(_: GetChatRequest) -> GetChatResponse:
        return GetChatResponse(chat=Chat(version=3, settings=GroupSettings(avatar=former)))

    monkeypatch.setattr(api.archive, "get_chat", get_chat)
    api.archive.response = ListMembersResponse(version=version)
    control = Control(version=version, settings=GroupSettings(avatar=avatar), changed=["avatar"])
    api.groups.response = ChangeGroupResponse(event=Event(message=Message(control=control)))
    change = partial(api.call, "PATCH", f"/v1/chats/{GROUP}", token=token)
    assert (await change({"client_change_id": "a", "avatar": avatar})).status == 200
    assert api.groups.changes[-1][0].change_settings == ChangeSettings(avatar=avatar)
    assert [await is_there(api, former), await is_there(api, avatar)] == [keeps, True]
    refused = await change({"client_change_id": "b", "avatar": await stored(api, "g-1")})
    assert refused.refusal == (422, "invalid", "avatar")
