"""The key file: TOML or JSON, by its ending. Read strictly; edited without losing comments.

[[keys]]
name = "alice"
hash = "sha256:0dac81ef2702718e24c1b8030ea7905bfbacd5e9bdccde5f28f1cc9aebd74d27"
models = ["Kimi-K2-Instruct"]       # all of these are optional
requests_per_minute = 60
tokens_per_minute = 100000
concurrent_requests = 8
priority = 0
expires = 2027-01-01T00:00:00Z
admin = false
"""

import json
import os
import secrets
import tempfile
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from engine import ConfigError
from server.keys.key import Key, digest_of

Count = Annotated[int, Field(ge=1, lt=2**53)]


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[\w.@-]{1,64}$")]
    hash: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    models: Annotated[list[str], Field(min_length=1)] | None = None
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrent_requests: Count | None = None
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    expires: datetime | None = None
    admin: bool = False

    @field_validator("expires", mode="before")
    @classmethod
    def _with_time_and_zone(cls, value: Any) -> Any:
        """JSON has no dates, and TOML's may lack time and zone: midnight, UTC."""
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        if isinstance(value, datetime) and value.tzinfo is None:
            value = value.replace(tzinfo=UTC)
        return value


class _File(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    keys: list[_Entry] = []


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file. Raises ConfigError with the place of what is wrong."""
    return _checked(path, _load(path))


def _checked(path: Path, document: Any) -> tuple[Key, ...]:
    """The keys of what is, or is to be, in a file."""
    try:
        entries = _File.model_validate(_plain(document)).keys
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        shown = "" if "hash" in place else f" (it is {first['input']!r:.60})"
        raise ConfigError(f"the key file {path}: {place}: {first['msg']}{shown}") from None
    for number, entry in enumerate(entries):
        for earlier in entries[:number]:
            if entry.name == earlier.name or entry.hash == earlier.hash:
                raise ConfigError(f"the key file {path}: {entry.name!r} and {earlier.name!r} have one name or one hash")
    return tuple(_key(entry) for entry in entries)


def create_key(path: Path, name: str, **settings: Any) -> str:
    """Adds a key to the file, which is made if need be, and returns the key itself: it is nowhere else. `settings` are
    those of the file; None: left out. Raises ConfigError."""
    key = "sk-" + secrets.token_urlsafe(32)
    entry = {"name": name, "hash": f"sha256:{digest_of(key.encode()).hex()}"}
    entry |= {setting: value for setting, value in settings.items() if value not in (None, False)}
    document = _load(path) if path.exists() else (tomlkit.document() if _is_toml(path) else {})
    _checked(path, document)
    if any(known.get("name") == name for known in document.get("keys", [])):
        raise ConfigError(f"the key file {path} has a key {name!r} already")
    if _is_toml(path):
        document.setdefault("keys", tomlkit.aot()).append(tomlkit.item(entry))
    else:
        document.setdefault("keys", []).append(entry)
    _save(path, document)
    return key


def revoke_key(path: Path, name: str) -> None:
    """Takes a key out of the file. Raises ConfigError."""
    document = _load(path)
    _checked(path, document)
    for index, entry in enumerate(document.get("keys", [])):
        if entry.get("name") == name:
            del document["keys"][index]
            _save(path, document)
            return
    raise ConfigError(f"the key file {path} has no key {name!r}")


def _key(entry: _Entry) -> Key:
    return Key(
        name=entry.name,
        digest=bytes.fromhex(entry.hash.removeprefix("sha256:")),
        models=None if entry.models is None else tuple(entry.models),
        requests_per_minute=entry.requests_per_minute,
        tokens_per_minute=entry.tokens_per_minute,
        concurrent_requests=entry.concurrent_requests,
        priority=entry.priority,
        expires=entry.expires,
        admin=entry.admin,
    )


def _is_toml(path: Path) -> bool:
    if path.suffix not in (".toml", ".json"):
        raise ConfigError(f"the key file {path} ends neither in .toml nor in .json")
    return path.suffix == ".toml"


def _load(path: Path) -> Any:
    toml = _is_toml(path)
    try:
        text = path.read_text("utf-8")
        return tomlkit.parse(text) if toml else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:  # both parsers' errors are ValueErrors
        raise ConfigError(f"cannot read the key file {path}: {getattr(error, 'strerror', None) or error}") from None


def _plain(document: Any) -> Any:
    return document.unwrap() if isinstance(document, tomlkit.TOMLDocument) else document


def _save(path: Path, document: Any) -> None:
    """Checks what is to be written, then replaces the file in one step; only its user can read it."""
    _checked(path, document)
    path = path.resolve()  # a link stays one
    text = tomlkit.dumps(document) if _is_toml(path) else json.dumps(document, indent=2, default=str) + "\n"
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".keys-", suffix=path.suffix)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, path)
    except OSError as error:
        raise ConfigError(f"cannot write the key file {path}: {error.strerror}") from None
