"""Items: as they are stored and listed, and what they say to the model.

An item made for a response bears the response's id in its own, so that a reference to it finds it:
resp_<name> has the output msg_<name>_0, fc_<name>_1 … and the input msg_<name>_in0 …
"""

import base64
import binascii
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from server.conversation import Message, ToolCall
from server.errors import InvalidRequest
from server.responses import items_schema as wire

Item = dict[str, Any]
PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
OF_RESPONSE = re.compile(r"(?:msg|fc|fco|rs)_([0-9a-f]{32})_(?:in)?[0-9]+")


def new_name() -> str:
    return secrets.token_hex(16)


def response_of(item_id: str) -> str | None:
    """The id of the response that an item was made for."""
    found = OF_RESPONSE.fullmatch(item_id)
    return f"resp_{found[1]}" if found else None


def said(text: str, name: str) -> list[Item]:
    """An input that is a string."""
    return [_message(wire.Message(role="user", content=text), f"msg_{name}_in0")]


def stored_form(item: Any, index: int, name: str) -> Item:
    """An item of a request's list (but a reference) as it is stored and listed; with its own id if it has one."""
    id = item.id or f"{PREFIXES[item.type]}_{name}_in{index}"
    if isinstance(item, wire.Message):
        return _message(item, id)
    status = item.status or "completed"
    if isinstance(item, wire.FunctionCall):
        called = {"call_id": item.call_id, "name": item.name, "arguments": item.arguments}
        return {"type": "function_call", "id": id, **called, "status": status}
    if isinstance(item, wire.FunctionCallOutput):
        output = item.output if isinstance(item.output, str) else [_part(part) for part in item.output]
        return {"type": "function_call_output", "id": id, "call_id": item.call_id, "output": output, "status": status}
    kept: Item = {"type": "reasoning", "id": id, "summary": [part.model_dump() for part in item.summary or ()]}
    if item.content is not None:
        kept["content"] = [part.model_dump() for part in item.content]
    if item.encrypted_content is not None:
        kept["encrypted_content"] = item.encrypted_content
    return {**kept, "status": status}


def _message(item: wire.Message, id: str) -> Item:
    content = item.content
    if isinstance(content, str):
        text = wire.OutputText if item.role == "assistant" else wire.InputText
        kind: Any = "output_text" if item.role == "assistant" else "input_text"
        content = [text(type=kind, text=content)]
    kept: Item = {"type": "message", "id": id, "status": item.status or "completed", "role": item.role}
    kept["content"] = [_part(part) for part in content]
    return kept if item.phase is None else {**kept, "phase": item.phase}


def _part(part: wire.InputText | wire.OutputText | wire.Refusal) -> Item:
    if isinstance(part, wire.Refusal):
        return {"type": "refusal", "refusal": part.refusal}
    if isinstance(part, wire.InputText):
        return {"type": "input_text", "text": part.text}
    told = {"annotations": part.annotations or [], "logprobs": part.logprobs or []}
    return {"type": "output_text", "text": part.text, **told}


def messages(items: Sequence[Item], place: Callable[[int], str]) -> list[Message]:
    """Stored items as turns of a conversation: thoughts, text and calls in a row are one turn of the assistant. A call
    that was cut off is left out. `place`: where an item is in the request. Raises InvalidRequest."""
    turns = _Turns()
    calls: set[str] = set()
    for index, item in enumerate(items):
        if item["type"] == "message":
            turns.message(item["role"], _text(item["content"]))
        elif item["type"] == "reasoning":
            turns.think(_thoughts(item, place(index)))
        elif item["type"] == "function_call_output":
            if item["call_id"] not in calls:
                raise InvalidRequest(
                    f"No function call before this output has the call_id {item['call_id'][:80]!r}.",
                    param=f"{place(index)}.call_id",
                )
            output = item["output"]
            turns.result(item["call_id"], output if isinstance(output, str) else _text(output))
        elif item["status"] != "incomplete":
            calls.add(item["call_id"])
            turns.call(ToolCall(item["call_id"], item["name"], item["arguments"]))
    return turns.done()


class _Turns:
    """The conversation so far, and the assistant's turn that is open."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._reasoning: str | None = None
        self._text: str | None = None
        self._calls: list[ToolCall] = []

    def message(self, role: Any, text: str) -> None:
        if role != "assistant":
            self._close()
            self._messages.append(Message(role, text))
            return
        if self._text is not None or self._calls:
            self._close()
        self._text = text

    def think(self, thoughts: str) -> None:
        if self._text is not None or self._calls:
            self._close()
        self._reasoning = thoughts if self._reasoning is None else f"{self._reasoning}\n\n{thoughts}"

    def call(self, call: ToolCall) -> None:
        self._calls.append(call)

    def result(self, call_id: str, text: str) -> None:
        self._close()
        self._messages.append(Message("tool", text, tool_call_id=call_id))

    def done(self) -> list[Message]:
        self._close()
        return self._messages

    def _close(self) -> None:
        if self._reasoning is not None or self._text is not None or self._calls:
            turn = Message("assistant", self._text or "", reasoning=self._reasoning, tool_calls=tuple(self._calls))
            self._messages.append(turn)
        self._reasoning, self._text, self._calls = None, None, []


def _text(parts: Sequence[Item]) -> str:
    return "".join(part["refusal"] if part["type"] == "refusal" else part["text"] for part in parts)


def _thoughts(item: Item, place: str) -> str:
    """From wherever they are: the content, the summary, what was to be opaque to the client."""
    parts = item.get("content") or item["summary"]
    if parts or not item.get("encrypted_content"):
        return "\n\n".join(part["text"] for part in parts)
    try:
        return base64.b64decode(item["encrypted_content"], altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        where = f"{place}.encrypted_content"
        raise InvalidRequest(f"{where} was not made by this server.", param=where) from None


def sealed(thoughts: str) -> str:
    """Thoughts as `encrypted_content`: encoded only, since they may be read here."""
    return base64.urlsafe_b64encode(thoughts.encode(errors="replace")).decode()
