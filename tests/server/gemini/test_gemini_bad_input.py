"""What a client of generateContent can get wrong: Google's error object each time, and the server lives on."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.gemini import TIME, TOOLS, WEATHER, ask, body
from support.served import MODEL, Served

from server.bounds import MAX_ITEMS

pytestmark = pytest.mark.anyio


def user(*parts: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts)}]}


def config(**members: Any) -> dict[str, Any]:
    return {"generationConfig": members}


def calling(**members: Any) -> dict[str, Any]:
    return {"tools": TOOLS, "toolConfig": {"functionCallingConfig": members}}


def function(**members: Any) -> dict[str, Any]:
    return {"tools": [{"functionDeclarations": [{"name": "f"} | members]}]}


RESPONSE = {"functionResponse": {"name": "f", "response": {}}}
CALL = {"functionCall": {"name": "f", "args": {}}}
PARAMETERS = "tools[0].functionDeclarations[0].parameters"
BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("no contents", {"contents": []}, "contents", "at least 1 item"),
    ("contents that are text", {"contents": "Hello"}, "contents", "must be a list"),
    ("another role", {"contents": [{"role": "system", "parts": [{"text": "x"}]}]}, "contents[0].role", "'user'"),
    ("no parts", {"contents": [{"role": "user"}]}, "contents[0].parts", "missing"),
    ("an empty part", user({}), "contents[0].parts[0]", "one of text, functionCall"),
    ("two things in a part", user({"text": "x", **RESPONSE}), "contents[0].parts[0]", "one of text"),
    (
        "an image",
        user({"inlineData": {"mimeType": "image/png", "data": "AA"}}),
        "contents[0].parts[0].inlineData",
        "not",
    ),
    ("a file", user({"file_data": {"file_uri": "x"}}), "contents[0].parts[0].file_data", "fileData is not supported"),
    ("code", user({"executableCode": {}}), "contents[0].parts[0].executableCode", "not supported"),
    ("a call by the user", user(CALL), "contents[0]", "the model's, not the user's"),
    (
        "a response by the model",
        {"contents": [{"role": "model", "parts": [RESPONSE]}, *body()["contents"]]},
        "contents[0]",
        "the user's, not the model's",
    ),
    ("a response to nothing", user(RESPONSE), "contents[0].parts[0].functionResponse", "the name 'f'"),
    (
        "a response to another id",
        {
            "contents": [
                {"role": "model", "parts": [CALL]},
                {"parts": [{"functionResponse": {"name": "f", "id": "z", "response": {}}}]},
            ]
        },
        "contents[1].parts[0].functionResponse",
        "'z'",
    ),
    (
        "a begun answer",
        {"contents": [*body()["contents"], {"role": "model", "parts": [{"text": "I"}]}]},
        "contents[1]",
        "cannot be begun",
    ),
    ("too many parts", user(*[{"text": ""}] * (MAX_ITEMS + 1)), "contents[0].parts", "at most 1024"),
    ("a call in the instruction", {"systemInstruction": {"parts": [CALL]}}, "systemInstruction", "text parts only"),
    ("an unknown field", {"temperature": 1}, "temperature", "no parameter"),
    ("an unknown setting", config(maxTokens=1), "generationConfig.maxTokens", "no parameter"),
    ("a setting by two names", config(topP=0.1, top_p=0.2), "generationConfig.top_p", "no parameter"),
    ("a hot temperature", config(temperature=3), "generationConfig.temperature", "at most 2"),
    ("a broken number", config(topK=1.5), "generationConfig.topK", "whole number"),
    ("no tokens", config(maxOutputTokens=0), "generationConfig.maxOutputTokens", "at least 1"),
    ("many answers", config(candidateCount=17), "generationConfig.candidateCount", "at most 16"),
    ("alternatives of nothing", config(logprobs=1), "generationConfig.logprobs", "responseLogprobs"),
    ("an image for an answer", config(responseModalities=["IMAGE"]), "generationConfig.responseModalities", "text"),
    (
        "a level",
        config(thinkingConfig={"thinkingLevel": "EXTREME"}),
        "generationConfig.thinkingConfig.thinkingLevel",
        "",
    ),
    ("another type", config(responseMimeType="text/xml"), "generationConfig.responseMimeType", "application/json"),
    ("a schema of text", config(responseSchema={"type": "STRING"}), "generationConfig.responseSchema", "needs"),
    (
        "two schemas",
        config(responseMimeType="application/json", responseSchema={}, responseJsonSchema={}),
        "generationConfig.responseJsonSchema",
        "one of them",
    ),
    (
        "an enum of nothing",
        config(responseMimeType="text/x.enum", responseSchema={"type": "STRING"}),
        "generationConfig.responseSchema",
        "enum of texts",
    ),
    (
        "a schema that cannot be held",
        config(responseMimeType="application/json", responseSchema={"type": "DICT"}),
        "generationConfig.responseSchema",
        "#/type",
    ),
    ("a search", {"tools": [{"googleSearch": {}}]}, "tools[0].googleSearch", "not supported"),
    ("code as a tool", {"tools": [{"code_execution": {}}]}, "tools[0].code_execution", "codeExecution is not"),
    ("spaces in a name", function(name="get weather"), "tools[0].functionDeclarations[0].name", "letters"),
    ("two of one name", {"tools": [*TOOLS, *TOOLS]}, "tools[1].functionDeclarations[0].name", "two tools"),
    (
        "two kinds of parameters",
        function(parameters={"type": "OBJECT"}, parametersJsonSchema={"type": "object"}),
        "tools[0].functionDeclarations[0]",
        "one of them",
    ),
    (
        "parameters that cannot be held",
        function(parameters={"type": "OBJECT", "properties": {"a": {"type": "ARRAY", "uniqueItems": True}}}),
        "tools[0].functionDeclarations[0].parameters",
        "uniqueItems",
    ),
    (
        "parameters of a list",
        function(parameters={"type": "ARRAY", "items": {}}),
        "tools[0].functionDeclarations[0].parameters",
        "type OBJECT",
    ),
    ("a length of many digits", function(parameters={"minProperties": "9" * 5000}), PARAMETERS, "minProperties"),
    ("another mode", calling(mode="SOME"), "toolConfig.functionCallingConfig.mode", "'ANY'"),
    (
        "names for AUTO",
        calling(mode="AUTO", allowedFunctionNames=["get-time"]),
        "toolConfig.functionCallingConfig.allowedFunctionNames",
        "ANY or VALIDATED",
    ),
    (
        "an unknown name",
        calling(mode="ANY", allowedFunctionNames=["get-time", "g"]),
        "toolConfig.functionCallingConfig.allowedFunctionNames[1]",
        "'g'",
    ),
    (
        "ANY of nothing",
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
        "toolConfig.functionCallingConfig.mode",
        "needs functionDeclarations",
    ),
    ("a filter's list", {"safetySettings": [{"threshold": []}]}, "safetySettings[0].threshold", "must be a string"),
    ("a long prompt", user({"text": "word " * 5000}), "contents", "The context holds 4096 tokens"),
]


@pytest.mark.parametrize(("fields", "param", "said"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
async def test_bad_input_is_told(served: Served, fields: dict[str, Any], param: str, said: str) -> None:
    for operation in ("generateContent", "streamGenerateContent?alt=sse"):
        answer = await ask(served, operation, **fields)
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
        (violation,) = error["details"][0]["fieldViolations"]
        assert violation["field"] == param, violation
        assert said in error["message"]
        assert len(error["message"]) < 600
    assert not served.engine.requests
    assert (await ask(served, tools=[{"functionDeclarations": [WEATHER, TIME]}])).status_code == 200


@pytest.mark.parametrize("operation", ["generateContent", "countTokens"])
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"[]",
        b"{}",
        b'{"contents": "\xff"}',
        b'{"contents": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        json.dumps(user({"text": "x"})).encode()[:-4],
    ],
    ids=["empty", "a list", "nothing", "not UTF-8", "nested", "cut off"],
)
async def test_bodies_that_are_none(served: Served, operation: str, sent: bytes) -> None:
    async with served.client() as client:
        answer = await client.post(f"/v1beta/models/{MODEL}:{operation}", content=sent)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("method", "path", "sent", "headers", "status", "word"),
    [
        ("POST", f"models/{MODEL}:think", b"{}", {}, 404, "NOT_FOUND"),
        ("POST", f"models/{MODEL}", b"{}", {}, 404, "NOT_FOUND"),
        ("POST", "models/none:generateContent", json.dumps(body()).encode(), {}, 404, "NOT_FOUND"),
        ("PUT", "models", b"", {}, 405, "UNIMPLEMENTED"),
        ("GET", "files", b"", {}, 404, "NOT_FOUND"),
        ("POST", f"models/{MODEL}:generateContent?alt=xml", b"{}", {}, 400, "INVALID_ARGUMENT"),
        ("POST", f"models/{MODEL}:generateContent?alt=sse", b"{}", {}, 400, "INVALID_ARGUMENT"),
        ("POST", f"models/{MODEL}:generateContent", b"x" * 2000, {}, 413, "INVALID_ARGUMENT"),
        ("POST", f"models/{MODEL}:countTokens", b"{}", {"content-encoding": "gzip"}, 415, "INVALID_ARGUMENT"),
        ("POST", f"models/{MODEL}:generateContent", b"{}", {"x-goog-api-key": "wrong"}, 401, "UNAUTHENTICATED"),
        ("GET", "models?key=wrong", b"", {"x-goog-api-key": "wrong"}, 401, "UNAUTHENTICATED"),
    ],
)
async def test_every_status_has_its_error(
    serve: Callable[..., Served], method: str, path: str, sent: bytes, headers: dict[str, str], status: int, word: str
) -> None:
    served = serve(api_key=("sk",), max_body_bytes=1000)
    async with served.client() as client:
        headers = {"x-goog-api-key": "sk"} | headers
        answer = await client.request(method, f"/v1beta/{path}", content=sent, headers=headers)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["status"]) == (status, word)
    assert error["message"]


async def test_a_key_in_the_query(serve: Callable[..., Served]) -> None:
    served = serve(api_key=("sk",))
    async with served.client() as client:
        assert (await client.get("/v1beta/models?key=sk")).status_code == 200
        assert (await client.get("/v1beta/models")).status_code == 401


async def test_an_absent_engine(served: Served) -> None:
    served.engine.status.state = "loading"
    for operation in ("generateContent", "streamGenerateContent"):
        answer = await ask(served, operation)
        assert (answer.status_code, answer.json()["error"]["status"]) == (503, "UNAVAILABLE")
        assert answer.headers["retry-after"]


async def test_the_model_of_the_path_and_of_the_body(served: Served) -> None:
    async with served.client() as client:
        for name, status in (("models/alias", 200), ("alias", 200), ("models/other", 400), (MODEL, 400)):
            answer = await client.post("/v1beta/models/alias:generateContent", json=body(model=name))
            assert answer.status_code == status, answer.text


async def test_a_count_of_two_things_or_none(served: Served) -> None:
    async with served.client() as client:
        for sent in ({}, {**body(), "generateContentRequest": body()}):
            answer = await client.post(f"/v1beta/models/{MODEL}:countTokens", json=sent)
            assert answer.status_code == 400
            assert "generateContentRequest" in answer.json()["error"]["message"]


MEMBERS = ["type", "text", "parts", "role", "functionCall", "name", "args", "mode", "functionDeclarations"]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "x", "STRING", "AUTO"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4),
    max_leaves=12,
)


@given(
    field=st.sampled_from(["contents", "systemInstruction", "tools", "toolConfig", "generationConfig"]), value=values
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_is_sent_it_is_answered_or_refused(served: Served, field: str, value: Any) -> None:
    async with served.client() as client:
        sent = json.dumps(body(**{field: value}))
        answer = await client.post(f"/v1beta/models/{MODEL}:generateContent", content=sent)
    assert answer.status_code in (200, 400)


@given(schema=values)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_the_schema_it_is_answered_or_refused(served: Served, schema: Any) -> None:
    fields = config(responseMimeType="application/json", responseSchema={"properties": {"a": schema}, "anyOf": schema})
    async with served.client() as client:
        answer = await client.post(f"/v1beta/models/{MODEL}:generateContent", content=json.dumps(body(**fields)))
    assert answer.status_code in (200, 400)
