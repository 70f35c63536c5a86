"""A group from its creation to its end over HTTP, on both platforms: each user reads what happened while a member."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any

import httpx
import pytest
import trio

from rookery.client import (
    ROLE_GUEST,
    CatchUp,
    ChannelHead,
    Client,
    Followed,
    Mention,
    Message,
    Refused,
    open_client,
)
from rookery.v1.archive_pb2 import HistoryMessage
from tests.system.sessions import connector, open_session
from tests.system.talk import TRANSPORTS
from tests.waiting import until_read
from tools.launch.people import PASSWORD, PATIENCE, Person, open_http, read_history, sign_up
from tools.launch.process import Process, Rookery


async def test_members_change_a_group_and_read_what_happened_while_they_were_members_until_they_leave_or_are_deleted(
    platform: tuple[str, Process],
) -> None:
    url, gateway = platform
    ada, grace, alan = [await sign_up(url, name) for name in ("ada", "grace", "alan")]
    async with open_http(url) as http:

        async def change(
            actor: Person, method: str, path: str, number: int, client_id: str = "", **body: Any
        ) -> dict[str, Any]:
            """Make a change, twice, since a retry has no second effect."""
            fields = body | {"client_change_id": client_id or f"c{number}"}
            sent: dict[str, Any] = {"params": fields} if method == "DELETE" else {"json": fields}
            answers = [await http.request(method, path, headers=actor.headers, **sent) for _ in range(2)]
            assert answers[0].raise_for_status().json() == answers[1].json()
            control = answers[0].json()["message"]["control"]
            assert control["version"] == str(number)
            return dict(answers[0].json()["message"])

        created = await change(ada, "POST", "/v1/chats", 1, name="Engines", user_ids=[str(grace.user_id)])
        chat = f"/v1/chats/{created['chat_id']}"
        await change(grace, "POST", f"{chat}/members", 2, user_ids=[str(alan.user_id)])
        await change(alan, "PATCH", chat, 3, name="Machines", topic="Tea at five")
        refused = await http.request(
            "DELETE", f"{chat}/members/{alan.user_id}", params={"client_change_id": "x"}, headers=grace.headers
        )
        assert (refused.status_code, refused.json()["code"]) == (httpx.codes.FORBIDDEN, "forbidden")
        await change(ada, "DELETE", f"{chat}/members/{alan.user_id}", 4)
        async with open_session(connector(gateway, "websocket"), grace) as session:
            await session.send_text(created["chat_id"], "without Alan")
        await change(ada, "PATCH", f"{chat}/members/{grace.user_id}", 5, role="ROLE_OWNER")
        await change(ada, "DELETE", f"{chat}/members/{ada.user_id}", 6)

        histories = {
            person: await read_history(url, person, created["chat_id"], until=ends_with(version))
            for person, version in ((ada, 6), (grace, 6), (alan, 4))
        }
        members = (await http.get(f"{chat}/members", headers=grace.headers)).json()
        unknown = await http.get(chat, headers=(await sign_up(url, "eve")).headers)
        guests = {"user_ids": [str(alan.user_id)]}
        left = await change(grace, "POST", "/v1/chats", 1, "second", name="Compilers", **guests)
        deletion = await http.post("/v1/me/deletion", json={"current_password": PASSWORD}, headers=grace.headers)
        deletion.raise_for_status()
        await read_history(url, alan, left["chat_id"], until=ends_with(3))
        heirs = (await http.get(f"/v1/chats/{left['chat_id']}/members", headers=alan.headers)).json()["members"]
    assert [(each["user_id"], each["role"]) for each in heirs] == [(str(alan.user_id), "ROLE_OWNER")]
    assert [summary(each) for each in histories[ada]] == [1, 2, 3, 4, "without Alan", 5, 6]
    assert [summary(each) for each in histories[grace]] == [1, 2, 3, 4, "without Alan", 5, 6]
    assert [summary(each) for each in histories[alan]] == [2, 3, 4]
    assert [(each["user_id"], each["role"]) for each in members["members"]] == [(str(grace.user_id), "ROLE_OWNER")]
    assert (unknown.status_code, unknown.json()["field"]) == (httpx.codes.NOT_FOUND, "chat_id")


async def test_the_python_client_receives_groups_and_reads_what_it_missed_of_them(rookery: Rookery) -> None:
    async with AsyncExitStack() as stack:
        people = [await sign_up(rookery.url, name) for name in ("ada", "grace")]
        ada, grace = [
            await stack.enter_async_context(open_client(rookery.url, each.name, PASSWORD, transport=transport))
            for each, transport in zip(people, TRANSPORTS, strict=True)
        ]
        away = CatchUp(grace.api, lambda event: True)
        await away.begin()
        created = await ada.groups.create("Engines")
        chat_id, grace_id = created.chat_id, grace.me.user_id
        await ada.send(chat_id, "before")
        await ada.groups.add_members(chat_id, [grace_id], role=ROLE_GUEST, expected_version=1)
        await ada.send(chat_id, "within @everyone", mentions_everyone=True)
        with trio.fail_after(PATIENCE):
            while [chat.unread_mentions for chat in (await grace.api.chats()).chats] != [1]:
                await trio.sleep(0.05)
        with pytest.raises(Refused, match="mention everyone"):
            await grace.send(chat_id, "@everyone", mentions_everyone=True)
        with pytest.raises(Refused, match="the name") as caught:
            await grace.groups.change_settings(chat_id, name="Tea")
        assert caught.value.code == "forbidden"
        read_id = (await grace.send(chat_id, "read")).event_id
        grace.mark(chat_id, read_up_to=read_id)
        with trio.fail_after(PATIENCE):
            while not (await ada.groups.marks(chat_id, from_id=read_id)).marks:
                await trio.sleep(0.05)
        assert not (await ada.groups.marks(chat_id, from_id=created.message_id)).marks, "she may not read the creation"
        removed = await ada.groups.remove_member(chat_id, grace_id)
        await ada.send(chat_id, "after")
        with pytest.raises(Refused, match="chat"):
            await grace.send(chat_id, "late")

        async def texts(events: AsyncIterator[object]) -> list[int | str]:
            """Read messages up to the removal."""
            found: list[int | str] = []
            with trio.fail_after(PATIENCE):
                async for event in events:
                    if isinstance(event, Message):
                        found.append(summary(HistoryMessage(message=event)))
                        if event.message_id == removed.message_id:
                            break
            return found

        assert await texts(grace.events()) == [2, "within @everyone", 3]
        async with aclosing(away.events()) as missed:
            assert await texts(missed) == [2, "within @everyone", "read", 3]
        assert [each.user_id for each in (await ada.groups.members(chat_id)).members] == [ada.me.user_id]
        assert not (await grace.groups.members(chat_id)).members
        assert (await grace.api.chat(chat_id)).own.spans[-1].last == removed.message_id


@pytest.mark.slow
async def test_users_join_by_a_link_and_by_asking_and_find_public_groups(platform: tuple[str, Process]) -> None:
    url, _ = platform
    async with AsyncExitStack() as stack:
        people = [await sign_up(url, name) for name in ("ada", "grace", "alan")]
        ada, grace, alan = [await stack.enter_async_context(open_client(url, each.name, PASSWORD)) for each in people]
        word = f"engines{ada.me.user_id}"
        chat_id = (await ada.groups.create(f"Analytical {word}")).chat_id
        link = await ada.groups.create_invite(chat_id, max_uses=1, client_change_id="link")
        assert await ada.groups.create_invite(chat_id, max_uses=1, client_change_id="link") == link
        assert (await grace.groups.joinable(link.token)).members == 1
        joined = await grace.groups.join(link.token)
        assert joined.control.members[0].invite_id == link.invite.invite_id
        (used,) = await until_read(lambda: ada.groups.invites(chat_id), lambda links: links[0].uses)
        assert (used.uses, used.expires_at_ms) == (1, link.invite.expires_at_ms)
        for act in (alan.groups.joinable(link.token), alan.groups.join(link.token), alan.groups.join_public(chat_id)):
            with pytest.raises(Refused) as caught:
                await act
            assert caught.value.code == "not_found"
        await ada.groups.change_settings(chat_id, is_public=True, asks_to_join=True)
        (found,) = (await until_read(lambda: alan.groups.public(f"analyt {word}"), lambda page: page.chats)).chats
        assert (found.chat_id, found.members, found.asks_to_join, found.has_asked) == (chat_id, 2, True, False)
        for _ in range(2):
            await alan.groups.join_public(chat_id)
            (asking,) = await until_read(lambda: grace.groups.requests(chat_id), bool)
            assert asking.user_id == alan.me.user_id
            assert (await alan.groups.public(word)).chats[0].has_asked
            assert not (await alan.api.chats()).chats
            await grace.groups.decline(chat_id, alan.me.user_id)
            await until_read(lambda: grace.groups.requests(chat_id), lambda asking: not asking)
        await grace.groups.add_members(chat_id, [alan.me.user_id])
        (chat,) = (await until_read(lambda: alan.api.chats(), lambda page: page.chats)).chats
        assert chat.chat_id == chat_id


def summary(each: HistoryMessage) -> int | str:
    """The version of a control change, or the text of a message."""
    message = each.message
    return message.control.version if message.HasField("control") else message.text.body


def ends_with(version: int) -> Any:
    def is_last(messages: Sequence[HistoryMessage]) -> bool:
        return bool(messages) and summary(messages[-1]) == version

    return is_last


async def test_members_of_a_channel_get_all_its_events_while_it_is_open_and_else_its_head_and_what_concerns_them(
    platform: tuple[str, Process],
) -> None:
    url, _ = platform
    async with AsyncExitStack() as stack:
        people = [await sign_up(url, name) for name in ("ada", "grace", "alan")]
        ada, grace, alan = [
            await stack.enter_async_context(open_client(url, each.name, PASSWORD, transport=transport))
            for each, transport in zip(people, (*TRANSPORTS, "grpc"), strict=True)
        ]
        chat_id = (await ada.groups.create("News", [grace.me.user_id], is_channel=True)).chat_id
        await ada.send(chat_id, "before")
        with pytest.raises(Refused, match="chat") as caught:
            await alan.channels.open(chat_id)
        assert caught.value.code == "not_found"
        await ada.groups.add_members(chat_id, [alan.me.user_id])
        await grace.channels.open(chat_id)
        for number in range(3):
            await ada.send(chat_id, f"live {number}")
        mention = Mention(user_id=alan.me.user_id, name="alan")
        last = await ada.send(chat_id, "for @alan", mentions=[mention])

        async def received(client: Client, until: type) -> list[object]:
            """The client's events up to the mention, and the first one of another type."""
            found: list[object] = []
            with trio.fail_after(PATIENCE):
                async for event in client.events():
                    found.append(summary(HistoryMessage(message=event)) if isinstance(event, Message) else event)
                    is_last = isinstance(event, Message) and event.message_id == last.event_id
                    if any(isinstance(each, until) for each in found) and (is_last or "for @alan" in found):
                        return found
            raise AssertionError(found)

        texts = [each for each in await received(grace, Followed) if isinstance(each, str)]
        assert sorted({*texts} - {"before"}) == ["for @alan", "live 0", "live 1", "live 2"]
        assert len(texts) == len({*texts})
        found = await received(alan, ChannelHead)
        assert [each for each in found if isinstance(each, str | int)] == [2, "for @alan"]
        (chat,) = (await until_read(lambda: alan.api.chats(), lambda page: page.chats)).chats
        assert (chat.settings.is_channel, chat.member_count) == (True, 3)
