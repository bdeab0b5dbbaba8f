"""Answers of /v1/chat/completions, whole and streamed."""

from typing import Any

import pytest
from msgspec import structs
from support.fake_engine import outputs
from support.served import ANSWER, MODEL, Served, chat, frames

pytestmark = pytest.mark.anyio


async def test_a_whole_answer(served: Served) -> None:
    answer = (await served.post()).json()
    tokens = len(served.model.tokenizer.encode(ANSWER)) + 1
    prompt = len(served.engine.requests[0].prompt)
    assert answer["id"].startswith("chatcmpl-")
    assert answer["object"] == "chat.completion"
    assert answer["model"] == MODEL
    assert answer["system_fingerprint"].startswith("fp_")
    assert "service_tier" not in answer
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": ANSWER, "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert answer["usage"] == {
        "prompt_tokens": prompt,
        "completion_tokens": tokens,
        "total_tokens": prompt + tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


async def test_the_order_of_frames(served: Served) -> None:
    answer = await served.post(stream=True)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    *chunks, done = frames(answer.text)
    assert done == "[DONE]"
    deltas = [chunk["choices"][0] for chunk in chunks]
    assert deltas[0]["delta"] == {"role": "assistant", "content": ""}
    assert all(set(choice["delta"]) == {"content"} for choice in deltas[1:-1])
    assert deltas[-1] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert all(choice["finish_reason"] is None for choice in deltas[:-1])
    assert "".join(choice["delta"]["content"] for choice in deltas[:-1]) == ANSWER
    for member in ("id", "created", "model", "system_fingerprint"):
        assert len({chunk[member] for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert all("usage" not in chunk for chunk in chunks)


async def test_usage_comes_in_a_chunk_of_its_own(served: Served) -> None:
    *chunks, usage, done = frames((await served.post(stream=True, stream_options={"include_usage": True})).text)
    whole = (await served.post()).json()
    assert done == "[DONE]"
    assert usage["choices"] == []
    assert usage["usage"] == whole["usage"]
    assert all(chunk["usage"] is None for chunk in chunks)


def collected(chunks: list[Any], n: int) -> list[Any]:
    """A stream's chunks as the choices of a whole answer."""
    choices: list[Any] = [{"content": "", "logprobs": [], "finish_reason": None} for _ in range(n)]
    for chunk in chunks:
        for choice in chunk["choices"]:
            mine = choices[choice["index"]]
            assert mine["finish_reason"] is None
            mine["content"] += choice["delta"].get("content", "")
            mine["logprobs"] += (choice["logprobs"] or {"content": []})["content"]
            mine["finish_reason"] = choice["finish_reason"]
    return choices


@pytest.mark.parametrize("at_once", [1, 3, 1000])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"max_tokens": 9},
        {"n": 3},
        {"stop": "costs $"},
        {"stop": ["\nSec", "3.5"], "include_stop_str_in_output": True},
        {"stop": "e", "min_tokens": 12},
        {"logprobs": True, "top_logprobs": 2},
        {"logprobs": True, "stop": ["界! "], "n": 2},
        {"logprobs": True, "max_tokens": 3},
    ],
    ids=str,
)
async def test_stream_equals_whole(served: Served, fields: dict[str, Any], at_once: int) -> None:
    """Whatever was merged on the way: the whole answer's tokens come one by one, the stream's `at_once`."""
    whole = (await served.post(**fields)).json()
    served.engine.script = served.say(ANSWER, at_once=at_once)
    stream = await served.post(**fields, stream=True, stream_options={"include_usage": True})
    *chunks, usage, _ = frames(stream.text)
    assert usage["usage"] == whole["usage"]
    assert collected(chunks, len(whole["choices"])) == [
        {
            "content": choice["message"]["content"],
            "logprobs": (choice["logprobs"] or {"content": []})["content"],
            "finish_reason": choice["finish_reason"],
        }
        for choice in whole["choices"]
    ]
    assert not served.engine.running


