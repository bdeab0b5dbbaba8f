"""Every answer, whole or streamed, against OpenAI's specification."""

from typing import Any

import pytest
from support.messages import CALLS, say, thinking_model
from support.responses import check, schemas
from support.served import MODEL, Served, chat, frames

pytestmark = pytest.mark.anyio

FUNCTIONS = [{"type": "function", "function": {"name": name}} for name, _ in CALLS]
# Beyond the specification: the thoughts of a model, under the two names that clients know.
THOUGHTS = {"reasoning", "reasoning_content"}


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A model that thinks unless it is told not to."""
    return Served(thinking_model(tmp_path_factory.mktemp("thinking") / "model"))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"logprobs": True, "top_logprobs": 1, "n": 2},
        {"max_tokens": 1},
        {"service_tier": "auto", "seed": 1, "user": "u"},
        {"tools": FUNCTIONS, "tool_choice": "required"},
    ],
    ids=str,
)
async def test_everything_is_as_specified(thinker: Served, fields: dict[str, Any]) -> None:
    thinker.engine.script = say(thinker, thought="Hm.", text="Let me see.", calls=CALLS if "tools" in fields else ())
    whole = (await thinker.post(**fields)).json()
    check("CreateChatCompletionResponse", whole)
    message = set(schemas()["ChatCompletionResponseMessage"]["properties"])
    assert all(set(choice["message"]) <= message | THOUGHTS for choice in whole["choices"])
    streamed = frames((await thinker.post(**fields, stream=True, stream_options={"include_usage": True})).text)
    delta = set(schemas()["ChatCompletionStreamResponseDelta"]["properties"])
    known = set(schemas()["CreateChatCompletionStreamResponse"]["properties"])
    for chunk in streamed[:-1]:
        check("CreateChatCompletionStreamResponse", chunk)
        assert set(chunk) <= known
        assert all(set(choice["delta"]) <= delta | THOUGHTS for choice in chunk["choices"])
    assert streamed[-1] == "[DONE]"


async def test_models_are_as_specified(served: Served) -> None:
    async with served.client() as client:
        models = (await client.get("/v1/models")).json()
        check("ListModelsResponse", models)
        check("Model", (await client.get(f"/v1/models/{MODEL}")).json())
        counted = await client.post("/v1/chat/completions/input_tokens", json=chat())
    assert counted.json()["input_tokens"] > 0
