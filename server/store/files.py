"""Files: objects of the kind "file", whose contents lie in a folder under their ids.

A file is written under another name and renamed when it is whole, so that what bears an id is complete. All that
waits for the disk runs in threads.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from server.errors import NotFound, Unavailable
from server.store.cleanup import FILE
from server.store.database import unavailable
from server.store.rows import Page, Stored
from server.store.store import Store

BUFFER = 2**20  # bytes that are collected before they are written
SWEEP_SECONDS = 600.0
GRACE_SECONDS = 3600.0  # younger contents may belong to something that is about to be stored
log = logging.getLogger("abruzzi.files")


class Incoming:
    """The contents of a file while they come. `close` it, always: that removes what was not kept."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"incoming-{secrets.token_hex(8)}"
        self.size = 0
        self._file: IO[bytes] | None = None
        self._buffer = bytearray()

    async def write(self, data: bytes) -> None:
        """Raises Unavailable if the disk does not take it."""
        self.size += len(data)
        self._buffer += data
        if len(self._buffer) >= BUFFER:
            await self._in_thread(self._flush)

    async def finish(self) -> None:
        """All of it is on the disk from then on. Raises Unavailable."""
        await self._in_thread(self._sync)

    async def close(self) -> None:
        await asyncio.to_thread(self._remove)

    async def _in_thread(self, step: Any) -> None:
        try:
            await asyncio.to_thread(step)
        except OSError as error:
            log.warning("a file cannot be written: %s", error)
            raise unavailable() from error

    def _flush(self) -> None:
        if self._file is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = open(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")  # noqa: SIM115
        self._file.write(self._buffer)
        self._buffer.clear()

    def _sync(self) -> None:
        self._flush()
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
            self.path.unlink(missing_ok=True)


class Files:
    """The files of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._folder = store.location.files if store.location is not None else Path()

    def incoming(self) -> Incoming:
        """Raises InvalidRequest if nothing is stored here."""
        if not self.store.enabled:
            raise self.store.refuse()
        return Incoming(self._folder)

    async def keep(
        self,
        incoming: Incoming,
        owner: str,
        *,
        filename: str,
        purpose: str,
        seconds: int | None = None,
        id: str | None = None,
    ) -> Stored:
        """Makes a file of what came. `seconds`: how long it lives."""
        await incoming.finish()
        id = id or new_id()
        await asyncio.to_thread(incoming.path.rename, self._folder / id)
        body = {"filename": filename, "purpose": purpose, "bytes": incoming.size}
        expires = None if seconds is None else int(time.time()) + seconds
        labels = {"purpose": purpose}
        # If that fails, or nobody waits for it any more, the sweep finds out whether the contents belong to something.
        return await self.store.put(FILE, id, owner, body, metadata=labels, expires_at=expires, size=incoming.size)

    async def get(self, id: str, owner: str) -> Stored:
        return await self.store.get(FILE, id, owner)

    async def list(
        self, owner: str, *, after: str | None, limit: int, ascending: bool, purpose: str | None
    ) -> Page[Stored]:
        metadata = None if purpose is None else {"purpose": purpose}
        return await self.store.list(FILE, owner, after=after, limit=limit, ascending=ascending, metadata=metadata)

    async def delete(self, id: str, owner: str) -> None:
        await self.store.delete(FILE, id, owner)
        await asyncio.to_thread(self.path(id).unlink, missing_ok=True)

    async def contents(self, id: str, owner: str) -> Path:
        """Where a file's contents are. Raises NotFound."""
        await self.get(id, owner)
        path = self.path(id)
        if not await asyncio.to_thread(path.is_file):
            raise NotFound(FILE, id)
        return path

    def path(self, name: str) -> Path:
        """`name`: an id that is in the store."""
        return self._folder / name

    async def sweep(self) -> None:
        """Removes contents of files that are no more, for ever. To be run in the background."""
        while self.store.enabled:
            with contextlib.suppress(Unavailable):
                await self.sweep_once()
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep_once(self, grace_seconds: float = GRACE_SECONDS) -> None:
        names = await asyncio.to_thread(self._older_than, time.time() - grace_seconds)
        for start in range(0, len(names), 500):
            some = names[start : start + 500]
            known = await self.store.existing(some)
            await asyncio.to_thread(self._remove, [name for name in some if name not in known])

    def _older_than(self, moment: float) -> Sequence[str]:
        names = []
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):  # gone meanwhile
                    if entry.is_file(follow_symlinks=False) and entry.stat().st_ctime < moment:
                        names.append(entry.name)
        return names

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            self.path(name).unlink(missing_ok=True)


def new_id() -> str:
    return "file-" + secrets.token_hex(12)
