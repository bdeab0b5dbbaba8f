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
    where: str = ""  # where the parameters are in the request, for errors: tools[3].function.parameters


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the prompt is made from. `reasoning`: whether the model shall think first; None: as it is used to."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    template_arguments: dict[str, Any] = field(default_factory=dict)
    add_generation_prompt: bool = True
    reasoning: bool | None = None


@dataclass(frozen=True, slots=True)
class RawPrompt:
    """A prompt that no template writes: token ids, or text in which the name of a control token is that token.
    `add_special_tokens`: whether text gets what the checkpoint's tokenizer puts around it."""

    content: str | tuple[int, ...]
    add_special_tokens: bool = True


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the answer may (auto), must (required) or must not (none) call tools, and which: None means all that
    are declared. A named function is `required` with one name."""

    mode: Literal["none", "auto", "required"] = "auto"
    names: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """What the text of the answer must match. `schema` is of the kind json; `source` is the regular expression or the
    Lark grammar; `choices` are the texts to choose from. `where`: the field that asked for it, for errors."""

    kind: Literal["json", "regex", "choice", "lark"]
    schema: dict[str, Any] | bool | None = None
    source: str = ""
    choices: tuple[str, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class OutputContract:
    """What the answer must look like, beyond how its tokens are drawn."""

    stop: tuple[str, ...] = ()
    include_stop: bool = False
    min_tokens: int = 0  # stop strings are not looked for before
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool = True
    format: AnswerFormat | None = None  # None: any text
    string_limit: int | None = None  # characters of JSON strings that no schema bounds
    end_logprobs: bool = False  # log-probabilities include that of the stop token that ended the answer

    def may_call(self, tools: tuple[Tool, ...]) -> tuple[Tool, ...]:
        """Those of the declared `tools` that this answer may call."""
        choice = self.tool_choice
        if choice.mode == "none":
            return ()
        return tuple(tool for tool in tools if choice.names is None or tool.name in choice.names)
