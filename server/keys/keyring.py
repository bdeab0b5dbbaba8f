"""All keys that open this server: those of flags, which have no limits, and those of the key file, which is read again
on demand. Who is asking is known to the rest of the server as `visitor()`, from the door to the end of the request."""

import hmac
import logging
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from engine import ConfigError
from server.keys.key import Key, digest_of
from server.keys.key_file import read_keys
from server.keys.limits import Usage

log = logging.getLogger("abruzzi.keys")


@dataclass(frozen=True, slots=True)
class Visitor:
    """A key that somebody uses, and what it has used."""

    key: Key
    usage: Usage


_visitor: ContextVar[Visitor | None] = ContextVar("visitor", default=None)


def visitor() -> Visitor | None:
    """Who makes the request that this task serves; None where the server needs no keys."""
    return _visitor.get()


def enter_as(who: Visitor | None) -> None:
    """From here on, this task serves them."""
    _visitor.set(who)


class Keyring:
    """`plain`: keys of flags. The file may be changed at any time: `reload`."""

    def __init__(self, plain: Sequence[str], file: Path | None) -> None:
        """Raises ConfigError."""
        self._plain = [Key(name=f"key-{n + 1}", digest=digest_of(key.encode())) for n, key in enumerate(plain)]
        self._file = file
        self._visitors: dict[bytes, Visitor] = {}
        self._take(self._plain if file is None else [*self._plain, *read_keys(file)])

    @property
    def closed(self) -> bool:
        """Whether a key is needed. A key file that holds none lets nobody in."""
        return bool(self._plain) or self._file is not None

    def find(self, key: bytes) -> Visitor | None:
        """Whose key this is. Compares with every key, always: neither the time nor the length tells how close a guess
        was."""
        digest, found = digest_of(key), None
        for known, visitor in self._visitors.items():
            if hmac.compare_digest(digest, known):
                found = visitor
        return found

    def of(self, owner: str) -> Visitor | None:
        """Whose key stands for `owner` in the store, if it still opens the server."""
        there = (who for who in self._visitors.values() if who.key.owner == owner)
        return next((who for who in there if not who.key.expired()), None)

    def reload(self) -> None:
        """Reads the file again. What is wrong with it is logged, and the keys stay as they are."""
        if self._file is None:
            log.info("there is no key file to read again (--key-file)")
            return
        try:
            self._take([*self._plain, *read_keys(self._file)])
        except ConfigError as error:
            log.error("%s; the keys stay as they were", error)
            return
        log.info("%d keys read from %s", len(self._visitors) - len(self._plain), self._file)

    def _take(self, keys: Iterable[Key]) -> None:
        """A key that was here goes on with what it has used, and its running requests end in the same count."""
        fresh: dict[bytes, Visitor] = {}
        for key in keys:
            limits = key.requests_per_minute, key.tokens_per_minute, key.concurrent_requests
            old = self._visitors.get(key.digest)
            if old is not None:
                old.usage.limit(*limits)
            fresh[key.digest] = Visitor(key, Usage(*limits) if old is None else old.usage)
        self._visitors = fresh
