"""Groups and channels in `rookery chat`."""

from typing import Any

import pytest
import trio
from google.protobuf import json_format
from trio.testing import wait_all_tasks_blocked

from rookery.client import Control, Message
from rookery.commands.terminal.chat import TerminalChat
from rookery.v1 import session_pb2 as pb
from shared.contract.ids import MAX_ID
from tests.rookery.commands.terminal.screens import ADDED, GRACE, OWNER, SETTINGS, FakeScreen, control
from tests.waiting import until

CHANNEL = SETTINGS | {"is_channel": True}

MEMBERS = "GET /v1/chats/g-1/members?after=0&limit=1000"


@pytest.mark.parametrize(
    ("line", "request_line", "body"),
    [
        ("/add grace", "POST /v1/chats/g-1/members", {"user_ids": ["9"], "role": "ROLE_MEMBER"}),
        ("/rename Steam  engines", "PATCH /v1/chats/g-1", {"name": "Steam  engines"}),
        ("/topic", "PATCH /v1/chats/g-1", {"topic": ""}),
        ("/role grace admin", "PATCH /v1/chats/g-1/members/9", {"role": "ROLE_ADMIN"}),
        ("/accept grace", "POST /v1/chats/g-1/members", {"user_ids": ["9"], "role": "ROLE_MEMBER"}),
    ],
)
async def test_a_command_changes_the_open_group(
    group: TerminalChat, screen: FakeScreen, connection: Any, bff: Any, line: str, request_line: str, body: Any
) -> None:
    bff.answers[request_line] = 200, control(21, **ADDED)
    await group.execute(line)
    assert bff.bodies[-1] == body | {"client_change_id": bff.bodies[-1]["client_change_id"]}
    event = pb.Event(message=Message(message_id=21, chat_id="g-1", sender_id=7, control=Control(version=2)))
    connection.reply(pb.ServerFrame(event=event))  # all sessions receive it
    await wait_all_tasks_blocked()
    assert screen.shown[-1].endswith(" ada added grace")


@pytest.mark.parametrize("is_channel", [False, True])
@pytest.mark.parametrize("command", ["/add", "/accept"])
async def test_a_guest_adds_guests(
    group: TerminalChat, bff: Any, connection: Any, nursery: trio.Nursery, command: str, is_channel: bool
) -> None:
    nursery.start_soon(accept_follows, connection)
    own = {"user_id": "7", "role": "ROLE_GUEST", "version": "2"}
    guests = {"chat_id": "g-2", "settings": {"name": "Guests", "is_channel": is_channel}, "version": "2", "own": own}
    bff.answers |= {
        "GET /v1/chats?changed_since_ms=0&limit=100": (200, {"chats": [guests]}),
        "GET /v1/chats/g-2": (200, guests),
        "GET /v1/chats/g-2/messages?limit=1": (200, {"complete_up_to": str(MAX_ID)}),
        "GET /v1/chats/g-2/members?after=0&limit=1000": (200, {"members": [own]}),
        "POST /v1/chats/g-2/members": (200, control(21, **ADDED)),
    }
    await group.execute("/open Guests")
    await group.execute(f"{command} grace")
    assert bff.bodies[-1]["role"] == "ROLE_GUEST"


async def test_new_members_of_the_open_group_are_watched_and_can_be_mentioned(
    group: TerminalChat, screen: FakeScreen, connection: Any, bff: Any, nursery: trio.Nursery
) -> None:
    user_ids = range(11, 21)  # more than the text of the change names
    members = [{"user_id": str(user_id), "role": "ROLE_MEMBER", "version": "2"} for user_id in user_ids]
    profiles = [{"user_id": str(each), "name": f"user{each}", "display_name": f"User {each}"} for each in user_ids]
    bff.answers[f"GET /v1/profiles?user_ids={'%2C'.join(map(str, user_ids))}"] = 200, {"profiles": profiles}
    added = json_format.ParseDict(control(21, version="2", members=members), pb.Event())
    connection.reply(pb.ServerFrame(event=added))
    await wait_all_tasks_blocked()
    assert list(connection.received[-2].watch.user_ids) == [7, *user_ids]
    connection.reply(pb.ServerFrame(event=pb.Event(presence=pb.Presence(user_id=20, is_online=True))))
    await wait_all_tasks_blocked()
    await group.execute("/members")
    assert screen.shown[-1] == "user20, online"
    nursery.start_soon(accept_follows, connection)
    await group.execute("hello @user20")
    assert connection.received[-1].send.text.mentions == [pb.Mention(user_id=20, name="user20")]


