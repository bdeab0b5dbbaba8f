"""What a request for a response says about its answer, in the server's own words."""

from collections.abc import Sequence

from server.contract import agreed_reasoning, check_tools, known_tool
from server.conversation import AnswerFormat, OutputContract, Tool, ToolChoice
from server.dialects.dialect import Dialect
from server.errors import InvalidRequest
from server.json_schema import ANY_OBJECT
from server.responses.schema import PromptRequest, ResponseRequest
from server.responses.tools_schema import AllowedTools, FunctionNamed, JsonObjectFormat, JsonSchemaFormat


def declared_tools(wire: PromptRequest, dialect: Dialect) -> tuple[Tool, ...]:
    """Raises InvalidRequest."""
    declared = wire.tools or []
    tools = tuple(
        Tool(one.name, one.description, one.parameters, strict=bool(one.strict), where=f"tools[{index}].parameters")
        for index, one in enumerate(declared)
    )
    check_tools(tools, (f"tools[{index}].name" for index in range(len(tools))), dialect)
    return tools


def output_contract(wire: PromptRequest, tools: Sequence[Tool], string_limit: int | None) -> OutputContract:
    """Raises InvalidRequest."""
    stop = wire.stop if isinstance(wire, ResponseRequest) else None
    return OutputContract(
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        tool_choice=_tool_choice(wire, [tool.name for tool in tools]),
        parallel_tool_calls=wire.parallel_tool_calls is not False,
        format=_format(wire),
        string_limit=string_limit,
    )


def reasoning_wanted(wire: PromptRequest, dialect: Dialect) -> bool | None:
    """Whether the model shall think; None: as it is used to. Raises InvalidRequest for what this model cannot do."""
    said: dict[str, bool] = {}
    if wire.reasoning is not None and wire.reasoning.effort == "none":
        said["reasoning.effort"] = False
    switch = (wire.chat_template_kwargs or {}).get("thinking")
    if isinstance(switch, bool):
        said["chat_template_kwargs"] = switch
    return agreed_reasoning(said, dialect)


def _tool_choice(wire: PromptRequest, declared: list[str]) -> ToolChoice:
    """Clients that have no tools send "auto" all the same."""
    choice = wire.tool_choice
    if choice == "none" or (choice in (None, "auto") and not declared):
        return ToolChoice("none")
    if choice is None or choice == "auto":
        return ToolChoice("auto")
    if not declared:
        raise InvalidRequest("tool_choice needs tools.", param="tool_choice")
    if isinstance(choice, FunctionNamed):
        return ToolChoice("required", (known_tool(choice.name, declared, "tool_choice.name"),))
    if isinstance(choice, AllowedTools):
        where = "tool_choice.tools[{}].name"
        names = [known_tool(one.name, declared, where.format(index)) for index, one in enumerate(choice.tools)]
        return ToolChoice(choice.mode, tuple(dict.fromkeys(names)))
    return ToolChoice("required")


def _format(wire: PromptRequest) -> AnswerFormat | None:
    wanted = wire.text.format if wire.text is not None else None
    if isinstance(wanted, JsonObjectFormat):
        return AnswerFormat("json", schema=ANY_OBJECT, where="text.format")
    if isinstance(wanted, JsonSchemaFormat):
        return AnswerFormat("json", schema=wanted.schema_, where="text.format.schema")
    return None
