"""What a chat-completions request says about its answer, in the server's own words: tools and the choice among them,
the format of the text, reasoning. Owns the checks that take more than one field."""

import json
from collections.abc import Sequence
from typing import Any

from server.chat_completions.schema import AssistantMessage, ChatCompletionRequest, SystemMessage, ToolMessage
from server.chat_completions.tools_schema import (
    AllowedToolsChoice,
    FunctionChoice,
    JsonObjectFormat,
    JsonSchemaFormat,
    StructuredOutputs,
    ToolDeclared,
)
from server.contract import agreed_reasoning, check_tools, known_tool
from server.conversation import AnswerFormat, OutputContract, Tool, ToolChoice
from server.dialects.dialect import Dialect
from server.errors import InvalidRequest
from server.json_schema import ANY_OBJECT
from server.wire import MAX_TOOLS


def output_contract(wire: ChatCompletionRequest, tools: Sequence[Tool], string_limit: int | None) -> OutputContract:
    """Raises InvalidRequest."""
    stop = (wire.stop,) if isinstance(wire.stop, str) else tuple(wire.stop or ())
    if wire.parallel_tool_calls is not None and not tools:
        raise InvalidRequest("parallel_tool_calls needs tools.", param="parallel_tool_calls")
    return OutputContract(
        stop=stop,
        include_stop=bool(wire.include_stop_str_in_output),
        min_tokens=wire.min_tokens or 0,
        tool_choice=_tool_choice(wire, [tool.name for tool in tools]),
        parallel_tool_calls=wire.parallel_tool_calls is not False,
        format=_format(wire),
        string_limit=string_limit,
    )


def declared_tools(wire: ChatCompletionRequest, dialect: Dialect) -> tuple[Tool, ...]:
    """All tools: those of the request, and those that system messages declare. Raises InvalidRequest."""
    if wire.tools == []:
        raise InvalidRequest("tools is an empty list; leave it out to have none.", param="tools")
    lists = [("tools", wire.tools or [])]
    for index, message in enumerate(wire.messages):
        if isinstance(message, SystemMessage) and message.tools:
            lists.append((f"messages[{index}].tools", message.tools))
    places = [f"{where}[{index}].function" for where, some in lists for index in range(len(some))]
    if len(places) > MAX_TOOLS:
        text = f"There are {len(places)} tools; at most {MAX_TOOLS} are allowed."
        raise InvalidRequest(text, param=places[MAX_TOOLS])
    declared = [one for _, some in lists for one in some]
    tools = tuple(_tool(one, where) for one, where in zip(declared, places, strict=True))
    check_tools(tools, (f"{where}.name" for where in places), dialect)
    return tools


def _tool(declared: ToolDeclared, where: str) -> Tool:
    function = declared.function
    return Tool(
        function.name,
        function.description,
        function.parameters,
        strict=bool(function.strict),
        where=f"{where}.parameters",
    )


def check_results(wire: ChatCompletionRequest) -> None:
    """Every tool message answers a call that was made before it. Raises InvalidRequest."""
    calls: set[str] = set()
    for index, message in enumerate(wire.messages):
        if isinstance(message, AssistantMessage):
            calls.update(call.id for call in message.tool_calls or ())
        elif isinstance(message, ToolMessage) and message.tool_call_id not in calls:
            raise InvalidRequest(
                f"No assistant message before this one made a call {message.tool_call_id[:80]!r}.",
                param=f"messages[{index}].tool_call_id",
            )


def reasoning_wanted(wire: ChatCompletionRequest, dialect: Dialect) -> bool | None:
    """Whether the model shall think; None: as it is used to. Raises InvalidRequest for what this model cannot do, or
    if the request says both."""
    said: dict[str, bool] = {}
    if wire.reasoning_effort == "none":
        said["reasoning_effort"] = False
    if wire.thinking is not None:
        said["thinking"] = wire.thinking.type == "enabled"
    switch = (wire.chat_template_kwargs or {}).get("thinking")
    if isinstance(switch, bool):
        said["chat_template_kwargs"] = switch
    return agreed_reasoning(said, dialect)


def _tool_choice(wire: ChatCompletionRequest, declared: list[str]) -> ToolChoice:
    choice = wire.tool_choice
    if choice is None:
        return ToolChoice("auto" if declared else "none")
    if choice == "none":
        return ToolChoice("none")
    if not declared:
        raise InvalidRequest("tool_choice needs tools.", param="tool_choice")
    if isinstance(choice, FunctionChoice):
        return ToolChoice("required", (known_tool(choice.function.name, declared, "tool_choice.function.name"),))
    if isinstance(choice, AllowedToolsChoice):
        allowed = choice.allowed_tools
        where = "tool_choice.allowed_tools.tools[{}].function.name"
        names = [known_tool(one.function.name, declared, where.format(n)) for n, one in enumerate(allowed.tools)]
        return ToolChoice(allowed.mode, tuple(dict.fromkeys(names)))
    return ToolChoice(choice)


def _format(wire: ChatCompletionRequest) -> AnswerFormat | None:
    """The one format that the request asks for."""
    found: dict[str, AnswerFormat] = {}
    if isinstance(wire.response_format, JsonObjectFormat):
        found["response_format"] = AnswerFormat("json", schema=ANY_OBJECT, where="response_format")
    elif isinstance(wire.response_format, JsonSchemaFormat):
        where = "response_format.json_schema.schema"
        found["response_format"] = AnswerFormat("json", schema=wire.response_format.json_schema.schema_, where=where)
    if wire.structured_outputs is not None:
        found |= _structured(wire.structured_outputs)
    found |= _guided("guided_", wire.guided_json, wire.guided_regex, wire.guided_choice, wire.guided_grammar)
    if len(found) > 1:
        raise InvalidRequest(f"The answer can have one format; {' and '.join(found)} are given.", param=list(found)[1])
    return next(iter(found.values()), None)


def _structured(wire: StructuredOutputs) -> dict[str, AnswerFormat]:
    prefix = "structured_outputs."
    found = _guided(prefix, wire.json_, wire.regex, wire.choice, wire.grammar)
    if wire.json_object:
        found[prefix + "json_object"] = AnswerFormat("json", schema=ANY_OBJECT, where=prefix + "json_object")
    if len(found) != 1:
        raise InvalidRequest("structured_outputs needs exactly one member.", param="structured_outputs")
    return found


def _guided(
    prefix: str, schema: Any, regex: str | None, choice: list[str] | None, grammar: str | None
) -> dict[str, AnswerFormat]:
    found = {}
    if schema is not None:
        where = prefix + "json"
        found[where] = AnswerFormat("json", schema=_parsed(schema, where), where=where)
    if regex is not None:
        found[prefix + "regex"] = AnswerFormat("regex", source=regex, where=prefix + "regex")
    if choice is not None:
        found[prefix + "choice"] = AnswerFormat("choice", choices=tuple(choice), where=prefix + "choice")
    if grammar is not None:
        found[prefix + "grammar"] = AnswerFormat("lark", source=grammar, where=prefix + "grammar")
    return found


def _parsed(schema: Any, where: str) -> Any:
    """A schema that came as text."""
    if not isinstance(schema, str):
        return schema
    try:
        return json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{where} is not JSON: {error}.", param=where) from None
