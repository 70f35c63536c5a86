"""The interop cases that each program supports: the table of docs/interop.md.

python -m tests.interop.matrix   prints it
"""

from typing import Literal, NamedTuple

Language = Literal["go", "java", "node", "python"]
Role = Literal["client", "server"]

LANGUAGES: dict[Language, str] = {"go": "grpc-go", "java": "grpc-java", "node": "grpc-js", "python": "grpcio"}
"""With the name of each one's implementation of gRPC."""

CASES = (
    "empty_unary",
    "large_unary",
    "client_compressed_unary",
    "server_compressed_unary",
    "client_streaming",
    "client_compressed_streaming",
    "server_streaming",
    "server_compressed_streaming",
    "ping_pong",
    "empty_stream",
    "cancel_after_begin",
    "cancel_after_first_response",
    "timeout_on_sleeping_server",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
    "rpc_soak",
    "channel_soak",
)


class Run(NamedTuple):
    """Cases that run one after the other, with the same program."""

    language: Language
    tls: bool

    def __str__(self) -> str:
        return f"{self.language}-tls" if self.tls else self.language


RUNS = [Run(language, tls) for language in LANGUAGES for tls in (False, True)]

NO_PROBE = "did not end with INVALID_ARGUMENT"
"""The failure of a server that reads compressed requests but can't detect that one should have been compressed. It
passes the rest of the case."""

_PLAIN = r"False.* instead of .*True"

LACKS: dict[tuple[Language, Role], dict[str, str]] = {
    ("go", "client"): {"client_compressed_streaming": "Unsupported test case"},
    ("go", "server"): {
        "client_compressed_unary": NO_PROBE,
        "server_compressed_unary": _PLAIN,
        "client_compressed_streaming": NO_PROBE,
        "server_compressed_streaming": _PLAIN,
    },
    ("java", "server"): {
        "client_compressed_unary": NO_PROBE,
        "client_compressed_streaming": NO_PROBE,
        "server_compressed_streaming": _PLAIN,
    },
    ("node", "server"): {
        "client_compressed_unary": NO_PROBE,
        "server_compressed_unary": _PLAIN,
        "client_compressed_streaming": NO_PROBE,
        "server_compressed_streaming": _PLAIN,
    },
    ("python", "client"): {"client_compressed_streaming": "NotImplementedError"},
    ("python", "server"): {"client_compressed_unary": NO_PROBE, "client_compressed_streaming": NO_PROBE},
}
"""The unsupported cases of each program, with a regular expression for the failure."""


def lack(language: Language, role: Role, case: str) -> str | None:
    """Return the expected failure if the program lacks the case; None if it has it."""
    return LACKS.get((language, role), {}).get(case)


def table() -> str:
    """Return the matrix in Markdown."""
    roles: tuple[Role, ...] = ("client", "server")
    columns: list[tuple[Language, Role]] = [(language, role) for role in roles for language in LANGUAGES]
    lines = ["| case | " + " | ".join(f"{LANGUAGES[language]} {role}" for language, role in columns) + " |"]
    lines.append("| --- |" + " :-: |" * len(columns))
    for case in CASES:
        cells = [_cell(language, role, case) for language, role in columns]
        lines.append(f"| `{case}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(language: Language, role: Role, case: str) -> str:
    lacking = lack(language, role, case)
    return "yes" if lacking is None else "no probe" if lacking == NO_PROBE else "no"


if __name__ == "__main__":
    print(table(), end="")
