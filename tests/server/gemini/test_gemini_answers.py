"""Answers of generateContent, whole and streamed."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.gemini import TOOLS, ask, body, objects
from support.messages import CALLS, say
from support.served import ANSWER, MODEL, HandCall, Served

from engine import EngineUnavailable

pytestmark = pytest.mark.anyio
URL = f"/v1beta/models/{MODEL}:streamGenerateContent"


async def test_a_whole_answer(served: Served) -> None:
    answer = (await ask(served)).json()
    prompt = len(served.engine.requests[0].prompt)
    tokens = len(served.model.tokenizer.encode(ANSWER)) + 1
    assert answer.pop("responseId").startswith("gen-")
    assert answer == {
        "candidates": [
            {"index": 0, "content": {"role": "model", "parts": [{"text": ANSWER}]}, "finishReason": "STOP"},
        ],
        "usageMetadata": {
            "promptTokenCount": prompt,
            "candidatesTokenCount": tokens,
            "totalTokenCount": prompt + tokens,
            "cachedContentTokenCount": 0,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
        },
        "modelVersion": MODEL,
    }


@pytest.mark.parametrize("operation", ["streamGenerateContent", "streamGenerateContent?alt=sse"])
async def test_a_stream(served: Served, operation: str) -> None:
    answer = await ask(served, operation)
    kind = "text/event-stream" if "sse" in operation else "application/json"
    assert answer.headers["content-type"] == kind
    *chunks, last = objects(answer)
    assert all(set(chunk) == {"candidates", "modelVersion", "responseId"} for chunk in chunks)
    assert "".join(chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in chunks) == ANSWER
    assert all("finishReason" not in chunk["candidates"][0] for chunk in chunks)
    assert last["candidates"] == [
        {"index": 0, "content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP"}
    ]
    assert last["usageMetadata"] == (await ask(served)).json()["usageMetadata"]


def gathered(chunks: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """A stream's candidates as those of a whole answer."""
    candidates: list[dict[str, Any]] = [{"parts": []} for _ in range(n)]
    for chunk in chunks:
        (candidate,) = chunk["candidates"]
        mine = candidates[candidate["index"]]
        assert "finishReason" not in mine
        mine |= {name: candidate[name] for name in ("finishReason", "finishMessage") if name in candidate}
        for part in candidate["content"]["parts"]:
            last = mine["parts"][-1] if mine["parts"] else {}
            if "text" in part and "text" in last and part.get("thought") == last.get("thought"):
                last["text"] += part["text"]
            elif part != {"text": ""}:
                mine["parts"].append(dict(part))
    return candidates


words = st.text(st.sampled_from("ab \n.}{\"'é漢🦀"), min_size=1, max_size=12)


@given(
    thought=words,
    text=st.one_of(st.just(""), words),
    calls=st.lists(st.sampled_from([*CALLS, ("get_weather", '{"city": "a\\n\\"b"}')]), max_size=3),
    at_once=st.integers(1, 9),
    max_tokens=st.integers(1, 120),
    shown=st.booleans(),
    n=st.integers(1, 3),
    alt=st.sampled_from(["json", "sse"]),
    stop=st.one_of(st.none(), words),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_stream_adds_up_to_the_whole(
    thinker: Served,
    thought: str,
    text: str,
    calls: list[tuple[str, str]],
    at_once: int,
    max_tokens: int,
    shown: bool,
    n: int,
    alt: str,
    stop: str | None,
) -> None:
    thinker.engine.script = say(thinker, thought=thought, text=text, calls=calls, at_once=at_once)
    config = {
        "maxOutputTokens": max_tokens,
        "candidateCount": n,
        "stopSequences": [stop] if stop else [],
        "thinkingConfig": {"includeThoughts": shown},
    }
    whole = (await ask(thinker, tools=TOOLS, generationConfig=config)).json()
    chunks = objects(await ask(thinker, f"streamGenerateContent?alt={alt}", tools=TOOLS, generationConfig=config))
    for streamed, candidate in zip(gathered(chunks, n), whole["candidates"], strict=True):
        ending = {name: candidate[name] for name in ("finishReason", "finishMessage") if name in candidate}
        assert streamed == {"parts": candidate["content"]["parts"], **ending}
    assert chunks[-1]["usageMetadata"] == whole["usageMetadata"]
    parts = whole["candidates"][0]["content"]["parts"]
    assert shown or not any(part.get("thought") for part in parts)
    if whole["candidates"][0]["finishReason"] == "STOP" and stop is None:
        made = [part["functionCall"] for part in parts if "functionCall" in part]
        assert [(call["name"], call["args"]) for call in made] == [
            (name, json.loads(arguments or "{}")) for name, arguments in calls
        ]


async def test_a_cut_call_is_left_out_and_told(served: Served) -> None:
    served.engine.script = say(served, text="Hm.", calls=[("get_weather", '{"city": "Zürich"}')])
    encode = served.model.tokenizer.encode
    cut = len([*encode("Hm."), *encode("functions.get_weather:0"), *encode('{"city": "Z')]) + 3  # and markers
    (candidate,) = (await ask(served, tools=TOOLS, generationConfig={"maxOutputTokens": cut})).json()["candidates"]
    assert candidate["content"]["parts"] == [{"text": "Hm."}]
    assert candidate["finishReason"] == "MAX_TOKENS"
    assert "get_weather" in candidate["finishMessage"]


@pytest.mark.parametrize("arguments", ["nothing", "[1]", '{"city": 1'])
async def test_arguments_that_are_no_object_are_kept_as_text(served: Served, arguments: str) -> None:
    served.engine.script = say(served, calls=[("get_weather", arguments)])
    (candidate,) = (await ask(served, tools=TOOLS)).json()["candidates"]
    assert candidate["content"]["parts"][0]["functionCall"]["args"] == {"arguments": arguments}


async def test_log_probabilities(served: Served) -> None:
    config = {"responseLogprobs": True, "logprobs": 2}
    whole = (await ask(served, generationConfig=config)).json()["candidates"][0]["logprobsResult"]
    assert "".join(one["token"] for one in whole["chosenCandidates"]).startswith("Gr")
    assert {len(one["candidates"]) for one in whole["topCandidates"]} == {2}
    chunks = objects(await ask(served, "streamGenerateContent", generationConfig=config))
    streamed: dict[str, list[Any]] = {"chosenCandidates": [], "topCandidates": []}
    for chunk in chunks:
        for name, found in chunk["candidates"][0].get("logprobsResult", {}).items():
            streamed[name] += found
    assert streamed == whole


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"maxOutputTokens": 3}, "MAX_TOKENS"),
        ({"maxOutputTokens": 2**31 - 1}, "STOP"),
        ({"stopSequences": ["costs"]}, "STOP"),
    ],
)
async def test_reasons(served: Served, config: dict[str, Any], reason: str) -> None:
    (candidate,) = (await ask(served, generationConfig=config)).json()["candidates"]
    assert candidate["finishReason"] == reason


