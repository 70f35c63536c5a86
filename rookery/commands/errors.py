"""Errors of commands, each one sentence with a remedy."""

from typing import Any

import click

BAD_SETTINGS = 2
"""Exit status for invalid settings, the same as click's for invalid arguments."""

EXTRAS: dict[str, str] = {
    "PIL": "server",
    "argon2": "server",
    "cassandra": "distributed",
    "cryptography": "server",
    "hypercorn": "server",
    "joserfc": "server",
    "kafka": "distributed",
    "opentelemetry": "server",
    "pydantic": "server",
    "pydantic_settings": "server",
    "pypdfium2": "server",
    "pypdfium2_cfg": "server",
    "pypdfium2_cli": "server",
    "pypdfium2_raw": "server",
    "quart": "server",
    "quart_schema": "server",
    "quart_trio": "server",
    "redis": "distributed",
}
"""The extra that installs a package, for each package that the client does not need."""


class InvalidSettings(click.ClickException):
    """Invalid settings; each line of the message names one key."""

    exit_code = BAD_SETTINGS


class CommandGroup(click.Group):
    """A group that reports a missing package with the extra that installs it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ModuleNotFoundError, BaseExceptionGroup) as error:  # only to find a missing package: raised again
            package = _missing_package(error)
            if package is None:
                raise
            raise click.ClickException(
                f"this command needs the package {package}: install Rookery's wheel with its extra [{EXTRAS[package]}]"
            ) from error


def _missing_package(error: BaseException) -> str | None:
    """The package of an extra that could not be imported; None for any other error."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_missing_package, error.exceptions)), None)
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    package = error.name.partition(".")[0]
    return package if package in EXTRAS else None
