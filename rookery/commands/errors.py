"""How a command ends that can't do what was asked, with one sentence that a person can act on."""

from typing import Any

import click

BAD_SETTINGS = 2
"""Exit status for settings that can't be used, as click has for arguments."""

EXTRAS: dict[str, str] = {
    "argon2": "server",
    "cassandra": "distributed",
    "cryptography": "server",
    "hypercorn": "server",
    "joserfc": "server",
    "kafka": "distributed",
    "opentelemetry": "server",
    "pydantic": "server",
    "pydantic_settings": "server",
    "quart": "server",
    "quart_schema": "server",
    "quart_trio": "server",
    "redis": "distributed",
}
"""The extra of Rookery that installs a package, for each package that a client alone does without."""


class InvalidSettings(click.ClickException):
    """Settings that can't be used; each line names one key."""

    exit_code = BAD_SETTINGS


class CommandGroup(click.Group):
    """The commands. One whose packages are not installed ends with the name of the extra that installs them."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ModuleNotFoundError, BaseExceptionGroup) as error:
            package = _missing_package(error)
            if package is None:
                raise
            raise click.ClickException(
                f"this command needs the package {package}: install Rookery's wheel with its extra [{EXTRAS[package]}]"
            ) from error


def _missing_package(error: BaseException) -> str | None:
    """The package of an extra that could not be imported; None if something else is wrong."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_missing_package, error.exceptions)), None)
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    package = error.name.partition(".")[0]
    return package if package in EXTRAS else None
