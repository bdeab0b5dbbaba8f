"""Grammars in Lark, as the engine reads it: the parts that all families share, and who is to blame for an error.

Each tool's arguments are a rule `tool_<n>` on a line of its own (their parts: `tool_<n>_<part>`) and the answer's
format is the rule `format`, so that a line number in the engine's error leads back to what the client wrote.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine import Grammar
from server.conversation import AnswerFormat, OutputContract, Tool
from server.dialects.dialect import ContractError
from server.json_schema import ANY_OBJECT, NO_PARAMETERS, SchemaError, Unenforceable, enforceable

MAX_CALLS = 64  # in one answer


def literal(text: str) -> str:
    """A string of a grammar, which takes U+007F as an escape only."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


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
        return regex(format.source)
    return "%lark {\n" + format.source + "\n}"


def tool_rules(tools: tuple[Tool, ...], contract: OutputContract) -> list[str]:
    """A rule `tool_<n>` for each tool's arguments. Raises ContractError."""
    lines = []
    for index, tool in enumerate(tools):
        lines.append(
            f"tool_{index}: {json_rule(ANY_OBJECT | (tool.parameters or NO_PARAMETERS), contract, tool.where)}"
        )
    return lines


def check_uncalled(tools: tuple[Tool, ...], contract: OutputContract) -> None:
    """The schemas of tools that may not be called are no part of a grammar, and are right all the same: prompts show
    them. Nothing in them need be enforced. Raises ContractError."""
    called = {tool.name for tool in contract.may_call(tools)}
    for tool in tools:
        if tool.name in called:
            continue
        try:
            json_rule(ANY_OBJECT | (tool.parameters or NO_PARAMETERS), contract, tool.where)
        except ContractError as error:
            if not isinstance(error.__cause__, Unenforceable):
                raise


def call_list(contract: OutputContract, separator: str = "") -> str:
    """The rule `calls`: one `call` or, unless the contract wants one only, more of them with `separator` between."""
    if not contract.parallel_tool_calls:
        return "calls: call"
    between = f"{literal(separator)} " if separator else ""
    return f"calls: call ({between}call){{0,{MAX_CALLS - 1}}}"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Markers:
    """The control tokens around a family's calls and thoughts. Ids of -1: this tokenizer lacks them."""

    begin_calls: tuple[int, ...]
    other_calls: tuple[int, ...]  # that cannot begin them
    think: str  # by name
    end_think: str
    end_think_id: int
    ends: tuple[int, ...]  # that end an answer
    gap: str = ""  # what stands between the end of the thoughts and the answer


def answer_grammar(
    contract: OutputContract, markers: Markers, calls: str, rules: Sequence[str], *, opened: bool, thinks: bool
) -> Grammar | None:
    """The grammar of an answer; None if it is free. `calls`: what a call, or several, must match, made of `rules`;
    empty if none may be made. `opened`: the prompt has opened the thoughts; `thinks`: the model may open them itself.
    Thoughts end where calls begin, too. Raises ContractError.

    tool_choice            begins                                        matches
    auto                   with the marker that begins a call            calls
    auto, with a format    at once, or behind the end of the thoughts    calls or the format
    required, named        at once, or behind the end of the thoughts    calls
    none, no tools         (with a format) as above                      the format
    """
    must_call = contract.tool_choice.mode == "required"
    lines = ["answer: " + calls, *rules] if calls else []
    if contract.format is not None and not must_call:
        lines = [f"answer: {calls} | format" if calls else "answer: format", *rules]
        lines.append("format: " + format_rule(contract.format, contract))
    if not lines:
        return None
    begins = tuple(id for id in markers.begin_calls if id >= 0) if calls else ()
    stray = tuple(sorted({*markers.begin_calls, *markers.other_calls} - {*begins, -1}))
    gap = f"{literal(markers.gap)} " if markers.gap else ""
    if not must_call and contract.format is None:
        return Grammar(_source("answer", lines), begin_with=begins, forbidden=stray)
    if opened:
        forbidden = (*stray, *markers.ends)  # the answer is not over before it has begun
        after = (markers.end_think_id,)
        start = gap + "answer" + (f" | {calls}" if gap and calls else "")
        return Grammar(_source(start, lines), begin_with=begins, begin_after=after, forbidden=forbidden)
    if thinks:
        lines.append(f"thoughts: {markers.think} /(?s:.*)/")
        start = f"(thoughts {markers.end_think} {gap})? answer"
        return Grammar(_source(f"{start} | thoughts ({calls})" if calls else start, lines))
    return Grammar(_source("answer", lines))


def _source(start: str, lines: list[str]) -> str:
    return "\n".join([f"start: {start}", *lines])


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
        if rule := re.match(r"tool_(\d+)(?:_\w+)?:", line, re.IGNORECASE):
            return tools[int(rule.group(1))].where
        if line.startswith("format:") and contract.format is not None:
            return contract.format.where
    return None


def regex(source: str) -> str:
    """A regular expression of a grammar, on one line."""
    return f"/{_escaped_slashes(source)}/"


def _escaped_slashes(regex: str) -> str:
    """A regular expression as it stands between slashes: those within are escaped."""
    escaped = re.sub(r"\\.|/", lambda found: r"\/" if found.group() == "/" else found.group(), regex, flags=re.DOTALL)
    return escaped.replace("\\\n", "\\n").replace("\n", "\\n")
