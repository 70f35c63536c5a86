"""Work that goes on without the request that began it, since it takes longer, or since its user can't repeat it."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

import trio

from shared.contract.errors import Code, Refusal
from shared.rpc.refusals import INTERNAL

Result = TypeVar("Result")

FAULT = Refusal(Code.INTERNAL, INTERNAL)

STOPS = Refusal(Code.UNAVAILABLE, "The server stops: try again soon.")


@dataclass(slots=True)
class Work(Generic[Result]):
    """A task in the background, for which requests may wait. `result` is valid once it is done."""

    result: Result | Refusal = STOPS
    done: trio.Event = field(default_factory=trio.Event)
