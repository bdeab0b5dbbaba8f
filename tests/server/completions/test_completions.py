"""What POST /v1/completions answers: prompts of every form, echo, log-probabilities, streams, mistakes."""

import ast
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs
from support.completions import LISTS, complete, completion, joined
from support.served import ANSWER, MODEL, HandCall, Served, frames

from engine import StepFailed

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("Hi", ["Hi"]),
        (["Hi"], ["Hi"]),
        (["Hi", "there"], ["Hi", "there"]),
        ([5, 6, 7], [[5, 6, 7]]),
        ([[5, 6], [7]], [[5, 6], [7]]),
    ],
    ids=str,
)
@pytest.mark.parametrize("n", [1, 3])
async def test_each_prompt_gets_n_answers(served: Served, prompt: Any, prompts: list[Any], n: int) -> None:
    answer = (await complete(served, prompt=prompt, n=n, seed=3)).json()
    assert [choice["index"] for choice in answer["choices"]] == list(range(n * len(prompts)))
    assert {choice["text"] for choice in answer["choices"]} == {ANSWER}
    assert {choice["finish_reason"] for choice in answer["choices"]} == {"stop"}
    ids = [one if isinstance(one, list) else served.model.tokenizer.encode(one) for one in prompts]
    assert sorted(request.prompt for request in served.engine.requests) == sorted(one for one in ids for _ in range(n))
    assert len({request.sampling.seed for request in served.engine.requests}) == n, "seeds are by answer, not prompt"
    answered = len(served.model.tokenizer.encode(ANSWER)) + 1
    assert answer["usage"] == {
        "prompt_tokens": sum(map(len, ids)),
        "completion_tokens": n * len(prompts) * answered,
        "total_tokens": sum(map(len, ids)) + n * len(prompts) * answered,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert (answer["object"], answer["model"]) == ("text_completion", MODEL)


async def test_answers_are_those_of_their_prompts(served: Served) -> None:
    """Whichever ends first: each choice has what the engine said to its own prompt."""
    say = {prompt: served.say(f"answer to {prompt}") for prompt in (11, 12, 13)}
    served.engine.script = lambda request: [0.01 * (14 - request.prompt[0]), *say[request.prompt[0]](request)]
    answer = (await complete(served, prompt=[[11], [12], [13]], echo=True)).json()
    assert [choice["text"][1:] for choice in answer["choices"]] == [f"answer to {one}" for one in (11, 12, 13)]


async def test_names_of_control_tokens_in_text_are_control_tokens(served: Served) -> None:
    text = "<|im_user|>user<|im_middle|>Hi<|im_end|>"
    control = served.model.tokenizer.control_tokens
    answer = await complete(served, prompt=text, echo=True)
    (request,) = served.engine.requests
    expected = [control["<|im_user|>"], *served.model.tokenizer.encode("user"), control["<|im_middle|>"]]
    assert request.prompt == [*expected, *served.model.tokenizer.encode("Hi"), control["<|im_end|>"]]
    assert answer.json()["choices"][0]["text"] == text + ANSWER


async def test_stop_strings(served: Served) -> None:
    stops = ["$3.50", *(f"no {index}" for index in range(15))]
    answer = (await complete(served, stop=stops, echo=True)).json()["choices"][0]
    assert (answer["text"], answer["finish_reason"]) == ("Hello" + ANSWER.split("$3.50")[0], "stop")
    kept = (await complete(served, stop="$3.50", include_stop_str_in_output=True)).json()["choices"][0]
    assert kept["text"] == ANSWER.split("$3.50")[0] + "$3.50"


async def test_log_probabilities_are_of_every_token_to_the_last(served: Served) -> None:
    """The one that ends the answer too: evaluation programs count tokens from the end."""
    answer = (await complete(served, logprobs=1)).json()["choices"][0]
    logprobs, tokens = answer["logprobs"], served.model.tokenizer.encode(ANSWER)
    assert {len(logprobs[name]) for name in LISTS} == {len(tokens) + 1}
    assert logprobs["tokens"][-1] == "<|im_end|>"
    assert logprobs["text_offset"][-1] == len(ANSWER)
    for index, token in enumerate(tokens):
        before = b"".join(map(served.model.tokenizer.token_bytes, tokens[:index])).decode(errors="ignore")
        assert logprobs["text_offset"][index] == len(before)
        assert logprobs["token_logprobs"][index] == -0.5 * (token % 7)
        data = served.model.tokenizer.token_bytes(token)
        assert logprobs["tokens"][index] in (data.decode(errors="replace"), f"bytes:{str(data)[2:-1]}")


async def test_parts_of_characters_have_names_of_their_own(served: Served) -> None:
    logprobs = (await complete(served, logprobs=0)).json()["choices"][0]["logprobs"]
    crab = [token for token in logprobs["tokens"] if token.startswith("bytes:")]
    spelled = b"".join(ast.literal_eval(f"b'{token.removeprefix('bytes:')}'") for token in crab)
    assert spelled.decode() == "".join(c for c in ANSWER if ord(c) > 0x7F).replace("🦀", " 🦀")
    assert all(list(top) == [token] for top, token in zip(logprobs["top_logprobs"], logprobs["tokens"], strict=True))


async def test_a_long_prompt_is_echoed(serve: Callable[..., Served]) -> None:
    served = serve()
    assert served.engine.ready is not None
    served.engine.ready = structs.replace(served.engine.ready, max_model_len=20_000)
    text = "A long prompt: 世界. " * 600
    answer = await complete(served, prompt=text, echo=True)
    assert answer.json()["usage"]["prompt_tokens"] > 8192
    assert answer.json()["choices"][0]["text"] == text + ANSWER


@pytest.mark.parametrize("max_tokens", [0, 1, 5])
async def test_echo_with_log_probabilities(served: Served, max_tokens: int) -> None:
    """As lm-eval asks for the likelihood of a text."""
    prompt = served.model.tokenizer.encode("The capital of 世界 is")
    fields = {"echo": True, "logprobs": 1, "temperature": 0, "max_tokens": max_tokens, "seed": 1234}
    answer = await complete(served, prompt=[prompt], **fields)
    (choice,) = answer.json()["choices"]
    logprobs = choice["logprobs"]
    assert {len(logprobs[name]) for name in LISTS} == {len(prompt) + max_tokens}
    assert (logprobs["token_logprobs"][0], logprobs["top_logprobs"][0]) == (None, None)
    found = logprobs["token_logprobs"][1 : len(prompt)]
    assert found == [-0.25 * (token % 5) for token in prompt[1:]]
    assert logprobs["text_offset"][: len(prompt)] == sorted(logprobs["text_offset"][: len(prompt)])
    assert choice["text"].startswith("The capital of 世界 is")
    assert served.engine.requests[0].sampling.max_tokens == max_tokens


async def test_streamed_and_whole_answers_are_equal(served: Served) -> None:
    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
    )
    @given(
        text=st.text(max_size=12),
        prompt=st.one_of(st.text(min_size=1, max_size=8), st.lists(st.integers(0, 500), min_size=1, max_size=8)),
        n=st.integers(1, 3),
        echo=st.booleans(),
        logprobs=st.none() | st.integers(0, 5),
        stop=st.none() | st.text(min_size=1, max_size=2),
        at_once=st.integers(1, 4),
        more=st.booleans(),
    )
    def check(text: str, prompt: Any, n: int, echo: bool, logprobs: int | None, stop: Any, at_once: int, more: bool):
        served.engine.script = served.say(text, at_once=at_once)
        fields = {"prompt": [prompt, prompt] if more else prompt, "n": n, "echo": echo, "seed": 1, "logprobs": logprobs}
        pairs.append(({**fields, "stop": stop}, text, at_once))

    pairs: list[tuple[dict[str, Any], str, int]] = []
    check()
    for fields, text, at_once in pairs:
        served.engine.script = served.say(text, at_once=at_once)
        whole = await complete(served, **fields)
        assert whole.status_code == 200, whole.text
        stream = await complete(served, **fields, stream=True, stream_options={"include_usage": True})
        choices, usage = joined(stream.text)
        assert usage == whole.json()["usage"]
        for one, other in zip(choices, whole.json()["choices"], strict=True):
            if other["logprobs"] is not None and one["logprobs"] is None:
                one["logprobs"] = {name: [] for name in LISTS}
            assert one == other


