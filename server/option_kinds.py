"""Kinds of setting: how a value from a flag, the environment or a TOML file becomes a Python value.

Flags and the environment bring text, TOML brings text, numbers and booleans. `parse` takes all of these and raises
ValueError for what it does not allow; `allowed` says in words what it does allow. Knows no setting by name.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZE_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
TRUE_WORDS = ("true", "yes", "on", "1")
FALSE_WORDS = ("false", "no", "off", "0")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value. `metavar` stands for it in the help."""

    metavar: str
    allowed: str
    parse: Callable[[object], Any]


def whole_number(low: int, high: int | None = None) -> Kind:
    """An integer in low..high, both included."""
    allowed = f"a whole number from {low} to {high}" if high is not None else f"a whole number, {low} or more"

    def parse(raw: object) -> int:
        number = int(_text(raw)) if isinstance(raw, str) else raw
        if not isinstance(number, int) or isinstance(number, bool):
            raise ValueError(raw)
        if number < low or (high is not None and number > high):
            raise ValueError(raw)
        return number

    return Kind("INTEGER", allowed, parse)


def seconds(low: float = 0.0, high: float = 86_400.0) -> Kind:
    """A duration in seconds; whole or not."""

    def parse(raw: object) -> float:
        if isinstance(raw, bool) or not isinstance(raw, str | int | float):
            raise ValueError(raw)
        number = float(raw)
        if not low <= number <= high:  # also refuses NaN
            raise ValueError(raw)
        return number

    return Kind("SECONDS", f"seconds, from {low:g} to {high:g}", parse)


def one_of(*choices: str) -> Kind:
    """One word of a fixed list."""

    def parse(raw: object) -> str:
        word = _text(raw).lower()
        if word not in choices:
            raise ValueError(raw)
        return word

    return Kind("|".join(choices), "one of " + ", ".join(choices), parse)


def _text(raw: object) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError(raw)
    return raw.strip()


def _path(raw: object) -> Path:
    return Path(_text(raw)).expanduser()


def _size(raw: object) -> int:
    if isinstance(raw, int) and not isinstance(raw, bool):
        number = raw
    else:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", _text(raw).lower())
        if match is None or match[2] not in SIZE_UNITS:
            raise ValueError(raw)
        number = (
            int(float(match[1]) * SIZE_UNITS[match[2]]) if "." in match[1] else int(match[1]) * SIZE_UNITS[match[2]]
        )
    if number <= 0:
        raise ValueError(raw)
    return number


def _rate(raw: object) -> int:
    """A size with "/s"; the "/s" may be left out."""
    return _size(_text(raw).removesuffix("/s") if isinstance(raw, str) else raw)


def _switch(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    word = _text(raw).lower()
    if word not in TRUE_WORDS + FALSE_WORDS:
        raise ValueError(raw)
    return word in TRUE_WORDS


def _store(raw: object) -> str:
    text = _text(raw)
    if text.lower() == "none":
        return "none"
    if not re.fullmatch(r"(sqlite:///|postgres(ql)?://[^/]*/)[^?\s].*", text) or text == "sqlite:///:memory:":
        raise ValueError
    return text


def _key(raw: object) -> str:
    key = _text(raw)
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError
    return key


def _alias(raw: object) -> str:
    alias = _text(raw)
    if re.fullmatch(r"[\w.:/@*-]{1,128}", alias) is None:
        raise ValueError(raw)
    return alias


TEXT = Kind("TEXT", "text that is not empty", _text)
PATH = Kind("PATH", "a path", _path)
SIZE = Kind("SIZE", "bytes, or a number with a unit such as 512MiB or 2GB", _size)
RATE = Kind("RATE", "bytes a second, or a number with a unit such as 3.35TB/s", _rate)
SWITCH = Kind("", "true or false", _switch)
KEY = Kind("KEY", "printable ASCII without spaces", _key)
STORE = Kind("URL", "none, sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE", _store)
ALIAS = Kind("NAME", "up to 128 letters, digits and characters of -._:/@, where * stands for any characters", _alias)
