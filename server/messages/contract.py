"""What a messages request says about its answer, in the server's own words: tools and the choice among them, the
format of the text, thinking. Owns the checks that take more than one field."""

from server.contract import agreed_reasoning, check_tools, known_tool
from server.conversation import AnswerFormat, OutputContract, Tool, ToolChoice
from server.dialects.dialect import Dialect
from server.errors import InvalidRequest
from server.messages.schema import CountTokensRequest, MessagesRequest, ThinkingAdaptive, ThinkingEnabled
from server.messages.tools_schema import AnyChoice, CustomTool, NamedChoice, NoChoice, ToolChoiceField


def declared_tools(wire: CountTokensRequest, dialect: Dialect) -> tuple[Tool, ...]:
    """Raises InvalidRequest."""
    declared = wire.tools or []
    tools = tuple(_tool(one, f"tools[{index}].input_schema") for index, one in enumerate(declared))
    check_tools(tools, (f"tools[{index}].name" for index in range(len(tools))), dialect)
    return tools


def _tool(declared: CustomTool, where: str) -> Tool:
    return Tool(declared.name, declared.description, declared.input_schema, strict=bool(declared.strict), where=where)


def output_contract(wire: CountTokensRequest, tools: tuple[Tool, ...], string_limit: int | None) -> OutputContract:
    """Raises InvalidRequest."""
    choice = wire.tool_choice
    single = choice is not None and not isinstance(choice, NoChoice) and choice.disable_parallel_tool_use
    return OutputContract(
        stop=tuple(wire.stop_sequences or ()) if isinstance(wire, MessagesRequest) else (),
        tool_choice=_tool_choice(choice, [tool.name for tool in tools]),
        parallel_tool_calls=not single,
        format=_format(wire),
        string_limit=string_limit,
    )


def _tool_choice(choice: ToolChoiceField | None, declared: list[str]) -> ToolChoice:
    if choice is None:
        return ToolChoice("auto" if declared else "none")
    if isinstance(choice, NoChoice):
        return ToolChoice("none")
    if not declared:
        raise InvalidRequest("tool_choice needs tools.", param="tool_choice")
    if isinstance(choice, NamedChoice):
        return ToolChoice("required", (known_tool(choice.name, declared, "tool_choice.name"),))
    return ToolChoice("required" if isinstance(choice, AnyChoice) else "auto")


def _format(wire: CountTokensRequest) -> AnswerFormat | None:
    nested = wire.output_config.format if wire.output_config is not None else None
    if nested is not None and wire.output_format is not None:
        raise InvalidRequest("output_format and output_config.format are the same; give one.", param="output_format")
    found, name = (nested, "output_config.format") if nested is not None else (wire.output_format, "output_format")
    return None if found is None else AnswerFormat("json", schema=found.schema_, where=f"{name}.schema")


def reasoning_wanted(wire: CountTokensRequest, dialect: Dialect) -> bool | None:
    """Whether the model shall think; None: as it is used to. Without a word it does not, if it can do without. A
    budget allows thoughts and demands none, so that one which never thinks may be given it. Raises InvalidRequest for
    what this model cannot do."""
    allowed = isinstance(wire.thinking, ThinkingEnabled | ThinkingAdaptive)
    if wire.thinking is None or (allowed and dialect.reasoning == "never"):
        return False if dialect.reasoning == "optional" else None
    return agreed_reasoning({"thinking": allowed}, dialect)


def hides_thinking(wire: MessagesRequest) -> bool:
    """Whether thoughts are only told by their signature."""
    return isinstance(wire.thinking, ThinkingEnabled | ThinkingAdaptive) and wire.thinking.display == "omitted"
