"""What goes by itself: objects whose time is over, and the oldest ones when there are too many or they take too much.

Files are bounded where they are uploaded (they are refused, not lost), and what is worked on stays.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from server.store.leases import now
from server.store.tables import objects

AT_ONCE = 200  # objects removed in one transaction, so that others get in between
FILE = "file"


class Bounds(NamedTuple):
    """Of all objects together, files excepted."""

    objects: int
    bytes: int


Write = Callable[[Callable[[AsyncConnection], Awaitable[int]]], Awaitable[int]]


async def clean(write: Write, bounds: Bounds) -> int:
    """How many were removed. `write` runs a transaction."""
    removed = 0
    for some in (_remove_expired, lambda connection: _remove_oldest(connection, bounds)):
        while count := await write(some):
            removed += count
    return removed


async def _remove_expired(connection: AsyncConnection) -> int:
    over = (objects.c.expires_at < now() // 1000, ~objects.c.active)
    return await _remove(
        connection, list(await connection.scalars(sa.select(objects.c.number).where(*over).limit(AT_ONCE)))
    )


async def _remove_oldest(connection: AsyncConnection, bounds: Bounds) -> int:
    """As many of the oldest as are too many, or as hold the bytes that are too many."""
    bounded = objects.c.kind != FILE
    totals = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(objects.c.size), 0)).where(bounded)
    count, size = (await connection.execute(totals)).one()
    many, much = count - bounds.objects, int(size) - bounds.bytes
    if many <= 0 and much <= 0:
        return 0
    oldest = sa.select(objects.c.number, objects.c.size).where(bounded, ~objects.c.active).order_by(objects.c.number)
    numbers = []
    for number, bytes in (await connection.execute(oldest.limit(AT_ONCE))).all():
        if many <= 0 and much <= 0:
            break
        numbers.append(number)
        many, much = many - 1, much - bytes
    return await _remove(connection, numbers)


async def _remove(connection: AsyncConnection, numbers: list[int]) -> int:
    if numbers:
        await connection.execute(sa.delete(objects).where(objects.c.number.in_(numbers)))
    return len(numbers)
