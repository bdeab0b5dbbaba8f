"""Pydantic AI's agents over chat completions, over responses and over Anthropic's messages."""

import pytest
from support.weather import QUESTION, RESULT, Lake

pytest.importorskip("pydantic_ai", reason="make test-clients")

from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.messages import ToolCallPart, ToolReturnPart
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["chat", "responses", "messages"])
def served(request: pytest.FixtureRequest, url: str, name: str) -> Model:
    settings = ModelSettings(temperature=0, max_tokens=200)
    if request.param == "messages":
        # The client asks for a format only from models that it knows by name; --model-alias lets the name through.
        known = "claude-sonnet-4-5"
        return AnthropicModel(known, provider=AnthropicProvider(base_url=url, api_key="none"), settings=settings)
    provider = OpenAIProvider(base_url=f"{url}/v1", api_key="none")
    kind = OpenAIChatModel if request.param == "chat" else OpenAIResponsesModel
    return kind(name, provider=provider, settings=settings)


def weather_agent(served: Model) -> Agent[None, str]:
    agent = Agent(served)

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """Get the current weather in a city"""
        return RESULT

    return agent


async def test_call_result_answer(served: Model) -> None:
    result = await weather_agent(served).run(QUESTION)
    parts = [part for message in result.all_messages() for part in message.parts]
    assert [part.tool_name for part in parts if isinstance(part, ToolCallPart)] == ["get_weather"]
    assert [part.content for part in parts if isinstance(part, ToolReturnPart)] == [RESULT]
    assert result.output
    assert result.usage.requests == 2
    assert result.usage.output_tokens > 0


async def test_a_streamed_loop(served: Model) -> None:
    whole = (await weather_agent(served).run(QUESTION)).output
    async with weather_agent(served).run_stream(QUESTION) as stream:
        pieces = [piece async for piece in stream.stream_text(delta=True, debounce_by=None)]
    assert len(pieces) > 2
    assert "".join(pieces) == whole


@pytest.mark.parametrize("form", [ToolOutput(Lake), NativeOutput(Lake)], ids=["tool", "native"])
async def test_structured_output(served: Model, form: ToolOutput[Lake] | NativeOutput[Lake]) -> None:
    result = await Agent(served, output_type=form, retries=0).run("Describe a lake.")
    assert isinstance(result.output, Lake)
