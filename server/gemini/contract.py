"""What a generateContent request says about its answer, in the server's own words: functions and the choice among them,
the format of the text, thinking. Owns the checks that take more than one field."""

from collections.abc import Sequence
from typing import Any

from server.contract import agreed_reasoning, check_tools, known_tool
from server.conversation import AnswerFormat, OutputContract, Tool, ToolChoice
from server.dialects.dialect import Dialect
from server.errors import InvalidRequest
from server.gemini.google_schema import json_schema
from server.gemini.schema import GenerateContentRequest, GenerationConfig
from server.gemini.tools_schema import FunctionCallingConfig, FunctionDeclaration
from server.wire import MAX_TOOLS

JSON, ENUM = "application/json", "text/x.enum"
ANY_JSON = {"anyOf": [{"type": "object"}, {"type": "array"}]}  # without a schema: prompts ask for lists as well
CONFIG = "toolConfig.functionCallingConfig"


def declared_tools(wire: GenerateContentRequest, dialect: Dialect) -> tuple[Tool, ...]:
    """The functions of all tools. Raises InvalidRequest."""
    placed = [
        (f"tools[{index}].functionDeclarations[{position}]", declared)
        for index, tool in enumerate(wire.tools or ())
        for position, declared in enumerate(tool.function_declarations or ())
    ]
    if len(placed) > MAX_TOOLS:
        raise InvalidRequest(f"There are {len(placed)} functions; at most {MAX_TOOLS} are allowed.", param="tools")
    tools = tuple(_tool(declared, where) for where, declared in placed)
    check_tools(tools, (f"{where}.name" for where, _ in placed), dialect)
    return tools


def _tool(declared: FunctionDeclaration, where: str) -> Tool:
    name, parameters = "parametersJsonSchema", declared.parameters_json_schema
    if declared.parameters is not None:
        if parameters is not None:
            raise InvalidRequest(f"{where} has parameters and {name}; give one of them.", param=where)
        name, parameters = "parameters", json_schema(declared.parameters)
        if parameters.get("type", "object") != "object":
            raise InvalidRequest(f"{where}.parameters must have the type OBJECT.", param=f"{where}.parameters")
    return Tool(declared.name, declared.description, parameters, where=f"{where}.{name}")


def output_contract(wire: GenerateContentRequest, tools: Sequence[Tool], string_limit: int | None) -> OutputContract:
    """Raises InvalidRequest."""
    calling = wire.tool_config.function_calling_config if wire.tool_config is not None else None
    return OutputContract(
        stop=tuple(wire.generation_config.stop_sequences or ()),
        tool_choice=_tool_choice(calling or FunctionCallingConfig(), [tool.name for tool in tools]),
        format=_format(wire.generation_config),
        string_limit=string_limit,
    )


def _tool_choice(calling: FunctionCallingConfig, declared: list[str]) -> ToolChoice:
    """Calls are always valid here, so that VALIDATED is AUTO."""
    mode = calling.mode or "MODE_UNSPECIFIED"
    if calling.allowed_function_names and mode not in ("ANY", "VALIDATED"):
        where = f"{CONFIG}.allowedFunctionNames"
        raise InvalidRequest("allowedFunctionNames need the mode ANY or VALIDATED.", param=where)
    if mode == "NONE" or (not declared and mode != "ANY"):
        return ToolChoice("none")
    if not declared:
        raise InvalidRequest("The mode ANY needs functionDeclarations.", param=f"{CONFIG}.mode")
    where = f"{CONFIG}.allowedFunctionNames[{{}}]"
    names = [known_tool(name, declared, where.format(n)) for n, name in enumerate(calling.allowed_function_names or ())]
    return ToolChoice("required" if mode == "ANY" else "auto", tuple(dict.fromkeys(names)) or None)


def _format(config: GenerationConfig) -> AnswerFormat | None:
    where = "generationConfig.responseJsonSchema"
    schema: Any = config.response_json_schema
    if config.response_schema is not None:
        if schema is not None:
            raise InvalidRequest("responseSchema and responseJsonSchema are given; give one of them.", param=where)
        where = "generationConfig.responseSchema"
        schema = json_schema(config.response_schema)
    if config.response_mime_type == JSON:
        return AnswerFormat("json", schema=ANY_JSON if schema is None else schema, where=where)
    if config.response_mime_type == ENUM:
        return AnswerFormat("choice", choices=_choices(schema, where), where=where)
    if schema is not None:
        raise InvalidRequest(f"{where} needs the responseMimeType {JSON}.", param=where)
    return None


def _choices(schema: Any, where: str) -> tuple[str, ...]:
    choices = schema.get("enum") if isinstance(schema, dict) else None
    if not isinstance(choices, list) or not choices or not all(isinstance(one, str) and one for one in choices):
        raise InvalidRequest(f"The responseMimeType {ENUM} needs a schema with an enum of texts.", param=where)
    return tuple(choices)


def reasoning_wanted(wire: GenerateContentRequest, dialect: Dialect) -> bool | None:
    """Whether the model shall think; None: as it is used to. A budget or a level allows thoughts and demands none.
    Raises InvalidRequest for what this model cannot do."""
    config = wire.generation_config.thinking_config
    if config is None or (config.thinking_budget is None and config.thinking_level is None):
        return None
    if config.thinking_budget == 0:
        return agreed_reasoning({"generationConfig.thinkingConfig.thinkingBudget": False}, dialect)
    return None if dialect.reasoning == "never" else True
