"""Reads Apertus' output (marked_parser has the whole picture). Its calls are one JSON array behind one marker:

    [ {"NAME" : {ARGUMENTS} } , {"NAME" : {ARGUMENTS} } ]
     │ │      │ │          │
     │ NAME   VALUE        the object that is the arguments ends: BETWEEN
     BETWEEN

Two calls in one object are two calls. A value that is no object is no arguments: they are `{}`.
"""

import json
import re
from enum import Enum

from server.dialects.apertus_tokens import ApertusTokens
from server.dialects.json_extent import JsonExtent
from server.dialects.marked_parser import MarkedParser, Part, new_call_id
from server.text.tokenizer import Tokenizer

MAX_NAME = 512  # characters, as JSON; what is longer names no tool
_VALUE = re.compile(r'[{\["}]')


class _Place(Enum):
    """Where in the calls the next character stands."""

    BETWEEN = 0
    NAME = 1
    VALUE = 2
    ARGUMENTS = 3
    OTHER = 4  # a string or an array in the arguments' place


class ApertusParser(MarkedParser):
    """One sequence. `names`: the tools that it may call."""

    def __init__(
        self, tokenizer: Tokenizer, tokens: ApertusTokens, *, names: frozenset[str], max_calls: int | None
    ) -> None:
        """`max_calls`: further ones are noise."""
        super().__init__(tokenizer, tokens.markers, reasoning=False, max_calls=max_calls)
        self._tokens = tokens
        self._names = names
        self._place = _Place.BETWEEN
        self._extent = JsonExtent()  # of what stands in this place
        self._name = ""

    def _marker(self, token: int) -> None:
        tokens = self._tokens
        if token == tokens.calls_begin:
            self._go(Part.CALL)
            self._place = _Place.BETWEEN
        elif token == tokens.calls_end:
            if self._part is Part.CALL:
                self._go(Part.OUTSIDE)
        elif token == tokens.think:
            self._open_reasoning()
        elif token == tokens.end_think:
            self._close_reasoning()

    def _in_call(self, text: str) -> None:
        while text:
            text = self._read(text)

    def _read(self, text: str) -> str:
        """Reads what belongs to one place; returns what stands behind it."""
        if self._place is _Place.BETWEEN:
            start = text.find('"')
            if start < 0:
                return ""
            self._enter(_Place.NAME)
            self._name = ""
            return text[start:]
        if self._place is _Place.VALUE:
            return self._begin_value(text)
        size = self._extent.feed(text)
        if self._place is _Place.NAME:
            self._name = (self._name + text[:size])[: MAX_NAME + 1]
        elif self._place is _Place.ARGUMENTS:
            self._argue(text[:size])
        if self._extent.ended:
            self._end_place()
        return text[size:]

    def _begin_value(self, text: str) -> str:
        found = _VALUE.search(text)
        if found is None:
            return ""
        if found.group() == "}":  # a name without a value, or one that is not looked into
            self._end_call()
            self._enter(_Place.BETWEEN)
            return text[found.end() :]
        self._enter(_Place.ARGUMENTS if found.group() == "{" else _Place.OTHER)
        return text[found.start() :]

    def _end_place(self) -> None:
        if self._place is _Place.NAME:
            name = _decoded(self._name)
            if name in self._names and self._may_begin():
                self._begin_call(name, new_call_id())
            self._enter(_Place.VALUE)
            return
        self._end_call()
        self._enter(_Place.BETWEEN)

    def _enter(self, place: _Place) -> None:
        self._place, self._extent = place, JsonExtent()


def _decoded(name: str) -> str:
    """The text of a JSON string."""
    try:
        return str(json.loads(name, strict=False))
    except ValueError:
        return ""
