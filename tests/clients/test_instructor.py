"""Instructor in each of its ways of asking for a typed object."""

import httpx
import pytest
from support.weather import Lake

instructor = pytest.importorskip("instructor", reason="make test-clients")

from openai import OpenAI


@pytest.mark.parametrize("mode", ["TOOLS", "TOOLS_STRICT", "JSON_SCHEMA", "RESPONSES_TOOLS"])
def test_a_typed_object(mode: str, url: str, name: str) -> None:
    client = instructor.from_openai(OpenAI(base_url=f"{url}/v1", api_key="none"), mode=instructor.Mode[mode])
    lake, answer = client.create_with_completion(
        model=name,
        response_model=Lake,
        messages=[{"role": "user", "content": "Describe a lake."}],
        temperature=0,
        max_retries=0,
    )
    assert isinstance(lake, Lake)
    assert answer.usage.total_tokens > 0


def test_partial_objects_are_streamed(url: str, name: str) -> None:
    client = instructor.from_openai(OpenAI(base_url=f"{url}/v1", api_key="none"))
    seen = list(
        client.create_partial(
            model=name,
            response_model=Lake,
            messages=[{"role": "user", "content": "Describe a lake."}],
            temperature=0,
        )
    )
    assert len(seen) > 2
    Lake.model_validate(seen[-1].model_dump())


def ends_of_lists(url: str) -> list[str]:
    """The tokens with which the model may end a list of objects."""
    found: dict[str, None] = {}
    for text in ("]", "]}", '"}]', '"}]}'):
        answer = httpx.post(f"{url}/tokenize", json={"prompt": text, "return_token_strs": True}).json()
        found |= {str(id): None for id, one in zip(answer["tokens"], answer["token_strs"], strict=True) if "]" in one}
    return list(found)


def test_a_list_is_streamed(url: str, name: str) -> None:
    """Its schema admits a call without the list, which instructor cannot read: the question names lakes. The model
    would end its list after the first one: what ends a list is made unlikely."""
    client = instructor.from_openai(OpenAI(base_url=f"{url}/v1", api_key="none"))
    found = client.create_iterable(
        model=name,
        response_model=Lake,
        messages=[{"role": "user", "content": "Garda is 346 deep and Como is 410 deep."}],
        temperature=0,
        max_tokens=200,
        logit_bias=dict.fromkeys(ends_of_lists(url), -8),
    )
    lakes = list(found)
    assert len(lakes) > 1
    assert all(isinstance(lake, Lake) for lake in lakes)
