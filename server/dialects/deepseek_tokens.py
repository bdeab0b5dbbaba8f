"""The markers of DeepSeek's output, by token id.

    <think>…</think>text<｜tool▁calls▁begin｜>CALL CALL …<｜tool▁calls▁end｜>

    V3, R1:     <｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME⏎```json⏎{JSON}⏎```<｜tool▁call▁end｜>    ⏎ between calls
    V3.1:       <｜tool▁call▁begin｜>NAME<｜tool▁sep｜>{JSON}<｜tool▁call▁end｜>

The bars are U+FF5C and the blanks U+2581.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

CALLS_BEGIN = "<｜tool▁calls▁begin｜>"
CALLS_END = "<｜tool▁calls▁end｜>"
CALL_BEGIN = "<｜tool▁call▁begin｜>"
SEPARATOR = "<｜tool▁sep｜>"
CALL_END = "<｜tool▁call▁end｜>"
CALL_MARKERS = (CALLS_BEGIN, CALLS_END, CALL_BEGIN, SEPARATOR, CALL_END)
THINK, END_THINK = "<think>", "</think>"
BEGIN = "<｜begin▁of▁sentence｜>"
ENDS = ("<｜end▁of▁sentence｜>", "<|EOT|>")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepSeekTokens:
    """Ids. -1: this tokenizer lacks the marker (those before R1 have no <think>)."""

    calls_begin: int
    calls_end: int
    call_begin: int
    separator: int
    call_end: int
    think: int
    end_think: int
    ends: tuple[int, ...]

    @classmethod
    def of(cls, control_tokens: Mapping[str, int]) -> Self:
        return cls(
            calls_begin=control_tokens.get(CALLS_BEGIN, -1),
            calls_end=control_tokens.get(CALLS_END, -1),
            call_begin=control_tokens.get(CALL_BEGIN, -1),
            separator=control_tokens.get(SEPARATOR, -1),
            call_end=control_tokens.get(CALL_END, -1),
            think=control_tokens.get(THINK, -1),
            end_think=control_tokens.get(END_THINK, -1),
            ends=tuple(control_tokens[name] for name in ENDS if name in control_tokens),
        )

    @property
    def calls(self) -> tuple[int, ...]:
        """The markers of tool calls."""
        return (self.calls_begin, self.calls_end, self.call_begin, self.separator, self.call_end)

    @property
    def markers(self) -> frozenset[int]:
        return frozenset((*self.calls, self.think, self.end_think)) - {-1}
