"""The wire form of tools and of the choice among them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from server.gemini.wire import InCapitals, Listed, Proto, Unsupported, neutral
from server.wire import MAX_TOOLS, Parameters, ToolName


class FunctionDeclaration(Proto):
    """A function that the client runs. `parameters` is Google's schema, the other JSON Schema; one of them or none.
    What it returns (`response`) is for readers of the declaration: no call depends on it."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    parameters_json_schema: Parameters | None = None
    response: Any = None
    response_json_schema: Any = None
    behavior: Annotated[Any, neutral("UNSPECIFIED", "BLOCKING")] = None


class Tool(Proto):
    function_declarations: Annotated[list[FunctionDeclaration], Field(max_length=MAX_TOOLS), Listed] | None = None

    code_execution: Unsupported = None
    computer_use: Unsupported = None
    enterprise_web_search: Unsupported = None
    exa_ai_search: Unsupported = None
    file_search: Unsupported = None
    google_maps: Unsupported = None
    google_search: Unsupported = None
    google_search_retrieval: Unsupported = None
    mcp_servers: Annotated[Any, neutral([])] = None
    parallel_ai_search: Unsupported = None
    retrieval: Unsupported = None
    url_context: Unsupported = None


class FunctionCallingConfig(Proto):
    mode: Annotated[Literal["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"] | None, InCapitals] = None
    allowed_function_names: Annotated[list[str], Field(max_length=MAX_TOOLS)] | None = None
    stream_function_call_arguments: Annotated[Any, neutral(False)] = None


class ToolConfig(Proto):
    function_calling_config: FunctionCallingConfig | None = None
    retrieval_config: Unsupported = None
    include_server_side_tool_invocations: Annotated[Any, neutral(False)] = None
