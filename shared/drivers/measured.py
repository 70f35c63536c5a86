"""Measures a store, whichever it is: how long each of its operations takes, and how often it fails."""

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

import trio

from shared.telemetry.metrics.catalogue import STORE, STORE_ERRORS

S = TypeVar("S")


def measured_store(store: S, name: str) -> S:
    """The same store, of which all that waits is measured under this name and its own."""
    return cast("S", _Measured(store, name))


class _Measured:
    """Every operation of the store, with a watch around it."""

    def __init__(self, store: object, name: str) -> None:
        self._store = store
        self._name = name

    def __getattr__(self, operation: str) -> Any:
        """Found out once for each operation: from then on it is an attribute of its own."""
        found = getattr(self._store, operation)
        measured = _measured(found, self._name, operation) if iscoroutinefunction(found) else found
        setattr(self, operation, measured)
        return measured


def _measured(function: Callable[..., Awaitable[Any]], store: str, operation: str) -> Callable[..., Awaitable[Any]]:
    @wraps(function)
    async def measured(*arguments: Any, **named: Any) -> Any:
        began = trio.current_time()
        try:
            return await function(*arguments, **named)
        except ValueError:  # of what can't be: no fault of the store
            raise
        except Exception:  # only to count it: raised again
            STORE_ERRORS.inc(store, operation)
            raise
        finally:
            STORE.observe(trio.current_time() - began, store, operation)

    return measured
