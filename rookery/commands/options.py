"""Loads the settings of a command, and explains invalid ones."""

import difflib
import os
import tomllib
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from rookery.commands.errors import InvalidSettings
from shared.settings import ENV_PREFIX, FILE_VARIABLE, Settings, settings_file


def read_settings(**overrides: Any) -> Settings:
    """Load the settings, of which some may be overridden. Raises InvalidSettings."""
    if unknown := list(_unknown_variables()):
        raise InvalidSettings("\n".join(unknown))
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise InvalidSettings("\n".join(_explain(detail) for detail in error.errors())) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{settings_file()} is not TOML: {error}") from error
    except (SettingsError, OSError) as error:
        raise InvalidSettings(f"the settings can't be read: {error}") from error


def _unknown_variables() -> Iterator[str]:
    """Yield a message per variable with our prefix that names no setting: pydantic-settings ignores such variables."""
    fields = {f"{ENV_PREFIX}{name.upper()}": field for name, field in Settings.model_fields.items()}
    sections = [name for name, field in fields.items() if _is_section(field.annotation)]
    for variable in os.environ:
        name, below, _ = variable.upper().partition("__")
        known = sections if below else [FILE_VARIABLE, *fields]
        if variable.upper().startswith(ENV_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            yield f"there is no setting {variable}" + (f": did you mean {near[0]}?" if near else "")


def _is_section(annotation: Any) -> bool:
    """Whether a setting of this type has settings below it."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _explain(detail: ErrorDetails) -> str:
    """One sentence with the key's name in the file and in the environment."""
    path = [str(part) for part in detail["loc"]]
    if not path:  # the message of settings that contradict each other names them
        return detail["msg"].removeprefix("Value error, ")
    where = f"`{'.'.join(path)}` ({ENV_PREFIX}{'__'.join(path).upper()})"
    if detail["type"] == "extra_forbidden":
        return f"there is no setting {where}"
    subject = (
        f"the setting {where} can't be used" if _is_secret(path) else f"the setting {where} is {detail['input']!r}"
    )
    return f"{subject}: {detail['msg'][0].lower()}{detail['msg'][1:]}"


def _is_secret(path: list[str]) -> bool:
    """Whether the value must not be shown: a secret, or a section, which may have one."""
    model: Any = Settings
    for name in path:
        model = getattr(model, "model_fields", {}).get(name)
        model = getattr(model, "annotation", None)
    return model is SecretStr or _is_section(model)
