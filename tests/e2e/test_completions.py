"""Completions, likelihoods and cancelling, with nothing replaced."""

import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from support.serving import Server, until

PROMPT = "A lake has no name until somebody swims in it."


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def tokenize(server: Server, text: str) -> list[int]:
    tokens: list[int] = server.post("/tokenize", {"prompt": text}).json()["tokens"]
    return tokens


def likelihoods(server: Server, prompts: list[list[int]]) -> list[dict[str, Any]]:
    """The logprobs of whole texts, asked for as lm-eval asks."""
    fields = {"temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True}
    answer = server.post("/v1/completions", {"model": "tiny", "prompt": prompts, **fields})
    assert answer.status_code == 200, answer.text
    choices = sorted(answer.json()["choices"], key=lambda choice: int(choice["index"]))
    return [choice["logprobs"] for choice in choices]


def test_streamed_and_whole_texts_are_equal(client: openai.OpenAI) -> None:
    fields: dict[str, Any] = {
        "model": "tiny",
        "prompt": [PROMPT, "Hi"],
        "max_tokens": 40,
        "n": 2,
        "seed": 7,
        "echo": True,
    }
    whole = client.completions.create(**fields)
    texts = [""] * 4
    for chunk in client.completions.create(**fields, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in whole.choices]
    assert [text.startswith(PROMPT) for text in texts] == [True, True, False, False]


def test_a_texts_likelihood_is_what_it_had_when_it_was_generated(server: Server) -> None:
    """Two ways to compute the same: token by token while decoding, and over the whole text at once."""
    prompt = tokenize(server, PROMPT)
    said: dict[str, Any] = {"model": "tiny", "prompt": prompt, "max_tokens": 24, "temperature": 1, "seed": 3}
    answer = server.post("/v1/completions", {**said, "logprobs": 3, "ignore_eos": True}).json()["choices"][0]
    generated = answer["logprobs"]["token_logprobs"]
    assert len(generated) == 24
    ids = tokenize(server, answer["text"])
    text = answer["text"]
    if len(ids) != 24 or "\ufffd" in text:  # the model's tokens are not those that its text is cut into
        pytest.skip("the text has other tokens than were generated")
    (scored,) = likelihoods(server, [prompt + ids])
    assert scored["token_logprobs"][len(prompt) : -1] == pytest.approx(generated, abs=1e-3)


def test_likelihoods_do_not_depend_on_company_or_cache(server: Server) -> None:
    texts = [tokenize(server, PROMPT * count) for count in (1, 3, 9, 9)]
    together = likelihoods(server, texts)
    for text, found in zip(texts, together, strict=True):
        (alone,) = likelihoods(server, [text])
        assert alone["token_logprobs"][1:] == pytest.approx(found["token_logprobs"][1:], abs=1e-3)
        assert len(found["token_logprobs"]) == len(text) + 1
    prefix = together[2]["token_logprobs"][1 : len(texts[0]) - 1]
    assert prefix == pytest.approx(together[0]["token_logprobs"][1 : len(texts[0]) - 1], abs=1e-3)


def test_a_long_prompt_is_scored_in_chunks(server: Server) -> None:
    text = tokenize(server, PROMPT * 300)[:4000]
    assert len(text) == 4000
    (found,) = likelihoods(server, [text])
    assert len(found["token_logprobs"]) == 4001
    assert all(value <= 0 for value in found["token_logprobs"][1:])


def test_cancelling_by_id_frees_the_engine(server: Server, client: openai.OpenAI) -> None:
    begun, errors = threading.Event(), []

    def read() -> None:
        fields: dict[str, Any] = {"model": "tiny", "prompt": PROMPT, "max_tokens": 3500, "stream": True}
        more = {"extra_body": {"ignore_eos": True}, "extra_headers": {"x-request-id": "to-be-cancelled"}}
        try:
            for _ in client.completions.create(**fields, **more):
                begun.set()
        except openai.APIError as error:
            errors.append(error)

    reading = threading.Thread(target=read)
    reading.start()
    assert begun.wait(30)
    assert server.post("/v1/requests/to-be-cancelled/cancel", None).status_code == 200
    reading.join(30)
    assert [error.code for error in errors] == ["request_cancelled"]
    until(lambda: server.metric("abruzzi_requests_running") == 0)
    assert server.metric("abruzzi_kv_blocks_held") == 0
    assert server.post("/v1/requests/to-be-cancelled/cancel", None).status_code == 404
