"""Prometheus metrics of one application, in a registry of its own.

Three sources: the engine's state, read when Prometheus asks; each step's report; the sequences' clocks. What happens
per token goes to `Tally`, a histogram without locks: everything here runs on the event loop's one thread.
"""

import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from engine import StepReport
from server.admission import Admission
from server.engine_port import Engine
from server.keys.gate import Counters

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
TOKEN_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 10)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
LENGTHS = (16, 64, 256, 1024, 4096, 16384, 65536, 262144)


class Tally:
    """A histogram whose `add` costs a fraction of prometheus_client's `observe`. Not thread-safe."""

    def __init__(self, name: str, help: str, bounds: Sequence[float]) -> None:
        self._name, self._help = name, help
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Counts `value` `times` times."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def family(self) -> Metric:
        total, buckets = 0, []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        return HistogramMetricFamily(self._name, self._help, buckets=buckets, sum_value=self._sum)


class Metrics:
    """All metrics. `text()` is the page that Prometheus reads."""

    def __init__(self, engine: Engine, admission: Admission) -> None:
        self._engine = engine
        self._admission = admission
        self._registry = CollectorRegistry()
        self._tokens_generated = 0
        self.inter_token = Tally(
            "abruzzi_inter_token_latency_seconds", "Time between tokens of a sequence.", TOKEN_SECONDS
        )
        self._batch_requests = Tally("abruzzi_batch_requests", "Sequences in a step.", COUNTS)
        self._batch_tokens = Tally("abruzzi_batch_tokens", "Tokens computed in a step.", COUNTS)
        self._step_seconds = Tally("abruzzi_step_seconds", "Duration of a step.", TOKEN_SECONDS)
        self.queue = self._histogram("request_queue_seconds", "Arrival to first scheduled.", SECONDS)
        self.first_token = self._histogram("time_to_first_token_seconds", "Arrival to first token.", SECONDS)
        self.whole = self._histogram("e2e_request_latency_seconds", "Arrival to end of a sequence.", SECONDS)
        self._prompt_length = self._histogram("request_prompt_tokens", "Tokens in a request's prompt.", LENGTHS)
        self.answer_length = self._histogram("request_generation_tokens", "Tokens in a sequence's answer.", LENGTHS)
        self._prompt_tokens = Counter("abruzzi_prompt_tokens", "Prompt tokens received.", registry=self._registry)
        self.finished = Counter(
            "abruzzi_requests_finished",
            "Sequences by how they ended: stop, length, tool_calls, cancelled, error.",
            ["reason"],
            registry=self._registry,
        )
        self.http = Counter(
            "abruzzi_http_requests", "HTTP requests.", ["method", "route", "status"], registry=self._registry
        )
        self.tool_calls = Counter(
            "abruzzi_tool_calls", "Tool calls in answers that came to their end.", registry=self._registry
        )
        self.keys = Counters(
            Counter("abruzzi_key_requests", "Requests of each API key.", ["key"], registry=self._registry),
            Counter("abruzzi_key_tokens", "Tokens of each API key.", ["key", "kind"], registry=self._registry),
            Counter("abruzzi_key_refusals", "Requests over a key's limits.", ["key"], registry=self._registry),
        )
        self._registry.register(self)
        engine.observe(self._step)

    def _histogram(self, name: str, help: str, bounds: Sequence[float]) -> Histogram:
        return Histogram("abruzzi_" + name, help, buckets=bounds, registry=self._registry)

    def prompt(self, tokens: int) -> None:
        """A request with this many prompt tokens was accepted."""
        self._prompt_tokens.inc(tokens)
        self._prompt_length.observe(tokens)

    def sequence(self, arrival: float) -> "SequenceClock":
        """A clock for a sequence that arrived at `arrival` (time.monotonic)."""
        return SequenceClock(self, arrival)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def _step(self, report: StepReport) -> None:
        stats = report.stats
        if stats.batch_requests:  # otherwise the report tells the state only: there was no step
            self._batch_requests.add(stats.batch_requests)
            self._batch_tokens.add(stats.batch_tokens)
            self._step_seconds.add(stats.step_seconds)
        self._tokens_generated += sum(len(output.token_ids) for output in report.outputs)

    def collect(self) -> Iterable[Metric]:
        """What is read at the moment Prometheus asks. The engine's own counters start again when it restarts, which
        Prometheus' rate() expects of counters."""
        stats = self._engine.stats
        used = stats.blocks_held / stats.blocks_total if stats.blocks_total else 0.0
        for name, help, value in (
            ("requests_running", "Sequences in the engine's batch.", stats.running),
            ("requests_waiting", "Sequences that wait in the engine.", stats.waiting),
            ("requests_admitted", "Sequences accepted and not ended yet.", self._admission.sequences),
            ("requests_limit", "Sequences that are accepted at most.", self._admission.limit),
            ("kv_cache_usage_ratio", "Share of KV blocks that running sequences hold.", used),
            ("kv_blocks", "KV blocks in all.", stats.blocks_total),
            ("kv_blocks_held", "KV blocks that running sequences hold.", stats.blocks_held),
            ("kv_blocks_cached", "KV blocks kept for their prefix only.", stats.blocks_cached),
            ("engine_ready", "1 if the engine can take requests.", self._engine.status.state == "ready"),
        ):
            yield GaugeMetricFamily("abruzzi_" + name, help, value=float(value))
        for name, help, value in (
            ("generation_tokens", "Tokens generated.", self._tokens_generated),
            ("engine_steps", "Steps of the engine.", stats.steps),
            ("preemptions", "Sequences put back to make room.", stats.preemptions),
            ("prefix_cache_queries", "Prompt tokens looked up in the prefix cache.", stats.prefix_queries),
            ("prefix_cache_hits", "Prompt tokens found there.", stats.prefix_hits),
            ("forced_tokens", "Tokens generated without sampling, for a grammar left one choice.", stats.forced_tokens),
            ("engine_restarts", "Times the engine was started again.", self._engine.restarts),
        ):
            yield CounterMetricFamily("abruzzi_" + name, help, value=float(value))
        for tally in (self.inter_token, self._batch_requests, self._batch_tokens, self._step_seconds):
            yield tally.family()

    def describe(self) -> Iterable[Metric]:
        """Names only; without it the registry would call `collect` at registration."""
        return []


class SequenceClock:
    """Times one sequence. `reason` is how it ended; until somebody says otherwise, the caller went away."""

    def __init__(self, metrics: Metrics, arrival: float) -> None:
        self.reason = "cancelled"
        self.tool_calls = 0
        self._metrics = metrics
        self._arrival = arrival
        self._last = 0.0  # 0: no token yet
        self.tokens = 0

    def step(self, tokens: int, queue_seconds: float | None) -> None:
        """Some tokens came."""
        now = time.monotonic()
        if queue_seconds is not None:
            self._metrics.queue.observe(queue_seconds)
        if not tokens:
            return
        if self._last:
            self._metrics.inter_token.add((now - self._last) / tokens, tokens)
        else:
            self._metrics.first_token.observe(now - self._arrival)
        self._last = now
        self.tokens += tokens

    def finish(self) -> None:
        """The sequence ended. Called once."""
        self._metrics.finished.labels(self.reason).inc()
        self._metrics.tool_calls.inc(self.tool_calls)
        self._metrics.answer_length.observe(self.tokens)
        self._metrics.whole.observe(time.monotonic() - self._arrival)
