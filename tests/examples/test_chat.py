"""The example clients chat, with each other and with `rookery chat`, on a real platform that is killed meanwhile."""

import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import pairwise, permutations
from pathlib import Path

import pytest
import trio

from rookery.client import open_client
from tests.examples.chatters import LANGUAGES, Chatter, Command, open_chatter, open_rookery_chat
from tools.launch.people import PASSWORD, Person, open_http, read_history, sign_up
from tools.launch.process import Rookery, running

pytestmark = pytest.mark.slow

RING = list(pairwise([*LANGUAGES, "rookery", LANGUAGES[0]]))

MESSAGES = 60
"""Messages per user around a kill."""


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rookery]:
    """One that takes small files, and limits failed sign-ins."""
    data = tmp_path_factory.mktemp("strict") / "data"
    with running(Rookery(data, max_file_bytes=4, sign_ins_per_minute=1)) as ready:
        yield ready


@asynccontextmanager
async def open_pair(
    rookery: Rookery, command: Command, clients: tuple[str, str], folder: Path
) -> AsyncIterator[tuple[Chatter, Chatter]]:
    """Run clients of these kinds for two users who chat with each other."""
    people = [await sign_up(rookery.url, client) for client in clients]
    async with AsyncExitStack() as stack:
        chatters: list[Chatter] = []
        for client, person, other in zip(clients, people, reversed(people), strict=True):
            if client == "rookery":
                opening = open_rookery_chat(folder, rookery.url, person, other)
            else:
                opening = open_chatter(command(client), rookery.url, person, other.name)
            chatters.append(await stack.enter_async_context(opening))
        for chatter in chatters:
            await chatter.until_connected()
        yield chatters[0], chatters[1]


@pytest.mark.parametrize("clients", RING, ids="-".join)
async def test_two_clients_chat_and_end_with_their_input(
    rookery: Rookery, command: Command, clients: tuple[str, str], tmp_path: Path
) -> None:
    async with open_pair(rookery, command, clients, tmp_path) as pair:
        texts = {
            chatter.person.name: [f"{client} {number}: grüß dich \N{WAVING HAND SIGN}" for number in range(3)]
            for client, chatter in zip(clients, pair, strict=True)
        }
        for chatter in pair:
            await chatter.enter(*texts[chatter.person.name])
        await check_delivered(rookery, pair, texts)
        for chatter in pair:
            assert await chatter.finish() == 0


async def test_all_chat_in_a_group(rookery: Rookery, command: Command) -> None:
    people = [await sign_up(rookery.url, language) for language in LANGUAGES]
    user_ids = [str(person.user_id) for person in people[1:]]
    async with open_http(rookery.url) as http:
        group = {"name": "Languages", "user_ids": user_ids, "client_change_id": "new"}
        created = await http.post("/v1/chats", json=group, headers=people[0].headers)
    chat_id = created.raise_for_status().json()["message"]["chat_id"]
    async with AsyncExitStack() as stack:
        chatters = [
            await stack.enter_async_context(open_chatter(command(language), rookery.url, person, chat_id))
            for language, person in zip(LANGUAGES, people, strict=True)
        ]
        for chatter in chatters:
            await chatter.until_connected()
            await chatter.enter("first", "/edit second")
            await chatter.until_accepted("first", "/edit second")
        for chatter, other in permutations(chatters, 2):
            await chatter.until_shown(other.person.name, "first", "second (edited)")
        for chatter in chatters:
            assert await chatter.finish() == 0


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_client_ends_in_a_channel_with_the_reason(rookery: Rookery, command: Command, language: str) -> None:
    person = await sign_up(rookery.url, language)
    async with open_client(rookery.url, person.name, PASSWORD) as client:
        chat_id = (await client.groups.create("News", is_channel=True)).chat_id
    words = [*command(language), rookery.url, person.name, chat_id]
    environment = os.environ | {"CHAT_PASSWORD": PASSWORD}
    result = await trio.run_process(words, env=environment, capture_stderr=True, check=False)
    assert result.returncode == 1
    assert result.stderr.decode() == "channels need `follow`, which this example leaves out\n"