async def test_a_stream_without_extras(served: Served) -> None:
    answer = await complete(served, stream=True)
    *chunks, done = frames(answer.text)
    assert done == "[DONE]"
    assert all("usage" not in chunk and chunk["object"] == "text_completion" for chunk in chunks)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == ANSWER


async def test_a_failure_midway_is_told_in_the_stream(served: Served) -> None:
    say = served.say("a sentence of many tokens")
    served.engine.script = lambda request: [*list(say(request))[:2], 0.01, StepFailed("NaN")]
    *_, error, done = frames((await complete(served, stream=True)).text)
    assert error["error"]["code"] == "engine_error"
    assert done == "[DONE]"
    assert (await complete(served)).status_code == 500


async def test_hanging_up_cancels_all_answers(served: Served) -> None:
    import asyncio

    never = asyncio.Event()
    say = served.say("a sentence of many tokens")
    served.engine.script = lambda request: [*list(say(request))[:2], never]
    call = HandCall(served.app, completion(prompt=["a", "b"], n=2, stream=True), "/v1/completions")
    await call.until(b'"index":3')
    call.hang_up()
    await asyncio.wait_for(call.task, 10)
    assert len(served.engine.cancelled) == 4
    assert not served.engine.running


MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": None}, "prompt", "must be a string"),
    ({"prompt": ""}, "prompt", "no tokens"),
    ({"prompt": []}, "prompt", "at least 1 item"),
    ({"prompt": 5}, "prompt", "not 5"),
    ({"prompt": {"a": 1}}, "prompt", "an object"),
    ({"prompt": ["a", 5]}, "prompt[1]", "must be a string"),
    ({"prompt": [5, "a"]}, "prompt[1]", "whole number"),
    ({"prompt": [5, -1]}, "prompt[1]", "at least 0"),
    ({"prompt": [5, True]}, "prompt[1]", "whole number"),
    ({"prompt": [[5], []]}, "prompt[1]", "at least 1 item"),
    ({"prompt": [[5], "a"]}, "prompt[1]", "must be a list"),
    ({"prompt": ["a", ""]}, "prompt[1]", "no tokens"),
    ({"prompt": [5, 100_000]}, "prompt", "there is no token 100000"),
    ({"prompt": [[5], [100_000]]}, "prompt[1]", "there is no token 100000"),
    ({"prompt": [1] * 4096}, "prompt", "4096"),
    ({"prompt": [1] * 4000, "max_tokens": 97}, "prompt", "4097"),
    ({"prompt": ["a"] * 1025}, "prompt", "at most 1024"),
    ({"prompt": ["a"] * 1000, "n": 16}, "prompt", "16000"),
    ({"max_tokens": -1}, "max_tokens", "at least 0"),
    ({"logprobs": 6}, "logprobs", "at most 5"),
    ({"logprobs": True}, "logprobs", "whole number"),
    ({"echo": 1}, "echo", "true or false"),
    ({"n": 17}, "n", "at most 16"),
    ({"stop": ["a"] * 17}, "stop", "at most 16"),
    ({"stop": [""]}, "stop[0]", "at least 1 character"),
    ({"stream_options": {}}, "stream_options", "stream: true"),
    ({"min_tokens": 5, "max_tokens": 0}, "min_tokens", "at most 0"),
    ({"messages": []}, "messages", "no parameter"),
]


@pytest.mark.parametrize(("fields", "param", "words"), MISTAKES, ids=lambda value: str(value)[:40])
async def test_mistakes_are_named(served: Served, fields: dict[str, Any], param: str, words: str) -> None:
    answer = await complete(served, **fields)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert words in error["message"]
    assert not served.engine.requests
    assert (await complete(served)).status_code == 200, "the place was given back"


async def test_an_unknown_model(served: Served) -> None:
    assert (await complete(served, model="gpt-5")).status_code == 404