@pytest.mark.parametrize("alt", ["json", "sse"])
async def test_silence_is_filled(serve: Callable[..., Served], alt: str) -> None:
    served = serve(keep_alive_seconds=0.1)
    script = say(served, text="late")
    served.engine.script = lambda request: [0.35, *script(request)]
    answer = await ask(served, f"streamGenerateContent?alt={alt}")
    assert answer.text.startswith("\n")
    assert gathered(objects(answer), 1)[0]["parts"] == [{"text": "late"}]


@pytest.mark.parametrize("alt", ["json", "sse"])
async def test_an_error_midway_is_the_last_object(served: Served, alt: str) -> None:
    script = say(served, text="some words of an answer")
    for before in (1, 3):
        served.engine.script = lambda request, before=before: [
            *list(script(request))[:before],
            EngineUnavailable("it died"),
        ]
        answer = await ask(served, f"streamGenerateContent?alt={alt}")
        assert answer.status_code == 200
        assert objects(answer)[-1] == {"error": {"code": 503, "message": "it died", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_hangs_up_ends_its_request(served: Served, streamed: bool) -> None:
    script = say(served, text="some words")
    never = asyncio.Event()
    served.engine.script = lambda request: [*list(script(request))[:2], never]
    call = HandCall(served.app, body(), URL if streamed else URL.replace("streamG", "g"))
    while not served.engine.running:
        await asyncio.sleep(0)
    if streamed:
        await call.until(b"text")
    call.hang_up()
    await asyncio.wait_for(call.task, 10)
    assert len(served.engine.cancelled) == 1


async def test_models(served: Served) -> None:
    async with served.client() as client:
        both = (await client.get("/v1beta/models")).json()
        assert [one["name"] for one in both["models"]] == [f"models/{MODEL}", "models/alias"]
        first = (await client.get("/v1beta/models?pageSize=1")).json()
        second = (await client.get(f"/v1beta/models?pageSize=1&pageToken={first['nextPageToken']}")).json()
        assert first["models"] + second["models"] == both["models"]
        assert "nextPageToken" not in second
        one = (await client.get(f"/v1beta/models/{MODEL}")).json()
        assert one == both["models"][0]
        assert (one["inputTokenLimit"], one["temperature"]) == (4096, 0.6)
        for path, status in (("models/none", 404), ("models?pageSize=0", 400), ("models?pageToken=x", 400)):
            answer = await client.get(f"/v1beta/{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, status)


async def test_a_prefix_that_is_written_twice(served: Served) -> None:
    assert (await ask(served, model=f"models/{MODEL}")).json()["modelVersion"] == MODEL
    async with served.client() as client:
        assert (await client.get(f"/v1beta/models/models/{MODEL}")).json()["name"] == f"models/{MODEL}"


async def test_version_1_is_for_googles_clients_by_their_headers(served: Served) -> None:
    async with served.client() as client:
        assert "data" in (await client.get("/v1/models")).json()
        assert (await client.get(f"/v1/models/{MODEL}")).json()["object"] == "model"
        google = {"x-goog-api-client": "google-genai-sdk/3"}
        assert "models" in (await client.get("/v1/models", headers=google)).json()
        assert (await client.get(f"/v1/models/{MODEL}", headers=google)).json()["name"] == f"models/{MODEL}"
        answer = await client.post(f"/v1/models/{MODEL}:generateContent", json=body())
        assert answer.json()["candidates"]
        error = (await client.post("/v1/models/none:generateContent", json=body())).json()["error"]
        assert error["status"] == "NOT_FOUND"


async def test_counting_needs_no_engine(served: Served) -> None:
    fields: dict[str, Any] = {"systemInstruction": {"parts": [{"text": "Be brief."}]}, "tools": TOOLS}
    usage = (await ask(served, **fields)).json()["usageMetadata"]
    served.engine.status.state = "stalled"
    assert (await ask(served, "countTokens", **fields)).json() == {
        "totalTokens": usage["promptTokenCount"],
        "promptTokensDetails": usage["promptTokensDetails"],
    }
    async with served.client() as client:
        plain = await client.post(f"/v1beta/models/{MODEL}:countTokens", json=body())
    assert 0 < plain.json()["totalTokens"] < usage["promptTokenCount"]
