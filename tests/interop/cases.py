"""The sizes, metadata and requests of the interop cases, for the programs in Python."""

from collections.abc import Sequence
from typing import Any

from tests.interop.generated import messages

LARGE_REQUEST = 271_828
LARGE_RESPONSE = 314_159
REQUEST_SIZES = (27_182, 8, 1_828, 45_904)
RESPONSE_SIZES = (31_415, 9, 2_653, 58_979)
"""Bytes of bodies, as the standard has them."""

ECHO_INITIAL = ("x-grpc-test-echo-initial", "test_initial_metadata_value")
ECHO_TRAILING = ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab")
"""The server echoes the first before its first message, the second with the status."""

SPECIAL_MESSAGE = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"

SOAK_CALLS = 10
"""Enough to show that a channel, or a connection, can be reused."""

TIMEOUT = 30.0
"""Seconds; only a case that has failed takes that long."""


def simple_request(body: int, response: int) -> Any:
    """Return a request with a body of `body` bytes that asks for a response of `response` bytes."""
    return messages.SimpleRequest(payload=payload(body), response_size=response)


def streaming_request(*responses: int, body: int = 0) -> Any:
    """Return a request with a body of `body` bytes that asks for responses of these sizes."""
    wanted = [messages.ResponseParameters(size=size) for size in responses]
    return messages.StreamingOutputCallRequest(payload=payload(body), response_parameters=wanted)


def payload(size: int) -> Any:
    """Return a body of `size` bytes."""
    return messages.Payload(body=bytes(size))


def expect(actual: object, wanted: object) -> None:
    assert actual == wanted, f"{actual!r} instead of {wanted!r}"


def expect_once(metadata: Sequence[tuple[str, str | bytes]], pair: tuple[str, str | bytes]) -> None:
    """Expect the name once in the metadata, with this value."""
    expect([value for name, value in metadata if name == pair[0]], [pair[1]])
