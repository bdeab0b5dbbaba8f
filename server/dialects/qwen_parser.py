"""Reads Qwen's output (marked_parser has the whole picture): the newlines around thoughts, text and calls are the
template's and no part of them; what stands between <tool_call> and </tool_call> is left to a reader of its form.
"""

from collections.abc import Callable
from typing import Protocol

from server.dialects.marked_parser import MarkedParser, Part, new_call_id
from server.dialects.qwen_tokens import QwenTokens
from server.events import Delta
from server.text.tokenizer import Tokenizer

GAP = "\n\n"  # between the end of the thoughts and the text


class CallReader(Protocol):
    """Reads what stands in one call, as it comes."""

    name: str | None  # of the function, once it is known

    def feed(self, text: str) -> str:
        """The next characters of the arguments, as JSON. None before the name is known."""
        ...

    def close(self) -> str:
        """The call is over: the rest of the arguments."""
        ...


class QwenParser(MarkedParser):
    """One sequence. `new_reader` makes the reader of a call; one of a name that is not in `names` is none."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        tokens: QwenTokens,
        new_reader: Callable[[], CallReader],
        *,
        reasoning: bool,
        names: frozenset[str],
        max_calls: int | None,
    ) -> None:
        """`reasoning`: the prompt has opened it. `max_calls`: further ones are noise."""
        super().__init__(tokenizer, tokens.markers, reasoning=reasoning, max_calls=max_calls)
        self._tokens = tokens
        self._new_reader = new_reader
        self._reader: CallReader = new_reader()
        self._names = names
        self._named = False  # whether the reader at hand has said its name
        self._edges = _Edges(None if reasoning else 0)

    def flush(self, *, cut: bool) -> list[Delta]:
        """Newlines at the end of an answer are its own: only before a call are they the template's."""
        if self._part is Part.TEXT:
            self._finish_text()
            super()._say(self._edges.held)
            self._edges = _Edges(0)
        return super().flush(cut=cut)

    def _marker(self, token: int) -> None:
        tokens = self._tokens
        if token == tokens.call:
            self._go(Part.CALL if self._may_begin() else Part.OUTSIDE)
            self._reader, self._named = self._new_reader(), False
        elif token == tokens.end_call:
            if self._part is Part.CALL:
                self._go(Part.OUTSIDE)
        elif token == tokens.think:
            self._open_reasoning()
            self._edges = _Edges(None)
        elif token == tokens.end_think and self._part is Part.REASONING:
            self._close_reasoning()
            self._edges = _Edges(len(GAP))

    def _say(self, text: str) -> None:
        if self._part in (Part.TEXT, Part.REASONING):
            text = self._edges.within(text)
        super()._say(text)

    def _in_call(self, text: str) -> None:
        self._read(self._reader.feed(text))

    def _leave_call(self) -> None:
        self._read(self._reader.close())
        self._end_call()

    def _read(self, arguments: str) -> None:
        name = self._reader.name
        if name is not None and not self._named:
            self._named = True
            if name in self._names:
                self._begin_call(name, new_call_id())
        self._argue(arguments)


class _Edges:
    """Takes the newlines from the edges of a text that comes in pieces: at its beginning up to `leading` (None: all),
    and all at its end, which are `held` until something follows them."""

    __slots__ = ("_leading", "held")

    def __init__(self, leading: int | None) -> None:
        self._leading = leading
        self.held = ""

    def within(self, text: str) -> str:
        """What is certain to be neither edge."""
        if self._leading != 0:
            body = text.lstrip("\n")
            taken = len(text) - len(body)
            if self._leading is not None and taken > self._leading:
                body, taken = text[self._leading :], self._leading
            if self._leading is not None:
                self._leading -= taken
            if body:
                self._leading = 0
            text = body
        text = self.held + text
        body = text.rstrip("\n")
        self.held = text[len(body) :]
        return body
