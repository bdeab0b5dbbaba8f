"""A call as JSON, as Qwen3 writes it (Hermes' form):

<tool_call>
{"name": "get_weather", "arguments": {"city": "Rome"}}
</tool_call>
"""

import json
import re
from typing import Any

from server.conversation import OutputContract, Tool
from server.dialects import lark
from server.dialects.json_extent import JsonExtent
from server.dialects.qwen_tokens import CALL, END_CALL

MAX_KEY = 512  # characters until a value begins, and of a name; what is longer is nonsense
_KEY = re.compile(r'[\s{,]*("(?:[^"\\]|\\.)*")\s*:\s*(?=\S)', re.DOTALL)
_BEHIND_SCALAR = re.compile(r"[\s,}\]]")
_ARGUMENTS = ("arguments", "parameters")


def call_rules(tools: tuple[Tool, ...], contract: OutputContract) -> list[str]:
    """Rules of which `call` is one call. Raises ContractError."""
    named = [f"{lark.literal(_head(tool.name))} tool_{index}" for index, tool in enumerate(tools)]
    return [
        f'call: {CALL} named "}}\\n" {END_CALL}',
        "named: " + "\n | ".join(named),
        *lark.tool_rules(tools, contract),
    ]


def _head(name: str) -> str:
    """Up to the arguments, with the template's blanks."""
    return f'\n{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": '


class JsonCall:
    """Reads one call (qwen_parser.CallReader). The name may stand behind the arguments; other keys are passed over.
    Arguments that are an object, as they should be, come as they are made."""

    def __init__(self) -> None:
        self.name: str | None = None
        self._unread = ""
        self._key: str | None = None  # whose value is read
        self._value = ""  # so far, as far as it is of use
        self._extent: JsonExtent | None = None  # of the value, unless it is a number or a word
        self._argued = False  # whether the arguments are complete
        self._arguments: list[str] = []  # not yet handed out
        self._nonsense = False

    def feed(self, text: str) -> str:
        if self._nonsense:
            return ""
        self._unread += text
        while self._unread and (self._read_key() if self._key is None else self._read_value()):
            pass
        return self._taken()

    def close(self) -> str:
        if self._key is not None and self._extent is None:
            self._end_value()
        return self._taken()

    def _read_key(self) -> bool:
        """Up to the first character of the next value. False: that has not come."""
        found = _KEY.match(self._unread)
        if found is None or found.end() > MAX_KEY:
            self._nonsense = len(self._unread) > MAX_KEY
            return False
        self._key = _decoded(found.group(1)) or ""
        self._unread = self._unread[found.end() :]
        self._extent = JsonExtent() if self._unread[0] in '{["' else None
        self._value = ""
        return True

    def _read_value(self) -> bool:
        """The next characters of the value. False: it goes on."""
        if self._extent is not None:
            end = self._extent.feed(self._unread)
            ended = self._extent.ended
        else:
            found = _BEHIND_SCALAR.search(self._unread)
            end = found.start() if found is not None else len(self._unread)
            ended = found is not None
        self._keep(self._unread[:end])
        self._unread = self._unread[end:]
        if ended:
            self._end_value()
        return ended

    def _keep(self, text: str) -> None:
        if self._key in _ARGUMENTS and not self._argued and (self._value or text[0]) in "{[":
            self._value = self._value or text[0]  # that it is an object is all that is remembered
            self._arguments.append(text)
        elif self._key in _ARGUMENTS:
            self._value += text
        else:
            self._value = (self._value + text)[: MAX_KEY + 1]

    def _end_value(self) -> None:
        value = _decoded(self._value)
        if self._key == "name" and self.name is None and isinstance(value, str):
            self.name = value
        elif self._key in _ARGUMENTS and not self._argued:
            self._argued = True
            if isinstance(value, str) and isinstance(_decoded(value), dict):
                self._arguments.append(value)  # an object that was written as a string
        self._key = None

    def _taken(self) -> str:
        if self.name is None:
            return ""
        text = "".join(self._arguments)
        self._arguments.clear()
        return text


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
