"""`rookery config`: shows and changes the live configuration, whether Rookery runs or not."""

import json

import click

from rookery.commands.admin import open_administration, raise_refusal, system_user
from rookery.serve.engines import open_accounts, open_configuration
from shared.configuration import ConfigurationStore, InvalidConfiguration, LiveConfiguration, validate
from shared.configuration.live import changed_values, describe
from shared.settings import Settings

DEFAULT = LiveConfiguration()


async def list_values(settings: Settings) -> None:
    """Print every key with its value, a star if it is set, its description and its bounds."""
    async with open_configuration(settings) as store:
        values = await current(store)
        stored = await store.load()
    for key, field in LiveConfiguration.model_fields.items():
        mark = "*" if key in stored else " "
        click.echo(f"{mark} {key} = {json.dumps(getattr(values, key))}    {field.description}; {describe(field)}")


async def get_value(settings: Settings, key: str) -> None:
    """Print the current value. Raises InvalidConfiguration for an unknown key."""
    if key not in LiveConfiguration.model_fields:
        validate(key, "")
    async with open_configuration(settings) as store:
        click.echo(json.dumps(getattr(await current(store), key)))


async def set_value(settings: Settings, key: str, text: str) -> None:
    """Store a value as an action of the user who runs the command. Raises ClickException."""
    async with open_accounts(settings) as accounts, open_administration(settings, accounts) as administration:
        value = await administration.set_configuration(system_user(), key, text)
    raise_refusal(value)
    click.echo(f"{key} = {json.dumps(value)}")


async def unset_value(settings: Settings, key: str) -> None:
    """Delete a stored value, also that of a key that this release does not define."""
    async with open_accounts(settings) as accounts, open_administration(settings, accounts) as administration:
        raise_refusal(await administration.unset_configuration(system_user(), key))
    if key in LiveConfiguration.model_fields:
        click.echo(f"{key} = {json.dumps(getattr(DEFAULT, key))}")


async def watch(settings: Settings) -> None:
    """Print each change, until cancelled."""
    async with open_configuration(settings) as store, store.changes() as changes:
        current_values = await current(store)
        click.echo("watching", err=True)
        async for _ in changes:
            values = await current(store)
            for key, value in changed_values(current_values, values).items():
                click.echo(f"{key} = {json.dumps(value)}")
            current_values = values


async def current(store: ConfigurationStore) -> LiveConfiguration:
    """Return the stored values, and defaults for the others. Invalid stored values are reported on stderr."""
    values: dict[str, object] = {}
    for key, item in (await store.load()).items():
        try:
            values[key] = validate(key, item.value)
        except InvalidConfiguration as error:
            click.echo(f"ignoring a stored value: {error}", err=True)
    return LiveConfiguration.model_validate(values)
