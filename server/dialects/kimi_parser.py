"""Reads Kimi's output (marked_parser has the whole picture). Within a call:

    call begins          arguments begin             call or section ends
        └──► IDENTIFIER ──────┴──────► ARGUMENTS ───────────┘

Whatever the order of the markers: a call whose name is not declared is none, and one may lack its section.
"""

from server.dialects.kimi_tokens import KimiTokens
from server.dialects.marked_parser import MarkedParser, Part
from server.text.tokenizer import Tokenizer

MAX_IDENTIFIER = 512  # characters; what is longer names no tool
_PREFIX = "functions."


class KimiParser(MarkedParser):
    """One sequence. `names`: the tools that it may call; `first_index`: how many calls the conversation has already."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        tokens: KimiTokens,
        *,
        reasoning: bool,
        names: frozenset[str],
        first_index: int,
        max_calls: int | None,
    ) -> None:
        """`reasoning`: the prompt has opened it. `max_calls`: further ones are noise."""
        super().__init__(tokenizer, tokens.markers, reasoning=reasoning, max_calls=max_calls)
        self._tokens = tokens
        self._names = names
        self._first_index = first_index
        self._identifier: str | None = None  # None: it is over

    def _marker(self, token: int) -> None:
        tokens, in_call = self._tokens, self._part is Part.CALL
        if token == tokens.section_begin:
            self._go(Part.OUTSIDE)
        elif token == tokens.call_begin:
            self._go(Part.CALL if self._may_begin() else Part.OUTSIDE)
            self._identifier = ""
        elif token in (tokens.call_end, tokens.section_end):
            if in_call:
                self._go(Part.OUTSIDE)
        elif token == tokens.argument_begin:
            if in_call and self._identifier is not None:
                self._finish_text()
                self._identify()
        elif token == tokens.think:
            self._open_reasoning()
        elif token == tokens.end_think:
            self._close_reasoning()

    def _in_call(self, text: str) -> None:
        if self._identifier is None:
            self._argue(text)
        else:
            self._identifier = (self._identifier + text)[: MAX_IDENTIFIER + 1]

    def _leave_call(self) -> None:
        self._identify()
        self._end_call()

    def _identify(self) -> None:
        """The identifier is complete: the call begins, if a tool has its name."""
        if self._identifier is None:
            return
        name = self._called(self._identifier)
        self._identifier = None
        if name is not None:
            self._begin_call(name, f"{_PREFIX}{name}:{self._first_index + self.tool_calls}")

    def _called(self, identifier: str) -> str | None:
        """The declared name in an identifier: between the first `functions.` and the last colon, blanks aside."""
        said = identifier.strip()
        _, prefix, behind = said.partition(_PREFIX)
        said = behind if prefix else said
        name, colon, index = said.rpartition(":")
        found = name.strip() if colon and index.strip().isdecimal() else said
        return found if found in self._names else None
