"""The tables and examples of docs/client-guide.md match the code."""

import json
import re
from pathlib import Path

from messaging.gateway.transports.messages import CLOSE_CODES
from rookery.client.catch_up import LAG_PAUSES, OVERLAP_MS
from rookery.v1.session_pb2 import ClientFrame, ServerFrame
from shared.contract.errors import KINDS, Code, Refusal
from shared.contract.ids import EPOCH_MS
from shared.contract.wire import from_json

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


def test_the_rule_after_a_gap_matches_the_code() -> None:
    assert f"Subtract {OVERLAP_MS // 60_000} minutes" in GUIDE
    at_once, *pauses = tuple(f"{pause:g}" for pause in LAG_PAUSES)
    assert at_once == "0"
    assert (
        tuple(pauses)
        == re.findall(r"read once more after (\d+) seconds, and\s+after (\d+), (\d+) and (\d+) more", GUIDE)[0]
    )
