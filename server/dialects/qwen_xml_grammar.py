"""The grammar of Qwen3-Coder's calls: parameters in the order of the schema, each a text that reads (qwen_xml_values)
as a value that is valid by its schema.

    tool_0: "<function=f>\\n" tool_0_0 tool_0_1? "</function>\\n"
    tool_0_0: "<parameter=city>\\n" TOOL_0_0          a string: as it is, up to the end of the parameter
    tool_0_1: "<parameter=days>\\n" tool_0_1_json "\\n</parameter>\\n"

An expression that holds a whole text takes the end of the parameter in, since the engine looks for the longest match:
without it a number within a longer string would never be seen as one.
"""

import json
from typing import Any

from server.conversation import OutputContract, Tool
from server.dialects import lark
from server.dialects.dialect import ContractError
from server.dialects.qwen_tokens import CALL, END_CALL
from server.dialects.qwen_xml import END, MAX_NAME
from server.dialects.qwen_xml_text import TextError, numbers, strings
from server.dialects.qwen_xml_values import (
    INTEGER,
    NUMBER,
    NUMBERS,
    STRING,
    WORDS,
    admits_word,
    followed,
    resolved,
    types_of,
)
from server.json_schema import ANY_OBJECT, MAX_PROPERTIES, NO_PARAMETERS, SchemaError, enforceable

_LAST = lark.literal(END + "\n")
# A string neither holds the end of its parameter nor begins with the rest of it.
_NO_END = "~" + lark.regex(r"((?s:.*)\n)?<\/parameter>(?s:.*)")
_ANY_TAG = lark.regex(r"<parameter=[^>\n]{1,64}>\n")
_DEFINITIONS = ("$defs", "definitions")
_LIMITING = ("minLength", "maxLength", "pattern", "format", "enum", "const")
_UNWRITABLE = ("patternProperties", "anyOf", "oneOf", "allOf", "enum", "const")  # of all parameters together
_OWN = frozenset({"properties", "required", "additionalProperties"})  # what must not stand beside a reference


def call_rules(tools: tuple[Tool, ...], contract: OutputContract) -> list[str]:
    """Rules of which `call` is one call. Raises ContractError."""
    rules = [
        f'call: {CALL} "\\n" named {END_CALL}',
        "named: " + " | ".join(f"tool_{index}" for index in range(len(tools))),
    ]
    for index, tool in enumerate(tools):
        rules += _ToolRules(tool, index, contract).rules()
    return rules


