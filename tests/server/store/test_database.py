"""The database below the store: its tables, and what happens when it fails."""

import asyncio
import fcntl
import os
import re
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event
from support.postgres import Postgres, postgres_server

from engine import ConfigError
from server.errors import Unavailable
from server.settings import Settings
from server.store import database
from server.store.location import locate
from server.store.rows import Item
from server.store.store import Store
from server.store.tables import metadata

pytestmark = pytest.mark.anyio
MakeStore = Callable[..., Store]


def plain_engine(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)


async def test_the_migrations_make_the_tables(url: str, open_store: MakeStore) -> None:
    await open_store(url).check()
    with plain_engine(url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        if url.startswith("sqlite"):
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


async def test_a_new_file_that_somebody_writes_to_is_waited_for(tmp_path: Path, open_store: MakeStore) -> None:
    path = tmp_path / "busy.db"
    writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    writer.execute("CREATE TABLE other (x)")
    writer.execute("BEGIN IMMEDIATE")
    asyncio.get_running_loop().call_later(0.3, writer.execute, "COMMIT")
    await open_store(f"sqlite:///{path}").check()
    writer.close()
    with plain_engine(f"sqlite:///{path}").connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


async def test_processes_that_start_together_share_the_tables(url: str, tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from server.settings import Settings\n"
        "from server.store.store import Store\n"
        "async def main():\n"
        "    store = Store.of(Settings(store=sys.argv[1]))\n"
        "    await store.put('k', sys.argv[2], 'me', {})\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", code, url]
    processes = [subprocess.Popen([*command, f"k{number}"], stderr=subprocess.PIPE) for number in range(2)]
    for process in processes:
        _, errors = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0, errors.decode()
    with plain_engine(url).connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM objects").scalar() == 2


async def test_only_its_owner_may_read_the_file(tmp_path: Path, open_store: MakeStore) -> None:
    await open_store(f"sqlite:///{tmp_path}/new/store.db").put("k", "k1", "me", {}, active=True)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    for file in (tmp_path / "new").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


async def test_files_of_dead_processes_go(tmp_path: Path, open_store: MakeStore) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    alive = open_store(url)
    await alive.put("k", "k1", "me", {}, active=True)
    (tmp_path / "store.db.worker-0123").touch()
    another = open_store(url)
    assert await another.take_over("k", [""]) == []
    assert len(list(tmp_path.glob("store.db.worker-*"))) == 2
    await alive.close()
    await another.close()
    assert list(tmp_path.glob("*worker*")) == []


async def test_all_work_of_a_process_may_begin_at_once(
    tmp_path: Path, open_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the first one takes between making the file and having it under its name."""
    flock = fcntl.flock

    def slow(lock: int, how: int) -> None:
        time.sleep(0.02)
        flock(lock, how)
        time.sleep(0.02)

    monkeypatch.setattr("server.store.leases.fcntl.flock", slow)
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    assert await asyncio.gather(*(store.take_over(kind, [""]) for kind in "abcd")) == [[]] * 4
    assert len(list(tmp_path.glob("*worker*"))) == 1
    await store.close()
    assert list(tmp_path.glob("*worker*")) == list(tmp_path.glob("*begin*")) == []


async def test_what_is_no_file_of_a_worker_stays(tmp_path: Path, open_store: MakeStore) -> None:
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    (tmp_path / "store.db.worker-0123").mkdir()
    assert await store.take_over("k", [""]) == []
    assert (tmp_path / "store.db.worker-0123").is_dir()


async def test_work_begins_when_it_can(
    tmp_path: Path, open_store: MakeStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(lock: int, how: int) -> None:
        raise OSError("no locks here")

    store = open_store(f"sqlite:///{tmp_path}/store.db")
    with monkeypatch.context() as patched:
        patched.setattr("server.store.leases.fcntl.flock", refuse)
        for _ in range(3):
            with pytest.raises(Unavailable):
                await store.take_over("k", [""])
    assert list(tmp_path.glob("*begin*")) == []
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "no work for the store: no locks here"
    ]
    assert await store.take_over("k", [""]) == []


async def test_a_failing_store_is_logged_once(
    tmp_path: Path, open_store: MakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    store = open_store(f"sqlite:///{tmp_path}/file/store.db")
    for _ in range(3):
        await unavailable(store)
    (tmp_path / "file").unlink()
    await store.check()
    await store.check()
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 2
    assert "no use of the store: " in told[0]
    assert told[1] == "the store can be used again"


async def test_a_database_of_a_newer_version_is_left_alone(url: str, open_store: MakeStore) -> None:
    await open_store(url).check()
    with plain_engine(url).begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'newer'")
    with pytest.raises(Unavailable):
        await open_store(url).check()


async def unavailable(store: Store) -> None:
    """Both kinds of transaction say so."""
    for call in (store.get("k", "k1", "me"), store.put("k", "more", "me", {})):
        with pytest.raises(Unavailable) as caught:
            await call
        assert caught.value.code == "store_unavailable"
        assert caught.value.headers["Retry-After"]


async def test_locked(tmp_path: Path, open_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_MILLISECONDS", 200)
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    await store.put("k", "k1", "me", {})
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.ensure_future(tick())
    with pytest.raises(Unavailable):
        await store.put("k", "k2", "me", {})
    ticking.cancel()
    assert ticks >= 5  # the event loop went on meanwhile
    assert (await store.get("k", "k1", "me")).body == {}  # readers do not wait for writers
    other.execute("ROLLBACK")
    other.close()
    await store.put("k", "k2", "me", {})


async def test_full_disk(tmp_path: Path, open_store: MakeStore) -> None:
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    await store.put("k", "k1", "me", {})

    def bounded(connection: Any, record: object) -> None:
        connection.execute("PRAGMA max_page_count = 30")

    event.listen(sa.Engine, "connect", bounded)
    try:
        with pytest.raises(Unavailable):
            await store.put("k", "large", "me", {"text": "x" * 10**6})
        assert (await store.get("k", "k1", "me")).body == {}
    finally:
        event.remove(sa.Engine, "connect", bounded)
    await store.put("k", "large", "me", {"text": "x" * 10**6})


async def test_not_a_database(tmp_path: Path, open_store: MakeStore) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"something else" * 1000)
    store = open_store(f"sqlite:///{path}")
    await unavailable(store)
    assert path.read_bytes() == b"something else" * 1000
    path.unlink()
    await store.put("k", "k1", "me", {})  # it comes back by itself


async def test_no_folder_can_be_made(tmp_path: Path, open_store: MakeStore) -> None:
    (tmp_path / "file").write_text("")
    await unavailable(open_store(f"sqlite:///{tmp_path}/file/store.db"))


async def test_the_file_goes_while_the_server_runs(tmp_path: Path, open_store: MakeStore) -> None:
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    await store.put("k", "k1", "me", {})
    for file in tmp_path.glob("store.db*"):
        file.unlink()
    with pytest.raises(Unavailable):
        await store.get("k", "k1", "me")
    await store.put("k", "k2", "me", {})
    assert [one.id for one in (await store.list("k", "me")).data] == ["k2"]


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """One that a test may stop."""
    with postgres_server() as server:
        yield server


async def test_postgres_goes_and_comes_back(own_postgres: Postgres, open_store: MakeStore) -> None:
    store = open_store(own_postgres.url())
    await store.put("k", "k1", "me", {})
    own_postgres.stop()
    await unavailable(store)
    own_postgres.start()
    assert (await store.get("k", "k1", "me")).id == "k1"
    await store.add_items("k", "k1", "me", "l", [Item("i", 1)])


async def test_postgres_locks(postgres: Postgres, open_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_MILLISECONDS", 300)
    url = postgres.emptied()
    store = open_store(url)
    await store.put("k", "k1", "me", {})
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE objects")
        await unavailable(store)
    assert (await store.get("k", "k1", "me")).id == "k1"


async def test_who_does_not_wait_for_an_answer_cuts_nothing_short(url: str, open_store: MakeStore) -> None:
    store = open_store(url)
    await store.check()
    for number in range(20):
        call = asyncio.ensure_future(store.put("k", f"k{number}", "me", {}, items={"l": [Item("i", 1)]}))
        await asyncio.sleep(0.0005 * number)
        call.cancel()
    while len((await store.list("k", "me", limit=99)).data) < 20 - 1:  # the first may not have begun
        await asyncio.sleep(0.01)
    for one in (await store.list("k", "me", limit=99)).data:
        assert len((await store.items("k", one.id, "me", "l")).data) == 1


def test_locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    default = locate(None, None)
    assert default is not None
    assert (default.sqlite_file, default.files) == (
        tmp_path / "abruzzi" / "store.db",
        tmp_path / "abruzzi" / "store.db.files",
    )
    remote, same, other = (
        locate(url, None) for url in ("postgresql://u:a@h/d", "postgres://u:b@h/d", "postgresql://u:a@h/e")
    )
    assert remote is not None
    assert same is not None
    assert other is not None
    assert remote.files == same.files != other.files
    assert remote.files.parent == tmp_path / "abruzzi"
    assert "a@" not in str(remote)
    assert locate("postgresql://u:a@h/d", Path("x")).files == Path("x")  # type: ignore[union-attr]
    assert locate("none", None) is None
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    assert str(locate(None, None)) == "/home/me/.local/state/abruzzi/store.db"
    with pytest.raises(ConfigError):
        Store.of(Settings(store="postgresql://host:no-port/db"))
    assert os.sep == "/"


def test_the_document_lists_the_columns() -> None:
    text = (Path(__file__).parents[3] / "docs" / "storage.md").read_text()
    for table in metadata.sorted_tables:
        section = text.split(f"\n`{table.name}`: ", 1)[1].split("\n\n`", 1)[0].split("\n## ", 1)[0]
        rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
        listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
        assert listed == [column.name for column in table.columns]
