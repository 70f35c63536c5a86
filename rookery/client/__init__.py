"""The public Python client: chat with a Rookery over gRPC or WebSocket, on Trio.

    async with open_client("http://127.0.0.1:8080", "ada", password) as client:
        grace = await client.api.find_user("grace")
        await client.send(grace.user_id, "Good morning")
        async for event in client.events():
            match event:
                case Message():
                    print(event.sender_id, event.text.body)
                case Event():
                    ...  # a change, such as an edit or a reaction: apply_change(state, event)
                case Presence():
                    ...  # of a user who is watched: see Client.watch
                case GroupMarks():
                    ...  # how far members of a group of at most 100 have read it
                case ChannelHead():
                    ...  # a channel that is not open has new events: see Client.channels
                case Gap():
                    nursery.start_soon(read_missed, client.catch_up.events(event))

The last task iterates over the missing events as the others, and over `TooOld` for a chat of which too much is missing.

`Client` holds the live session, `Client.api` calls the HTTP API, `Client.groups` changes groups, `Client.channels`
opens channels, `Client.people` changes connections and blocks, and `Client.files` uploads and downloads files. Values
are the messages of `rookery.v1`.

    message = await client.groups.create("Engines", [grace.user_id])
    await client.send(message.chat_id, "Welcome", files=[await client.files.upload(Path("plan.pdf"))])

A message of a group with a `control` has the changed settings and members of the group, and no text.

The edits, reactions and other changes of a message are a `State`, to which `apply_change` applies changes from
`Client.events`, from the client's own calls, and from the `changes` of history, in any order and any number of times.
"""

from rookery.client.catch_up import CatchUp, MissedEvent, list_chats
from rookery.client.channels import Channels
from rookery.client.connection import SessionStream
from rookery.client.core import ClientEvent, Connected, Disconnected, Followed, NotFollowed, TooOld
from rookery.client.errors import Refused, RookeryError, SignedOut, Unreachable
from rookery.client.files import Files, Link, Voice, refs_in
from rookery.client.groups import (
    FoundMembers,
    GroupInvite,
    Groups,
    JoinableChat,
    JoinRequest,
    NewGroupInvite,
    PublicChats,
)
from rookery.client.http import Api, GatewayEndpoints, Profile, User, open_api
from rookery.client.live import FOR_EVER, Client, Submission, open_client
from rookery.client.people import Connection, People
from rookery.v1.archive_pb2 import (
    Chat,
    HistoryMessage,
    ListChangesResponse,
    ListChatFilesResponse,
    ListChatsResponse,
    ListMarksResponse,
    ListMembersResponse,
    ListMessagesResponse,
)
from rookery.v1.files_pb2 import FileInfo, FileRef
from rookery.v1.groups_pb2 import (
    ROLE_ADMIN,
    ROLE_GUEST,
    ROLE_MEMBER,
    ROLE_OWNER,
    Control,
    GroupSettings,
    Member,
    Role,
    Span,
)
from rookery.v1.session_pb2 import (
    Accepted,
    Change,
    ChannelHead,
    Event,
    Gap,
    GroupMarks,
    MemberMark,
    Mention,
    Message,
    PeopleChanged,
    Presence,
    ProfileChanged,
    Text,
    Typing,
)
from shared.contract.changes import State
from shared.contract.changes import apply as apply_change
from shared.contract.groups import Permission, permissions_of
from shared.contract.sessions import MAX_FOLLOWED, MAX_OPEN, MAX_WATCHED

__all__ = [
    "FOR_EVER",
    "MAX_FOLLOWED",
    "MAX_OPEN",
    "MAX_WATCHED",
    "ROLE_ADMIN",
    "ROLE_GUEST",
    "ROLE_MEMBER",
    "ROLE_OWNER",
    "Accepted",
    "Api",
    "CatchUp",
    "Change",
    "ChannelHead",
    "Channels",
    "Chat",
    "Client",
    "ClientEvent",
    "Connected",
    "Connection",
    "Control",
    "Disconnected",
    "Event",
    "FileInfo",
    "FileRef",
    "Files",
    "Followed",
    "FoundMembers",
    "Gap",
    "GatewayEndpoints",
    "GroupInvite",
    "GroupMarks",
    "GroupSettings",
    "Groups",
    "HistoryMessage",
    "JoinRequest",
    "JoinableChat",
    "Link",
    "ListChangesResponse",
    "ListChatFilesResponse",
    "ListChatsResponse",
    "ListMarksResponse",
    "ListMembersResponse",
    "ListMessagesResponse",
    "Member",
    "MemberMark",
    "Mention",
    "Message",
    "MissedEvent",
    "NewGroupInvite",
    "NotFollowed",
    "People",
    "PeopleChanged",
    "Permission",
    "Presence",
    "Profile",
    "ProfileChanged",
    "PublicChats",
    "Refused",
    "Role",
    "RookeryError",
    "SessionStream",
    "SignedOut",
    "Span",
    "State",
    "Submission",
    "Text",
    "TooOld",
    "Typing",
    "Unreachable",
    "User",
    "Voice",
    "apply_change",
    "list_chats",
    "open_api",
    "open_client",
    "permissions_of",
    "refs_in",
]
