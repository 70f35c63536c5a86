"""Skip a test that needs something that this machine lacks; under CI, fail it."""

import os
from collections.abc import Callable
from typing import NoReturn, ParamSpec, TypeVar

import pytest

from tools.engines.install import Missing

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def needed(prepare: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
    """Return what `prepare` returns. If it raises Missing, skip the test, or fail it where CI=true."""
    try:
        return prepare(*arguments, **named)
    except Missing as missing:
        skip_or_fail(str(missing))


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test, or fail it where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
