"""The markers of Kimi's output, by token id.

    <think>…</think>text<|tool_calls_section_begin|>
        <|tool_call_begin|>functions.NAME:INDEX<|tool_call_argument_begin|>{JSON}<|tool_call_end|>   once for each call
    <|tool_calls_section_end|>

They are not flagged as special in the published tokenizer: nobody may rely on that flag to hide them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

SECTION_BEGIN = "<|tool_calls_section_begin|>"
SECTION_END = "<|tool_calls_section_end|>"
CALL_BEGIN = "<|tool_call_begin|>"
ARGUMENT_BEGIN = "<|tool_call_argument_begin|>"
CALL_END = "<|tool_call_end|>"
CALL_MARKERS = (SECTION_BEGIN, SECTION_END, CALL_BEGIN, ARGUMENT_BEGIN, CALL_END)
THINK, END_THINK = "<think>", "</think>"
ENDS = ("<|im_end|>", "[EOS]", "[EOT]")


@dataclass(frozen=True, slots=True, kw_only=True)
class KimiTokens:
    """Ids. -1: this tokenizer lacks the marker (the first ones had no <think>)."""

    section_begin: int
    section_end: int
    call_begin: int
    argument_begin: int
    call_end: int
    think: int
    end_think: int
    ends: tuple[int, ...]

    @classmethod
    def of(cls, control_tokens: Mapping[str, int]) -> Self:
        return cls(
            section_begin=control_tokens.get(SECTION_BEGIN, -1),
            section_end=control_tokens.get(SECTION_END, -1),
            call_begin=control_tokens.get(CALL_BEGIN, -1),
            argument_begin=control_tokens.get(ARGUMENT_BEGIN, -1),
            call_end=control_tokens.get(CALL_END, -1),
            think=control_tokens.get(THINK, -1),
            end_think=control_tokens.get(END_THINK, -1),
            ends=tuple(control_tokens[name] for name in ENDS if name in control_tokens),
        )

    @property
    def calls(self) -> tuple[int, ...]:
        """The markers of tool calls."""
        return (self.section_begin, self.section_end, self.call_begin, self.argument_begin, self.call_end)

    @property
    def markers(self) -> frozenset[int]:
        return frozenset((*self.calls, self.think, self.end_think)) - {-1}

    @property
    def call_tools(self) -> bool:
        """Whether all markers of tool calls are there."""
        return -1 not in self.calls
