"""The markers of Qwen's output, by token id.

    <think>
    …
    </think>

    text
    <tool_call>
    one call                                    JSON (qwen_json) or parameters as tagged texts (qwen_xml)
    </tool_call>

Those of calls and thoughts are not flagged as special in the published tokenizers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

CALL, END_CALL = "<tool_call>", "</tool_call>"
THINK, END_THINK = "<think>", "</think>"
START = "<|im_start|>"
ENDS = ("<|im_end|>", "<|endoftext|>")
# What every Qwen since 2.5 has; DeepSeek's distillates have Qwen's architecture without its turns.
FAMILY_TOKENS = (START, "<|im_end|>", CALL, END_CALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class QwenTokens:
    """Ids. -1: this tokenizer lacks the marker (Qwen 2.5 has no <think>)."""

    call: int
    end_call: int
    think: int
    end_think: int
    ends: tuple[int, ...]

    @classmethod
    def of(cls, control_tokens: Mapping[str, int]) -> Self:
        return cls(
            call=control_tokens.get(CALL, -1),
            end_call=control_tokens.get(END_CALL, -1),
            think=control_tokens.get(THINK, -1),
            end_think=control_tokens.get(END_THINK, -1),
            ends=tuple(control_tokens[name] for name in ENDS if name in control_tokens),
        )

    @property
    def calls(self) -> tuple[int, ...]:
        """The markers of tool calls."""
        return (self.call, self.end_call)

    @property
    def markers(self) -> frozenset[int]:
        return frozenset((*self.calls, self.think, self.end_think)) - {-1}
