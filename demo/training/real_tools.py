"""Real tool declarations and questions, where a folder with them is given: the `live_*` parts of the Berkeley Function
Calling Leaderboard and tau-bench's tools. What evaluation uses of the leaderboard is never read, and tools whose names
fall into the held-out part are left out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.training.chance import part_of_name
from demo.training.slots import Slot, real_slot
from demo.training.tools import Action
from server.conversation import Tool

LONGEST = 1000  # characters of a declaration
LONGEST_CASE = 1600  # characters of a case's declarations


@dataclass(frozen=True)
class Case:
    """A question with the calls that answer it; none: no tool fits."""

    tools: tuple[Tool, ...]
    question: str
    calls: tuple[tuple[str, dict[str, Any]], ...]


def real_texts(folder: Path | None) -> list[str]:
    """Every text of the folder's declarations and questions."""
    if folder is None:
        return []
    return [json.dumps(line, ensure_ascii=False) for line in [*_lines(folder), *_tau_bench(folder)]]


def real_actions(folder: Path) -> tuple[Action, ...]:
    """Tools that a request can be made up for: each parameter that is required has a simple type."""
    declared = [tool for line in _lines(folder) for tool in line["tools"]] + _tau_bench(folder)
    tools = {tool.name: tool for tool in map(_tool, declared) if _is_usable(tool) and len(str(tool)) <= LONGEST}
    return tuple(filter(None, map(_action, tools.values())))


def real_cases(folder: Path) -> tuple[Case, ...]:
    """Questions with their answers, if they are short."""
    return tuple(filter(None, map(_case, _lines(folder))))


def _lines(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "bfcl_v4").glob("live_*.openai.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines()]


def _tau_bench(folder: Path) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = json.loads((folder / "tau_bench/airline_tools.json").read_text("utf-8"))
    return tools


def _tool(declared: dict[str, Any]) -> Tool:
    function = declared["function"]
    return Tool(function["name"], function.get("description"), function.get("parameters"))


def _is_usable(tool: Tool) -> bool:
    return part_of_name(tool.name) == "train" and isinstance(tool.parameters, dict)


def _action(tool: Tool) -> Action | None:
    assert tool.parameters is not None
    required = tool.parameters.get("required", [])
    slots: list[Slot] = []
    for name, schema in tool.parameters.get("properties", {}).items():
        slot = real_slot(name, schema, name in required)
        if slot is not None:
            slots.append(slot)
        elif name in required:
            return None
    spoken = " ".join(_words(tool.name))
    heads = (f"use {spoken}", f"run {spoken}", f"call {spoken}", f"do {spoken}", f"start {spoken}", f"use {tool.name}")
    return Action(tool, None, spoken.lower(), tuple(slots), heads)


def _words(name: str) -> Iterator[str]:
    """The words of a name in snake_case or CamelCase."""
    word = ""
    for letter in name:
        if letter in "_.-" or (letter.isupper() and word and not word[-1].isupper()):
            if word:
                yield word.lower()
            word = ""
        word += letter if letter not in "_.-" else ""
    if word:
        yield word.lower()


def _case(line: dict[str, Any]) -> Case | None:
    tools = tuple(map(_tool, line["tools"]))
    (message,) = line["messages"][-1:]
    text = message["content"]
    if sum(len(str(tool)) for tool in tools) > LONGEST_CASE or len(text) > 400 or not all(map(_is_usable, tools)):
        return None
    if line.get("ground_truth") is None:
        return Case(tools, text, ()) if "irrelevance" in line["id"] else None
    names = {tool.name.replace(".", "_"): tool.name for tool in tools}
    calls = []
    for call in line["ground_truth"]:
        ((name, acceptable),) = call.items()
        arguments = {
            key: values[0]
            for key, values in sorted(acceptable.items())
            if values and values[0] != "" and ("" not in values or str(values[0]) in text)
        }
        if name.replace(".", "_") not in names or any(isinstance(value, dict) for value in arguments.values()):
            return None
        calls.append((names[name.replace(".", "_")], arguments))
    return Case(tools, text, tuple(calls))
