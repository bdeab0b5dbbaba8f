"""What a chat template does, found out by rendering small conversations with it."""

from collections.abc import Sequence
from typing import Any

from server.dialects.dialect import TemplateError
from server.text.template import ChatTemplate

USER: dict[str, Any] = {"role": "user", "content": "Q"}
ANSWER: dict[str, Any] = {"role": "assistant", "content": "A"}
CALL: dict[str, Any] = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLING: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT: dict[str, Any] = {"role": "tool", "content": "R", "tool_call_id": "call_1"}


def last_control_token(template: ChatTemplate, messages: Sequence[dict[str, Any]], **variables: Any) -> int | None:
    """The last control token of the prompt; None if there is none or the template refuses."""
    try:
        pieces = template.render({"messages": messages, "tools": None, "add_generation_prompt": True, **variables})
    except TemplateError:
        return None
    return next((piece for piece in reversed(pieces) if isinstance(piece, int)), None)


def needs_whole_tools(template: ChatTemplate) -> bool:
    """Whether the template fails on a tool that has no description or no parameters."""
    variables = {"messages": [USER], "add_generation_prompt": True}
    try:
        template.render({**variables, "tools": [{"type": "function", "function": {"name": "f"}}]})
    except TemplateError:
        return True
    return False
