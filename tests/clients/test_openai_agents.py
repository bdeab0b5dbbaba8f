"""The OpenAI Agents SDK over responses (its default) and over chat completions."""

import pytest
from support.weather import QUESTION, RESULT, Lake, Report

agents = pytest.importorskip("agents", reason="make test-clients")

from agents import Agent, ItemHelpers, ModelSettings, RunContextWrapper, Runner, function_tool
from agents.items import MessageOutputItem, ToolCallItem, ToolCallOutputItem
from agents.models.interface import Model
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from agents.models.openai_responses import OpenAIResponsesModel
from openai import AsyncOpenAI

agents.set_tracing_disabled(True)  # traces would go to OpenAI
pytestmark = pytest.mark.anyio


@function_tool(is_enabled=lambda context, agent: not context.context)
def get_weather(context: RunContextWrapper[list[str]], city: str) -> str:
    """Get the current weather in a city"""
    context.context.append(city)
    return RESULT


@pytest.fixture(params=[OpenAIResponsesModel, OpenAIChatCompletionsModel])
def served(request: pytest.FixtureRequest, url: str, name: str) -> Model:
    return request.param(model=name, openai_client=AsyncOpenAI(base_url=f"{url}/v1", api_key="none"))


def weather_agent(served: Model) -> "Agent[list[str]]":
    # The SDK takes an answer that max_tokens cut for a failure. So the tool goes once it was called, and the answer has
    # a form: the loop ends whatever the model says.
    settings = ModelSettings(temperature=0, max_tokens=200, tool_choice="required", include_usage=True)
    return Agent("guide", model=served, model_settings=settings, tools=[get_weather], output_type=Report)


@pytest.mark.parametrize("streamed", [False, True])
async def test_call_result_answer(served: Model, streamed: bool) -> None:
    agent = weather_agent(served)
    if not streamed:
        result = await Runner.run(agent, QUESTION, context=[])
    else:
        result = Runner.run_streamed(agent, QUESTION, context=[])
        deltas = [
            event.data.delta
            async for event in result.stream_events()
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
        ]
        assert len(deltas) > 2
        assert Report.model_validate_json("".join(deltas)) == result.final_output
    check(result.new_items)
    assert isinstance(result.final_output, Report)
    assert result.context_wrapper.usage.requests == 2
    assert result.context_wrapper.usage.output_tokens > 0


def check(items: object) -> None:
    """One call, its result, and the answer."""
    assert isinstance(items, list)
    kinds = [type(item) for item in items]
    assert kinds == [ToolCallItem, ToolCallOutputItem, MessageOutputItem], kinds
    assert items[1].output == RESULT
    assert ItemHelpers.text_message_output(items[2])


async def test_a_second_turn_sees_the_first(served: Model) -> None:
    agent = Agent("guide", model=served, model_settings=ModelSettings(temperature=0, max_tokens=60))
    first = await Runner.run(agent, "Hello")
    second = await Runner.run(agent, [*first.to_input_list(), {"role": "user", "content": "And then?"}])
    assert second.context_wrapper.usage.input_tokens > first.context_wrapper.usage.input_tokens


async def test_structured_output(served: Model) -> None:
    settings = ModelSettings(temperature=0, max_tokens=200)
    agent = Agent("guide", model=served, model_settings=settings, output_type=Lake)
    assert isinstance((await Runner.run(agent, "Describe a lake.")).final_output, Lake)
