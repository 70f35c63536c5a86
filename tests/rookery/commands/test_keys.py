"""`rookery keys`: what it shows, and what it refuses."""

from functools import partial
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from rookery.commands import keys
from rookery.commands.cli import main
from rookery.serve.engines import open_accounts, open_configuration
from shared.accounts.tokens import new_signing_key
from shared.contract.ids import wall_clock_ms
from shared.settings import Settings

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


async def add_key(settings: Settings, *, seconds_ago: float) -> str:
    """Make a key that was made so long ago; its id."""
    key = new_signing_key(int(wall_clock_ms() - seconds_ago * 1000))
    async with open_accounts(settings) as accounts:
        await accounts.add_signing_key(key)
    return key.key_id


async def kept(settings: Settings) -> list[str]:
    async with open_accounts(settings) as accounts:
        return [key.key_id for key in await accounts.signing_keys()]


async def test_a_rotation_makes_a_key_and_keeps_the_others(settings: Settings, capsys: Capture) -> None:
    old = await add_key(settings, seconds_ago=3_600)
    await keys.rotate(settings)
    new, *others = await kept(settings)
    assert others == [old]
    assert capsys.readouterr().out == f"{new} signs within 70 seconds; older keys can be retired in 970\n"


async def test_the_list_says_what_each_key_does(settings: Settings, capsys: Capture) -> None:
    old = await add_key(settings, seconds_ago=3_600)
    new = await add_key(settings, seconds_ago=971)
    await keys.list_keys(settings)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{new}  ")
    assert first.endswith("  signs")
    assert second.startswith(f"{old}  ")
    assert second.endswith("  is believed, and can be retired")


async def test_a_key_is_retired_once_no_token_of_it_can_live(settings: Settings) -> None:
    old = await add_key(settings, seconds_ago=3_600)
    new = await add_key(settings, seconds_ago=971)
    await keys.retire(settings, old, now=False)
    assert await kept(settings) == [new]


async def test_a_key_whose_tokens_may_live_is_retired_only_at_once(settings: Settings, capsys: Capture) -> None:
    old = await add_key(settings, seconds_ago=3_600)
    new = await add_key(settings, seconds_ago=900)
    with pytest.raises(click.ClickException, match=r"may live for (69|70) seconds more"):
        await keys.retire(settings, old, now=False)
    await keys.list_keys(settings)
    assert "is believed, and needed for " in capsys.readouterr().out
    await keys.retire(settings, old, now=True)
    assert await kept(settings) == [new]


async def test_what_is_done_with_keys_is_in_the_audit_log(settings: Settings) -> None:
    old = await add_key(settings, seconds_ago=3_600)
    await keys.rotate(settings)
    await keys.retire(settings, old, now=True)
    new = await kept(settings)
    async with open_accounts(settings) as accounts:
        entries = await accounts.audit_entries(limit=10)
    assert [(entry.act, entry.target, entry.detail) for entry in entries] == [
        ("retire_key", old, "now"),
        ("rotate_keys", new[0], ""),
    ]


async def test_how_long_a_key_is_needed_depends_on_how_long_tokens_live(settings: Settings) -> None:
    old = await add_key(settings, seconds_ago=3_600)
    await add_key(settings, seconds_ago=105)
    async with open_configuration(settings) as configuration:
        await configuration.set("access_token_seconds", "30")
    await keys.retire(settings, old, now=False)


@pytest.mark.parametrize("now", [False, True])
async def test_the_newest_key_is_never_retired(settings: Settings, now: bool) -> None:
    await add_key(settings, seconds_ago=10_000)
    new = await add_key(settings, seconds_ago=5_000)
    with pytest.raises(click.ClickException, match="is the newest"):
        await keys.retire(settings, new, now=now)
    assert len(await kept(settings)) == 2


async def test_a_key_that_is_not_there_is_said_to_be_so(settings: Settings) -> None:
    await add_key(settings, seconds_ago=0)
    with pytest.raises(click.ClickException, match="there is no key other"):
        await keys.retire(settings, "other", now=False)


def test_the_commands_do_it(tmp_path: Path) -> None:
    run = partial(CliRunner().invoke, main, env={"ROOKERY_DATA": str(tmp_path / "data")})
    for _ in range(2):
        assert run(["keys", "rotate"]).exit_code == 0
    listed = run(["keys", "list"]).output.splitlines()
    assert len(listed) == 2
    new, old = (line.split()[0] for line in listed)
    assert run(["keys", "retire", old]).exit_code == 1
    assert run(["keys", "retire", "--now", old]).exit_code == 0
    assert [line.split()[0] for line in run(["keys", "list"]).output.splitlines()] == [new]
