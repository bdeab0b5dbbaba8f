"""Who works on what. A process that works on an object holds its lease and renews it; a lease that ran out, or whose
holder is known to have died, is free for the next.

With SQLite all processes are on one machine, where each holds a lock on a file of its own beside the database. The
system drops it when the process ends, however it ends, so that its work can be taken up at once.
"""

import contextlib
import fcntl
import os
import secrets
import threading
import time
from pathlib import Path

LEASE_SECONDS = 15
RENEW_SECONDS = 5


class Worker:
    """This process, as a holder of leases."""

    def __init__(self, sqlite_file: Path | None) -> None:
        self.id = secrets.token_hex(8)
        self.began = False
        self._beside = sqlite_file
        self._lock: int | None = None
        # Of two threads that begin at once the second would lock the file that the first is about to rename.
        self._one_thread = threading.Lock()

    def begin(self) -> None:
        """From now on others can see that this process lives. Any thread may call it, any number of times. Blocks,
        briefly. Raises OSError."""
        with self._one_thread:
            if self._beside is not None and self._lock is None:
                self._lock = self._locked_file(self._beside)
            self.began = True

    def has_died(self, holder: str) -> bool:
        """Whether a holder of leases is certainly no more; its file goes then, too. Blocks, briefly. Of one whose file
        cannot be opened or locked nothing is known."""
        if self._beside is None or holder == self.id:
            return False
        path = self._path(holder)
        try:
            lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        else:
            path.unlink(missing_ok=True)
            return True
        finally:
            os.close(lock)

    def end(self) -> None:
        """This process works on nothing any more. Blocks, briefly."""
        with self._one_thread:
            self.began = False
            if self._lock is not None:
                with contextlib.suppress(OSError):
                    self._path(self.id).unlink()
                os.close(self._lock)
                self._lock = None

    def _locked_file(self, beside: Path) -> int:
        """Makes this process's file, after removing those of the dead."""
        for path in beside.parent.glob(self._path("*").name):
            self.has_died(path.name.rpartition("-")[2])
        # Under its name it is locked from the beginning.
        path = beside.with_name(f"{beside.name}.begin-{self.id}")
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.rename(self._path(self.id))
        except BaseException:
            path.unlink(missing_ok=True)
            os.close(lock)
            raise
        return lock

    def _path(self, holder: str) -> Path:
        assert self._beside is not None
        return self._beside.with_name(f"{self._beside.name}.worker-{holder}")


def lease_end() -> int:
    """Of a lease that begins now, in unix milliseconds."""
    return int((time.time() + LEASE_SECONDS) * 1000)


def now() -> int:
    """In unix milliseconds."""
    return int(time.time() * 1000)
