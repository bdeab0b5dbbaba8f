"""What every protocol meets, and answers with an error object of its own: a body that is none, a model that is not
there, no key, a wrong key, a key that is over its limits, a server that has no engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from anthropic.types.shared import ErrorResponse
from jsonschema import Draft202012Validator
from support.responses import check
from support.served import MODEL, Served

from server.door import OPEN_PATHS
from server.keys.key_file import create_key

pytestmark = pytest.mark.anyio

USER = [{"role": "user", "content": "Hello"}]
GEMINI = "/v1beta/models/{model}:{operation}"
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": USER},
    "/v1/completions": {"prompt": "Hello"},
    "/v1/responses": {"input": "Hello"},
    "/v1/messages": {"messages": USER, "max_tokens": 9},
    GEMINI: {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]},
}
GOOGLE = Draft202012Validator(
    {
        "type": "object",
        "required": ["error"],
        "additionalProperties": False,
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "status"],
                "properties": {
                    "code": {"type": "integer"},
                    "message": {"type": "string", "minLength": 1},
                    "status": {"type": "string"},
                    "details": {"type": "array"},
                },
                "additionalProperties": False,
            }
        },
    }
)
# Status -> what the protocols call it: OpenAI's code, Anthropic's type, Google's status.
CALLED = {
    400: ("invalid_json", "invalid_request_error", "INVALID_ARGUMENT"),
    401: ("invalid_api_key", "authentication_error", "UNAUTHENTICATED"),
    404: ("model_not_found", "not_found_error", "NOT_FOUND"),
    429: ("rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    503: ("model_loading", "overloaded_error", "UNAVAILABLE"),
}


async def post(served: Served, path: str, key: str, *, model: str = MODEL, streamed: bool, content: Any = None) -> Any:
    """A request of the protocol at `path`; `content` instead of its body."""
    url, body = path, {"model": model, **BODIES[path], "stream": streamed}
    if path == GEMINI:
        url = path.format(model=model, operation="streamGenerateContent" if streamed else "generateContent")
        body = BODIES[path]
    sent = {"json": body} if content is None else {"content": content}
    async with served.client(headers={"Authorization": f"Bearer {key}"} if key else {}) as client:
        return await client.post(url, **sent)


def check_error(path: str, answer: httpx.Response, status: int) -> None:
    """The protocol's own error object, with its own word for what is wrong."""
    code, kind, google = CALLED[status]
    told = answer.json()
    if path == GEMINI:
        assert answer.status_code == status, answer.text
        GOOGLE.validate(told)
        assert (told["error"]["code"], told["error"]["status"]) == (status, google)
    elif path == "/v1/messages":
        assert answer.status_code == (529 if status == 503 else status), answer.text
        assert ErrorResponse.model_validate_json(answer.text, strict=True).error.type == kind
    else:
        assert answer.status_code == status, answer.text
        assert set(told) == {"error"}
        assert set(told["error"]) == {"message", "type", "param", "code"}
        assert told["error"]["code"] == code


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("path", BODIES)
async def test_each_has_its_own_words(serve: Callable[..., Served], path: str, streamed: bool, tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    key, poor = create_key(file, "alice"), create_key(file, "bob", requests_per_minute=1)
    served = serve(key_file=file)

    async def refused(status: int, key: str = key, **how: Any) -> httpx.Response:
        answer: httpx.Response = await post(served, path, key, streamed=streamed, **how)
        check_error(path, answer, status)
        return answer

    await refused(400, content=b'{"model": ')
    await refused(401, "")
    await refused(401, "sk-wrong")
    await refused(404, model="no-such-model")
    assert not served.engine.requests
    assert (await post(served, path, poor, streamed=streamed)).status_code == 200
    limited = await refused(429, poor)
    assert int(limited.headers["retry-after"]) > 0
    assert limited.headers["x-ratelimit-remaining-requests"] == "0"
    assert (await post(served, path, key, streamed=streamed)).status_code == 200
    served.engine.status.state = "loading"
    assert (await refused(503)).headers["retry-after"]


async def test_the_specification_admits_the_errors(served: Served) -> None:
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses"):
        check("ErrorResponse", (await post(served, path, "", streamed=False, content=b"{}")).json())


async def test_every_route_but_the_probes_wants_a_key(serve: Callable[..., Served]) -> None:
    served = serve(api_key=("sk",))
    async with served.client() as client:
        document = (await client.get("/openapi.json", headers={"Authorization": "Bearer sk"})).json()
        routes = [(path, method) for path, operations in document["paths"].items() for method in operations]
        assert len(routes) > 40
        for path, method in [*routes, ("/openapi.json", "get")]:
            answer = await client.request(method, path)
            assert (answer.status_code == 401) == (path not in OPEN_PATHS), (path, method)
