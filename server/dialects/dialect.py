"""What the server asks of a model family: to write its prompts, to say what its output must match and to read it.
Nothing outside `server/dialects` knows which family is at work."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from engine import Grammar
from server.conversation import Conversation, OutputContract
from server.events import Delta
from server.text.template import TemplateArgumentError, TemplateError

__all__ = ["ContractError", "Dialect", "OutputParser", "Reasoning", "TemplateArgumentError", "TemplateError"]

Reasoning = Literal["never", "always", "optional"]


class ContractError(ValueError):
    """The answer cannot be held to what was asked. The text is for the client; `param` is the place in its request."""

    def __init__(self, text: str, param: str) -> None:
        super().__init__(text)
        self.param = param


class OutputParser(Protocol):
    """Reads one sequence's tokens as they come. One parser serves streamed and whole answers, so they are equal."""

    reasoning_tokens: int  # so far
    tool_calls: int  # begun so far
    in_text: bool  # whether the token fed last belongs to the answer's text

    def feed(self, token_ids: Sequence[int]) -> list[Delta]:
        """What these tokens complete. Control tokens and markers are never part of it."""
        ...

    def flush(self, *, cut: bool) -> list[Delta]:
        """What was held back, when no more tokens come. `cut`: the answer did not end by itself."""
        ...


class Dialect(Protocol):
    """One model family's way with prompts and output."""

    @property
    def name(self) -> str:
        """The word for it in logs and settings."""
        ...

    @property
    def calls_tools(self) -> bool:
        """Whether tool calls in this family's output are known here."""
        ...

    @property
    def reasoning(self) -> Reasoning:
        """Whether this model thinks before it answers, and whether that can be switched."""
        ...

    @property
    def takes_messages(self) -> bool:
        """Whether the checkpoint has a chat template; without one `render` refuses everything."""
        ...

    def check_arguments(self, arguments: Mapping[str, Any]) -> None:
        """Raises TemplateArgumentError, with a text for the client, for one that would have no effect, that
        requests may not set, or whose value has no meaning."""
        ...

    def render(self, conversation: Conversation) -> list[int]:
        """The prompt's token ids. Nothing that a message, a tool or an argument says becomes a control token.
        Raises TemplateError, with a text for the client, if the model's template refuses the conversation."""
        ...

    def grammar(self, conversation: Conversation, contract: OutputContract) -> Grammar | None:
        """What the output must match, None if it is free. Raises ContractError, TemplateArgumentError."""
        ...

    def output_parser(self, conversation: Conversation, contract: OutputContract) -> OutputParser:
        """A new parser for one sequence."""
        ...
