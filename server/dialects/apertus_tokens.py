"""The markers of Apertus' output, by token id.

    <|inner_prefix|>thoughts<|inner_suffix|>text<|tools_prefix|>[{"NAME": {JSON}}, {"NAME": {JSON}}]<|tools_suffix|>

The thoughts may lead to calls without their suffix. <|tools_suffix|> ends an answer, so that output rarely holds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

CALLS_BEGIN, CALLS_END = "<|tools_prefix|>", "<|tools_suffix|>"
CALL_MARKERS = (CALLS_BEGIN, CALLS_END)
THINK, END_THINK = "<|inner_prefix|>", "<|inner_suffix|>"
ENDS = ("<|assistant_end|>", "</s>")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApertusTokens:
    """Ids. -1: this tokenizer lacks the marker."""

    calls_begin: int
    calls_end: int
    think: int
    end_think: int
    ends: tuple[int, ...]

    @classmethod
    def of(cls, control_tokens: Mapping[str, int]) -> Self:
        return cls(
            calls_begin=control_tokens.get(CALLS_BEGIN, -1),
            calls_end=control_tokens.get(CALLS_END, -1),
            think=control_tokens.get(THINK, -1),
            end_think=control_tokens.get(END_THINK, -1),
            ends=tuple(control_tokens[name] for name in ENDS if name in control_tokens),
        )

    @property
    def calls(self) -> tuple[int, ...]:
        """The markers of tool calls."""
        return (self.calls_begin, self.calls_end)

    @property
    def markers(self) -> frozenset[int]:
        return frozenset((*self.calls, self.think, self.end_think)) - {-1}
