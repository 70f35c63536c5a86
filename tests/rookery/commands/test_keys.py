"""`rookery keys`: listing, rotating and retiring the keys that sign access tokens."""

from pathlib import Path

import click
import pytest

from rookery.commands import keys
from rookery.serve.engines import open_accounts
from rookery.serve.folder import DataFolder
from shared.accounts.tokens import new_signing_key
from shared.configuration.sqlite import open_sqlite_configuration
from shared.contract.ids import wall_clock_ms
from shared.settings import Settings
from tests.rookery.commands.conftest import Invoke

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


async def add_key(settings: Settings, *, age: float) -> str:
    """Store a key that was created `age` seconds ago, and return its id."""
    key = new_signing_key(int(wall_clock_ms() - age * 1000))
    async with open_accounts(settings) as accounts:
        await accounts.add_signing_key(key)
    return key.key_id


async def stored(settings: Settings) -> list[str]:
    async with open_accounts(settings) as accounts:
        return [key.key_id for key in await accounts.signing_keys()]


async def test_a_rotation_adds_a_key_and_keeps_the_others(settings: Settings, capsys: Capture) -> None:
    old = await add_key(settings, age=3_600)
    await keys.rotate(settings)
    new, *others = await stored(settings)
    assert others == [old]
    assert capsys.readouterr().out == f"{new} signs within 70 seconds; older keys can be retired in 970\n"


async def test_a_key_is_retired_once_no_token_of_it_can_be_valid(settings: Settings, capsys: Capture) -> None:
    old = await add_key(settings, age=3_600)
    new = await add_key(settings, age=971)
    await keys.list_keys(settings)
    first, second = (line.split("  ") for line in capsys.readouterr().out.splitlines())
    assert (first[0], first[2]) == (new, "signs")
    assert (second[0], second[2]) == (old, "accepted, can be retired")
    await keys.retire(settings, old, now=False)
    assert await stored(settings) == [new]


async def test_a_key_whose_tokens_may_be_valid_is_retired_only_with_now(settings: Settings, capsys: Capture) -> None:
    old = await add_key(settings, age=3_600)
    new = await add_key(settings, age=900)
    with pytest.raises(click.ClickException, match=r"may be valid for ([56]\d|70) more seconds"):
        await keys.retire(settings, old, now=False)
    await keys.list_keys(settings)
    assert "accepted, needed for " in capsys.readouterr().out
    await keys.retire(settings, old, now=True)
    assert await stored(settings) == [new]


async def set_lifetime(settings: Settings, seconds: int, *, ago: float = 0) -> None:
    """Set the lifetime of tokens as if it were `ago` seconds earlier."""
    at_ms = int(wall_clock_ms() - ago * 1000)
    path = DataFolder(settings.data).configuration
    async with open_sqlite_configuration(path, clock_ms=lambda: at_ms) as configuration:
        await configuration.set("access_token_seconds", str(seconds))


async def test_the_lifetime_of_tokens_decides_how_long_a_key_is_needed(settings: Settings) -> None:
    old = await add_key(settings, age=3_600)
    await add_key(settings, age=105)
    await set_lifetime(settings, 30, ago=105 + 86_400 + 60)
    await keys.retire(settings, old, now=False)


async def test_a_lifetime_that_was_shortened_counts_while_tokens_may_have_the_longer_one(settings: Settings) -> None:
    old = await add_key(settings, age=3_600)
    await add_key(settings, age=971)
    await set_lifetime(settings, 7_200, ago=1_800)
    await set_lifetime(settings, 30, ago=900)
    with pytest.raises(click.ClickException, match=r"may be valid for 6\d\d\d more seconds"):
        await keys.retire(settings, old, now=False)


async def test_the_default_lifetime_counts_while_tokens_may_have_it(settings: Settings) -> None:
    old = await add_key(settings, age=3_600)
    await add_key(settings, age=105)
    await set_lifetime(settings, 30)
    with pytest.raises(click.ClickException, match=r"may be valid for 8[56]\d more seconds"):
        await keys.retire(settings, old, now=False)


@pytest.mark.parametrize("now", [False, True])
async def test_the_newest_key_and_an_unknown_key_are_never_retired(settings: Settings, now: bool) -> None:
    old, new = await add_key(settings, age=10_000), await add_key(settings, age=5_000)
    for key_id, words in ((new, "is the newest key"), ("other", "there is no key other")):
        with pytest.raises(click.ClickException, match=words):
            await keys.retire(settings, key_id, now=now)
    assert await stored(settings) == [new, old]


@pytest.mark.usefixtures("started")
def test_the_commands_rotate_list_and_retire_and_are_in_the_audit_log(invoke: Invoke) -> None:
    for _ in range(2):
        assert invoke("keys", "rotate").exit_code == 0
    new, old = (line.split()[0] for line in invoke("keys", "list").output.splitlines())
    assert invoke("keys", "retire", old).exit_code == 1
    assert invoke("keys", "retire", "--now", old).exit_code == 0
    assert [line.split()[0] for line in invoke("keys", "list").output.splitlines()] == [new]
    actions = [line.split("  ")[2:] for line in invoke("audit").output.splitlines()]
    assert actions == [["rotate_keys", old], ["rotate_keys", new], ["retire_key", old, "now"]]
