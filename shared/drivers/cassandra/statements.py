"""Statements of a store on Cassandra, run by their text: each is prepared once."""

from collections.abc import Iterable, Sequence

from shared.drivers.cassandra.session import CassandraSession, Row


class Statements:
    """Every method raises Unavailable if Cassandra does not answer; what was asked for may have been done or not."""

    def __init__(self, session: CassandraSession) -> None:
        self._session = session

    async def prepare(self, texts: Iterable[str]) -> None:
        """Have these ready, so that the first use of each is no slower than the next."""
        for text in texts:
            await self._session.prepare(text)

    async def run(self, text: str, *parameters: object) -> list[Row]:
        """The rows, as tuples."""
        return await self._session.execute(await self._session.prepare(text), parameters)

    async def apply(self, text: str, *parameters: object) -> bool:
        """Run a lightweight transaction; whether its condition held."""
        ((applied, *_),) = await self.run(text, *parameters)
        return bool(applied)

    async def run_all(self, text: str, each: Iterable[Sequence[object]]) -> list[list[Row]]:
        """Run a statement once for each of the parameters, at the same time; the rows of each."""
        statement = await self._session.prepare(text)
        return await self._session.execute_all([(statement, parameters) for parameters in each])

    async def run_each(self, *each: tuple[str, Sequence[object]]) -> list[list[Row]]:
        """Run different statements at the same time, each with its parameters; the rows of each."""
        prepared = [(await self._session.prepare(text), parameters) for text, parameters in each]
        return await self._session.execute_all(prepared)
