"""Strings that stand in a grammar as they are, without quotes, and numbers beside them: what a JSON Schema says of
them, in Lark's terms. Schemas are those that `enforceable` has checked.

Expressions are regular and may be combined with `&` (and), `|` (or) and `~` (not).
"""

import json
from collections.abc import Callable
from typing import Any

from server.dialects import lark
from server.dialects.qwen_xml_values import MAX_REFERENCES, NUMBERS, STRING, resolved, types_of

_WORD = r"[A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?"
_HOST = rf"{_WORD}(\.{_WORD}){{0,9}}"
_BYTE = r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_DAY = r"(0[1-9]|1[0-9]|2[0-8])"
_DATE = rf"[0-9]{{4}}-((0[13578]|1[02])-({_DAY}|29|30|31)|(0[469]|11)-({_DAY}|29|30)|02-{_DAY})"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
_N = "[0-9]{1,9}"
_TIMES = f"T({_N}H({_N}M({_N}S)?)?|{_N}M({_N}S)?|{_N}S)"
_DATES = f"({_N}Y({_N}M({_N}D)?)?|{_N}M({_N}D)?|{_N}D)"
_MAILBOX = "[A-Za-z0-9_+-]{1,20}"
_STEP = r"([A-Za-z0-9._~:@!$&'()*+,;=-]|%[0-9A-F]{2})"
_STEPS = f"(/{_STEP}*)*"
_BEHIND = f"({_STEP}|[/?])*"
# Narrower than the standards in places: no leap days, no shortened IPv6, short names. Whatever matches is valid.
FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": f"P({_DATES}({_TIMES})?|{_TIMES}|{_N}W)",
    "email": rf"{_MAILBOX}(\.{_MAILBOX}){{0,2}}@{_HOST}",
    "hostname": _HOST,
    "ipv4": rf"{_BYTE}(\.{_BYTE}){{3}}",
    "ipv6": "[0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{1,4}){7}",
    "uuid": "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
    "uri": rf"[A-Za-z][A-Za-z0-9+.-]*:(//{_HOST}(:[0-9]{{1,5}})?|/?{_STEP}+){_STEPS}(\?{_BEHIND})?(#{_BEHIND})?",
}

_SHORT_INTEGER = r"-?(0|[1-9][0-9]{0,17})"
_SHORT_NUMBER = _SHORT_INTEGER + r"(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,2})?"
_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_ANYTHING = lark.regex("(?s:.*)")


class TextError(ValueError):
    """The schema says something that cannot be held of a text. This names it."""


def strings(schema: Any, root: Any, depth: int = 0) -> str:
    """The strings that are valid by a schema which admits some; `root` is what its references are resolved in. Raises
    TextError."""
    if not isinstance(schema, dict):
        return _ANYTHING
    terms = []
    if "const" in schema or "enum" in schema:
        terms.append(_either([lark.literal(value) for value in _values(schema) if isinstance(value, str)]))
    low, high = schema.get("minLength", 0), schema.get("maxLength", "")
    if low or high != "":
        terms.append(lark.regex(f"(?s:.{{{low},{high}}})"))
    if "pattern" in schema:
        terms.append(_containing(schema["pattern"]))
    if schema.get("format") in FORMATS:
        terms.append(lark.regex(FORMATS[schema["format"]]))
    terms += _combined(schema, root, depth, strings, frozenset({STRING}))
    return " & ".join(terms) or _ANYTHING


def numbers(schema: Any, root: Any, depth: int = 0) -> str:
    """The numbers, of some twenty digits at most, that are valid by a schema which admits some. Raises TextError."""
    if not isinstance(schema, dict):
        return lark.regex(_SHORT_NUMBER)
    for keyword in _LIMITS:
        if keyword in schema:
            raise TextError(f"the keyword {keyword!r} cannot be enforced where a string is admitted too")
    terms = [lark.regex(_SHORT_NUMBER if "number" in types_of(schema, root) else _SHORT_INTEGER)]
    if "const" in schema or "enum" in schema:
        values = [value for value in _values(schema) if isinstance(value, int | float) and not isinstance(value, bool)]
        terms = [_either([lark.literal(json.dumps(value)) for value in values])]
    alternatives = [one for one in schema.get("oneOf", ()) if types_of(one, root) & NUMBERS]
    if len(alternatives) > 1:
        raise TextError("a oneOf of several kinds of numbers cannot be enforced where a string is admitted too")
    return " & ".join(terms + _combined(schema, root, depth, numbers, NUMBERS))


