"""Grammars in Lark, as the engine reads it: the parts that all families share, and who is to blame for an error.

Each tool's arguments are a rule `tool_<n>` on a line of its own and the answer's format is the rule `format`, so that
a line number in the engine's error leads back to what the client wrote.
"""

import json
import re
from typing import Any

from server.conversation import AnswerFormat, OutputContract, Tool
from server.dialects.dialect import ContractError
from server.json_schema import ANY_OBJECT, NO_PARAMETERS, SchemaError, enforceable

MAX_CALLS = 64  # in one answer


def literal(text: str) -> str:
    """A string of a grammar."""
    return json.dumps(text, ensure_ascii=False)


def json_rule(schema: Any, contract: OutputContract, where: str) -> str:
    """`%json {…}` for a client's schema. Raises ContractError."""
    try:
        rewritten = enforceable(schema, contract.string_limit)
    except SchemaError as error:
        raise ContractError(f"{where}: {error}.", where) from error
    if rewritten is False:
        raise ContractError(f"{where}: no value matches the schema false.", where)
    return "%json " + json.dumps({} if rewritten is True else rewritten, ensure_ascii=False)


def format_rule(format: AnswerFormat, contract: OutputContract) -> str:
    """The body of the rule `format`. Raises ContractError."""
    if format.kind == "json":
        return json_rule(format.schema, contract, format.where)
    if format.kind == "choice":
        return " | ".join(map(literal, format.choices))
    if format.kind == "regex":
        return "/" + _escaped_slashes(format.source) + "/"
    return "%lark {\n" + format.source + "\n}"


def tool_rules(tools: tuple[Tool, ...], contract: OutputContract) -> list[str]:
    """A rule `tool_<n>` for each tool's arguments. Raises ContractError."""
    lines = []
    for index, tool in enumerate(tools):
        lines.append(
            f"tool_{index}: {json_rule(ANY_OBJECT | (tool.parameters or NO_PARAMETERS), contract, tool.where)}"
        )
    return lines


def call_rules(
    tools: tuple[Tool, ...], contract: OutputContract, *, head: str, middle: str, tail: str, base: int
) -> list[str]:
    """Rules of which `calls::0` is one call or more, each `head functions.NAME:INDEX middle ARGUMENTS tail`, the index
    counting up from `base`. A rule's parameter (`::_`) is the number of calls before it. Raises ContractError."""
    most = MAX_CALLS if contract.parallel_tool_calls else 1
    named = [f"{literal(f'functions.{tool.name}:')} index::_ {middle} tool_{n} {tail}" for n, tool in enumerate(tools)]
    return [
        f"calls::_: {head} call::_ | {head} call::_ calls::incr(_) %if lt(_, {most - 1})",
        "call::_: " + "\n | ".join(named),
        "index::_: " + "\n | ".join(f'"{base + count}" %if eq(_, {count})' for count in range(most)),
        *tool_rules(tools, contract),
    ]


def blamed(source: str, message: str, contract: OutputContract, tools: tuple[Tool, ...]) -> str | None:
    """The place in the client's request that an engine's error is about: by the line that it names, LINE(COLUMN), or
    because there is only one."""
    places = [tool.where for tool in tools]
    if contract.format is not None:
        places.append(contract.format.where)
    if len(places) == 1:
        return places[0]
    found = re.search(r"\b(\d+)\(\d+\)", message)
    lines = source.splitlines()[: int(found.group(1))] if found is not None else []
    for line in reversed(lines):
        if rule := re.match(r"tool_(\d+):", line):
            return tools[int(rule.group(1))].where
        if line.startswith("format:") and contract.format is not None:
            return contract.format.where
    return None


def _escaped_slashes(regex: str) -> str:
    """A regular expression as it stands between slashes: those within are escaped, and it is on one line."""
    escaped = re.sub(r"\\.|/", lambda found: r"\/" if found.group() == "/" else found.group(), regex, flags=re.DOTALL)
    return escaped.replace("\\\n", "\\n").replace("\n", "\\n")
