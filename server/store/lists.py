"""The lists of items of stored objects."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from server.store import sql
from server.store.rows import Elsewhere, Item, Page, Placed, byte_size
from server.store.tables import items
from server.store.transactions import Transactions


class Lists(Transactions):
    """An object's items lie in lists, each in an order of its own: position 0, 1, …"""

    async def items(
        self,
        kind: str,
        id: str,
        owner: str,
        name: str,
        *,
        after: str | None = None,
        before: str | None = None,
        after_position: int | None = None,
        limit: int | None = 20,
        ascending: bool = True,
    ) -> Page[Placed]:
        """A page of the list `name`, behind `after` and before `before` (ids of items), or behind a position."""

        async def work(connection: AsyncConnection) -> Page[Placed]:
            number = (await sql.find(connection, kind, id, owner)).number
            first = None if after_position is None else max(-1, min(after_position, sql.LAST))
            if after is not None:
                first = (await sql.find_item(connection, number, name, after)).position
            last = (await sql.find_item(connection, number, name, before)).position if before is not None else None
            return await sql.items_page(
                connection, number, name, after=first, before=last, limit=limit, ascending=ascending
            )

        return await self._read(work)

    async def item(self, kind: str, id: str, owner: str, name: str, item_id: str) -> Placed:
        """The last item with this id."""

        async def work(connection: AsyncConnection) -> Placed:
            row = await sql.find(connection, kind, id, owner)
            return await sql.find_item(connection, row.number, name, item_id)

        return await self._read(work)

    async def count_items(self, kind: str, id: str, owner: str, name: str) -> Mapping[str, int]:
        """How many items of a list have which id."""

        async def work(connection: AsyncConnection) -> Mapping[str, int]:
            number = (await sql.find(connection, kind, id, owner)).number
            query = sa.select(items.c.id, sa.func.count()).where(items.c.number == number, items.c.list == name)
            rows = (await connection.execute(query.group_by(items.c.id))).all()
            return {row[0]: row[1] for row in rows}

        return await self._read(work)

    async def positions(self, kind: str, id: str, owner: str, name: str) -> set[int]:
        """Which positions of a list are taken."""

        async def work(connection: AsyncConnection) -> set[int]:
            number = (await sql.find(connection, kind, id, owner)).number
            query = sa.select(items.c.position).where(items.c.number == number, items.c.list == name)
            return set(await connection.scalars(query))

        return await self._read(work)

    async def add_items(
        self, kind: str, id: str, owner: str, name: str, new: Sequence[Item], *, held: bool = False
    ) -> list[Placed]:
        """Adds to the end of a list, all or none. `held`: only while this process holds the object's lease; raises
        LeaseLost."""

        async def work(connection: AsyncConnection) -> tuple[list[Placed], int]:
            row = await sql.find(connection, kind, id, owner, lock=True)
            self._check_held(row, held)
            return await self._append(connection, row, name, new)

        placed, size = await self._write(work)
        self._count(size)
        return placed

    async def place_item(self, kind: str, id: str, owner: str, name: str, item: Placed) -> bool:
        """Puts an item at its place, once: false if one is there already. Only while this process holds the object's
        lease; raises LeaseLost."""

        async def work(connection: AsyncConnection) -> int | None:
            row = await sql.find(connection, kind, id, owner, lock=True)
            self._check_held(row, True)
            here = (items.c.number == row.number, items.c.list == name, items.c.position == item.position)
            if (await connection.execute(sa.select(items.c.position).where(*here))).one_or_none() is not None:
                return None
            size = await sql.place(connection, row.number, name, [item])
            await sql.resize(connection, row.number, size)
            return size

        size = await self._write(work)
        self._count(size or 0)
        return size is not None

    async def delete_item(self, kind: str, id: str, owner: str, name: str, item_id: str) -> None:
        """The last item with this id; the others keep their positions."""

        async def work(connection: AsyncConnection) -> None:
            row = await sql.find(connection, kind, id, owner, lock=True)
            item = await sql.find_item(connection, row.number, name, item_id)
            here = (items.c.number == row.number, items.c.list == name, items.c.position == item.position)
            await connection.execute(sa.delete(items).where(*here))
            await sql.resize(connection, row.number, -byte_size(item.body))

        await self._write(work)

    async def clear_items(self, kind: str, id: str, owner: str, name: str, *, held: bool = False) -> None:
        """Empties a list. `held` as in `add_items`."""

        async def work(connection: AsyncConnection) -> None:
            row = await sql.find(connection, kind, id, owner, lock=True)
            self._check_held(row, held)
            here = (items.c.number == row.number, items.c.list == name)
            size = (await connection.execute(sa.select(sa.func.sum(items.c.size)).where(*here))).scalar_one()
            await connection.execute(sa.delete(items).where(*here))
            await sql.resize(connection, row.number, -int(size or 0))

        await self._write(work)

    async def _append(
        self, connection: AsyncConnection, row: Any, name: str, new: Sequence[Item]
    ) -> tuple[list[Placed], int]:
        """Adds to the end of a list of the object of a locked row: the items in their places, and their bytes."""
        first = await sql.end_of(connection, row.number, name)
        placed = [Placed(first + index, item.id, item.body) for index, item in enumerate(new)]
        size = await sql.place(connection, row.number, name, placed)
        await sql.resize(connection, row.number, size, expires_at=self._renewed(row))
        return placed, size

    async def _append_elsewhere(self, connection: AsyncConnection, owner: str, others: Sequence[Elsewhere]) -> int:
        """The bytes of what was added to other objects' lists. Raises NotFound."""
        grown = 0
        for other in others:
            row = await sql.find(connection, other.kind, other.id, owner, lock=True)
            grown += (await self._append(connection, row, other.list, other.items))[1]
        return grown
