"""An API key and what it may do. Only its SHA-256 is known here: a stolen key file opens no door."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

OWNER_LENGTH = 16  # hexadecimal digits of a key's digest that stand for its owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """None: no limit. `models` are names as requests have them; `priority` is added to the request's (lower goes
    first); `admin`: may cancel others' requests."""

    name: str
    digest: bytes
    models: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    priority: int = 0
    expires: datetime | None = None
    admin: bool = False

    @property
    def owner(self) -> str:
        """What stands for this key in the store."""
        return self.digest.hex()[:OWNER_LENGTH]

    def expired(self, now: datetime | None = None) -> bool:
        return self.expires is not None and self.expires <= (now or datetime.now(UTC))


def digest_of(key: bytes) -> bytes:
    """What a key file has of a key."""
    return hashlib.sha256(key).digest()
