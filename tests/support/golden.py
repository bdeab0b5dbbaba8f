"""Recorded conversations in OpenAI's form, as the templates' golden files hold them."""

import json
from typing import Any

from server.conversation import Conversation, Message, Tool, ToolCall


def conversation_of(given: dict[str, Any], case: dict[str, Any]) -> Conversation:
    """What a protocol makes of OpenAI-style messages."""
    return Conversation(
        messages=tuple(map(message_of, given["messages"])),
        tools=tuple(Tool(**tool["function"]) for tool in given["tools"] or ()),
        template_arguments={key: value for key, value in case["template_kwargs"].items() if "thinking" in key},
        add_generation_prompt=case["add_generation_prompt"],
    )


def message_of(given: dict[str, Any]) -> Message:
    content = given["content"] or ""
    calls = []
    for call in given.get("tool_calls", ()):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        calls.append(ToolCall(call["id"], name, arguments))
    return Message(
        role=given["role"],
        content=content if isinstance(content, str) else "".join(part["text"] for part in content),
        reasoning=given.get("reasoning_content"),
        tool_calls=tuple(calls),
        tool_call_id=given.get("tool_call_id"),
    )
