"""Store: what outlasts a request. Objects of several kinds, each with its owner, its lists of items and its end.

Every method is one transaction. All raise NotFound for an id that is unknown or another's, Unavailable when the
database fails, InvalidRequest when this server keeps nothing.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from server.errors import Unavailable
from server.settings import Settings
from server.store import sql
from server.store.cleanup import Bounds, clean
from server.store.leases import RENEW_SECONDS, lease_end, now
from server.store.lists import Lists
from server.store.location import locate
from server.store.rows import Elsewhere, Item, Page, Placed, Stored, byte_size, digests, encode, stored
from server.store.tables import objects

CLEAN_SECONDS = 60.0
log = logging.getLogger("abruzzi.store")


class Store(Lists):
    """One for each application."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Raises ConfigError."""
        location = locate(settings.store, settings.files_folder)
        return cls(location, Bounds(settings.store_max_objects, settings.store_max_bytes), settings.store_days)

    async def put(
        self,
        kind: str,
        id: str,
        owner: str,
        body: dict[str, Any],
        *,
        model: str = "",
        metadata: Mapping[str, str] | None = None,
        items: Mapping[str, Sequence[Item]] | None = None,
        active: bool = False,
        expires_at: int | None = None,
        size: int = 0,
        elsewhere: Sequence[Elsewhere] = (),
    ) -> Stored:
        """A new object. `metadata` only finds it in lists. `active`: this process works on it from now on.

        `expires_at`: when it goes; default: the store's number of days from now. `size`: bytes that it has outside of
        the store. `elsewhere`: items for other objects of the owner.
        """
        created = int(time.time())
        expires = created + self._lifetime if expires_at is None else expires_at
        text = encode(body)
        grown = len(text.encode()) + sum(byte_size(item.body) for new in (items or {}).values() for item in new)
        values = {
            "id": id,
            "kind": kind,
            "owner": owner,
            "created_at": created,
            "expires_at": expires,
            "size": size + grown,
            "active": active,
            "model": model,
            "body": text,
        }
        if active:
            await self._begin_work()
            values |= {"lease_holder": self._worker.id, "lease_until": lease_end()}

        async def work(connection: AsyncConnection) -> int:
            number = await sql.insert(connection, values, digests(metadata))
            for name, new in (items or {}).items():
                await sql.place(connection, number, name, [Placed(at, one.id, one.body) for at, one in enumerate(new)])
            return await self._append_elsewhere(connection, owner, elsewhere)

        self._count(grown + await self._write(work))
        return Stored(id, kind, owner, created, expires, active, model, body)

    async def get(self, kind: str, id: str, owner: str) -> Stored:
        async def work(connection: AsyncConnection) -> Stored:
            return stored(await sql.find(connection, kind, id, owner))

        return await self._read(work)

    async def change(
        self,
        kind: str,
        id: str,
        owner: str,
        edit: Callable[[dict[str, Any]], dict[str, Any] | None],
        *,
        metadata: Mapping[str, str] | None = None,
        add: Mapping[str, Sequence[Item]] | None = None,
        elsewhere: Sequence[Elsewhere] = (),
        active: bool | None = None,
        held: bool = False,
    ) -> Stored:
        """Replaces the body by what `edit` makes of it (None: nothing), adds items to lists, here and to other objects
        of the owner, ends or begins work.

        An error that `edit` raises undoes all. `metadata` replaces what finds it, if given. `held`: only while this
        process holds the object's lease; raises LeaseLost.
        """
        if active:
            await self._begin_work()

        async def work(connection: AsyncConnection) -> tuple[Stored, int]:
            row = await sql.find(connection, kind, id, owner, lock=True)
            self._check_held(row, held)
            values: dict[str, Any] = {"expires_at": self._renewed(row)}
            size = 0
            body = edit(stored(row).body)
            if body is not None:
                values["body"] = encode(body)
                size = len(values["body"].encode()) - len(row.body.encode())
            if metadata is not None:
                await sql.label(connection, row.number, digests(metadata))
            for name, new in (add or {}).items():
                await self._append(connection, row, name, new)
            if active is not None:
                values["active"] = active
                values["lease_holder"] = self._worker.id if active else None
                values["lease_until"] = lease_end() if active else None
            await self._append_elsewhere(connection, owner, elsewhere)
            await sql.resize(connection, row.number, size, **values)
            after = await sql.find(connection, kind, id, owner)
            return stored(after), after.size - row.size

        changed, grown = await self._write(work)
        self._count(grown)
        return changed

    async def delete(self, kind: str, id: str, owner: str) -> None:
        """Its items go with it."""

        async def work(connection: AsyncConnection) -> None:
            row = await sql.find(connection, kind, id, owner, lock=True)
            await connection.execute(sa.delete(objects).where(objects.c.number == row.number))

        await self._write(work)

    async def list(
        self,
        kind: str,
        owner: str,
        *,
        after: str | None = None,
        limit: int = 20,
        ascending: bool = False,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Page[Stored]:
        """A page of the owner's objects in the order in which they were made. `metadata`: only those with all of it."""
        found_by = digests(metadata)

        async def work(connection: AsyncConnection) -> Page[Stored]:
            return await sql.page(
                connection, kind, owner, after=after, limit=limit, ascending=ascending, model=model, found_by=found_by
            )

        return await self._read(work)

    async def totals(self, kind: str) -> tuple[int, int]:
        """How many objects of a kind all owners have, and their bytes."""
        query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(objects.c.size), 0))

        async def work(connection: AsyncConnection) -> tuple[int, int]:
            row = (await connection.execute(query.where(objects.c.kind == kind))).one()
            return row[0], int(row[1])

        return await self._read(work)

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are an object's, whoever owns it."""
        query = sa.select(objects.c.id).where(objects.c.id.in_(ids))

        async def work(connection: AsyncConnection) -> set[str]:
            return set(await connection.scalars(query))

        return await self._read(work)

    async def take_over(self, kind: str, models: Sequence[str]) -> Sequence[Stored]:
        """Active objects that nobody works on any more, oldest first; this process does from now on. Only those with
        one of the models."""
        await self._begin_work()
        some = (objects.c.kind == kind, objects.c.active, objects.c.model.in_(models))
        free = objects.c.lease_until < now()
        query = sa.select(objects).where(*some).order_by(objects.c.number).with_for_update(skip_locked=True)

        async def holders(connection: AsyncConnection) -> set[str]:
            return set(await connection.scalars(sa.select(objects.c.lease_holder).where(*some, ~free).distinct()))

        dead = await self._dead(await self._read(holders))

        async def work(connection: AsyncConnection) -> Sequence[Stored]:
            rows = (await connection.execute(query.where(free | objects.c.lease_holder.in_(dead)))).all()
            taken = sa.update(objects).where(objects.c.number.in_([row.number for row in rows]))
            await connection.execute(taken.values(lease_holder=self._worker.id, lease_until=lease_end()))
            return [stored(row) for row in rows]

        return await self._write(work)

    async def maintain(self) -> None:
        """Renews leases and removes what is over, for ever. To be run in the background."""
        loop = asyncio.get_running_loop()
        cleaned = loop.time() - CLEAN_SECONDS
        while self.enabled:
            try:
                await self._renew()
                if loop.time() - cleaned >= CLEAN_SECONDS or self._full.is_set():
                    cleaned = loop.time()
                    await self.clean()
            except Unavailable:
                log.debug("maintenance waits until the store can be used again")
            await asyncio.sleep(RENEW_SECONDS)

    async def clean(self) -> None:
        """Removes what expired and what is beyond the bounds."""
        self._written = 0
        self._full.clear()
        await clean(self._write, self._bounds)

    async def _renew(self) -> None:
        if not self._worker.began:
            return
        mine = sa.update(objects).where(objects.c.lease_holder == self._worker.id, objects.c.active)

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(mine.values(lease_until=lease_end()))

        await self._write(work)

    async def _dead(self, holders: Iterable[str]) -> Sequence[str]:
        return await asyncio.to_thread(lambda: [one for one in holders if self._worker.has_died(one)])
