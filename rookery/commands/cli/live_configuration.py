"""The command group `rookery config`."""

import click

from rookery.commands.cli.common import json_option, limit_option, load_started, run


@click.group()
def config() -> None:
    """Live configuration: values that may change while Rookery runs."""


@config.command("list")
def list_configuration() -> None:
    """List every key: its value, whether it is set, its bounds and its description."""
    from rookery.commands import configuration

    run(configuration.list_values, load_started())


@config.command("get")
@click.argument("key")
def get_configuration(key: str) -> None:
    """Print the current value of KEY."""
    from rookery.commands import configuration

    run(configuration.get_value, load_started(), key)


@config.command("set")
@click.argument("key")
@click.argument("value")
def set_configuration(key: str, value: str) -> None:
    """Set KEY to VALUE. Running processes follow within a second."""
    from rookery.commands import configuration

    run(configuration.set_value, load_started(), key, value)


@config.command("unset")
@click.argument("key")
def unset_configuration(key: str) -> None:
    """Reset KEY to its default."""
    from rookery.commands import configuration

    run(configuration.unset_value, load_started(), key)


@config.command("history")
@limit_option
@json_option
def show_configuration_history(limit: int, as_json: bool) -> None:
    """Print the newest changes with their authors, oldest first."""
    from rookery.commands import admin

    run(admin.show_history, load_started(), limit, as_json)


@config.command("watch")
def watch_configuration() -> None:
    """Print every change as it happens, until Ctrl-C."""
    from rookery.commands import configuration

    run(configuration.watch, load_started())


COMMANDS = (config,)
