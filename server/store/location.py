"""Where things are kept: what `--store` and `--files-folder` say, resolved."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from engine import ConfigError

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


@dataclass(frozen=True, slots=True)
class Location:
    """A database, and the folder of the files that belong to it."""

    url: sa.URL
    files: Path

    @property
    def sqlite_file(self) -> Path | None:
        """None: the database is no SQLite file."""
        return Path(self.url.database or "") if self.url.get_backend_name() == "sqlite" else None

    def __str__(self) -> str:
        """For people; without the password."""
        return str(self.sqlite_file) if self.sqlite_file else self.url.render_as_string(hide_password=True)


def locate(store: str | None, files_folder: Path | None) -> Location | None:
    """None: nothing is kept. `store` is the setting; None: a file in the state folder. Raises ConfigError."""
    if store == "none":
        return None
    url = _url(store or f"sqlite:///{state_folder() / 'store.db'}")
    if url.get_backend_name() == "sqlite":
        database = Path(url.database or "").expanduser().absolute()
        return Location(url.set(database=str(database)), files_folder or database.with_name(database.name + ".files"))
    # A folder belongs to one database: what its database does not know is removed.
    name = hashlib.sha256(url.render_as_string(hide_password=True).encode()).hexdigest()[:12]
    return Location(url, files_folder or state_folder() / f"files-{name}")


def _url(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
        return url.set(drivername=DRIVERS[url.drivername])
    except (ArgumentError, ValueError, KeyError):  # not shown: it may hold a password
        raise ConfigError("--store: the value is no URL of a database that can be used") from None


def state_folder() -> Path:
    """For what a program keeps from run to run, as freedesktop.org's base directory specification has it."""
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".local" / "state") / "abruzzi"
