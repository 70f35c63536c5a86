"""Errors of commands, each one sentence with a remedy."""

from typing import Any

import click

BAD_SETTINGS = 2
"""Exit status for invalid settings, the same as click's for invalid arguments."""

EXTRAS = dict.fromkeys(("cassandra", "kafka", "redis"), "distributed") | dict.fromkeys(
    (
        "argon2",
        "cryptography",
        "hypercorn",
        "joserfc",
        "opentelemetry",
        "pydantic",
        "pydantic_settings",
        "quart",
        "quart_schema",
        "quart_trio",
    ),
    "server",
)
"""The extra that installs a package, for each package that the client does not need."""


class InvalidSettings(click.ClickException):
    """Invalid settings; each line of the message names one key."""

    exit_code = BAD_SETTINGS


class CommandGroup(click.Group):
    """A group that reports a missing package with the extra that installs it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ModuleNotFoundError, BaseExceptionGroup) as error:
            package = _missing_package(error)
            if package is None:
                raise
            raise click.ClickException(
                f"this command needs the package {package}: install Rookery with the extra `{EXTRAS[package]}`, "
                f"as in pip install 'rookery[{EXTRAS[package]}]'"
            ) from error


def _missing_package(error: BaseException) -> str | None:
    """The package of an extra that could not be imported; None for any other error."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_missing_package, error.exceptions)), None)
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    package = error.name.partition(".")[0]
    return package if package in EXTRAS else None