async def test_a_member_whose_name_could_not_be_read_at_first_can_be_mentioned(
    group: TerminalChat, connection: Any, bff: Any, nursery: trio.Nursery
) -> None:
    member = {"user_id": "11", "role": "ROLE_MEMBER", "version": "1"}
    bff.answers[MEMBERS] = 200, {"members": [*OWNER, member]}
    bff.answers["GET /v1/chats?changed_since_ms=0&limit=100"] = 200, {"chats": []}
    await group.execute("/open Engines")
    bob = {"user_id": "11", "name": "bob", "display_name": "Bob"}
    bff.answers["GET /v1/profiles?user_ids=11"] = 200, {"profiles": [bob]}
    nursery.start_soon(accept_follows, connection)
    await group.execute("hi @bob")
    assert connection.received[-1].send.text.mentions == [pb.Mention(user_id=11, name="bob")]


@pytest.mark.parametrize("line", ["hello @ada @grace", "/edit 1 hello @ada @grace"])
async def test_a_user_who_is_no_member_any_more_is_refused_once_and_then_not_mentioned(
    group: TerminalChat, screen: FakeScreen, connection: Any, bff: Any, nursery: trio.Nursery, line: str
) -> None:
    @nursery.start_soon
    async def answer() -> None:
        while True:
            frame = await connection.next_frame()
            text = frame.send.text if frame.HasField("send") else frame.change.edited.text
            if {mention.user_id for mention in text.mentions} == {7, 9}:
                path = f"{'send' if frame.HasField('send') else 'change.edited'}.text.mentions[1].user_id"
                number = len(connection.received)
                connection.reply(pb.ServerFrame(refused=pb.Refused(frame=number, code="not_found", field=path)))
            else:
                connection.accept(frame, 50)

    bff.answers["GET /v1/chats?changed_since_ms=0&limit=100"] = 200, {"chats": []}
    await group.execute("/open Engines")
    own = Message(message_id=30, chat_id="g-1", sender_id=7, text=pb.Text(body="hi"))
    connection.reply(pb.ServerFrame(event=pb.Event(event_id=30, message=own)))
    await wait_all_tasks_blocked()
    await group.execute(line)
    assert screen.shown[-1].startswith("failed: ")
    await group.execute(line)
    last = connection.received[-1]
    text = last.send.text if last.HasField("send") else last.change.edited.text
    assert (text.body, text.mentions) == ("hello @ada @grace", [pb.Mention(user_id=7, name="ada")])


