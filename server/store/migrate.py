"""Brings a database to the newest revision of its tables. Blocks; to be run in a thread."""

import threading
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

FOLDER = Path(__file__).parent / "migrations"
PROCESSES = 0x41627275  # PostgreSQL's advisory lock of those who migrate
THREADS = threading.Lock()  # Alembic keeps what it works on in its modules


def migrate(engine: sa.Engine) -> None:
    """Runs what is missing, in one transaction. Several processes may do so at a time: one waits for the other.

    Raises sqlalchemy's DBAPIError, and alembic's CommandError for a database that a newer version has made.
    """
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    if _is_newest(engine, config):
        return
    # On SQLite a transaction that writes waits here for other writers.
    with THREADS, engine.execution_options(write=True).connect() as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(PROCESSES)))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _is_newest(engine: sa.Engine, config: Config) -> bool:
    """Only reads: it can be asked of a database that somebody else writes to."""
    with engine.connect() as connection, connection.begin():
        there = MigrationContext.configure(connection).get_current_heads()
    return set(there) == set(ScriptDirectory.from_config(config).get_heads())
