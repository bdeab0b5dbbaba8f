"""Databases to store in: a new SQLite file, and a new database of a PostgreSQL server that all tests share."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from support.postgres import Postgres

from server.settings import Settings
from server.store.store import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database that nobody has used."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/store.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.emptied()


@pytest.fixture
async def open_store() -> AsyncIterator[Callable[..., Store]]:
    """Makes stores; they are closed at the end."""
    stores: list[Store] = []

    def make(url: str, **settings: Any) -> Store:
        stores.append(Store.of(Settings(store=url, **settings)))
        return stores[-1]

    yield make
    for store in stores:
        await store.close()
