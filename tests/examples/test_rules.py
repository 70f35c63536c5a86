"""The example clients keep the rules of docs/client-guide.md, behind a gateway that behaves as gateways rarely do."""

import json
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12

from rookery.v1.session_pb2 import (
    Accepted,
    ClientFrame,
    Edited,
    Expiring,
    Gap,
    Goodbye,
    Moved,
    Pong,
    Reconnect,
    Refused,
    ServerFrame,
    Text,
)
from shared.contract.ids import wall_clock_ms
from tests.examples.between import Between, Connection, MakeConnection, open_between
from tests.examples.chatters import LANGUAGES, Chatter, Command, open_chatter
from tests.examples.http_proxy import Failures, http_proxy
from tests.system.sessions import Session, connector, open_session
from tools.launch.people import Person, sign_up
from tools.launch.process import Rookery, running

pytestmark = pytest.mark.slow

EDIT = "/edit "


@pytest.fixture(scope="module")
def front() -> Iterator[socket.socket]:
    """The socket that clients take for the gateway's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture(scope="module")
def rookery(tmp_path_factory: pytest.TempPathFactory, front: socket.socket) -> Iterator[Rookery]:
    settings = {"ROOKERY_GATEWAY__PUBLIC_GRPC": address_of(front)}
    with running(Rookery(tmp_path_factory.mktemp("rookery") / "data", settings=settings)) as ready:
        yield ready


@pytest.fixture
def all_examples(rookery: Rookery, command: Command, front: socket.socket) -> "AllExamples":
    return AllExamples(rookery, {language: command(language) for language in LANGUAGES}, front)


def address_of(listening: socket.socket) -> str:
    return f"127.0.0.1:{listening.getsockname()[1]}"


def listener_on(listening: socket.socket) -> trio.SocketListener:
    return trio.SocketListener(trio.socket.from_stdlib_socket(listening.dup()))


class Pair:
    """A user of an example, and a user who is connected to the real gateway."""

    def __init__(self, chatter: Chatter, other: Person, session: Session, received: list[ClientFrame]) -> None:
        self.chatter = chatter
        self.other = other
        self._session = session
        self._received = received

    def frames(self, kind: str) -> list[ClientFrame]:
        """Return the frames of a kind, such as `send`, that the example has sent over all its connections."""
        return [frame for frame in self._received if frame.WhichOneof("frame") == kind]

    async def send_from_other(self, *texts: str) -> None:
        """Send texts from the other user. An edit of the text before begins as in the input of the examples."""
        accepted = Accepted()
        for text in texts:
            if text.startswith(EDIT):
                edited = Edited(text=Text(body=text.removeprefix(EDIT)))
                await self._session.change(accepted.chat_id, accepted.event_id, edited=edited)
            else:
                accepted = await self._session.send_text(self.chatter.person.user_id, text)

    async def receive_edit(self) -> str:
        """Return the text of the next edit that the other user receives."""
        return (await self._session.next_event("change")).change.edited.text.body


class AllExamples:
    """All examples at once, since their start takes most of a test's time."""

    def __init__(self, rookery: Rookery, commands: dict[str, list[str]], front: socket.socket) -> None:
        self._rookery = rookery
        self._commands = commands
        self._front = front

    async def check(
        self,
        make_connection: MakeConnection,
        work: Callable[[Pair], Awaitable[None]],
        *,
        exit_code: int = 0,
        failures: Failures | None = None,
        languages: Sequence[str] = LANGUAGES,
    ) -> None:
        """Run the work with each example, behind connections of this kind, and behind an HTTP proxy with these failures
        for each; the example ends with the exit code."""
        async with (
            open_between(listener_on(self._front), self._rookery.grpc, make_connection) as between,
            trio.open_nursery() as nursery,
        ):
            for language in languages:
                nursery.start_soon(self._check_one, language, between, work, exit_code, failures or {})

    async def _check_one(
        self,
        language: str,
        between: Between,
        work: Callable[[Pair], Awaitable[None]],
        exit_code: int,
        failures: Failures,
    ) -> None:
        person, other = await sign_up(self._rookery.url, language), await sign_up(self._rookery.url, "other")
        with http_proxy(self._rookery.url, failures) as url:
            async with (
                open_session(connector(self._rookery, "grpc"), other) as session,
                open_chatter(self._commands[language], url, person, other.name) as chatter,
            ):
                await chatter.until_connected()
                await work(Pair(chatter, other, session, between.received[language]))
                assert await chatter.finish() == exit_code