async def test_a_member_who_is_not_watched_any_more_is_not_listed_as_online(
    group: TerminalChat, screen: FakeScreen, connection: Any, bff: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rookery.commands.terminal.chat.MAX_WATCHED", 1)
    bff.answers["GET /v1/chats?changed_since_ms=0&limit=100"] = 200, {"chats": []}
    await group.execute("/with grace")
    online = pb.ServerFrame(event=pb.Event(presence=pb.Presence(user_id=9, is_online=True)))
    connection.reply(online)
    await wait_all_tasks_blocked()
    await group.execute("/open Engines")
    connection.reply(online)  # it was on its way
    await wait_all_tasks_blocked()
    await group.execute("/members")
    assert screen.shown[-2:] == ["ada (owner)", "grace"]


async def test_invite_links_and_requests_of_the_open_group_are_listed_and_ended(
    group: TerminalChat, screen: FakeScreen, bff: Any
) -> None:
    used = {"invite_id": "8", "creator_id": "7", "expires_at_ms": "0", "max_uses": 2, "uses": 1, "is_revoked": False}
    used["is_usable"] = True
    asking = [{"user_id": "9", "asked_at_ms": "4"}]
    bff.answers |= {
        "POST /v1/chats/g-1/invites": (201, {"invite": used, "token": "1.s"}),
        "GET /v1/chats/g-1/invites": (200, {"invites": [used | {"is_usable": False}, used], "version": "2"}),
        "GET /v1/chats/g-1/requests": (200, {"requests": asking, "version": "2"}),
        "GET /v1/profiles?user_ids=9": (200, {"profiles": [GRACE], "next_cursor": ""}),
    }
    await group.execute("/invite 1 2")
    assert screen.shown[-2:] == ["others join with /join 1.s", "it can be used 2 times, never ends"]
    assert (bff.bodies[-1]["expires_in_seconds"], bff.bodies[-1]["max_uses"]) == (86_400, 2)
    await group.execute("/revoke 1")
    assert "/invites lists" in screen.shown[-1]
    await group.execute("/invites")
    assert screen.shown[-1] == "1: of ada, used 1 times, can be used 2 times, never ends"
    await group.execute("/requests")
    assert screen.shown[-1] == "grace"
    for line, path in (("/revoke 1", "invites/8"), ("/decline grace", "requests/9")):
        await group.execute(line)
        assert bff.requests[-1].startswith(f"DELETE /v1/chats/g-1/{path}?client_change_id=")
    await group.execute("/invite 1 2 3")
    assert "/help shows" in screen.shown[-1]


async def test_a_user_joins_by_a_link_or_by_the_name_of_a_public_group(
    chat: TerminalChat, screen: FakeScreen, bff: Any
) -> None:
    token = f"1.{'s' * 22}"
    boats = {"chat_id": "g-1", "name": "Big Boats", "topic": "", "members": 1, "is_member": False}
    boats |= {"asks_to_join": True, "has_asked": False}
    found = {"chats": [boats], "has_more": False, "after": ""}
    joined, asked = ([{"user_id": "7", each: value}] for each, value in (("role", "ROLE_MEMBER"), ("asked_at_ms", "4")))
    bff.answers |= {
        f"GET /v1/joining/{token}": (200, boats),
        f"POST /v1/joining/{token}": (200, control(21, version="2", members=joined)),
        "GET /v1/public-chats?query=big+boats&after=&limit=100": (200, {"chats": [], "has_more": True, "after": "x"}),
        "GET /v1/public-chats?query=big+boats&after=x&limit=100": (200, found),
        "GET /v1/public-chats?query=big+boats&after=&limit=20": (200, found),
        f"GET /v1/public-chats?query={'n' * 64}&after=&limit=100": (
            200,
            found | {"chats": [boats | {"name": "n" * 70}]},
        ),
        "POST /v1/public-chats/g-1/joining": (200, control(22, version="3", members=asked)),
        "GET /v1/public-chats?query=&after=&limit=20": (200, {"chats": [], "has_more": False, "after": ""}),
    }
    await chat.execute(f"/join {token}")
    assert screen.shown[-1] == "you joined Big Boats: /open Big Boats writes to it"
    await chat.execute("/join big boats")
    assert screen.shown[-1].startswith("you asked to join Big Boats")
    await chat.execute(f"/join {'n' * 70}")
    assert screen.shown[-1].startswith(f"you asked to join {'n' * 70}")
    await chat.execute("/public big boats")
    assert screen.shown[-1] == "Big Boats (1 member, members decide who joins)"
    await chat.execute("/public")
    assert screen.shown[-1] == "no public group is found"


async def test_messages_of_groups_name_their_chat_unless_it_is_open_and_a_group_is_opened_by_its_name(
    group: TerminalChat, screen: FakeScreen, connection: Any, bff: Any, nursery: trio.Nursery
) -> None:
    bff.answers["GET /v1/chats?changed_since_ms=0&limit=100"] = 200, {"chats": []}
    await group.execute("/open Engines")
    assert screen.shown[-3:] == ["writing to Engines", "2 members: /members lists them", "topic: Steam"]
    nursery.start_soon(connection.accept_next)  # the mark
    nursery.start_soon(connection.accept_next)
    await group.execute("hello @grace @everyone")
    assert connection.received[-1].send.text.mentions == [pb.Mention(user_id=9, name="grace")]
    assert connection.received[-1].send.text.mentions_everyone
    for user_id in (7, 9):
        connection.reply(pb.ServerFrame(event=pb.Event(presence=pb.Presence(user_id=user_id, is_online=user_id == 7))))
    await wait_all_tasks_blocked()
    await group.execute("/members")
    assert screen.shown[-2:] == ["ada (owner), online", "grace"]
    await group.execute("/with grace")
    message = Message(message_id=30, chat_id="g-1", sender_id=9, text=pb.Text(body="hi"))
    settings = {"name": "Trains"}
    renamed = Message(message_id=31, chat_id="g-1", sender_id=9, control={"settings": settings, "changed": ["name"]})
    renamed.control.version = 3
    for each in (message, renamed):
        connection.reply(pb.ServerFrame(event=pb.Event(event_id=each.message_id, message=each)))
    await wait_all_tasks_blocked()
    assert screen.shown[-2].endswith(" grace in Engines: hi")
    assert screen.shown[-1].endswith(" grace in Trains renamed the group to Trains")
    listed = {
        "chat_id": "g-1",
        "version": "3",
        "settings": settings,
        "newest": {"message": control(31, **ADDED)["message"]},
    }
    bff.answers["GET /v1/chats?changed_since_ms=0&limit=100"] = 200, {"chats": [listed]}
    await group.execute("/chats")
    assert (screen.shown[-1][:8], screen.shown[-1][-16:]) == ("Trains  ", " ada added grace")
    await group.execute("/open trains")
    assert "writing to Trains" in screen.shown
    assert not group.failed
    await group.execute("/open Engines")
    assert "no group" in screen.shown[-1]
    bff.answers["GET /v1/chats/g-1"] = 200, {"chat_id": "g-1", "settings": settings, "version": "4", "own": {}}
    await group.execute("/open Trains")
    assert "not a member any more" in screen.shown[-1]
    await group.execute("/leave")
    assert "no group is open" in screen.shown[-1]


@pytest.mark.parametrize(
    ("newest_sent_id", "own", "note"),
    [
        ("0", OWNER[0], " (archived)"),
        ("39", OWNER[0], " (archived)"),
        ("41", OWNER[0], ""),
        ("0", OWNER[0] | {"spans": [{"first": "39"}]}, " (archived)"),
        ("0", OWNER[0] | {"spans": [{"first": "1", "last": "39"}, {"first": "42"}]}, ""),  # the newest added them again
        ("0", {"user_id": "7", "spans": [{"first": "1", "last": "42"}]}, ""),  # the newest removed them
    ],
)
async def test_a_message_takes_a_group_out_of_the_archive_but_a_control_change_does_not(
    group: TerminalChat, screen: FakeScreen, bff: Any, newest_sent_id: str, own: dict[str, Any], note: str
) -> None:
    control = {"control": {"version": "2", "changed": ["topic"]}}
    newest = {"message": {"message_id": "42", "chat_id": "g-1", "sender_id": "7", **control}}
    archived = [{"event_id": "40", "change": {"archived": {"set": True}}}]
    listed: dict[str, Any] = {"chat_id": "g-1", "version": "2", "settings": SETTINGS}
    listed |= {"newest": newest, "changes": archived}
    listed |= {"newest_sent_id": newest_sent_id, "own": own}
    bff.answers["GET /v1/chats?changed_since_ms=0&limit=100"] = 200, {"chats": [listed]}
    await group.execute("/chats")
    assert screen.shown[-1].startswith(f"Engines{note}  ")


async def test_opening_a_group_with_shown_history_begins_where_the_user_joined(
    group: TerminalChat, screen: FakeScreen, connection: Any, bff: Any, nursery: trio.Nursery
) -> None:
    own = OWNER[0] | {"spans": [{"first": "30"}]}
    joined = control(30, version="2", members=[own])
    sent = {"message": {"message_id": "31", "chat_id": "g-1", "sender_id": "9", "text": {"body": "hi"}}}
    chat = {"chat_id": "g-1", "settings": SETTINGS | {"shows_history": True}, "version": "2", "own": own, "unread": 1}
    bff.answers |= {
        "GET /v1/chats?changed_since_ms=0&limit=100": (200, {"chats": [chat]}),
        "GET /v1/chats/g-1": (200, chat),
        "GET /v1/chats/g-1/messages?limit=100&after_id=29": (200, {"messages": [{"message": joined["message"]}, sent]}),
    }
    nursery.start_soon(connection.accept_next)  # the mark
    await group.execute("/open Engines")
    assert screen.shown[-1].endswith(" grace: hi")
    assert not group.failed


@pytest.mark.parametrize(
    ("except_mentions", "mentions", "note"),
    [
        (True, 1, "3 unread, 1 mention, muted except mentions"),
        (True, 0, "3 unread, muted except mentions, archived"),
        (False, 1, "3 unread, 1 mention, muted, archived"),
    ],
)
async def test_a_mention_for_which_a_mute_has_an_exception_takes_a_group_out_of_the_archive(
    group: TerminalChat, screen: FakeScreen, bff: Any, except_mentions: bool, mentions: int, note: str
) -> None:
    muted = {"until_ms": str(2**62), "except_mentions": except_mentions}
    changes = [{"event_id": "40", "change": change} for change in ({"archived": {"set": True}}, {"muted": muted})]
    listed: dict[str, Any] = {"chat_id": "g-1", "version": "2", "settings": SETTINGS, "newest_sent_id": "41"}
    listed |= {"changes": changes, "unread": 3, "unread_mentions": mentions, "own": OWNER[0]}
    bff.answers["GET /v1/chats?changed_since_ms=0&limit=100"] = 200, {"chats": [listed]}
    await group.execute("/chats")
    assert screen.shown[-1] == f"Engines ({note})"


@pytest.mark.parametrize("failing", ["GET /v1/chats/g-2", "GET /v1/chats/g-2/members?after=0&limit=1000"])
async def test_lines_and_commands_stay_with_the_open_group_if_another_one_can_not_be_read(
    group: TerminalChat, screen: FakeScreen, bff: Any, failing: str
) -> None:
    trains = {"chat_id": "g-2", "settings": {"name": "Trains"}, "version": "1", "own": OWNER[0]}
    bff.answers |= {
        "GET /v1/chats?changed_since_ms=0&limit=100": (200, {"chats": [trains]}),
        "GET /v1/chats/g-2": (200, trains),
        failing: (403, {"code": "forbidden", "detail": "Not now."}),
        "PATCH /v1/chats/g-1": (200, control(21, **ADDED)),
    }
    await group.execute("/open Trains")
    assert screen.shown[-1].startswith("failed: ")
    await group.execute("/members")
    assert screen.shown[-1] == "ada (owner)"
    await group.execute("/topic Steam")
    assert bff.requests[-1] == "PATCH /v1/chats/g-1"


async def test_the_members_are_read_again_after_missed_control_changes(
    group: TerminalChat, screen: FakeScreen, connection: Any, bff: Any
) -> None:
    async def receive(version: str, member: dict[str, Any]) -> None:
        change = control(20 + int(version), version=version, members=[member | {"version": version}])
        connection.reply(pb.ServerFrame(event=json_format.ParseDict(change, pb.Event())))
        await wait_all_tasks_blocked()

    bob = {"user_id": "11", "role": "ROLE_MEMBER", "version": "4"}
    bff.answers["GET /v1/profiles?user_ids=11"] = 200, {"profiles": [GRACE | {"user_id": "11", "name": "bob"}]}
    bff.answers[MEMBERS] = 200, {"version": "3"}  # the archive lags: it has ada as a former member
    await receive("2", {"user_id": "9", "role": "ROLE_MEMBER"})
    await receive("3", {"user_id": "7", "former_role": "ROLE_OWNER"})
    await receive("6", OWNER[0])
    await group.execute("/members")
    assert screen.shown[-2:] == ["ada (owner)", "grace"]
    bff.answers[MEMBERS] = 200, {"members": [OWNER[0] | {"version": "6"}, bob], "version": "6"}
    await group.execute("/members")
    assert screen.shown[-2:] == ["ada (owner)", "bob"]
    await receive("7", {"user_id": "11", "former_role": "ROLE_MEMBER"})
    await group.execute("/members")
    assert screen.shown[-1] == "ada (owner)"
    bff.answers[MEMBERS] = 200, {"members": [OWNER[0] | {"version": "6"}, bob | {"version": "9"}], "version": "9"}
    await receive("9", bob)
    assert bff.requests.count(MEMBERS) == 4
    await group.execute("/members")
    assert screen.shown[-2:] == ["ada (owner)", "bob"]
    assert bff.requests.count(MEMBERS) == 4


async def test_a_member_who_joins_while_another_group_can_not_be_read_is_known(
    group: TerminalChat, screen: FakeScreen, connection: Any, bff: Any, nursery: trio.Nursery
) -> None:
    trains = {"chat_id": "g-2", "settings": {"name": "Trains"}, "version": "1", "own": OWNER[0]}
    bff.answers |= {
        "GET /v1/chats?changed_since_ms=0&limit=100": (200, {"chats": [trains]}),
        "GET /v1/chats/g-2": (403, {"code": "forbidden", "detail": "Not now."}),
    }
    bff.slow_seconds = 1.0
    nursery.start_soon(group.execute, "/open Trains")
    await until(lambda: bff.requests[-1] == "GET /v1/chats/g-2")
    connection.reply(pb.ServerFrame(event=json_format.ParseDict(control(21, **ADDED), pb.Event())))
    await until(lambda: group.failed)
    assert [line[-16:] for line in screen.shown[-2:]] == [" ada added grace", "failed: Not now."]
    await group.execute("/members")
    assert screen.shown[-2:] == ["ada (owner)", "grace"]


async def test_a_command_for_groups_is_refused_while_a_user_is_written_to(
    group: TerminalChat, screen: FakeScreen, bff: Any
) -> None:
    await group.execute("/with grace")
    await group.execute("/leave")
    assert screen.shown[-1].startswith("no group is open")
    assert not [request for request in bff.requests if request.startswith("DELETE")]


async def accept_follows(connection: Any) -> None:
    """Accept every frame of the client."""
    while True:
        connection.accept(await connection.next_frame(), 0)


async def test_a_group_becomes_a_channel_whose_events_come_while_it_is_written_to(
    group: TerminalChat, screen: FakeScreen, connection: Any, bff: Any, nursery: trio.Nursery
) -> None:
    nursery.start_soon(accept_follows, connection)
    made = control(21, version="2", settings=CHANNEL, changed=["is_channel"])
    member_page = {"members": [{"user_id": "7", "role": "ROLE_OWNER"}], "has_more": True}
    bff.answers |= {
        "PATCH /v1/chats/g-1": (200, made),
        "GET /v1/chats/g-1/messages?limit=1": (200, {"complete_up_to": str(MAX_ID)}),
        "GET /v1/chats/g-1/members?after=0&limit=100": (200, member_page),
        "GET /v1/chats?changed_since_ms=0&limit=100": (200, {"chats": []}),
        "GET /v1/chats/g-1": (
            200,
            {"chat_id": "g-1", "settings": CHANNEL, "version": "2", "own": OWNER[0]},
        ),
    }
    await group.execute("/channel")
    assert bff.bodies[-1]["is_channel"]
    change = {"version": 2, "settings": CHANNEL, "changed": ["is_channel"]}
    converted = Message(message_id=21, chat_id="g-1", sender_id=7, control=change)
    connection.reply(pb.ServerFrame(event=pb.Event(event_id=21, message=converted)))
    await until(lambda: connection.received[-1].follow.open_chat_ids == ["g-1"])
    written = Message(message_id=30, chat_id="g-1", sender_id=9, text=pb.Text(body="hi"))
    connection.reply(pb.ServerFrame(event=pb.Event(event_id=30, message=written)))
    await until(lambda: screen.shown[-1].endswith("grace: hi"))
    await group.execute("hello @grace")
    assert connection.received[-1].send.text.mentions == [pb.Mention(user_id=9, name="grace")]
    await group.execute("/members")
    assert screen.shown[-2:] == ["ada (owner)", "only 100 members are listed"]
    await group.execute("/with grace")
    await until(lambda: connection.received[-1].follow.chat_ids == ["g-1"])
    assert connection.received[-1].follow.open_chat_ids == []
    for _ in range(2):
        connection.reply(pb.ServerFrame(channel_head=pb.ChannelHead(chat_id="g-1", newest_id=31)))
    mention = Message(message_id=31, chat_id="g-1", sender_id=9, text=pb.Text(body="@ada"))
    connection.reply(pb.ServerFrame(event=pb.Event(event_id=31, message=mention)))
    await until(lambda: screen.shown[-1].endswith("grace in Engines: @ada"))
    assert screen.shown[-2] == "there are new messages in Engines: /open Engines shows them"
    await wait_all_tasks_blocked()
    assert connection.received[-1].HasField("follow"), "the mention is not marked as read: others before it are not"
    await group.execute("/open Engines")
    assert connection.received[-1].follow.open_chat_ids == ["g-1"]
    connection.reply(pb.ServerFrame(channel_head=pb.ChannelHead(chat_id="g-1", newest_id=31)))  # it was on its way
    written.message_id = 32
    connection.reply(pb.ServerFrame(event=pb.Event(event_id=32, message=written)))
    await until(lambda: connection.received[-1].change.marked.read_up_to == 32)
    assert not group.failed
