"""The lines of a batch's file: read a few at a time, each checked by itself. Blocks; to be run in a thread."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from server.batches.fields import LINE, MAX_CUSTOM_ID

READ_AHEAD = 2**20  # bytes of lines that are held at a time, or one line


@dataclass(frozen=True, slots=True)
class Line:
    """A line. `number` counts from 1, empty lines too. What is wrong with it, if anything: `error`, a code and a
    sentence; the rest is what could be read."""

    number: int
    custom_id: str | None = None
    body: bytes = b""
    error: tuple[str, str] | None = None


class _Switches(msgspec.Struct):
    """What of a body matters here."""

    stream: Any = None
    background: Any = None


def count_lines(path: Path) -> int:
    """Lines that are not empty. Raises OSError."""
    with path.open("rb") as file:
        return sum(1 for _ in _raw_lines(file, limit=2**16))


def read_lines(path: Path, endpoint: str, limit: int) -> Iterator[list[Line]]:
    """All lines that are not empty, some at a time. A line may have `limit` bytes. Raises OSError."""
    seen: set[bytes] = set()
    some: list[Line] = []
    size = 0
    with path.open("rb") as file:
        for number, raw in _raw_lines(file, limit):
            line = _checked(number, raw, endpoint, limit)
            if line.custom_id is not None:
                digest = hashlib.sha256(line.custom_id.encode()).digest()[:12]
                if digest in seen:
                    what = f"An earlier line has the custom_id {line.custom_id[:80]!r}, too."
                    line = Line(number, line.custom_id, error=("duplicate_custom_id", what))
                seen.add(digest)
            some.append(line)
            size += len(line.body)
            if size > READ_AHEAD or len(some) >= 256:
                yield some
                some, size = [], 0
    yield some


def _raw_lines(file: Any, limit: int) -> Iterator[tuple[int, bytes]]:
    """Numbers and lines; of a longer one its beginning, of one byte more than `limit`."""
    number = 0
    while piece := file.readline(limit + 1):
        number += 1
        rest = piece
        while not rest.endswith(b"\n") and (rest := file.readline(limit + 1)):
            pass
        if piece.strip():
            yield number, piece


def _checked(number: int, raw: bytes, endpoint: str, limit: int) -> Line:
    if len(raw.rstrip(b"\r\n")) > limit:
        return Line(number, error=("line_too_long", f"The line has more than {limit} bytes."))
    if number == 1:
        raw = raw.removeprefix(b"\xef\xbb\xbf")  # as Windows' editors begin their files
    try:
        members = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Line(number, error=("invalid_json_line", f"The line is no JSON object that can be read: {error}."))
    custom_id = _text(members.get("custom_id"))
    if custom_id is None or not 1 <= len(custom_id) <= MAX_CUSTOM_ID:
        what = f"custom_id must be a string of 1 to {MAX_CUSTOM_ID} characters."
        return Line(number, error=("invalid_custom_id", what))
    mistake = _mistake(members, endpoint)
    return Line(number, custom_id, b"" if mistake else bytes(members["body"]), mistake)


def _mistake(members: dict[str, msgspec.Raw], endpoint: str) -> tuple[str, str] | None:
    for name in members:
        if name not in LINE:
            return "unknown_parameter", f"A line has no {name[:80]!r}; it has {', '.join(LINE)}."
    method = _text(members.get("method"))
    if method != "POST":
        return "invalid_method", f"method must be 'POST', not {method[:80]!r}." if method else "method must be 'POST'."
    url = _text(members.get("url"))
    if url != endpoint:
        shown = f", not {url[:200]!r}" if url else ""
        return "mismatched_endpoint", f"url must be the batch's endpoint, {endpoint!r}{shown}."
    try:
        switches = msgspec.json.decode(members.get("body") or b"null", type=_Switches)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "invalid_body", "body must be an object."
    for name in ("stream", "background"):
        if getattr(switches, name) not in (None, False):
            return "unsupported_parameter", f"body.{name} must not be set: a batch's answers are whole."
    return None


def _text(raw: msgspec.Raw | None) -> str | None:
    try:
        return None if raw is None else msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
