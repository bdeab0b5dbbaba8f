"""The part of reading output that families share whose markers are control tokens: a state machine on token ids, the
same for streams and whole answers.

              opens                            a call begins
      TEXT ◄─────────► REASONING ──────────┐
        │    closes                        ▼
        └──────────────────────────────► CALL ◄──► OUTSIDE
              a call begins                 ends

A marker is never part of a text. What stands OUTSIDE of calls behind the text is noise. A family says what its markers
do and reads what stands in a CALL; the rest of a broken call is what was made so far.
"""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Enum

from server.events import Delta, ReasoningDelta, TextDelta, ToolCallArguments, ToolCallEnd, ToolCallStart
from server.text.detokenizer import Detokenizer
from server.text.tokenizer import Tokenizer


class Part(Enum):
    """Where in the answer the next token stands."""

    TEXT = 0
    REASONING = 1
    OUTSIDE = 2
    CALL = 3


class MarkedParser(ABC):
    """One sequence. Families override `_marker`, `_in_call` and, if a call may lack its end, `_leave_call`."""

    def __init__(
        self, tokenizer: Tokenizer, markers: frozenset[int], *, reasoning: bool, max_calls: int | None
    ) -> None:
        """`reasoning`: the prompt has opened it. `max_calls`: further ones are noise."""
        self.reasoning_tokens = 0
        self.tool_calls = 0
        self.in_text = False
        self._markers = markers
        self._max_calls = max_calls
        self._detokenizer = Detokenizer(tokenizer)
        self._part = Part.REASONING if reasoning else Part.TEXT
        self._open = False  # whether a call was announced and not ended
        self._blank: str | None = None  # its arguments so far, while they are blank
        self._deltas: list[Delta] = []

    def feed(self, token_ids: Sequence[int]) -> list[Delta]:
        if self._part is Part.TEXT and self._markers.isdisjoint(token_ids):
            self.in_text = True
            self._say(self._detokenizer.feed(token_ids))
            return self._taken()
        start = 0
        for index, token in enumerate(token_ids):
            if token in self._markers:
                self._plain(token_ids[start:index])
                self._marker(token)
                start = index + 1
        self._plain(token_ids[start:])
        self.in_text = start < len(token_ids) and self._part is Part.TEXT
        return self._taken()

    def flush(self, *, cut: bool) -> list[Delta]:
        """A call that is cut keeps what was made; one that only lacks its last marker is complete."""
        if cut:
            self._say(self._detokenizer.flush())
        else:
            self._go(Part.OUTSIDE)
        return self._taken()

    @abstractmethod
    def _marker(self, token: int) -> None:
        """Goes where a marker leads."""

    @abstractmethod
    def _in_call(self, text: str) -> None:
        """Reads the next characters of a call."""

    def _leave_call(self) -> None:
        """A call's place is left, by its end or by anything that cannot stand in it."""
        self._end_call()

    def _go(self, part: Part) -> None:
        """Ends what the sequence is in, then goes on in `part`: in a new call if that is CALL."""
        self._finish_text()
        if self._part is Part.CALL:
            self._leave_call()
        self._part = part

    def _open_reasoning(self) -> None:
        if self._part in (Part.TEXT, Part.REASONING):
            self._go(Part.REASONING)
            self.reasoning_tokens += 1

    def _close_reasoning(self) -> None:
        if self._part is Part.REASONING:
            self._go(Part.TEXT)
            self.reasoning_tokens += 1

    def _finish_text(self) -> None:
        """Half a character is not completed behind a marker."""
        self._say(self._detokenizer.flush())

    def _may_begin(self) -> bool:
        return self._max_calls is None or self.tool_calls < self._max_calls

    def _begin_call(self, name: str, id: str) -> None:
        self._deltas.append(ToolCallStart(self.tool_calls, id, name))
        self.tool_calls += 1
        self._open, self._blank = True, ""

    def _argue(self, text: str) -> None:
        """The next characters of the arguments; of no call, if none is open."""
        if not self._open or not text:
            return
        if self._blank is not None:
            self._blank += text
            if not self._blank.strip():
                return
            text, self._blank = self._blank, None
        self._deltas.append(ToolCallArguments(self.tool_calls - 1, text))

    def _end_call(self) -> None:
        """Ends the open call, if there is one. No arguments are an empty object."""
        if not self._open:
            return
        if self._blank is not None:
            self._deltas.append(ToolCallArguments(self.tool_calls - 1, "{}"))
        self._deltas.append(ToolCallEnd(self.tool_calls - 1))
        self._open, self._blank = False, None

    def _plain(self, token_ids: Sequence[int]) -> None:
        if not token_ids:
            return
        if self._part is Part.REASONING:
            self.reasoning_tokens += len(token_ids)
        self._say(self._detokenizer.feed(token_ids))

    def _say(self, text: str) -> None:
        if not text:
            return
        if self._part is Part.TEXT:
            self._deltas.append(TextDelta(text))
        elif self._part is Part.REASONING:
            self._deltas.append(ReasoningDelta(text))
        elif self._part is Part.CALL:
            self._in_call(text)

    def _taken(self) -> list[Delta]:
        deltas, self._deltas = self._deltas, []
        return deltas


def new_call_id() -> str:
    """An id for a call of a model that gives none, in OpenAI's form."""
    return f"call_{secrets.token_hex(12)}"
