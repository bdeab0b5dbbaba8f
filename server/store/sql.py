"""SQL of objects and their lists. Each function is a part of somebody's transaction on `connection`."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from server.errors import NotFound
from server.store.rows import Page, Placed, Stored, byte_size, decode, encode, stored
from server.store.tables import items, labels, objects

LAST = 2**63 - 1
MAX_ID = 256  # characters; longer ones are nobody's


async def find(connection: AsyncConnection, kind: str, id: str, owner: str, *, lock: bool = False) -> Any:
    """The row of an object, which nobody else changes meanwhile if it is locked. Raises NotFound."""
    if not sane(id):
        raise NotFound(kind, id)
    query = sa.select(objects).where(objects.c.id == id, objects.c.kind == kind, objects.c.owner == owner)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFound(kind, id)
    return row


def sane(text: str) -> bool:
    """Whether a client's text can stand for something stored; PostgreSQL knows no NUL and no half characters."""
    return len(text) <= MAX_ID and "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


async def insert(connection: AsyncConnection, values: Mapping[str, Any], found_by: Sequence[str]) -> int:
    """A new object; its number."""
    inserted = await connection.execute(sa.insert(objects).values(**values).returning(objects.c.number))
    number: int = inserted.scalar_one()
    await label(connection, number, found_by)
    return number


async def label(connection: AsyncConnection, number: int, digests: Sequence[str]) -> None:
    """The digests by which an object is found, instead of those before."""
    await connection.execute(sa.delete(labels).where(labels.c.number == number))
    if digests:
        await connection.execute(sa.insert(labels), [{"number": number, "digest": one} for one in set(digests)])


async def page(
    connection: AsyncConnection,
    kind: str,
    owner: str,
    *,
    after: str | None,
    limit: int,
    ascending: bool,
    model: str | None,
    found_by: Sequence[str],
) -> Page[Stored]:
    """Objects in the order in which they were made, behind `after`. Raises NotFound."""
    query = sa.select(objects).where(objects.c.kind == kind, objects.c.owner == owner)
    if model is not None:
        query = query.where(objects.c.model == model if sane(model) else sa.false())
    for digest in found_by:
        query = query.where(objects.c.number.in_(sa.select(labels.c.number).where(labels.c.digest == digest)))
    number = objects.c.number
    if after is not None:
        cursor = (await find(connection, kind, after, owner)).number
        query = query.where(number > cursor if ascending else number < cursor)
    query = query.order_by(number if ascending else number.desc()).limit(limit + 1)
    rows = (await connection.execute(query)).all()
    return Page([stored(row) for row in rows[:limit]], len(rows) > limit)


async def end_of(connection: AsyncConnection, number: int, name: str) -> int:
    """The first position behind a list of an object, which is locked."""
    last = sa.select(sa.func.max(items.c.position)).where(items.c.number == number, items.c.list == name)
    position = (await connection.execute(last)).scalar_one()
    return 0 if position is None else position + 1


async def place(connection: AsyncConnection, number: int, name: str, new: Sequence[Placed]) -> int:
    """Puts items into a list; their bytes."""
    sizes = [byte_size(item.body) for item in new]
    rows = [
        {
            "number": number,
            "list": name,
            "position": item.position,
            "id": item.id,
            "size": size,
            "body": encode(item.body),
        }
        for item, size in zip(new, sizes, strict=True)
    ]
    if rows:
        await connection.execute(sa.insert(items), rows)
    return sum(sizes)


async def items_page(
    connection: AsyncConnection,
    number: int,
    name: str,
    *,
    after: int | None,
    before: int | None,
    limit: int | None,
    ascending: bool,
) -> Page[Placed]:
    """Items of a list by position, in between (of the order asked for) two positions."""
    position = items.c.position
    query = sa.select(items).where(items.c.number == number, items.c.list == name)
    if after is not None:
        query = query.where(position > after if ascending else position < after)
    if before is not None:
        query = query.where(position < before if ascending else position > before)
    query = query.order_by(position if ascending else position.desc())
    if limit is not None:
        query = query.limit(limit + 1)
    rows = (await connection.execute(query)).all()
    shown = rows if limit is None else rows[:limit]
    return Page([Placed(row.position, row.id, decode(row.body)) for row in shown], len(rows) > len(shown))


async def find_item(connection: AsyncConnection, number: int, name: str, id: str) -> Placed:
    """The last item with this id. Raises NotFound."""
    if sane(id):
        query = sa.select(items).where(items.c.number == number, items.c.list == name, items.c.id == id)
        row = (await connection.execute(query.order_by(items.c.position.desc()).limit(1))).one_or_none()
        if row is not None:
            return Placed(row.position, row.id, decode(row.body))
    raise NotFound("item", id)


async def resize(connection: AsyncConnection, number: int, by: int, **values: Any) -> None:
    """Changes an object's row, whose bytes grow (or shrink) by that much."""
    change = sa.update(objects).where(objects.c.number == number)
    await connection.execute(change.values(size=objects.c.size + by, **values))
