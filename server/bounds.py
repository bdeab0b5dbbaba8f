"""How large the parts of a request may be. Looked at before they are validated one by one: that takes a while for
each, and longer for each that is wrong."""

from collections.abc import Set
from itertools import islice
from typing import Any

from server.errors import InvalidRequest

MAX_NAMES = 1024  # of one object
MAX_ITEMS = 1024  # of one message: parts of its content, tool calls
MAX_ITEMS_IN_ALL = 8192


def check_bounds(body: Any, max_messages: int | None, free_form: Set[str], called: str = "messages") -> None:
    """Raises InvalidRequest if `body`, any JSON, has more of something than is read. None: any number of messages.
    `free_form`: names of what the client may fill as it likes; nothing here looks into it. `called`: the list of
    messages."""
    if not isinstance(body, dict):
        return
    messages = body.get(called)
    length = len(messages) if isinstance(messages, list) else 0
    if isinstance(messages, list):
        if max_messages is not None and length > max_messages:
            raise InvalidRequest(f"There are {length} {called}; at most {max_messages} are allowed.", param=called)
        _check_items(messages, called)
    own = {name: value for name, value in body.items() if name not in free_form}
    _check_names(own, "", length, free_form)


def _check_items(messages: list[Any], called: str) -> None:
    total = 0
    for index, message in enumerate(messages):
        for name in ("content", "tool_calls", "summary", "output", "parts") if isinstance(message, dict) else ():
            items = message.get(name)
            if not isinstance(items, list):
                continue
            if len(items) > MAX_ITEMS:
                path = f"{called}[{index}].{name}"
                raise InvalidRequest(f"{path} has {len(items)} items; at most {MAX_ITEMS} are allowed.", param=path)
            total += len(items)
    if total > MAX_ITEMS_IN_ALL:
        raise InvalidRequest(
            f"The {called} have {total} parts and tool calls; at most {MAX_ITEMS_IN_ALL} are allowed.",
            param=called,
        )


def _check_names(value: Any, path: str, length: int, free_form: Set[str]) -> None:
    """No object has too many names, down to a tool call's function. `length`: how far into a list to look."""
    if isinstance(value, dict):
        if len(value) > MAX_NAMES:
            where = path or "The body"
            raise InvalidRequest(
                f"{where} is an object with {len(value)} names; at most {MAX_NAMES} are allowed.", param=path or None
            )
        for name, item in value.items():
            if isinstance(item, dict | list) and name not in free_form:
                _check_names(item, f"{path}.{name}" if path else name, MAX_ITEMS if path else length, free_form)
    elif isinstance(value, list):
        for index, item in enumerate(islice(value, length)):
            if isinstance(item, dict):  # lists in lists are wrong everywhere, and found at the first
                _check_names(item, f"{path}[{index}]", MAX_ITEMS, free_form)
