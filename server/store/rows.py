"""What the store gives and takes: plain data, and how it becomes rows."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored:
    """An object. `body`: JSON, as it was given. Times in unix seconds."""

    id: str
    kind: str
    owner: str
    created_at: int
    expires_at: int
    active: bool  # work on it goes on: it is never evicted, and taken over after a crash
    model: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """An item for one of an object's lists. `body`: any JSON. Ids may repeat."""

    id: str
    body: Any


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Items for the list of another object of the same owner."""

    kind: str
    id: str
    list: str
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Placed:
    """An item and its place in its list."""

    position: int
    id: str
    body: Any


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list. `has_more`: whether something follows."""

    data: list[T]
    has_more: bool


def stored(row: Any) -> Stored:
    """From a row of `objects`."""
    return Stored(row.id, row.kind, row.owner, row.created_at, row.expires_at, row.active, row.model, decode(row.body))


def encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def byte_size(value: Any) -> int:
    return len(msgspec.json.encode(value))


def decode(text: str) -> Any:
    return msgspec.json.decode(text)


def digests(metadata: Mapping[str, str] | None) -> list[str]:
    """What finds an object by its metadata: one digest for each pair, whatever characters are in them."""
    return [hashlib.sha256(encode([key, value]).encode()).hexdigest() for key, value in (metadata or {}).items()]