async def test_refused_and_omitted_messages_arrive_in_the_end_and_others_are_sent_once(
    all_examples: AllExamples,
) -> None:
    class Faulty(Connection):
        """Commits each fault once, for the text that requests it. Its answers have a number only, and no client id."""

        late = 0
        """Number of the frame whose answer comes after a dropped event and a Pong."""

        async def from_client(self, frame: ClientFrame) -> None:
            text = frame.send.text.body or frame.change.edited.text.body
            is_first = self.is_first(frame.send.client_message_id or frame.change.client_change_id)
            refused = Refused(frame=self.frame, code="unavailable", message="Not so.")
            refused.retryable = text == "refuse me for now"
            if text == "refuse me for good" or (refused.retryable and is_first):
                await self.send(ServerFrame(refused=refused))
            else:
                if text == "answer me late":
                    self.late = self.frame
                await self.forward(frame)

        async def from_gateway(self, frame: ServerFrame) -> None:
            if frame.HasField("accepted"):
                frame.accepted.ClearField("client_id")
            if frame.HasField("accepted") and frame.accepted.frame == self.late:
                self.sequence += 1
                await self.send(ServerFrame(pong=Pong()))
            elif frame.event.message.text.body == "leave me out":
                self.sequence += 1
                frame = ServerFrame(gap=Gap(dropped=1, at_ms=wall_clock_ms()))
            await self.send(frame)

    async def check(pair: Pair) -> None:
        edits = ["/edit refuse me for now", "/edit answer me late"]
        await pair.chatter.enter("answer me late", "refuse me for now", "refuse me for good", "goodbye", *edits)
        await pair.chatter.until_accepted("answer me late", "refuse me for now", "goodbye", *edits)
        assert "refused (Not so.): refuse me for good" in pair.chatter.lines
        late, refused, tried_again, for_good, goodbye = [frame.send.client_message_id for frame in pair.frames("send")]
        refused_edit, edit_tried_again, late_edit = [each.change.client_change_id for each in pair.frames("change")]
        assert (refused, refused_edit) == (tried_again, edit_tried_again)
        assert len({late, refused, for_good, goodbye, refused_edit, late_edit}) == 6
        assert [await pair.receive_edit() for edit in edits] == [edit.removeprefix(EDIT) for edit in edits]

        await pair.send_from_other("before", "leave me out", "/edit left out", "after")
        expected = ["after", "before", "leave me out", "left out (edited)"]
        await pair.chatter.until(lambda: len(pair.chatter.shown(pair.other.name)) >= len(expected))
        assert sorted(pair.chatter.shown(pair.other.name)) == expected

    await all_examples.check(Faulty, check)


