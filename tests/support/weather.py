"""What every client is asked: the tool, the question and the form that the tests share."""

from typing import Any, Literal

from pydantic import BaseModel, Field

QUESTION = "What is the weather in Graz?"
RESULT = '{"city": "Graz", "temperature": 21, "conditions": "sunny"}'
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "City name"}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION: dict[str, Any] = {
    "name": "get_weather",
    "description": "Get the current weather in a city",
    "parameters": PARAMETERS,
}
TOOL: dict[str, Any] = {"type": "function", "function": FUNCTION}


class Lake(BaseModel):
    """A lake. Without bounds: some clients take them out of the schema that they send, and check them afterwards."""

    name: str
    depth: int = Field(description="metres")
    shore: Literal["flat", "steep"]


class Report(BaseModel):
    """What the weather is."""

    city: str
    temperature: int
