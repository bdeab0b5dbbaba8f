"""The wire form of contents: what people, functions and the model said. Parts of other kinds are refused by name."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from server.bounds import MAX_ITEMS
from server.gemini.wire import Listed, Proto, Unsupported, neutral
from server.wire import Name

Id = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class FunctionCall(Proto):
    """A call in the history."""

    name: Name
    args: dict[str, Any] | None = None
    id: Id | None = None
    partial_args: Unsupported = None
    will_continue: Annotated[Any, neutral(False)] = None


class FunctionResponse(Proto):
    """What a function returned. Without an id it answers the first call of its name that has no answer yet."""

    name: Name
    response: dict[str, Any] | None = None
    id: Id | None = None
    will_continue: Annotated[Any, neutral(False)] = None
    scheduling: Unsupported = None
    parts: Annotated[Any, neutral([])] = None


class Part(Proto):
    """One of text, a call and a response, or a signature behind them. `thought`: the text is what the model thought.
    `part_metadata` is the client's own."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    part_metadata: dict[str, Any] | None = None

    inline_data: Unsupported = None
    file_data: Unsupported = None
    executable_code: Unsupported = None
    code_execution_result: Unsupported = None
    tool_call: Unsupported = None
    tool_response: Unsupported = None
    video_metadata: Unsupported = None
    media_resolution: Unsupported = None
    media_processing: Unsupported = None
    audio_transcription: Unsupported = None
    audio_metadata: Unsupported = None
    speech_metadata: Unsupported = None
    document_metadata: Unsupported = None
    spreadsheet_metadata: Unsupported = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> "Part":
        said = sum(one is not None for one in (self.text, self.function_call, self.function_response))
        if said != 1 and (said or self.thought_signature is None):
            raise PydanticCustomError("part", "a part has one of text, functionCall and functionResponse")
        return self


Parts = Annotated[list[Part], Field(fail_fast=True, min_length=1, max_length=MAX_ITEMS), Listed]


class Content(Proto):
    """A turn. Without a role it is the user's; "function" and "tool" are the user's turns with responses."""

    parts: Parts
    role: Literal["user", "model", "function", "tool"] | None = None

    @model_validator(mode="after")
    def _by_its_role(self) -> "Content":
        for part in self.parts:
            if self.role == "model" and part.function_response is not None:
                raise PydanticCustomError("part", "a functionResponse is the user's, not the model's")
            if self.role != "model" and part.function_call is not None:
                raise PydanticCustomError("part", "a functionCall is the model's, not the user's")
        return self


class Instruction(Proto):
    """The system's turn; its role means nothing."""

    parts: Parts
    role: str | None = None

    @model_validator(mode="after")
    def _is_text(self) -> "Instruction":
        if any(part.text is None for part in self.parts):
            raise PydanticCustomError("part", "a system instruction has text parts only")
        return self
