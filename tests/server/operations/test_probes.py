"""/live, /ready, /health and /version tell the truth."""

from collections.abc import Callable

import pytest
from support.served import Served

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("state", ["ready", "loading", "stalled", "restarting", "failed", "stopped"])
async def test_engine_states(served: Served, state: str) -> None:
    served.engine.status.state = state
    served.engine.status.detail = "reading shard 3 of 7"
    served.engine.status.progress = 0.4
    async with served.client() as client:
        assert (await client.get("/live")).status_code == 200
        for path in ("/ready", "/health"):
            answer = await client.get(path)
            content = answer.json()
            assert answer.status_code == (200 if state == "ready" else 503)
            assert content["status"] == state
            shown = "the server's log says why" if state == "failed" else "reading shard 3 of 7"
            assert content["detail"] == shown
            assert ("reading shard" in answer.text) == (state != "failed")
            assert content["progress"] == 0.4
            if state != "ready":
                assert set(content["error"]) == {"message", "type", "param", "code"}
                assert int(answer.headers["retry-after"]) > 0


async def test_draining_is_not_ready_but_healthy(served: Served) -> None:
    served.app.state.draining = True
    async with served.client() as client:
        ready = await client.get("/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "draining")
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/live")).status_code == 200


async def test_version(served: Served) -> None:
    from importlib.metadata import version

    async with served.client() as client:
        assert (await client.get("/version")).json() == {"version": version("abruzzi")}


async def test_openapi_has_the_request_and_resolves(served: Served) -> None:
    async with served.client() as client:
        document = (await client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    assert "temperature" in schemas["ChatCompletionRequest"]["properties"]
    assert {"/v1/chat/completions", "/v1/models", "/metrics", "/ready"} <= set(document["paths"])

    def references(value: object) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [one for part in value.values() for one in references(part)]
        return [one for part in value for one in references(part)] if isinstance(value, list) else []

    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas, reference


async def test_openapi_tells_answers_errors_and_keys(serve: Callable[..., Served]) -> None:
    async with serve(api_key=("k",)).client(headers={"Authorization": "Bearer k"}) as client:
        document = (await client.get("/openapi.json")).json()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert all("422" not in one["responses"] for path in document["paths"].values() for one in path.values())
    chat = document["paths"]["/v1/chat/completions"]["post"]
    assert set(chat["responses"]) == {"200", "400", "401", "404", "413", "415", "429", "500", "503"}
    assert set(chat["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert "choices" in document["components"]["schemas"]["ChatCompletion"]["properties"]
    assert document["components"]["securitySchemes"] == {"apiKey": {"type": "http", "scheme": "bearer"}}
    assert chat["security"] == [{"apiKey": []}]
    assert "security" not in document["paths"]["/health"]["get"]
