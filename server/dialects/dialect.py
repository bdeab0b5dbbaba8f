"""What the server asks of a model family: to write its prompts and to read its output. A family is one file that
implements these; nothing outside `server/dialects` knows which one is at work."""

from collections.abc import Sequence
from typing import Protocol

from server.conversation import Conversation
from server.text.template import TemplateError

__all__ = ["Dialect", "OutputParser", "TemplateError"]


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

    def render(self, conversation: Conversation) -> list[int]:
        """The prompt's token ids. Nothing that a message, a tool or an argument says becomes a control token.
        Raises TemplateError, with a text for the client, if the model's template refuses the conversation."""
        ...

    def output_parser(self) -> OutputParser:
        """A new parser for one sequence."""
        ...
