"""The tables and examples of docs/client-guide.md match the code."""

import json
import re
from pathlib import Path

from bff.files import avatars, completion, uploads
from bff.files.downloads import MAX_DOWNLOADS
from bff.groups import MAX_SEARCHED
from bff.http.bodies import LEAST_RATE, PIECE_SECONDS
from bff.joining import ADDRESS_FACTOR
from messaging.archive.store.protocol import UNREAD_LIMIT, UNREAD_SCAN
from messaging.gateway.requests import MAX_FILES
from messaging.gateway.transports.messages import CLOSE_CODES
from rookery.client.catch_up import LONGEST_PAUSE, PAUSE
from rookery.client.channels import READ_AGAIN_EVENTS
from rookery.v1.kinds_pb2 import Law
from rookery.v1.session_pb2 import ClientFrame, ServerFrame
from shared.configuration.model import LiveConfiguration
from shared.contract import groups
from shared.contract.changes import KINDS as KINDS_OF_CHANGES
from shared.contract.errors import KINDS, Code, Refusal
from shared.contract.groups import DEFAULT_PERMISSIONS, GUEST_PERMISSIONS, Permission
from shared.contract.ids import EPOCH_MS
from shared.contract.sessions import MAX_FOLLOWED, MAX_OPEN
from shared.contract.wire import from_json
from shared.files.protocol import PART_BYTES

GUIDE = (Path(__file__).parents[3] / "docs" / "client-guide.md").read_text()


def test_the_table_of_refusals_matches_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (yes|no) \|", GUIDE, re.MULTILINE)
    table = {Code(code): (int(http), int(grpc), retry == "yes") for code, http, grpc, retry in rows}
    assert table == {code: (kind.http_status, kind.grpc_status, kind.retryable) for code, kind in KINDS.items()}


def test_the_table_of_close_codes_matches_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|$", GUIDE, re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == CLOSE_CODES


def test_the_examples_are_frames() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    examples = re.split(r"\n+(?=\{)", block.strip())
    assert len(examples) > 5
    for example in examples:
        kind = ServerFrame if "sequence" in json.loads(example) else ClientFrame
        frame = from_json(kind, example)
        assert not isinstance(frame, Refusal)
        assert frame.WhichOneof("frame") is not None


def test_the_formula_for_the_time_of_a_message_matches_the_code() -> None:
    assert f"(message_id >> 22) + {EPOCH_MS}" in GUIDE


def test_the_rule_of_unread_messages_matches_the_code() -> None:
    assert f"{UNREAD_LIMIT} at most (show it as" in GUIDE
    assert f"among the newest {UNREAD_SCAN:,} above the mark" in GUIDE


def test_the_pauses_of_catching_up_match_the_code() -> None:
    assert f"Repeat from step 2 every {PAUSE:g} seconds" in GUIDE
    assert f"doubling the pause up to {LONGEST_PAUSE:g} seconds" in GUIDE


def test_the_table_of_kinds_matches_the_protos() -> None:
    rows = re.findall(r"^\| `(\w+)`[^|]*\| (message|chat) \|[^|]*\| (\w+) \| ([^|]*)\| ([^|]*)\|", GUIDE, re.MULTILINE)
    table = {name: (f"LAW_{law}", re.findall(r"`(\w+)`", key), flags.split()) for name, _, law, key, flags in rows}
    flags = {
        name: ["private"] * kind.is_private + ["listed"] * kind.is_listed for name, kind in KINDS_OF_CHANGES.items()
    }
    assert table == {
        name: (Law.Name(kind.law), [path.rpartition(".")[2] for path in kind.key], flags[name])
        for name, kind in KINDS_OF_CHANGES.items()
    }


def test_the_permissions_and_limits_match_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (yes|no) \| (yes|no) \|", GUIDE, re.MULTILINE)
    assert [(int(number), name, default == "yes", guests == "yes") for number, name, default, guests in rows] == [
        (each, each.name, each in DEFAULT_PERMISSIONS, each in GUEST_PERMISSIONS) for each in Permission
    ]
    sentences = (
        f"at most {groups.MAX_MEMBERS:,} members, and {groups.MAX_EVER:,} present and former ones",
        f"has\n1 to {groups.MAX_NAME_BYTES:,} bytes, its topic at most {groups.MAX_TOPIC_BYTES:,}",
        f"adds at most {groups.MAX_MEMBERS - 1} users",
        f"`max_uses` ({groups.MAX_USES:,} at most",
        f"A group has {groups.MAX_INVITES}\nlinks",
        f"{groups.MAX_ASKING} users at once may wait",
        f"for up to {groups.MAX_CHANNEL_MEMBERS:,} members",
        f"among the next {MAX_SEARCHED:,} accounts",
        f"at most {MAX_FOLLOWED} channels, and `open_chat_ids`, at most {MAX_OPEN} of them",
        f"each {READ_AGAIN_EVENTS} events",
        f"A message has up to {MAX_FILES} files",
        f"`part_bytes`, which is {PART_BYTES >> 20} MiB",
        f"At most {MAX_DOWNLOADS} downloads",
        f"receives {uploads.MAX_PARTS_OF_USER} parts of a user at once, completes {completion.MAX_OF_USER} files of",
        f"silent for {PIECE_SECONDS:.0f} seconds, or brings less than {LEAST_RATE >> 10} KiB a second",
        f"a part that takes more than {uploads.PART_SECONDS / 60:.0f} minutes",
        f"A user may make {avatars.AVATARS_PER_DAY} a day, one at\na time",
        f"an upload that takes more than {avatars.UPLOAD_SECONDS:.0f} seconds",
    )
    assert [each for each in sentences if each not in GUIDE] == []


def test_the_limits_that_operators_can_change_have_their_defaults() -> None:
    live = LiveConfiguration()
    unknown = live.unknown_chats_per_minute
    sentences = (
        f"the user has {live.max_sessions_per_user} sessions",
        f"reserves {live.files_per_hour:,} new files of a user an\nhour",
        f"may have {live.max_open_uploads} uploads at once (429) and {live.max_user_file_bytes // 10**9} GB of files",
        f"create {live.groups_per_hour} groups an hour, make {live.member_additions_per_minute} requests a minute that",
        f"request {unknown} chats a minute",
        f"is {unknown} such requests a minute for a user, and {unknown * ADDRESS_FACTOR} for an address",
    )
    assert [each for each in sentences if each not in GUIDE] == []
