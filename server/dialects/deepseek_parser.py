"""Reads DeepSeek's output (marked_parser has the whole picture). Within a call:

    V3, R1    call begins ──► TYPE ──separator──► NAME ──end of line──► ARGUMENTS ──► call or section ends
    V3.1      call begins ──────────────────────► NAME ──separator────► ARGUMENTS ──► call or section ends

The arguments are the JSON object that stands there; the code fence around it is none of them.
"""

from enum import Enum

from server.dialects.deepseek_tokens import DeepSeekTokens
from server.dialects.json_extent import JsonExtent
from server.dialects.marked_parser import MarkedParser, Part, new_call_id
from server.text.tokenizer import Tokenizer

MAX_NAME = 512  # characters; what is longer names no tool


class _Place(Enum):
    """Where in a call the next character stands."""

    TYPE = 0
    NAME = 1
    ARGUMENTS = 2


class DeepSeekParser(MarkedParser):
    """One sequence. `names`: the tools that it may call."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        tokens: DeepSeekTokens,
        *,
        reasoning: bool,
        names: frozenset[str],
        fenced: bool,
        max_calls: int | None,
    ) -> None:
        """`reasoning`: the prompt has opened it. `fenced`: arguments stand in a code fence, as before V3.1.
        `max_calls`: further ones are noise."""
        super().__init__(tokenizer, tokens.markers, reasoning=reasoning, max_calls=max_calls)
        self._tokens = tokens
        self._names = names
        self._fenced = fenced
        self._place = _Place.TYPE
        self._name = ""
        self._object: JsonExtent | None = None  # the arguments, once they have begun

    def _marker(self, token: int) -> None:
        tokens, in_call = self._tokens, self._part is Part.CALL
        if token == tokens.calls_begin:
            self._go(Part.OUTSIDE)
        elif token == tokens.call_begin:
            self._go(Part.CALL if self._may_begin() else Part.OUTSIDE)
            self._place, self._name = _Place.TYPE if self._fenced else _Place.NAME, ""
        elif token in (tokens.call_end, tokens.calls_end):
            if in_call:
                self._go(Part.OUTSIDE)
        elif token == tokens.separator:
            if in_call:
                self._finish_text()
                self._separate()
        elif token == tokens.think:
            self._open_reasoning()
        elif token == tokens.end_think:
            self._close_reasoning()

    def _separate(self) -> None:
        if self._place is _Place.TYPE:
            self._place = _Place.NAME
        elif self._place is _Place.NAME and not self._fenced:
            self._named()

    def _in_call(self, text: str) -> None:
        if self._place is _Place.NAME:
            text = self._read_name(text)
        if self._place is _Place.ARGUMENTS:
            self._read_arguments(text)

    def _read_name(self, text: str) -> str:
        """Returns what stands behind the name."""
        line, end, behind = text.partition("\n") if self._fenced else (text, "", "")
        self._name = (self._name + line)[: MAX_NAME + 1]
        if end:
            self._named()
        return behind

    def _named(self) -> None:
        """The name is complete: the call begins, if a tool has it."""
        self._place, self._object = _Place.ARGUMENTS, None
        if (name := self._name.strip()) in self._names:
            self._begin_call(name, new_call_id())

    def _read_arguments(self, text: str) -> None:
        if self._object is None:
            start = text.find("{")
            if start < 0:
                return
            text, self._object = text[start:], JsonExtent()
        self._argue(text[: self._object.feed(text)])

    def _leave_call(self) -> None:
        if self._place is _Place.NAME:
            self._named()
        self._end_call()
