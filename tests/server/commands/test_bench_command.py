"""abruzzi bench against a fake server."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.fake_openai import FakeServer

from server.commands.bench import BenchPlan, percentile, results_table, run_bench, summarise
from server.commands.load import Outcome, _events

Capture = pytest.CaptureFixture[str]


def test_levels_are_measured_and_written(fake_server: FakeServer, tmp_path: Path, capsys: Capture) -> None:
    fake_server.pause = 0.001
    plan = BenchPlan(base_url=fake_server.url, levels=(1, 4), prompt_tokens=50, max_tokens=9, api_key="sk-1")
    assert run_bench(plan, tmp_path / "out.json") == 0
    text = (tmp_path / "out.json").read_text()
    assert "sk-1" not in text
    content = json.loads(text)
    assert content["plan"]["model"] == "fake-model"
    one, four = content["results"]
    assert (one["concurrency"], one["requests"], one["errors"], one["cut"]) == (1, 4, 0, 0)
    assert (four["concurrency"], four["requests"], four["output_tokens"]) == (4, 8, 72)
    assert one["prompt_tokens_mean"] == 50
    assert one["output_tokens_per_second"] == pytest.approx(one["output_tokens"] / one["seconds"])
    assert 0 < one["inter_token_ms_p50"] <= one["inter_token_ms_p99"]
    assert 0 < one["ttft_ms_p50"] <= one["ttft_ms_p99"]
    output = capsys.readouterr().out
    assert "fake-model: 50 prompt tokens, 9 tokens to generate" in output


def test_what_is_sent(fake_server: FakeServer) -> None:
    plan = BenchPlan(base_url=fake_server.url, levels=(3,), prompt_tokens=40, max_tokens=4, requests=12, api_key="sk-1")
    assert run_bench(plan) == 0
    load = [request for request in fake_server.requests if request["max_tokens"] == 4]
    assert len(load) == 12
    assert all(request["ignore_eos"] and request["temperature"] == 0 for request in load)
    assert len({request["messages"][0]["content"][:12] for request in load}) == 12  # different from the start
    assert fake_server.most_open == 3
    assert {headers["authorization"] for headers in fake_server.headers[1:]} == {"Bearer sk-1"}


def test_errors_are_counted_and_shown(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    prompts = iter(["a", "a b", "one", "fail", "midway", "two"])
    monkeypatch.setattr("server.commands.bench.Prompts.next", lambda self: next(prompts))
    plan = BenchPlan(base_url=fake_server.url, levels=(2,), prompt_tokens=10, max_tokens=6, requests=4)
    assert run_bench(plan) == 1
    output = capsys.readouterr().out
    assert "error: the server answered 400: no [such] thing" in output
    assert "error: the engine died" in output


def test_the_time_limit_cuts(fake_server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_server.pause = 0.01
    prompts = iter(["a", "a b", "forever", "forever", "forever"])
    monkeypatch.setattr("server.commands.bench.Prompts.next", lambda self: next(prompts))
    plan = BenchPlan(base_url=fake_server.url, levels=(2,), prompt_tokens=10, max_tokens=6, requests=3, time_limit=0.2)
    assert run_bench(plan, tmp_path / "out.json") == 1
    [level] = json.loads((tmp_path / "out.json").read_text())["results"]
    assert (level["requests"], level["cut"], level["errors"]) == (0, 3, 0)


def test_other_machines_need_a_flag(capsys: Capture) -> None:
    assert run_bench(BenchPlan(base_url="http://192.0.2.1:8000", levels=(1,), prompt_tokens=1, max_tokens=1)) == 1
    assert "--allow-remote" in capsys.readouterr().err


def test_no_server_is_one_line(capsys: Capture) -> None:
    assert run_bench(BenchPlan(base_url="http://127.0.0.1:9", levels=(1,), prompt_tokens=1, max_tokens=1)) == 1
    assert capsys.readouterr().err.startswith("abruzzi: no server answers at http://127.0.0.1:9")


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_percentiles(values: list[float], percent: int) -> None:
    found = percentile(values, percent)
    assert found in values
    assert found is not None
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


def test_percentiles_of_nothing() -> None:
    assert percentile([], 50) is None


@given(st.lists(st.integers(1, 40)), st.sampled_from([b"\n\n", b"\r\n\r\n"]))
def test_events_do_not_depend_on_how_the_bytes_were_cut(cuts: list[int], separator: bytes) -> None:
    stream = separator.join([b"data: one", b": comment", b"data: two", b"event: x\ndata: three", b""])
    pieces, rest = [], stream
    for number, cut in enumerate(cuts):
        pieces.append((float(number), rest[:cut]))
        rest = rest[cut:]
    pieces.append((float(len(cuts)), rest))
    assert [data for _, data in _events(pieces)] == [b"one", b"two", b"three"]


def test_a_level_without_a_result_can_be_shown() -> None:
    plan = BenchPlan(base_url="http://127.0.0.1:1", levels=(1,), prompt_tokens=1, max_tokens=1)
    result = summarise(1, 2, [Outcome(error="no"), Outcome(error="no")], 1.0)
    console = Console(width=120)
    with console.capture() as capture:
        console.print(results_table("model", plan, [result]))
    assert "-" in capture.get()
