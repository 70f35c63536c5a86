"""Measures any store: the duration and the failures of each operation."""

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

import trio

from shared.telemetry.metrics.catalogue import STORE, STORE_ERRORS

S = TypeVar("S")


def measured_store(store: S, name: str) -> S:
    """Wrap the store so that each async operation is measured, labelled with this name and its own."""
    return cast("S", _Measured(store, name))


class _Measured:
    """A store whose async operations are measured."""

    def __init__(self, store: object, name: str) -> None:
        self._store = store
        self._name = name

    def __getattr__(self, operation: str) -> Any:
        """Wrap an operation at its first use; from then on it is an attribute of the instance."""
        original = getattr(self._store, operation)
        measured = _measured(original, self._name, operation) if iscoroutinefunction(original) else original
        setattr(self, operation, measured)
        return measured


def _measured(function: Callable[..., Awaitable[Any]], store: str, operation: str) -> Callable[..., Awaitable[Any]]:
    @wraps(function)
    async def measured(*arguments: Any, **named: Any) -> Any:
        began = trio.current_time()
        try:
            return await function(*arguments, **named)
        except ValueError:  # an invalid argument is no fault of the store
            raise
        except Exception:  # only to count it: raised again
            STORE_ERRORS.inc(store, operation)
            raise
        finally:
            STORE.observe(trio.current_time() - began, store, operation)

    return measured
