"""The one input that every protocol is mapped to. Knows no wire format, no template, no token."""

from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "developer", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the assistant made earlier. `arguments` is JSON text as the model or the client wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. Text parts of a wire message are already joined into `content`."""

    role: Role
    content: str = ""
    name: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call. `parameters` is a JSON Schema object."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the prompt is made from."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    template_arguments: dict[str, Any] = field(default_factory=dict)
    add_generation_prompt: bool = True


@dataclass(frozen=True, slots=True)
class OutputContract:
    """What the answer must look like, beyond how its tokens are drawn."""

    stop: tuple[str, ...] = ()
    include_stop: bool = False
    min_tokens: int = 0  # stop strings are not looked for before
