"""The metrics page, and the histogram behind it."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from support.served import Served

from engine import EngineStats, StepOutput, StepReport
from server.metrics import Tally

pytestmark = pytest.mark.anyio


def samples(page: str) -> dict[str, float]:
    """Name and labels -> value."""
    found = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 5))))
def test_a_tally_counts_like_a_histogram(values: list[tuple[float, int]]) -> None:
    bounds = (0.5, 1.0, 5.0)
    tally = Tally("x", "y", bounds)
    for value, times in values:
        tally.add(value, times)
    found = {sample.labels.get("le", sample.name): sample.value for sample in tally.family().samples}
    for bound in bounds:
        assert found[str(bound)] == sum(times for value, times in values if value <= bound)
    assert found["+Inf"] == found["x_count"] == sum(times for _, times in values)
    assert found["x_sum"] == pytest.approx(sum(value * times for value, times in values))


async def read(served: Served) -> dict[str, float]:
    async with served.client() as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return samples(answer.text)


async def test_requests_are_counted_and_timed(served: Served) -> None:
    await served.post()
    await served.post(stream=True, max_tokens=4, n=2)
    await served.post(messages=[])
    found = await read(served)
    answer = len(served.model.tokenizer.encode("Grüße, 世界! 🦀 It costs $3.50.\nSecond line.")) + 1
    prompt = len(served.engine.requests[0].prompt)
    assert found["abruzzi_requests_finished_total{reason=stop}"] == 1
    assert found["abruzzi_requests_finished_total{reason=length}"] == 2
    assert found["abruzzi_prompt_tokens_total"] == 2 * prompt
    assert found["abruzzi_request_generation_tokens_sum"] == answer + 8
    assert found["abruzzi_time_to_first_token_seconds_count"] == 3
    assert found["abruzzi_request_queue_seconds_sum"] == pytest.approx(0.003)
    assert found["abruzzi_e2e_request_latency_seconds_count"] == 3
    assert found["abruzzi_inter_token_latency_seconds_count"] == answer + 8 - 3
    route = "method=POST,route=/v1/chat/completions"
    assert found[f"abruzzi_http_requests_total{{{route},status=200}}"] == 2
    assert found[f"abruzzi_http_requests_total{{{route},status=400}}"] == 1
    assert found["abruzzi_requests_admitted"] == 0
    assert found["abruzzi_requests_limit"] == 64 + 256


async def test_the_engines_state_and_steps(served: Served) -> None:
    stats = EngineStats(
        running=3,
        waiting=2,
        blocks_total=100,
        blocks_held=25,
        blocks_cached=10,
        steps=7,
        preemptions=1,
        prefix_queries=50,
        prefix_hits=20,
        batch_requests=3,
        batch_tokens=130,
        step_seconds=0.02,
    )
    served.engine.report(StepReport([StepOutput("a", [1, 2]), StepOutput("b", [3])], stats))
    served.engine.restarts = 2
    found = await read(served)
    for name, value in {
        "requests_running": 3,
        "requests_waiting": 2,
        "kv_blocks": 100,
        "kv_blocks_held": 25,
        "kv_blocks_cached": 10,
        "kv_cache_usage_ratio": 0.25,
        "engine_ready": 1,
        "engine_steps_total": 7,
        "preemptions_total": 1,
        "prefix_cache_queries_total": 50,
        "prefix_cache_hits_total": 20,
        "engine_restarts_total": 2,
        "generation_tokens_total": 3,
        "batch_requests_sum": 3,
        "batch_tokens_sum": 130,
        "step_seconds_sum": 0.02,
    }.items():
        assert found["abruzzi_" + name] == pytest.approx(value), name


async def test_a_report_without_a_step_counts_in_no_histogram(served: Served) -> None:
    served.engine.report(StepReport([], EngineStats(running=1, batch_requests=0, batch_tokens=0, step_seconds=0.0)))
    found = await read(served)
    assert found["abruzzi_requests_running"] == 1
    for name in ("batch_requests", "batch_tokens", "step_seconds"):
        assert found[f"abruzzi_{name}_count"] == 0, name


async def test_clients_cannot_make_labels(served: Served) -> None:
    async with served.client() as client:
        for number in range(20):
            await client.request(f"BREW{number}", f"/nothing/{number}")
            await client.get(f"/v1/models/{number}")
    found = [name for name in await read(served) if name.startswith("abruzzi_http_requests_total")]
    assert sorted(found) == [
        "abruzzi_http_requests_total{method=GET,route=/v1/models/{id:path},status=404}",
        "abruzzi_http_requests_total{method=other,route=other,status=404}",
    ]


async def test_the_document_lists_every_metric(serve: Callable[..., Served]) -> None:
    from pathlib import Path

    document = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    served = serve()
    async with served.client() as client:
        page = (await client.get("/metrics")).text
    for family in text_string_to_metric_families(page):
        if not family.name.endswith("_created"):
            assert f"`{family.name}" in document, family.name
