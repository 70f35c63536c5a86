"""A fake of the driver's session: keeps its requests, and answers when a test requires it, in a thread if it must."""

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeFuture:
    """A request without an answer yet."""

    is_schema_agreed = True

    def __init__(self, statement: Any, options: dict[str, Any]) -> None:
        self.text: str = getattr(statement, "query_string", "")
        self.options = options
        self.answers: Callable[[FakeFuture], None] | None = None
        self.pages: list[list[tuple[object, ...]]] = []
        self._on_rows: Callable[[Any], None] | None = None
        self._on_error: Callable[[Exception], None] | None = None

    @property
    def has_more_pages(self) -> bool:
        return bool(self.pages)

    def add_callbacks(self, callback: Any, errback: Any, *, callback_args: Any, errback_args: Any) -> None:
        self._on_rows = lambda rows: callback(rows, *callback_args)
        self._on_error = lambda error: errback(error, *errback_args)
        if self.answers is not None:
            threading.Thread(target=self.answers, args=(self,)).start()

    def start_fetching_next_page(self) -> None:
        self.answer(self.pages.pop(0))

    def answer(self, rows: list[tuple[object, ...]] | None = None) -> None:
        assert self._on_rows is not None
        self._on_rows(rows)

    def fail(self, error: Exception) -> None:
        assert self._on_error is not None
        self._on_error(error)


class FakeDriver:
    """Keeps all requests in order."""

    def __init__(self) -> None:
        self.sent: list[FakeFuture] = []
        self.answers: Callable[[FakeFuture], None] | None = None
        """Called at once for each request, in a thread."""

    def execute_async(self, statement: Any, **options: Any) -> FakeFuture:
        future = FakeFuture(statement, options)
        future.answers = self.answers
        self.sent.append(future)
        return future

    @property
    def texts(self) -> list[str]:
        return [future.text for future in self.sent]
