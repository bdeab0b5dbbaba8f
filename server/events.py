"""The one output stream that every protocol is fed from.

For each sequence of a request: deltas, then exactly one Finished. A failure is an exception from the
stream (server/errors.py), not an event.
"""

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token and its log-probability, as text and as bytes (a token may hold part of a character)."""

    text: str
    bytes: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The chosen token and the most likely ones at its place."""

    chosen: Alternative
    top: tuple[Alternative, ...]
    start: int = 0  # the character of its sequence's text at which it begins


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int = 0  # of the completion tokens


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """What the model thinks before it answers."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStart:
    """A call begins. `index` counts the calls of this answer from 0; `id` is the model's own."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolCallArguments:
    """The next characters of a call's arguments, which are JSON text."""

    index: int
    delta: str


@dataclass(frozen=True, slots=True)
class ToolCallEnd:
    """A call is complete. One that is cut off (by "length") has no end."""

    index: int


@dataclass(frozen=True, slots=True)
class PromptLogprobs:
    """Those of the prompt's tokens behind its first. Comes before all else, and only if they were asked for."""

    tokens: tuple[TokenLogprob, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """`tool_calls`: the answer ended by itself and made calls."""

    reason: FinishReason
    usage: Usage
    stop_string: str | None = None  # the stop string that ended it, if one did


Delta = TextDelta | ReasoningDelta | ToolCallStart | ToolCallArguments | ToolCallEnd
Event = Delta | PromptLogprobs | Finished