def _combined(
    schema: dict[str, Any], root: Any, depth: int, read: Callable[[Any, Any, int], str], types: frozenset[str]
) -> list[str]:
    """What the schemas within a schema say of values of these types."""
    if depth > MAX_REFERENCES:
        raise TextError("it refers to itself")
    terms = [read(resolved(schema["$ref"], root), root, depth + 1)] if "$ref" in schema else []
    terms += [read(one, root, depth + 1) for one in schema.get("allOf", ())]
    for keyword, join in (("anyOf", _either), ("oneOf", _one_of)):
        if keyword in schema:
            terms.append(join([read(one, root, depth + 1) for one in schema[keyword] if types_of(one, root) & types]))
    return terms


def _values(schema: dict[str, Any]) -> list[Any]:
    return [schema["const"]] if "const" in schema else schema["enum"]


def _either(expressions: list[str]) -> str:
    return "(" + " | ".join(f"({one})" if "&" in one else one for one in expressions) + ")"


def _one_of(expressions: list[str]) -> str:
    """What exactly one of them matches. Raises TextError where one is narrower than what it stands for."""
    alone = []
    for index, own in enumerate(expressions):
        others = expressions[:index] + expressions[index + 1 :]
        if any(lark.regex(format) in other for format in FORMATS.values() for other in others):
            raise TextError("a oneOf of several kinds of strings, one of them with a format, cannot be enforced")
        alone.append(f"{own} & ~{_either(others)}" if others else own)
    return _either(alone)


def _containing(pattern: str) -> str:
    """The texts in which a regular expression of JSON Schema is found. Its anchors may stand at the ends of its
    outermost alternatives only. Raises TextError."""
    found = []
    for branch in _branches(pattern):
        first = "" if branch.startswith("^") else "(?s:.*)"
        last = "" if _ends_in_anchor(branch) else "(?s:.*)"
        inner = branch[len(branch) - len(branch.removeprefix("^")) : len(branch) - (not last)]
        found.append(f"{first}({_plain(inner, pattern)}){last}")
    return lark.regex("|".join(found))


def _ends_in_anchor(branch: str) -> bool:
    body = branch.removesuffix("$")
    return body != branch and (len(body) - len(body.rstrip("\\"))) % 2 == 0


def _branches(pattern: str) -> list[str]:
    """The alternatives outside of all groups."""
    branches, depth = [""], 0
    for piece, in_class in _pieces(pattern):
        if not in_class:
            depth += (piece == "(") - (piece == ")")
        if piece == "|" and not in_class and depth == 0:
            branches.append("")
        else:
            branches[-1] += piece
    return branches


# What these mean in JSON Schema's regular expressions: ASCII only, unlike in the engine's.
_CLASSES = {"\\d": "0-9", "\\w": "A-Za-z0-9_"}
_NEGATED = {"\\D": "[^0-9]", "\\W": "[^A-Za-z0-9_]"}


def _plain(expression: str, pattern: str) -> str:
    """In the engine's words."""
    said = []
    for piece, in_class in _pieces(expression):
        if piece in ("^", "$") and not in_class:
            raise TextError(f"the pattern {pattern[:60]!r} has an anchor within; they may stand at its ends only")
        if piece in _NEGATED and in_class:
            raise TextError(f"the pattern {pattern[:60]!r} has {piece} within brackets")
        if piece in _CLASSES:
            piece = _CLASSES[piece] if in_class else f"[{_CLASSES[piece]}]"
        said.append("/" if piece == "\\/" else _NEGATED.get(piece, piece))
    return "".join(said)


def _pieces(expression: str) -> list[tuple[str, bool]]:
    """Characters, those escaped with their backslash, and whether they stand within brackets."""
    pieces: list[tuple[str, bool]] = []
    position, in_class = 0, False
    while position < len(expression):
        piece = expression[position : position + (2 if expression[position] == "\\" else 1)]
        opens = piece == "[" and not in_class
        pieces.append((piece, in_class or opens))
        in_class = opens or (in_class and piece != "]")
        position += len(piece)
        if opens and expression[position : position + 1] == "^":  # no anchor here
            pieces.append(("^", True))
            position += 1
    return pieces
