"""Google's Python SDK, google-genai, over generateContent."""

from typing import Any

import pytest
from support.weather import FUNCTION, PARAMETERS, QUESTION, Lake

genai = pytest.importorskip("google.genai", reason="make test-clients")

from google.genai import errors, types

FUNCTIONS = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name=FUNCTION["name"], description=FUNCTION["description"], parameters_json_schema=PARAMETERS
        )
    ]
)
ANY = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY))


@pytest.fixture(scope="module")
def models(url: str) -> Any:
    client = genai.Client(api_key="none", http_options=types.HttpOptions(base_url=url))
    yield client.models
    client.close()


def config(**fields: Any) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(**{"temperature": 0, "max_output_tokens": 200, **fields})


def test_a_stream_is_the_whole(models: Any, name: str) -> None:
    asked = {"model": name, "contents": "What is the Abruzzi Spur?", "config": config()}
    whole = models.generate_content(**asked)
    chunks = list(models.generate_content_stream(**asked))
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text
    assert "K2" in whole.text
    assert chunks[-1].usage_metadata.total_token_count == whole.usage_metadata.total_token_count


@pytest.mark.parametrize("streamed", [False, True])
def test_call_result_answer(models: Any, name: str, streamed: bool) -> None:
    def ask(contents: list[Any], **fields: Any) -> list[Any]:
        asked = {"model": name, "contents": contents, "config": config(tools=[FUNCTIONS], **fields)}
        if not streamed:
            return list(models.generate_content(**asked).candidates[0].content.parts)
        chunks = models.generate_content_stream(**asked)
        return [part for chunk in chunks for part in chunk.candidates[0].content.parts]

    contents = [types.Content(role="user", parts=[types.Part(text=QUESTION)])]
    parts = ask(contents, tool_config=ANY)
    (call,) = [part.function_call for part in parts if part.function_call]
    assert (call.name, set(call.args)) == ("get_weather", {"city"})
    weather = {"temperature": 21, "conditions": "sunny"}
    response = types.FunctionResponse(id=call.id, name=call.name, response=weather)
    contents += [
        types.Content(role="model", parts=parts),
        types.Content(role="user", parts=[types.Part(function_response=response)]),
    ]
    assert "".join(part.text or "" for part in ask(contents))


def test_the_sdk_calls_the_function_itself(models: Any, name: str) -> None:
    asked = []

    def get_weather(city: str) -> str:
        """Get the current weather in a city

        Args:
            city: City name
        """
        asked.append(city)
        return "21 degrees and sunny"

    answer = models.generate_content(model=name, contents=QUESTION, config=config(tools=[get_weather]))
    assert len(asked) == 1
    assert answer.text


@pytest.mark.parametrize("field", ["response_schema", "response_json_schema"])
def test_a_typed_object(models: Any, name: str, field: str) -> None:
    schema = Lake if field == "response_schema" else Lake.model_json_schema()
    form = config(response_mime_type="application/json", **{field: schema})
    answer = models.generate_content(model=name, contents="Describe a lake.", config=form)
    Lake.model_validate_json(answer.text)


def test_counting_and_models(models: Any, name: str) -> None:
    counted = models.count_tokens(model=name, contents=QUESTION).total_tokens
    answer = models.generate_content(model=name, contents=QUESTION, config=config(max_output_tokens=1))
    assert counted == answer.usage_metadata.prompt_token_count
    assert f"models/{name}" in [model.name for model in models.list()]
    with pytest.raises(errors.ClientError) as error:
        models.generate_content(model="no-such-model", contents="Hello")
    assert (error.value.code, error.value.status) == (404, "NOT_FOUND")
