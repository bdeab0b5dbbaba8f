"""Tools as TypeScript, the way K2.5 and its successors were shown them.

    # Tools

    ## functions
    namespace functions {
    // What the function is for
    type name = (_: {
      // What the parameter is for
      // maximum: 50, minimum: 1
      // Default: 5
      parameter?: number
    }) => any;
    }

Required parameters come first, each group in order of name. What has no form here (an `oneOf`, a reference to
somewhere else) is written as `any`: the grammar holds the answer to the schema all the same.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

_INDENT = "  "
_SCALAR_LIMITS = {
    "string": ("maxLength", "minLength", "pattern"),
    "number": ("maximum", "minimum"),
    "integer": ("maximum", "minimum"),
    "array": ("maxItems", "minItems"),
}
_NAMES_IN_UNIONS = {"integer": "number", "object": "{}", "array": "Array<any>"}


def declare_tools(tools: Sequence[Mapping[str, Any]]) -> str:
    """The declaration of tools in OpenAI's form, `{"type": "function", "function": {...}}`."""
    functions = "\n".join(_function(tool["function"]) for tool in tools)
    return f"# Tools\n\n## functions\nnamespace functions {{\n{functions}\n}}\n"


def _function(function: Mapping[str, Any]) -> str:
    parameters = function.get("parameters") or {}
    writer = _Writer(parameters)
    body = writer.object(parameters, "")
    lines = []
    if writer.refers_to_root:
        lines.append(f"interface parameters {body}")
        body = "parameters"
    lines += writer.interfaces()
    if description := function.get("description"):
        lines.append(_comment(description, ""))
    lines.append(f"type {function['name']} = (_: {body}) => any;")
    return "\n".join(lines)


class _Writer:
    """Types of one function's parameters."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        definitions = root.get("$defs")
        self._definitions: Mapping[str, Any] = definitions if isinstance(definitions, dict) else {}
        self.refers_to_root = False

    def interfaces(self) -> list[str]:
        """The definitions that the schema brings along."""
        lines = []
        for name, schema in self._definitions.items():
            description = schema.get("description") if isinstance(schema, dict) else None
            head = _comment(str(description), "") + "\n" if description else ""
            lines.append(f"{head}interface {name} {self.type(schema, '')}")
        return lines

    def type(self, schema: Any, indent: str) -> str:
        """A type; `indent` is that of the line on which it begins."""
        if not isinstance(schema, dict):
            return "null" if schema is False else "any"
        if "$ref" in schema:
            return self._reference(str(schema["$ref"]))
        if isinstance(alternatives := schema.get("anyOf"), list):
            return " | ".join(self.type(one, indent) for one in alternatives)
        if isinstance(values := schema.get("enum"), list):
            return " | ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in values)
        kind = schema.get("type")
        if isinstance(kind, list):
            return " | ".join(_NAMES_IN_UNIONS.get(str(one), str(one)) for one in kind)
        if kind == "object":
            return self.object(schema, indent)
        if kind == "array":
            return self._array(schema.get("items"), indent)
        return "number" if kind == "integer" else kind if isinstance(kind, str) else "any"

    def object(self, schema: Mapping[str, Any], indent: str) -> str:
        inner = indent + _INDENT
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = schema.get("required")
        required = required if isinstance(required, list) else ()
        members = [
            self._member(name, properties[name], inner, optional=optional)
            for optional in (False, True)
            for name in sorted(properties)
            if (name not in required) is optional
        ]
        others = schema.get("additionalProperties")
        if others is not None:
            kind = "never" if others is False else self.type(others, inner)
            members.append(f"{inner}[k: string]: {kind}")
        return "{\n" + ",\n".join(members) + f"\n{indent}}}" if members else "{}"

    def _member(self, name: str, schema: Any, indent: str, *, optional: bool) -> str:
        head = _notes(schema, indent)
        default = schema.get("default") if isinstance(schema, dict) else None
        if default is not None:
            plain = isinstance(default, int | float)
            head += (
                f"{indent}// Default: {default!r}\n"
                if plain
                else (f"{indent}// Default: {json.dumps(default, ensure_ascii=False)}\n")
            )
        return f"{head}{indent}{name}{'?' if optional else ''}: {self.type(schema, indent)}"

    def _array(self, items: Any, indent: str) -> str:
        if not items:
            return "Array<any>"
        inner = indent + _INDENT
        notes = _notes(items, inner)
        if not notes:
            return f"Array<{self.type(items, indent)}>"
        return f"Array<\n{notes}{inner}{self.type(items, inner)}\n{indent}>"

    def _reference(self, reference: str) -> str:
        if reference == "#":
            self.refers_to_root = True
            return "parameters"
        name = reference.removeprefix("#/$defs/")
        return name if name in self._definitions else "any"


def _notes(schema: Any, indent: str) -> str:
    """The comment lines of a schema: its description and its limits."""
    if not isinstance(schema, dict):
        return ""
    lines = []
    if description := schema.get("description"):
        lines.append(_comment(str(description), indent))
    shaped = {"$ref", "anyOf", "enum"} & schema.keys()
    kind = schema.get("type")
    limits = _SCALAR_LIMITS.get(kind, ()) if isinstance(kind, str) and not shaped else ()
    if said := [f"{limit}: {schema[limit]}" for limit in limits if limit in schema]:
        lines.append(f"{indent}// {', '.join(said)}")
    return "".join(line + "\n" for line in lines)


def _comment(text: str, indent: str) -> str:
    return "\n".join(f"{indent}// {line}" if line else "" for line in text.split("\n"))