async def test_a_stop_string_ends_the_answer_and_cancels_the_rest(served: Served) -> None:
    answer = (await served.post(stop=["nothing", "世界"])).json()
    choice = answer["choices"][0]
    assert choice["message"]["content"] == "Grüße, "
    assert choice["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == len(served.model.tokenizer.encode("Grüße, 世界"))
    assert len(served.engine.cancelled) == 1


async def test_length(served: Served) -> None:
    answer = (await served.post(max_completion_tokens=2)).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 2


async def test_logprobs_are_those_of_the_text(served: Served) -> None:
    answer = (await served.post(logprobs=True, top_logprobs=2)).json()
    content = answer["choices"][0]["logprobs"]["content"]
    assert b"".join(bytes(token["bytes"]) for token in content).decode() == ANSWER
    assert all(len(token["top_logprobs"]) == 2 for token in content)
    assert all(set(token) == {"token", "logprob", "bytes", "top_logprobs"} for token in content)


async def test_logprobs_without_alternatives(served: Served) -> None:
    answer = (await served.post(logprobs=True)).json()
    assert all(token["top_logprobs"] == [] for token in answer["choices"][0]["logprobs"]["content"])
    assert served.engine.requests[0].sampling.logprobs == 0


async def test_several_answers_are_several_engine_requests(served: Served) -> None:
    answer = (await served.post(n=3, seed=7)).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    requests = sorted(served.engine.requests, key=lambda request: request.id)
    assert [request.id.rpartition("-")[2] for request in requests] == ["0", "1", "2"]
    assert requests[0].sampling.seed == 7
    assert len({request.sampling.seed for request in requests}) == 3
    prompt = len(requests[0].prompt)
    assert answer["usage"]["prompt_tokens"] == prompt
    assert answer["usage"]["completion_tokens"] == 3 * (len(served.model.tokenizer.encode(ANSWER)) + 1)


async def test_cached_tokens_are_reported(served: Served) -> None:
    served.engine.script = served.say(ANSWER, cached_tokens=16)
    assert (await served.post()).json()["usage"]["prompt_tokens_details"] == {"cached_tokens": 16}


async def test_any_name_of_the_model(served: Served) -> None:
    assert (await served.post(model="alias")).json()["model"] == "alias"


async def test_service_tier_is_said_to_those_who_ask(served: Served) -> None:
    assert (await served.post(service_tier="auto")).json()["service_tier"] == "default"
    assert frames((await served.post(service_tier="auto", stream=True)).text)[0]["service_tier"] == "default"


async def test_every_parameter_reaches_the_engine(served: Served) -> None:
    fields = {
        "temperature": 0.3,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "repetition_penalty": 1.1,
        "frequency_penalty": 0.2,
        "presence_penalty": -0.3,
        "logit_bias": {"5": -100, "6": 1.5},
        "seed": -3,
        "min_tokens": 4,
        "stop_token_ids": [11],
        "max_tokens": 50,
        "logprobs": True,
        "top_logprobs": 4,
        "cache_salt": "pepper",
        "priority": -2,
    }
    await served.post(**fields)
    request = served.engine.requests[0]
    assert (request.cache_salt, request.priority) == ("pepper", -2)
    sampling = request.sampling
    for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_tokens", "min_tokens"):
        assert getattr(sampling, name) == fields[name]
    assert (sampling.frequency_penalty, sampling.presence_penalty) == (0.2, -0.3)
    assert sampling.logit_bias == {5: -100.0, 6: 1.5}
    assert sampling.seed == 2**63 - 3
    assert sampling.logprobs == 4
    assert set(sampling.stop_token_ids) == {11} | served.model.eos_ids


async def test_defaults_are_the_checkpoints(served: Served) -> None:
    await served.post()
    sampling = served.engine.requests[0].sampling
    assert sampling.temperature == 0.6
    assert (sampling.top_p, sampling.top_k, sampling.repetition_penalty) == (1.0, 0, 1.0)
    assert set(sampling.stop_token_ids) == served.model.eos_ids
    await served.post(temperature=0, top_k=-1, ignore_eos=True)
    sampling = served.engine.requests[1].sampling
    assert (sampling.temperature, sampling.top_k, sampling.stop_token_ids) == (0, 0, ())


async def test_ignored_end_of_sequence_is_not_text_and_does_not_end(served: Served) -> None:
    tokens = [65, served.end, 66]
    served.engine.script = lambda request: outputs(request, tokens, "length")
    answer = (await served.post(ignore_eos=True)).json()
    assert answer["choices"][0]["message"]["content"] == served.model.tokenizer.token_bytes(65).decode() + (
        served.model.tokenizer.token_bytes(66).decode()
    )
    assert answer["usage"]["completion_tokens"] == 3


async def test_a_seed_of_the_settings_repeats_drawn_seeds(serve: Any) -> None:
    drawn = []
    for seed in (1, 1, 2):
        served = serve(seed=seed)
        await served.post()
        await served.post()
        drawn.append([request.sampling.seed for request in served.engine.requests])
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0][0] != drawn[0][1]


async def test_a_long_conversation_is_rendered_in_a_thread_alike(served: Served) -> None:
    text = "All work and no play. " * 1000
    assert served.engine.ready is not None
    served.engine.ready = structs.replace(served.engine.ready, max_model_len=10**6, kv_tokens=10**6)
    assert (await served.post(messages=[{"role": "user", "content": text}])).status_code == 200
    decoded = b"".join(map(served.model.tokenizer.token_bytes, served.engine.requests[0].prompt)).decode()
    assert text.strip() in decoded


def prompt_text(served: Served) -> str:
    return b"".join(map(served.model.tokenizer.token_bytes, served.engine.requests[-1].prompt)).decode()


async def test_messages_of_every_kind_reach_the_template(served: Served) -> None:
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]},
        {"role": "user", "content": "Weather?", "name": "Ada"},
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "annotations": [],
            "audio": None,
            "function_call": None,
            "reasoning_content": "look it up",
            "tool_calls": [
                {
                    "index": 0,
                    "id": "functions.weather:0",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"place": "Rome"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "functions.weather:0", "content": "sunny"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "I would rather not."}]},
        {"role": "developer", "content": "Go on."},
        {"role": "user", "content": "And now?"},
    ]
    answer = await served.post(messages=messages)
    assert answer.status_code == 200, answer.text
    text = prompt_text(served)
    for part in ("Be brief.", "Ada", "Weather?", '{"place": "Rome"}', "sunny", "I would rather not.", "Go on."):
        assert part in text, part


async def test_generation_prompt_can_be_left_out(served: Served) -> None:
    await served.post()
    opened = prompt_text(served)
    await served.post(add_generation_prompt=False)
    assert opened.startswith(prompt_text(served))
    assert len(opened) > len(prompt_text(served))


async def test_an_answer_can_be_sent_back_as_it_came(served: Served) -> None:
    message = (await served.post()).json()["choices"][0]["message"]
    again = chat()["messages"] + [message, {"role": "user", "content": "More"}]
    assert (await served.post(messages=again)).status_code == 200
    assert ANSWER in prompt_text(served)
