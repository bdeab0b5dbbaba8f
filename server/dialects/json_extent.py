"""Finds where a JSON value ends while its text comes. It checks nothing: brackets are counted, strings are skipped."""

import re

_INSIDE = re.compile(r'[\[\]{}"]')
_IN_STRING = re.compile(r'["\\]')


class JsonExtent:
    """One object, array or string, from its first character on."""

    __slots__ = ("_depth", "_escaped", "_in_string", "ended")

    def __init__(self) -> None:
        self.ended = False
        self._depth = 0
        self._in_string = False
        self._escaped = False  # the next character stands behind a backslash

    def feed(self, text: str) -> int:
        """How many of these characters belong to it. Less than all: it has ended; so it may have with the last."""
        position = 0
        while position < len(text) and not self.ended:
            if self._escaped:
                self._escaped = False
                position += 1
                continue
            found = (_IN_STRING if self._in_string else _INSIDE).search(text, position)
            if found is None:
                return len(text)
            position = found.end()
            self._meet(found.group())
        return position

    def _meet(self, character: str) -> None:
        if character == "\\":
            self._escaped = True
            return
        if character == '"':
            self._in_string = not self._in_string
        elif character in "[{":
            self._depth += 1
        else:
            self._depth -= 1
        self.ended = self._depth <= 0 and not self._in_string
