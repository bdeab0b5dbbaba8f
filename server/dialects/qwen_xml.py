"""A call as tagged texts, as Qwen3-Coder writes it; read into JSON as it comes:

<tool_call>
<function=get_weather>
<parameter=city>                      {"city":
Rome                                  "Rome"
</parameter>
<parameter=days>                      , "days":
3                                     3
</parameter>
</function>                           }
</tool_call>

What its grammar is: qwen_xml_grammar; what its texts mean: qwen_xml_values.
"""

import json
import re

from server.conversation import Tool
from server.dialects.qwen_xml_values import CONTAINERS, STRING, followed, is_open, json_of, types_of

END = "\n</parameter>"  # of a value that begins on a line of its own
# Characters. A longer name is nonsense; a tag is looked for in the last ones only.
MAX_NAME, MAX_TAG = 256, 512
_FUNCTION = re.compile(rf"<function=([^>\n]{{0,{MAX_NAME}}})>")
_PARAMETER = re.compile(rf"<parameter=([^>\n]{{0,{MAX_NAME}}})>|</function>")
_ANY = types_of(True, True)


class XmlCall:
    """Reads one call (qwen_parser.CallReader). `tools`: those that may be called, for the types of their parameters.
    Of parameters of one name the first counts; what stands between tags is noise; a call without its end gets it."""

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self.name: str | None = None
        self._tools = tools
        self._types: dict[str, frozenset[str]] = {}
        self._other = _ANY
        self._unread = ""
        self._keys: set[str] = set()
        self._value: _Value | None = None  # that is being read
        self._end = ""  # of the value; empty until it is known how it begins
        self._ended = False
        self._made: list[str] = []

    def feed(self, text: str) -> str:
        self._unread += text
        while not self._ended and self._unread and self._step():
            pass
        if self._ended:
            self._unread = ""
        return self._taken()

    def close(self) -> str:
        if self.name is not None and not self._ended:
            if self._value is not None:
                self._end_value()
            self._end_call()
        return self._taken()

    def _step(self) -> bool:
        """Reads on. False: not before more has come."""
        if self._value is not None:
            return self._read_value(self._value)
        found = (_FUNCTION if self.name is None else _PARAMETER).search(self._unread)
        if found is None:
            self._unread = self._unread[-MAX_TAG:]
            return False
        self._unread = self._unread[found.end() :]
        if self.name is None:
            self._begin_call(found.group(1).strip())
        elif found.group(1) is None:
            self._end_call()
        else:
            self._begin_value(found.group(1))
        return True

    def _begin_call(self, name: str) -> None:
        self.name = name
        declared = next((tool.parameters for tool in self._tools if tool.name == name), None)
        root = followed(declared or {})
        properties = root.get("properties")
        if isinstance(properties, dict):
            self._types = {key: types_of(schema, root) for key, schema in properties.items()}
        self._other = types_of(root.get("additionalProperties"), root)

    def _end_call(self) -> None:
        self._made.append("}" if self._keys else "{}")
        self._ended = True

    def _begin_value(self, key: str) -> None:
        again = key in self._keys
        self._value = _Value(self._types.get(key, self._other), again)
        self._end = ""
        if not again:
            self._made.append((", " if self._keys else "{") + json.dumps(key, ensure_ascii=False) + ": ")
            self._keys.add(key)

    def _read_value(self, value: "_Value") -> bool:
        if not self._end and not self._find_form():
            return False
        text, end, behind = self._unread.partition(self._end)
        if end:
            self._made.append(value.feed(text))
            self._end_value()
            self._unread = behind
            return True
        held = _begun(text, self._end)
        self._made.append(value.feed(text[: len(text) - held]))
        self._unread = text[len(text) - held :]
        return False

    def _find_form(self) -> bool:
        """Whether the value stands on lines of its own, as it should, or between its tags. False: not known yet."""
        if len(self._unread) < len(END) and END.startswith(self._unread):
            return False
        if self._unread.startswith("\n") and not self._unread.startswith(END):
            self._unread = self._unread[1:]
            self._end = END
        else:
            self._end = END if self._unread.startswith(END) else END.strip()
        return True

    def _end_value(self) -> None:
        assert self._value is not None
        self._made.append(self._value.close())
        self._value = None

    def _taken(self) -> str:
        text = "".join(self._made)
        self._made.clear()
        return text


class _Value:
    """One value, from text to JSON as it comes. `ignored`: nothing is made of it."""

    def __init__(self, types: frozenset[str], ignored: bool) -> None:
        self._types = types
        self._ignored = ignored
        self._held = ""  # while it is not known what it reads as
        self._begun: str | None = None  # what it is read as: a string, or JSON as it is

    def feed(self, text: str) -> str:
        if self._ignored or not text:
            return ""
        if self._begun is not None:
            return _escaped(text) if self._begun == STRING else text
        self._held += text
        kind = CONTAINERS.get(self._held[0])
        if kind is not None and kind in self._types:
            self._begun = kind
            return self._held
        if is_open(self._held, self._types):
            return ""
        self._begun = STRING
        return '"' + _escaped(self._held)

    def close(self) -> str:
        if self._ignored:
            return ""
        if self._begun is None:
            return json_of(self._held, self._types)
        return '"' if self._begun == STRING else ""


def _escaped(text: str) -> str:
    """As it stands within a string of JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _begun(text: str, marker: str) -> int:
    """How many characters at the end of `text` may begin `marker`."""
    for length in range(min(len(marker) - 1, len(text)), 0, -1):
        if text.endswith(marker[:length]):
            return length
    return 0