class _ToolRules:
    """The rules of one tool."""

    def __init__(self, tool: Tool, index: int, contract: OutputContract) -> None:
        self._name, self._where = tool.name, tool.where
        self._rule = f"tool_{index}"
        self._contract = contract
        self._declared = ANY_OBJECT | (tool.parameters or NO_PARAMETERS)
        self._root = followed(self._declared)
        self._definitions = {key: self._root[key] for key in _DEFINITIONS if key in self._root}

    def rules(self) -> list[str]:
        root = self._root
        self._enforceable(self._declared, self._where)  # what is wrong with it is told with its place in the whole
        self._check()
        properties = dict(root.get("properties", {}))
        others = root.get("additionalProperties", "properties" not in root)
        required = root.get("required", ())
        for name in required:
            if name not in properties and others is False:
                raise ContractError(f"{self._where}: {name!r} is required, but not admitted.", self._where)
            properties.setdefault(name, others)
        lines, parts = [], [lark.literal(f"<function={self._name}>\n")]
        for position, (name, schema) in enumerate(properties.items()):
            if name not in required and (schema is False or not types_of(schema, root)):
                continue  # no value is valid
            if ">" in name or "\n" in name or len(name) > MAX_NAME:
                raise ContractError(
                    f"{self._where}: no call of this model can name the property {name[:60]!r}.", self._where
                )
            part = f"{self._rule}_{position}"
            parts.append(part if name in required else part + "?")
            lines += self._parameter(part, lark.literal(f"<parameter={name}>\n"), schema, f"properties.{name}")
        if others is not False:
            part = f"{self._rule}_other"
            parts.append(f"{part}{{0,{MAX_PROPERTIES}}}")
            lines += self._parameter(part, part.upper(), others, "additionalProperties")
            declared = [lark.literal(f"<parameter={name}>\n") for name in properties]
            but = f" & ~({' | '.join(declared)})" if declared else ""
            lines.append(f"{part.upper()}: {_ANY_TAG}{but}")
        return [f"{self._rule}: " + " ".join(parts) + ' "</function>\\n"', *lines]

    def _check(self) -> None:
        """Raises ContractError for what cannot be said of parameters one by one."""
        root = self._root
        for keyword in _UNWRITABLE:
            if keyword in root:
                self._refuse(keyword)
        if "$ref" in root or ("$ref" in self._declared and _OWN & self._declared.keys()):
            self._refuse("$ref")
        if root.get("minProperties", 0) > len(root.get("required", ())):
            self._refuse("minProperties")
        closed = "properties" in root and root.get("additionalProperties", False) is False
        if "maxProperties" in root and not (closed and root["maxProperties"] >= len(root["properties"])):
            self._refuse("maxProperties")
        if any(not reference.startswith(("#/$defs/", "#/definitions/")) for reference in _references(root)):
            raise ContractError(
                f"{self._where}: in this model's calls, references are followed into $defs and definitions only.",
                self._where,
            )

    def _refuse(self, keyword: str) -> None:
        raise ContractError(
            f"{self._where}: the keyword {keyword!r} on all parameters together cannot be enforced in this model's "
            "calls, which name one parameter after the other.",
            self._where,
        )

    def _parameter(self, rule: str, tag: str, schema: Any, place: str) -> list[str]:
        """The rules of one parameter: its tag, and what its value may be up to the end."""
        where = f"{self._where}.{place}"
        own = schema if isinstance(schema, dict) else {}
        document = {**own, **self._definitions} if "$ref" in json.dumps(own) else own
        bounded = self._enforceable(document, where)
        types = types_of(document, document)
        if STRING not in types:
            return self._data(rule, tag, document, bounded, types)
        try:
            text = strings(document, document) + self._limit(document)
            plain = _words(document, types, tuple(WORDS))
            plain += [f"({numbers(document, document)})"] if types & NUMBERS else []
        except TextError as error:
            raise ContractError(f"{where}: {error}.", where) from error
        name = rule.upper()
        alternatives = [f"{name}_TEXT"]
        lines = [f"{name}_TEXT: ({text} & {_NO_END}{_unlike(types)}) {_LAST}"]
        if plain:
            alternatives.append(f"{name}_PLAIN")
            lines.append(f"{name}_PLAIN: ({' | '.join(plain)}) {_LAST}")
        if containers := types & {"object", "array"}:
            alternatives.append(f"{rule}_json {_LAST}")
            narrowed = self._enforceable(_restricted(document, containers, document), where)
            lines.append(f"{rule}_json: {_json(narrowed)}")
        return [f"{rule}: {tag} ({' | '.join(alternatives)})", *lines]

    def _data(self, rule: str, tag: str, document: Any, bounded: Any, types: frozenset[str]) -> list[str]:
        """A parameter that cannot be a string: JSON, or one of Python's words."""
        words = _words(document, types, ("True", "False", "None"))
        either = " | ".join([f"{rule}_json", *words])
        return [f"{rule}: {tag} ({either}) {_LAST}", f"{rule}_json: {_json(bounded)}"]

    def _limit(self, document: Any) -> str:
        """The longest that a string may be which the schema leaves open."""
        limit, said = self._contract.string_limit, json.dumps(document)
        if limit is None or any(f'"{keyword}"' in said for keyword in _LIMITING):
            return ""
        return f" & {lark.regex(f'(?s:.{{0,{limit}}})')}"

    def _enforceable(self, schema: Any, where: str) -> Any:
        try:
            rewritten = enforceable(schema, self._contract.string_limit)
        except SchemaError as error:
            raise ContractError(f"{where}: {error}.", where) from error
        return {} if rewritten is True else rewritten


def _words(document: Any, types: frozenset[str], candidates: tuple[str, ...]) -> list[str]:
    """Those of the words for null, true and false that are valid."""
    return [
        lark.literal(word)
        for word in candidates
        if ("null" if WORDS[word] is None else "boolean") in types and admits_word(document, WORDS[word], document)
    ]


def _unlike(types: frozenset[str]) -> str:
    """What keeps a string from reading as a value of another type that its schema admits."""
    but = []
    if "null" in types:
        but += [lark.literal(word) for word, value in WORDS.items() if value is None]
    if "boolean" in types:
        but += [lark.literal(word) for word, value in WORDS.items() if value is not None]
    if types & NUMBERS:
        but.append(lark.regex(NUMBER if "number" in types else INTEGER))
    if "object" in types:
        but.append(lark.regex(r"\{(?s:.*)"))
    if "array" in types:
        but.append(lark.regex(r"\[(?s:.*)"))
    return f" & ~({' | '.join(but)})" if but else ""


def _restricted(schema: Any, containers: frozenset[str], root: Any) -> dict[str, Any]:
    """The schema, of its objects and arrays only."""
    if not isinstance(schema, dict):
        return {"type": sorted(containers)}
    narrowed = dict(schema)
    if "$ref" in narrowed and len(types_of({"$ref": narrowed["$ref"]}, root)) > len(containers):
        target = resolved(narrowed.pop("$ref"), root)
        narrowed = {**(target if isinstance(target, dict) else {}), **narrowed}
        return _restricted(narrowed, containers, root)
    for keyword in ("anyOf", "oneOf"):
        if keyword in narrowed:
            branches = [one for one in narrowed[keyword] if types_of(one, root) & containers]
            narrowed[keyword] = [_restricted(one, types_of(one, root) & containers, root) for one in branches]
    if not {"anyOf", "oneOf", "$ref"} & narrowed.keys():
        narrowed["type"] = sorted(containers)
    else:
        narrowed.pop("type", None)
    return narrowed


def _references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
        return own + [found for value in schema.values() for found in _references(value)]
    if isinstance(schema, list):
        return [found for value in schema for found in _references(value)]
    return []


def _json(schema: Any) -> str:
    return "%json " + json.dumps(schema, ensure_ascii=False)
