"""Runs the statements of a store by their text, each prepared once."""

from collections.abc import Iterable, Sequence

from shared.drivers.cassandra.session import CassandraSession, Row


class Statements:
    """Prepared statements by text. Every method raises Unavailable; a write may have been executed all the same."""

    def __init__(self, session: CassandraSession) -> None:
        self._session = session

    async def prepare(self, texts: Iterable[str]) -> None:
        """Prepare these now, so that the first use of each is as fast as the next."""
        for text in texts:
            await self._session.prepare(text)

    async def run(self, text: str, *parameters: object) -> list[Row]:
        """Execute a statement, and return its rows as tuples."""
        return await self._session.execute(await self._session.prepare(text), parameters)

    async def apply(self, text: str, *parameters: object) -> bool:
        """Execute a lightweight transaction, and return whether its condition held."""
        ((applied, *_),) = await self.run(text, *parameters)
        return bool(applied)

    async def run_all(self, text: str, each: Iterable[Sequence[object]]) -> list[list[Row]]:
        """Execute a statement concurrently, once per list of parameters, and return the rows of each."""
        statement = await self._session.prepare(text)
        return await self._session.execute_all([(statement, parameters) for parameters in each])

    async def run_each(self, *each: tuple[str, Sequence[object]]) -> list[list[Row]]:
        """Execute different statements concurrently, each with its parameters, and return the rows of each."""
        prepared = [(await self._session.prepare(text), parameters) for text, parameters in each]
        return await self._session.execute_all(prepared)
