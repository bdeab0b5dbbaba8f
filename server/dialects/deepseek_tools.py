"""Declares tools in prompts whose template leaves them out: behind the system prompt, in the words that DeepSeek
published for each generation.

Source: the model cards of DeepSeek-V2.5 (V3 and R1 share its calls) and DeepSeek-V3.1.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from server.conversation import Tool
from server.dialects.deepseek_tokens import BEGIN, CALL_BEGIN, CALL_END, CALLS_BEGIN, CALLS_END, SEPARATOR
from server.json_schema import NO_PARAMETERS
from server.text.template_marks import Pieces


def with_tools(pieces: Pieces, tools: Sequence[Tool], control_tokens: Mapping[str, int], *, fenced: bool) -> Pieces:
    """A rendered prompt with the tools behind its system prompt. `fenced`: as before V3.1."""
    begin = control_tokens.get(BEGIN)
    end = next((n for n, piece in enumerate(pieces) if isinstance(piece, int) and piece != begin), len(pieces))
    declared: Pieces = [_declared_in_json(tools)] if fenced else _declared_in_sections(tools, control_tokens)
    return _joined([*pieces[:end], *declared, *pieces[end:]])


def _declared_in_json(tools: Sequence[Tool]) -> str:
    said = "\n\n## Tools\n\n### Function\n\nYou have the following functions available:"
    for tool in tools:
        function: dict[str, Any] = {"name": tool.name}
        if tool.description is not None:
            function["description"] = tool.description
        function["parameters"] = tool.parameters or NO_PARAMETERS
        said += f"\n\n- `{tool.name}`:\n```json\n{json.dumps(function, indent=4, ensure_ascii=False)}\n```"
    return said


def _declared_in_sections(tools: Sequence[Tool], control_tokens: Mapping[str, int]) -> Pieces:
    """V3.1's way, with its own markers of calls in the explanation."""
    said = "\n\n## Tools\nYou have access to the following tools:\n"
    for tool in tools:
        parameters = json.dumps(tool.parameters or NO_PARAMETERS, ensure_ascii=False)
        said += f"\n### {tool.name}\nDescription: {tool.description or ''}\n\nParameters: {parameters}\n"
    return [
        said + "\nIMPORTANT: ALWAYS adhere to this exact format for tool use:\n",
        *(control_tokens[CALLS_BEGIN], control_tokens[CALL_BEGIN], "tool_call_name"),
        *(control_tokens[SEPARATOR], "tool_call_arguments", control_tokens[CALL_END]),
        *("{{additional_tool_calls}}", control_tokens[CALLS_END]),
        "\n\nWhere:\n\n"
        "- `tool_call_name` must be an exact match to one of the available tools\n"
        "- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema\n"
        "- For multiple tool calls, chain them directly without separators or spaces\n",
    ]


def _joined(pieces: Pieces) -> Pieces:
    """Neighbouring text in one piece, as it is encoded."""
    joined: Pieces = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(before := joined[-1], str):
            joined[-1] = before + piece
        else:
            joined.append(piece)
    return joined
