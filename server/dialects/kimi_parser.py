"""Reads Kimi's output: a state machine on token ids, the same for streams and whole answers.

                 <think>                 section or call begins
        TEXT ◄──────────► REASONING ─────────────┐
          │      </think>                        ▼         call begins      arguments begin
          └─────────────────────────────────► OUTSIDE ◄──► IDENTIFIER ──────► ARGUMENTS
                section or call begins           ▲          call or section ends      │
                                                 └────────────────────────────────────┘

Whatever the order of the markers: none is ever part of a text, what stands OUTSIDE of calls behind the text is noise,
a call whose name is not declared is none, and the rest of a broken call is what was made so far.
"""

from collections.abc import Sequence
from enum import Enum

from server.dialects.kimi_tokens import KimiTokens
from server.events import Delta, ReasoningDelta, TextDelta, ToolCallArguments, ToolCallEnd, ToolCallStart
from server.text.detokenizer import Detokenizer
from server.text.tokenizer import Tokenizer

MAX_IDENTIFIER = 512  # characters; what is longer names no tool
_PREFIX = "functions."


class State(Enum):
    """Where in the answer the next token stands."""

    TEXT = 0
    REASONING = 1
    OUTSIDE = 2
    IDENTIFIER = 3
    ARGUMENTS = 4


class KimiParser:
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
        self.reasoning_tokens = 0
        self.tool_calls = 0
        self.in_text = False
        self._tokens = tokens
        self._markers = tokens.markers
        self._names = names
        self._first_index = first_index
        self._max_calls = max_calls
        self._detokenizer = Detokenizer(tokenizer)
        self._state = State.REASONING if reasoning else State.TEXT
        self._identifier = ""
        self._open = False  # whether the call at hand was announced
        self._blank: str | None = None  # the arguments so far, while they are blank
        self._deltas: list[Delta] = []

    def feed(self, token_ids: Sequence[int]) -> list[Delta]:
        if self._state is State.TEXT and self._markers.isdisjoint(token_ids):
            self.in_text = True
            text = self._detokenizer.feed(token_ids)
            return [TextDelta(text)] if text else []
        start = 0
        for index, token in enumerate(token_ids):
            if token in self._markers:
                self._plain(token_ids[start:index])
                self._marker(token)
                start = index + 1
        self._plain(token_ids[start:])
        self.in_text = start < len(token_ids) and self._state is State.TEXT
        return self._taken()

    def flush(self, *, cut: bool) -> list[Delta]:
        """A call that is cut keeps what was made; one that only lacks its last marker is complete."""
        if cut:
            self._say(self._detokenizer.flush())
        else:
            self._go(State.OUTSIDE)
        return self._taken()

    def _taken(self) -> list[Delta]:
        deltas, self._deltas = self._deltas, []
        return deltas

    def _plain(self, token_ids: Sequence[int]) -> None:
        if not token_ids:
            return
        if self._state is State.REASONING:
            self.reasoning_tokens += len(token_ids)
        self._say(self._detokenizer.feed(token_ids))

    def _marker(self, token: int) -> None:
        tokens, state = self._tokens, self._state
        if token == tokens.section_begin:
            self._go(State.OUTSIDE)
        elif token == tokens.call_begin:
            self._go(State.IDENTIFIER if self._may_begin() else State.OUTSIDE)
        elif token in (tokens.call_end, tokens.section_end):
            if state in (State.IDENTIFIER, State.ARGUMENTS):
                self._go(State.OUTSIDE)
        elif token == tokens.argument_begin:
            if state is State.IDENTIFIER:
                self._go(State.ARGUMENTS)
        elif token == tokens.think and state in (State.TEXT, State.REASONING):
            self._go(State.REASONING)
            self.reasoning_tokens += 1
        elif token == tokens.end_think and state is State.REASONING:
            self._go(State.TEXT)
            self.reasoning_tokens += 1

    def _may_begin(self) -> bool:
        begun = self.tool_calls
        return self._max_calls is None or begun < self._max_calls

    def _go(self, state: State) -> None:
        """Ends what the sequence is in, then goes on in `state`."""
        self._say(self._detokenizer.flush())
        if self._state is State.IDENTIFIER and state is not State.IDENTIFIER:
            self._begin_call()
        if self._open and state is not State.ARGUMENTS:
            self._end_call()
        self._state = state
        self._identifier = ""

    def _say(self, text: str) -> None:
        if not text:
            return
        state = self._state
        if state is State.TEXT:
            self._deltas.append(TextDelta(text))
        elif state is State.REASONING:
            self._deltas.append(ReasoningDelta(text))
        elif state is State.IDENTIFIER:
            self._identifier = (self._identifier + text)[: MAX_IDENTIFIER + 1]
        elif state is State.ARGUMENTS and self._open:
            self._argue(text)

    def _begin_call(self) -> None:
        name = self._called()
        if name is None:
            return
        index = self.tool_calls
        self.tool_calls += 1
        self._open, self._blank = True, ""
        self._deltas.append(ToolCallStart(index, f"{_PREFIX}{name}:{self._first_index + index}", name))

    def _called(self) -> str | None:
        """The declared name in an identifier: between the first `functions.` and the last colon, blanks aside."""
        said = self._identifier.strip()
        _, prefix, behind = said.partition(_PREFIX)
        said = behind if prefix else said
        name, colon, index = said.rpartition(":")
        found = name.strip() if colon and index.strip().isdecimal() else said
        return found if found in self._names else None

    def _argue(self, text: str) -> None:
        if self._blank is not None:
            self._blank += text
            if not self._blank.strip():
                return
            text, self._blank = self._blank, None
        self._deltas.append(ToolCallArguments(self.tool_calls - 1, text))

    def _end_call(self) -> None:
        """No arguments are an empty object."""
        if self._blank is not None:
            self._deltas.append(ToolCallArguments(self.tool_calls - 1, "{}"))
        self._deltas.append(ToolCallEnd(self.tool_calls - 1))
        self._open, self._blank = False, None
