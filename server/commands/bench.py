"""`abruzzi bench`: what a running server delivers at several levels of concurrency, as a table and as JSON."""

import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import uvloop
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from server.commands.api import ServerTrouble, first_model, is_loopback_url, make_client
from server.commands.load import LoadClient, Outcome, run_level

_COMMON = (
    "the of and to in is that for it as with on be by at this from or an but not are have one all when more time if "
    "no out so what up some them new could these may then two first any my now such like our over man me even most "
    "made after also did many before must through years where much your way well down should because each just"
)
WORDS = _COMMON.split()
CALIBRATION_WORDS = 256


@dataclass(frozen=True, kw_only=True)
class BenchPlan:
    """What to measure. `requests` None: twice the concurrency, at least 4. `time_limit` in seconds a level."""

    base_url: str
    levels: tuple[int, ...]
    prompt_tokens: int
    max_tokens: int
    model: str | None = None
    api_key: str | None = None
    requests: int | None = None
    time_limit: float = 300.0
    temperature: float = 0.0
    ignore_eos: bool = True
    allow_remote: bool = False

    def requests_at(self, concurrency: int) -> int:
        return self.requests or max(4, 2 * concurrency)


@dataclass(frozen=True)
class LevelResult:
    """One level's figures; times in milliseconds, None where nothing was measured."""

    concurrency: int
    requests: int  # completed without an error
    errors: int
    cut: int  # not finished within the time limit
    seconds: float
    output_tokens: int
    output_tokens_per_second: float
    prompt_tokens_mean: float
    cached_tokens: int
    ttft_ms_p50: float | None
    ttft_ms_p99: float | None
    inter_token_ms_p50: float | None
    inter_token_ms_p99: float | None
    error_examples: tuple[str, ...]


def run_bench(plan: BenchPlan, json_file: Path | None = None) -> int:
    """Runs the command; returns the exit code: 1 if the server cannot be measured or if a request failed."""
    console = Console(highlight=False)
    try:
        if not plan.allow_remote and not is_loopback_url(plan.base_url):
            raise ServerTrouble(f"{plan.base_url} is not this machine; --allow-remote allows it. Ask its owner first")
        with make_client(plan.base_url, plan.api_key) as client:
            model = plan.model or first_model(client)
        results = uvloop.run(measure(plan, model, console))
    except (ServerTrouble, httpx.InvalidURL) as error:
        print(f"abruzzi: {error}", file=sys.stderr)
        return 1
    console.print(results_table(model, plan, results))
    for text in sorted({example for result in results for example in result.error_examples}):
        console.print(f"error: {text}", style="red", markup=False)
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(model, plan, results), indent=2) + "\n", "utf-8")
    return 1 if any(result.errors or not result.requests for result in results) else 0


async def measure(plan: BenchPlan, model: str, console: Console) -> list[LevelResult]:
    """Runs all levels. Raises ServerTrouble if the server cannot be measured."""
    client = LoadClient(plan.base_url, plan.api_key)
    prompts = await _calibrated(client, plan, model)
    results = []
    with Progress(console=console, transient=True) as progress:
        for concurrency in plan.levels:
            total = plan.requests_at(concurrency)
            bar = progress.add_task(f"{concurrency} at a time", total=total)
            bodies = [_body(plan, model, prompts.next()) for _ in range(total)]
            outcomes, seconds = await run_level(
                client,
                bodies,
                concurrency,
                plan.time_limit,
                lambda bar=bar: progress.advance(bar),  # type: ignore[misc]
            )
            results.append(summarise(concurrency, total, outcomes, seconds))
    return results


class Prompts:
    """Prompts of about the same length, all different from their first word on."""

    def __init__(self, words: int) -> None:
        self.words = words
        self._count = 0
        self._random = random.Random(time.time_ns())

    def next(self) -> str:
        self._count += 1
        # The number comes first, and the salt keeps apart from earlier runs: nothing is found in the prefix cache.
        salt = self._random.randrange(10**6)
        return " ".join([f"{salt} {self._count}", *self._random.choices(WORDS, k=self.words)])


async def _calibrated(client: LoadClient, plan: BenchPlan, model: str) -> Prompts:
    """Prompts of `plan.prompt_tokens`, as near as words allow: two probes tell what a word and the template cost."""
    counts = []
    for words in (1, CALIBRATION_WORDS):
        outcome = await client.stream(_body(plan, model, Prompts(words).next()) | {"max_tokens": 1})
        if outcome.error is not None:
            raise ServerTrouble(outcome.error)
        counts.append(outcome.prompt_tokens)
    per_word = (counts[1] - counts[0]) / (CALIBRATION_WORDS - 1)
    if per_word <= 0:
        raise ServerTrouble("the server does not report usage.prompt_tokens, which is needed to size the prompts")
    return Prompts(max(1, round(1 + (plan.prompt_tokens - counts[0]) / per_word)))


def _body(plan: BenchPlan, model: str, prompt: str) -> dict[str, Any]:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": plan.max_tokens,
        "temperature": plan.temperature,
    }
    return body | {"ignore_eos": True} if plan.ignore_eos else body


def summarise(concurrency: int, planned: int, outcomes: Sequence[Outcome], seconds: float) -> LevelResult:
    """The figures of one level."""
    good = [outcome for outcome in outcomes if outcome.error is None]
    ttft = [outcome.first_text * 1e3 for outcome in good if outcome.first_text is not None]
    gaps = [gap * 1e3 for outcome in good for gap in outcome.gaps]
    tokens = sum(outcome.completion_tokens for outcome in good)
    return LevelResult(
        concurrency=concurrency,
        requests=len(good),
        errors=len(outcomes) - len(good),
        cut=planned - len(outcomes),
        seconds=seconds,
        output_tokens=tokens,
        output_tokens_per_second=tokens / seconds,
        prompt_tokens_mean=sum(outcome.prompt_tokens for outcome in good) / max(1, len(good)),
        cached_tokens=sum(outcome.cached_tokens for outcome in good),
        ttft_ms_p50=percentile(ttft, 50),
        ttft_ms_p99=percentile(ttft, 99),
        inter_token_ms_p50=percentile(gaps, 50),
        inter_token_ms_p99=percentile(gaps, 99),
        error_examples=tuple(sorted({outcome.error for outcome in outcomes if outcome.error}))[:3],
    )


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that at least `percent` of the values do not exceed; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


def results_table(model: str, plan: BenchPlan, results: Sequence[LevelResult]) -> Table:
    """The figures for a person."""
    prompt = max((result.prompt_tokens_mean for result in results), default=0)
    title = f"{model}: {prompt:.0f} prompt tokens, {plan.max_tokens} tokens to generate"
    caption = "times in ms; TTFT: to the first text; gap: between pieces of text of a stream"
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    for name in ("streams", "done", "errors", "tokens/s", "TTFT p50", "p99", "gap p50", "p99"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        times = (result.ttft_ms_p50, result.ttft_ms_p99, result.inter_token_ms_p50, result.inter_token_ms_p99)
        table.add_row(
            str(result.concurrency),
            str(result.requests),
            str(result.errors) + (f" + {result.cut} cut" if result.cut else ""),
            f"{result.output_tokens_per_second:.1f}",
            *("-" if value is None else f"{value:.1f}" for value in times),
        )
    return table


def as_json(model: str, plan: BenchPlan, results: Sequence[LevelResult]) -> dict[str, Any]:
    """The figures for a program; the API key is left out."""
    settings = {name: value for name, value in asdict(plan).items() if name != "api_key"}
    return {"plan": {**settings, "model": model}, "results": [asdict(result) for result in results]}