async def test_a_message_above_the_frame_limit_is_refused_and_holds_back_no_later_one(
    all_examples: AllExamples,
) -> None:
    large = "large" * 200

    class Lowers(Connection):
        """Ends the first connection at the large message, and has a lower limit in the next."""

        async def from_client(self, frame: ClientFrame) -> None:
            if self.number == 1 and frame.send.text.body == large:
                await self.end("unavailable")
            else:
                await self.forward(frame)

        async def from_gateway(self, frame: ServerFrame) -> None:
            if frame.HasField("welcome") and self.number > 1:
                frame.welcome.limits.max_frame_bytes = 500
            await self.send(frame)

    async def check(pair: Pair) -> None:
        await pair.chatter.enter(large, "not large", f"{EDIT}{large}", "goodbye")
        await pair.chatter.until_accepted("not large", "goodbye")
        refused = "refused (A frame may have 500 bytes at most.): "
        assert [line for line in pair.chatter.lines if line.startswith("refused")] == [
            f"{refused}{large}",
            f"{refused}{EDIT}{large}",
        ]
        assert [frame.send.text.body for frame in pair.frames("send")] == [large, "not large", "goodbye"]
        assert pair.frames("change") == []

    await all_examples.check(Lowers, check)


async def test_a_session_survives_every_end_of_a_connection(all_examples: AllExamples) -> None:
    """One end takes 10 s: the timeout of a client for a silent gateway."""

    class EndsInEveryWay(Connection):
        is_silent = False

        async def from_client(self, frame: ClientFrame) -> None:
            self.is_silent |= self.number == 5 and frame.HasField("send")
            if not self.is_silent:
                await self.forward(frame)
            if frame.HasField("renew"):
                await self.end("unauthenticated")

        async def from_gateway(self, frame: ServerFrame) -> None:
            if self.is_silent:
                return
            if frame.HasField("welcome"):
                frame.welcome.heartbeat_interval_ms = 300
            await self.send(frame)
            match self.number, frame.event.message.text.body:
                case 1, "seen":
                    await self.send(ServerFrame(reconnect=Reconnect(after_ms=500)))
                case 2, "":  # behind Welcome, before the replay
                    await self.end("unavailable")
                case 3, "missed 1":  # in the middle of the replay
                    await self.end("unavailable")
                case 4, "missed 3":
                    await self.send(ServerFrame(expiring=Expiring()))

    async def check(pair: Pair) -> None:
        await pair.send_from_other("seen", "missed 1", "missed 2", "missed 3")
        await pair.chatter.until_shown(pair.other.name, "seen", "missed 1", "missed 2", "missed 3")
        await pair.chatter.until(lambda: pair.chatter.lines.count("* connected") == 5)
        await pair.chatter.enter("anyone there?")
        await pair.chatter.until_accepted("anyone there?")

        stops = re.compile(r"\* no session, next try in (0\.[5-9]|1\.0) s: the gateway stops")
        assert any(stops.fullmatch(line) for line in pair.chatter.lines), pair.chatter.lines
        begun = [frame.authenticate for frame in pair.frames("authenticate")]
        assert [each.HasField("last_position") for each in begun] == [False, *[True] * 5]
        second, third, fourth, fifth, sixth = [each.last_position.offset for each in begun[1:]]
        assert second <= third < fourth < fifth <= sixth
        tokens = [each.access_token for each in begun]
        (renewed,) = [frame.renew.access_token for frame in pair.frames("renew")]
        assert tokens == [tokens[0]] * 4 + [tokens[4]] * 2
        assert len({tokens[0], renewed, tokens[4]}) == 3
        assert pair.frames("ping")
        sent, again = pair.frames("send")
        assert sent.send.client_message_id == again.send.client_message_id
        assert sent.HasField("first_sent_ms_ago")
        assert sent.first_sent_ms_ago == 0 < again.first_sent_ms_ago

    await all_examples.check(EndsInEveryWay, check)


async def test_an_answer_of_a_proxy_without_a_problem_is_retried(all_examples: AllExamples) -> None:
    answers = [
        (502, "text/html", ""),
        (503, "text/html", "<html>"),
        (500, "application/json", '{"error": "bad gateway"}'),
        (504, "application/json", "[]"),
        (408, "text/plain", "too slow"),
    ]

    async def check(pair: Pair) -> None:
        assert [line for line in pair.chatter.lines if line.startswith("* no session")] != []
        await pair.chatter.enter("made it")
        await pair.chatter.until_accepted("made it")
        await pair.send_from_other("answer")
        await pair.chatter.until_shown(pair.other.name, "answer")

    await all_examples.check(Connection, check, failures={"/v1/me/gateway": answers})


