"""What the server asks of a model family: to write its prompts and to read its output. A family is one file that
implements these; nothing outside `server/dialects` knows which one is at work."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from server.conversation import Conversation
from server.text.template import TemplateArgumentError, TemplateError

__all__ = ["Dialect", "OutputParser", "TemplateArgumentError", "TemplateError"]


class OutputParser(Protocol):
    """Reads one sequence's tokens as they come. One parser serves streamed and whole answers, so they are equal."""

    def feed(self, token_ids: Sequence[int]) -> str:
        """The answer's text that these tokens complete; control tokens are not text."""
        ...

    def flush(self) -> str:
        """The text held back, when no more tokens come."""
        ...


class Dialect(Protocol):
    """One model family's way with prompts and output."""

    @property
    def name(self) -> str:
        """The word for it in logs and settings."""
        ...

    @property
    def takes_messages(self) -> bool:
        """Whether the checkpoint has a chat template; without one `render` refuses everything."""
        ...

    def check_arguments(self, arguments: Mapping[str, Any]) -> None:
        """Raises TemplateArgumentError, with a text for the client, for one that would have no effect or that
        requests may not set."""
        ...

    def render(self, conversation: Conversation) -> list[int]:
        """The prompt's token ids. Nothing that a message, a tool or an argument says becomes a control token.
        Raises TemplateError, with a text for the client, if the model's template refuses the conversation."""
        ...

    def output_parser(self) -> OutputParser:
        """A new parser for one sequence."""
        ...
