"""Requests that can be cancelled by their id: those whose answers are being delivered."""

from collections.abc import Callable, Iterable

from engine import RequestCancelled
from server.engine_port import Engine


class Cancellation:
    """Ends the sequences of one request from outside, before or after they begin."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._begun: list[str] = []
        self._cancelled = False

    def begin(self, id: str) -> None:
        """The engine request `id` begins now. Raises RequestCancelled if it shall not."""
        if self._cancelled:
            raise RequestCancelled
        self._begun.append(id)

    def cancel(self) -> None:
        """Whoever reads the sequences gets RequestCancelled."""
        self._cancelled = True
        for id in self._begun:
            self._engine.cancel(id)


class Running:
    """Whose requests run, under which ids. Several may have one id: clients choose the HTTP request's themselves."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], list[Callable[[], None]]] = {}

    def add(self, owner: str, ids: Iterable[str], cancel: Callable[[], None]) -> Callable[[], None]:
        """From now on `cancel` is found by these ids. Returns what to call at the end."""
        keys = {(owner, id) for id in ids}
        for key in keys:
            self._entries.setdefault(key, []).append(cancel)

        def remove() -> None:
            for key in keys:
                self._entries[key].remove(cancel)
                if not self._entries[key]:
                    del self._entries[key]

        return remove

    def cancel(self, owner: str | None, id: str) -> bool:
        """Cancels what runs under this id, of this owner or, for None, of anybody. False if there is nothing."""
        owners = {one for one, known in self._entries if known == id} if owner is None else {owner}
        found = [cancel for one in owners for cancel in self._entries.get((one, id), ())]
        for cancel in found:
            cancel()
        return bool(found)