async def test_a_client_waits_longer_for_a_welcome_after_an_attempt_without_one(all_examples: AllExamples) -> None:
    """The two attempts take 10 and 13 s."""

    class IsSlow(Connection):
        async def from_gateway(self, frame: ServerFrame) -> None:
            if self.number > 1:
                if frame.HasField("welcome"):
                    await trio.sleep(13)
                await self.send(frame)

    async def check(pair: Pair) -> None:
        assert len(pair.frames("authenticate")) == 2
        assert [line for line in pair.chatter.lines if "the server is silent" in line] != []

    await all_examples.check(IsSlow, check)


async def test_missed_events_are_read_after_a_reading_that_ended_with_an_error(all_examples: AllExamples) -> None:
    """The other examples end with such an error."""

    class LeavesOut(Connection):
        async def from_gateway(self, frame: ServerFrame) -> None:
            if frame.event.message.text.body == "leave me out":
                self.sequence += 1
                frame = ServerFrame(gap=Gap(dropped=1, at_ms=wall_clock_ms()))
            await self.send(frame)

    async def check(pair: Pair) -> None:
        await pair.chatter.until(lambda: "* missed events can't be read: Not so." in pair.chatter.lines)
        await pair.send_from_other("leave me out")
        await pair.chatter.until_shown(pair.other.name, "leave me out")

    problem = json.dumps({"status": 500, "code": "internal", "detail": "Not so."})  # of no proxy: it is not retried
    failures = {"/changes": [(500, "application/problem+json", problem)]}
    await all_examples.check(LeavesOut, check, failures=failures, languages=["java", "node"])


async def test_a_client_ends_with_a_goodbye_that_is_final(all_examples: AllExamples) -> None:
    class IsFinal(Connection):
        async def from_gateway(self, frame: ServerFrame) -> None:
            await self.send(frame)
            if frame.HasField("welcome"):
                await self.send(ServerFrame(goodbye=Goodbye(code="invalid", message="Not so.", is_final=True)))

    async def check(pair: Pair) -> None:
        await pair.chatter.until_ended()
        assert len(pair.frames("authenticate")) == 1

    await all_examples.check(IsFinal, check, exit_code=1)


async def test_a_session_moves_to_another_gateway_over_tls(
    all_examples: AllExamples, rookery: Rookery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    trust(authority, tmp_path, monkeypatch)
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secure.set_alpn_protocols(["h2"])
    authority.issue_cert("127.0.0.1").configure_cert(secure)
    elsewhere = socket.create_server(("127.0.0.1", 0))

    class Moves(Connection):
        async def from_gateway(self, frame: ServerFrame) -> None:
            await self.send(ServerFrame(moved=Moved(grpc=f"grpcs://{address_of(elsewhere)}")))

    async def check(pair: Pair) -> None:
        await pair.chatter.enter("made it")
        await pair.chatter.until_accepted("made it")
        assert pair.frames("send") == []
        assert len(pair.frames("authenticate")) == 1

    with elsewhere:
        listener = trio.SSLListener(listener_on(elsewhere), secure)
        async with open_between(listener, rookery.grpc):
            await all_examples.check(Moves, check)


def trust(authority: trustme.CA, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the programs trust an authority through their environment, since the examples have no option for it."""
    pem, store = folder / "ca.pem", folder / "ca.p12"
    authority.cert_pem.write_to_path(pem)
    certificate = pkcs12.PKCS12Certificate(x509.load_pem_x509_certificate(authority.cert_pem.bytes()), b"tests")
    store.write_bytes(pkcs12.serialize_java_truststore([certificate], NoEncryption()))
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))  # Go
    monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(pem))  # Node, Python
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", f"-Djavax.net.ssl.trustStore={store}")
