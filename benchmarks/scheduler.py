"""Cost of schedule() plus commit() for a step in which every running request decodes one token.

    python -m benchmarks.scheduler

Prints a table; one core, no model. The goal is a median of at most 1 ms at 256 requests.
"""

import gc
import statistics
import time

from engine.messages import GenerateRequest, SamplingParams
from engine.scheduling.plan import StepResult
from engine.scheduling.scheduler import Scheduler, SchedulerConfig

PROMPT = 128
STEPS = 400


def decode_steps(running: int, waiting: int = 0) -> list[float]:
    """Seconds of each of STEPS decode steps with `running` requests, while `waiting` more wait for a row."""
    config = SchedulerConfig(
        blocks=running * 64,
        block_size=16,
        max_running=running,
        max_batch_tokens=8192,
        max_model_len=4096,
        vocab_size=65536,
    )
    scheduler = Scheduler(config)
    for index in range(running + waiting):
        prompt = [(index * 7919 + position) % 50021 for position in range(PROMPT)]
        sampling = SamplingParams(max_tokens=STEPS + 64, stop_token_ids=(1, 2))
        scheduler.add(GenerateRequest(f"r{index:06}", prompt, sampling, arrival=float(index)))
    seconds: list[float] = []
    while len(seconds) < STEPS:
        started = time.perf_counter()
        plan = scheduler.schedule(0.0)
        planned = time.perf_counter() - started
        sampled = sum(request.sample for request in plan.requests)
        result = StepResult([7] * sampled, [None] * sampled)
        started = time.perf_counter()
        scheduler.commit(plan, result)
        if plan.total_tokens == running:
            seconds.append(planned + time.perf_counter() - started)
    return seconds


def main() -> None:
    gc.freeze()
    print(f"{'running':>8} {'waiting':>8} {'median ms':>10} {'p99 ms':>8} {'us a request':>13}")
    for running, waiting in [(1, 0), (16, 0), (64, 0), (256, 0), (1024, 0), (256, 1000), (256, 10000)]:
        seconds = decode_steps(running, waiting)
        median, p99 = statistics.median(seconds), statistics.quantiles(seconds, n=100)[98]
        print(f"{running:8} {waiting:8} {median * 1e3:10.3f} {p99 * 1e3:8.3f} {median / running * 1e6:13.2f}")


if __name__ == "__main__":
    main()
