"""Bounds the bytes of all files together, those that are being uploaded included."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from server.errors import InvalidRequest
from server.store.cleanup import FILE
from server.store.store import Store


class FileRoom:
    """Room for files; what others (batches) make takes of it too."""

    def __init__(self, store: Store, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._incoming = 0
        self._keeping = asyncio.Lock()

    async def enter(self) -> "Share":
        """One upload's part, until it leaves."""
        _, stored = await self._store.totals(FILE)
        return Share(self, stored)

    @contextlib.asynccontextmanager
    async def keeping(self, share: "Share") -> AsyncIterator[None]:
        """While an upload becomes a file: nobody else's does. Raises InvalidRequest if others took the room."""
        async with self._keeping:
            _, stored = await self._store.totals(FILE)
            self.check(stored + share.taken)
            yield

    def check(self, size: int) -> None:
        if size > self._limit:
            text = f"All files together may have {self._limit} bytes, and there is no room for this one; delete some."
            raise InvalidRequest(text, param="file", code="files_full")

    def grow(self, stored: int, size: int) -> None:
        self.check(stored + self._incoming + size)
        self._incoming += size

    def give_back(self, size: int) -> None:
        self._incoming -= size


class Share:
    """The room that one upload takes. `taken`: bytes."""

    def __init__(self, room: FileRoom, stored: int) -> None:
        self.taken = 0
        self._room = room
        self._stored = stored  # bytes that files had when it began

    def grow(self, size: int) -> None:
        """Raises InvalidRequest if there is no room for that many bytes more."""
        self._room.grow(self._stored, size)
        self.taken += size

    def leave(self) -> None:
        self._room.give_back(self.taken)
        self.taken = 0
