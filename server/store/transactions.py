"""What all parts of the store stand on: a database that may be absent, this process as a holder of leases, bounds."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from server.errors import InvalidRequest, Unavailable
from server.store.cleanup import Bounds
from server.store.database import Database, unavailable
from server.store.leases import Worker, now
from server.store.location import Location
from server.store.tables import objects

T = TypeVar("T")
log = logging.getLogger("abruzzi.store")
DAY = 86_400
FULL_SHARE = 20  # cleaning begins early when a 20th of the allowed bytes was written


class LeaseLost(Exception):
    """Another process has taken this object over: what this one did to it is not kept."""


class Transactions:
    """`enabled`: false if this server keeps nothing."""

    def __init__(self, location: Location | None, bounds: Bounds, days: int) -> None:
        self.location = location
        self._database = Database(location.url) if location is not None else None
        self._worker = Worker(location.sqlite_file if location is not None else None)
        self._bounds = bounds
        self._lifetime = days * DAY
        self._written = 0  # bytes since the last cleaning
        self._full = asyncio.Event()
        self._failing = False  # to begin work: told once

    @property
    def enabled(self) -> bool:
        return self._database is not None

    def refuse(self, param: str | None = None) -> InvalidRequest:
        """What to raise for a request that needs a store where there is none."""
        what = f"; {param} is refused" if param else ""
        text = f"This server stores nothing (it runs with --store none){what}."
        return InvalidRequest(text, param=param, code="store_disabled")

    async def check(self) -> None:
        """Raises unless the store can be used: for work that takes long and is to be stored at its end."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(sa.select(1))

        await self._read(work)

    async def close(self) -> None:
        """Waits for what is under way, and leaves this process's work to whoever wants it."""
        if self._database is None:
            return
        if self._worker.began:
            free = sa.update(objects).where(objects.c.lease_holder == self._worker.id).values(lease_until=0)

            async def work(connection: AsyncConnection) -> None:
                await connection.execute(free)

            with contextlib.suppress(Unavailable):  # then the leases run out
                await self._write(work)
        await asyncio.to_thread(self._worker.end)  # also after a beginning whose caller did not wait for it
        await self._database.close()

    async def _read(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        if self._database is None:
            raise self.refuse()
        return await self._database.read(work)

    async def _write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        if self._database is None:
            raise self.refuse()
        return await self._database.write(work)

    async def _begin_work(self) -> None:
        """From now on this process may hold leases. Raises Unavailable."""
        if not self._worker.began:
            await self.check()  # there is a folder for the worker's file from then on
            try:
                await asyncio.to_thread(self._worker.begin)
            except OSError as error:
                log.log(logging.DEBUG if self._failing else logging.WARNING, "no work for the store: %s", error)
                self._failing = True
                raise unavailable() from error
            self._failing = False

    def _check_held(self, row: Any, held: bool) -> None:
        if held and row.lease_holder != self._worker.id:
            raise LeaseLost(row.id)

    def _renewed(self, row: Any) -> int:
        """When an object goes that is in use: as if it were made now, if it lives as long as most do."""
        usual = row.expires_at - row.created_at >= self._lifetime
        return max(row.expires_at, now() // 1000 + self._lifetime) if usual else int(row.expires_at)

    def _count(self, size: int) -> None:
        self._written += size
        if self._written * FULL_SHARE > self._bounds.bytes:
            self._full.set()
