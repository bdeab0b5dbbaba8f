"""One database: opened at its first use, one transaction for each piece of work, failures told as what they are.

Work runs in tasks of its own: a client that hangs up does not cut a transaction short. SQLite runs in threads, so
that the event loop never waits for a disk.
"""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from alembic.util import CommandError
from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from server.errors import Unavailable
from server.store.migrate import migrate

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]

AT_ONCE = 8  # transactions
PATIENCE = 10.0  # seconds for a transaction, its wait for others included
BUSY_MILLISECONDS = 5000  # that SQLite waits for another writer
RETRY_AFTER = 5
# These are mistakes of ours; all others say that the database cannot do now what it is there for.
OUR_FAULTS = (exc.IntegrityError, exc.DataError, exc.ProgrammingError)
log = logging.getLogger("abruzzi.store")


class Database:
    """Transactions on one database. Raises Unavailable when it fails; the next use tries to open it again."""

    def __init__(self, url: sa.URL) -> None:
        """`url` with an asynchronous driver."""
        self._url = url
        self._sqlite = url.get_backend_name() == "sqlite"
        self._engine: AsyncEngine | None = None
        self._failing = False  # told once, not for every request
        self._opening = asyncio.Lock()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def read(self, work: Work[T]) -> T:
        return await self._run(work, write=False)

    async def write(self, work: Work[T]) -> T:
        """`work` and nothing else writes meanwhile, or (PostgreSQL) to the rows that it locked."""
        return await self._run(work, write=True)

    async def close(self) -> None:
        """Waits for what is under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    async def _run(self, work: Work[T], *, write: bool) -> T:
        task = asyncio.ensure_future(self._transaction(work, write=write))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.shield(task)
        except TimeoutError:
            log.warning("no use of the store: no answer within %.0f s", PATIENCE)
            raise unavailable() from None

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even if nobody waits for it any more

    async def _transaction(self, work: Work[T], *, write: bool) -> T:
        try:
            async with self._room:
                engine = await self._opened()
                async with engine.connect() as connection:
                    await connection.execution_options(write=write)
                    async with connection.begin():
                        result = await work(connection)
        except OUR_FAULTS:
            raise
        except (exc.DBAPIError, exc.TimeoutError, CommandError, OSError) as error:
            log.log(logging.DEBUG if self._failing else logging.WARNING, "no use of the store: %s", _first_line(error))
            self._failing = True
            await self._forget()
            raise unavailable() from error
        if self._failing:
            log.warning("the store can be used again")
            self._failing = False
        return result

    async def _opened(self) -> AsyncEngine:
        """The engine, after its tables were brought up to date."""
        async with self._opening:
            if self._engine is None:
                await asyncio.to_thread(self._prepare)
                self._engine = self._make_engine()
            return self._engine

    async def _forget(self) -> None:
        """A file may have been replaced, a server restored from a copy: the next use looks at the tables again."""
        async with self._opening:
            engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()

    def _prepare(self) -> None:
        url = self._url.set(drivername="sqlite") if self._sqlite else self._url
        if self._sqlite:
            _make_file(Path(self._url.database or ""))
        engine = sa.create_engine(url, poolclass=NullPool, connect_args=self._connect_arguments())
        if self._sqlite:
            _listen(engine)
        migrate(engine)

    def _make_engine(self) -> AsyncEngine:
        if not self._sqlite:
            return create_async_engine(
                self._url, pool_size=AT_ONCE, max_overflow=0, pool_pre_ping=True, connect_args=self._connect_arguments()
            )
        # A connection to SQLite is a thread and an open file; none is kept where nothing is asked of it.
        engine = create_async_engine(self._url, poolclass=NullPool, connect_args=self._connect_arguments())
        _listen(engine.sync_engine)
        return engine

    def _connect_arguments(self) -> dict[str, Any]:
        if self._sqlite:
            return {"timeout": BUSY_MILLISECONDS / 1000, "isolation_level": None}
        return {"connect_timeout": 5, "options": f"-c statement_timeout={BUSY_MILLISECONDS}"}


def _listen(engine: sa.Engine) -> None:
    """SQLite: settings of each connection; transactions that write begin as such, so that two that read first and
    write then cannot block each other."""

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: object) -> None:
        cursor = connection.cursor()
        _keep_log(cursor)
        for pragma in ("synchronous = NORMAL", "foreign_keys = ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        write = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _keep_log(cursor: Any) -> None:
    """Gives the file a write-ahead log, which it keeps. SQLite does not wait for a writer here as it does elsewhere:
    another process may be about the same."""
    give_up = time.monotonic() + BUSY_MILLISECONDS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)


def _make_file(path: Path) -> None:
    """Only its owner may read it: it holds what people said."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def unavailable() -> Unavailable:
    """What to raise when what is stored cannot be read or written."""
    return Unavailable(
        "The store of responses, files and batches cannot be used now. What needs no store goes on.",
        retry_after=RETRY_AFTER,
        code="store_unavailable",
    )


def _first_line(error: Exception) -> str:
    cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
    return f"{type(cause).__name__}: {str(cause).splitlines()[0] if str(cause) else ''}"