async def test_a_file_is_sent_in_both_directions(rookery: Rookery, command: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    sending = f"/send {tmp_path}/notes.txt"
    async with open_pair(rookery, command, ("python", "rookery"), tmp_path) as (python, terminal):
        await python.enter(sending)
        await python.until_accepted(sending)
        await terminal.until_shown(python.person.name, "[notes.txt: text/plain, 5 bytes]")
        await terminal.enter(f"/save 1 {tmp_path}/saved", f"{sending} with a caption")
        await python.until_shown(terminal.person.name, "with a caption [notes.txt]")
        assert (tmp_path / "saved").read_text() == "hello"


async def test_a_file_without_a_text_in_history_ends_no_client(rookery: Rookery, command: Command) -> None:
    people = [await sign_up(rookery.url, name) for name in ("sender", *LANGUAGES)]
    sender_name = people[0].name
    async with open_client(rookery.url, sender_name, PASSWORD) as sender:
        chat_id = (await sender.groups.create("Files", [person.user_id for person in people[1:]])).chat_id
        await sender.send(chat_id, "hello")
        notes = await sender.files.upload(b"hello", name="notes.txt")
        sent = await sender.send(chat_id, files=[notes])
        await sender.edit(chat_id, sent.event_id, "")
        await read_history(rookery.url, people[1], chat_id, until=lambda items: any(item.changes for item in items))
        async with AsyncExitStack() as stack:
            chatters = [
                await stack.enter_async_context(open_chatter(command(language), rookery.url, person, chat_id))
                for language, person in zip(LANGUAGES, people[1:], strict=True)
            ]
            for chatter in chatters:
                await chatter.until_connected()
            await sender.send(chat_id, files=[notes])
            await sender.send(chat_id, "goodbye")
            for language, chatter in zip(LANGUAGES, chatters, strict=True):
                file = ["[notes.txt]"] if language == "python" else []
                await chatter.until_shown(sender_name, "hello", *file, " (edited)", *file, "goodbye")
                assert await chatter.finish() == 0


async def test_a_file_that_can_not_be_sent_ends_no_chat(strict: Rookery, command: Command, tmp_path: Path) -> None:
    (tmp_path / "large").write_text("hello")
    async with open_pair(strict, command, ("python", "node"), tmp_path) as (python, _):
        await python.enter(f"/send {tmp_path}/large", f"/send {tmp_path}/missing", "/send a\0b", "goodbye")
        await python.until_accepted("goodbye")
        failures = [line for line in python.lines if line.startswith("* the file can't be sent: ")]
        for words, line in zip(("4 bytes", "No such file", "null byte"), failures, strict=True):
            assert words in line
        assert await python.finish() == 0


@pytest.mark.parametrize("clients", [("go", "java"), ("node", "python")], ids="-".join)
async def test_wrong_passwords_of_others_do_not_delay_a_device_that_has_signed_in(
    strict: Rookery, command: Command, clients: tuple[str, str], tmp_path: Path
) -> None:
    async with open_pair(strict, command, clients, tmp_path) as pair, open_http(strict.url) as http:
        for chatter in pair:
            wrong = {"name": chatter.person.name, "password": "wrong password"}
            assert [(await http.post("/v1/tokens", json=wrong)).status_code for _ in range(2)] == [401, 429]
            (await http.delete("/v1/me/sign-ins/others", headers=chatter.person.headers)).raise_for_status()
        for chatter in pair:
            await chatter.until(partial(is_connected_twice, chatter.lines))
            assert not [line for line in chatter.lines if "failed sign-ins" in line]


def is_connected_twice(lines: Sequence[str]) -> bool:
    return lines.count("* connected") == 2


async def test_nothing_is_lost_or_doubled_over_a_kill_of_the_platform(
    own_rookery: Rookery, command: Command, tmp_path: Path
) -> None:
    async with (
        open_pair(own_rookery, command, ("go", "java"), tmp_path) as one,
        open_pair(own_rookery, command, ("node", "python"), tmp_path) as other,
    ):
        chatters = [*one, *other]
        texts = {chatter.person.name: [f"message {number}" for number in range(MESSAGES)] for chatter in chatters}
        for chatter in chatters:
            await chatter.enter(*texts[chatter.person.name])
        await one[0].until(lambda: len(one[0].accepted) >= MESSAGES // 3)
        await trio.to_thread.run_sync(own_rookery.kill)
        await trio.to_thread.run_sync(own_rookery.start)
        for pair in (one, other):
            await check_delivered(own_rookery, pair, texts)
        for chatter in chatters:
            await chatter.until_disconnected()
            assert await chatter.finish(signal.SIGINT) == 0


async def check_delivered(rookery: Rookery, pair: Sequence[Chatter], texts: dict[str, list[str]]) -> None:
    """Check that the texts of both were accepted, shown to the other, and stored: each once, in order."""
    for chatter, other in (pair, reversed(pair)):
        name = chatter.person.name
        await chatter.until_accepted(*texts[name])
        await other.until_shown(name, *texts[name])
    people: list[Person] = [chatter.person for chatter in pair]
    total = sum(len(texts[person.name]) for person in people)
    history = await read_history(
        rookery.url, people[0], people[0].chat_with(people[1]), until=lambda messages: len(messages) >= total
    )
    for person in people:
        kept = [item.message.text.body for item in history if item.message.sender_id == person.user_id]
        assert kept == texts[person.name]
    assert len(history) == total
