"""PostgreSQL servers of our own, in a temporary folder, gone afterwards."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest


def programs() -> Path:
    """The folder of PostgreSQL's programs. Skips where there are none, but for CI, where that is a failure."""
    folders = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    if found := shutil.which("initdb"):
        folders.append(Path(found).parent)
    for folder in folders:
        if all((folder / name).exists() for name in ("initdb", "postgres")):
            return folder
    missing = "PostgreSQL's programs (initdb, postgres) are not installed"
    if os.environ.get("CI"):
        pytest.fail(f"{missing}: in Debian, apt-get install postgresql")
    pytest.skip(missing)


class Postgres:
    """A server, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self._bin = programs()
        # It refuses to be run by root.
        self._user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
        self._folder = folder
        if self._user is not None:
            os.chown(folder, self._user, -1)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = int(listener.getsockname()[1])
        self._call("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "abruzzi", "-E", "UTF8", "--no-sync")
        self._process: subprocess.Popen[bytes] | None = None

    def url(self) -> str:
        return f"postgresql://abruzzi@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k", str(self._folder)]
        command = [str(self._bin / "postgres"), "-D", str(self._folder / "data"), "-p", str(self.port), *options]
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(command, stdout=log, stderr=log, user=self._user, cwd=self._folder)
        log.close()
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.url()).close()
                return
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)

    def stop(self) -> None:
        """At once: connections are cut."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def emptied(self) -> str:
        """The database, without what was in it: its URL."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return self.url()

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        done = subprocess.run(command, user=self._user, cwd=self._folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Skips, or in CI fails, where PostgreSQL is not installed."""
    programs()
    folder = Path(tempfile.mkdtemp(prefix="abruzzi-postgres-"))
    try:
        server = Postgres(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
