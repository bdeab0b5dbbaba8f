"""How many answers stay the same when only the shapes of the batches change.

    python -m benchmarks.reproducibility CHECKPOINT

64 seeded requests at temperature 1, 80 tokens each, at once: first in large steps with all the memory they want, then
in other ways. Where all differences are rounding, float32 keeps them all (or nearly all) and bfloat16 does not, and
preemption costs no more than chunking does.
"""

import random
import sys
from collections import defaultdict

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.load import Loaded, load
from engine.messages import GenerateRequest, SamplingParams
from engine.scheduling.scheduler import Scheduler, SchedulerConfig

REQUESTS, TOKENS, ROWS, BLOCK, LONGEST = 64, 80, 32, 16, 512
LARGE_POOL, SMALL_POOL = 1500, 70
WAYS = {  # blocks, tokens a step
    "the same again": (LARGE_POOL, 2048),
    "smaller chunks": (LARGE_POOL, 37),
    "preemption": (SMALL_POOL, 2048),
}


def answers(loaded: Loaded, blocks: int, budget: int) -> tuple[dict[str, list[int]], int]:
    """Token ids by request, and how often a request was preempted."""
    vocabulary = loaded.model_config.vocab_size
    config = SchedulerConfig(blocks, BLOCK, ROWS, budget, LONGEST, vocabulary)
    core = EngineCore(Scheduler(config), loaded.new_runner(), loaded.new_compiler())
    rng = random.Random(7)
    for index in range(REQUESTS):
        prompt = [rng.randrange(256) for _ in range(rng.randrange(5, 80))]
        sampling = SamplingParams(max_tokens=TOKENS, seed=index)
        core.add(GenerateRequest(f"r{index:02}", prompt, sampling, arrival=0.0))
    tokens, preemptions = defaultdict(list), 0
    while core.has_work:
        report = core.step()
        preemptions = report.stats.preemptions
        for output in report.outputs:
            tokens[output.id] += output.token_ids
    return tokens, preemptions


def main(folder: str) -> None:
    print(f"{'dtype':10} {'way':16} {'the same':>9} {'preemptions':>12}")
    for dtype in ("float32", "bfloat16"):
        config = EngineConfig(
            model_path=folder, dtype=dtype, max_model_len=LONGEST, max_running=ROWS, kv_cache_memory=256 << 20
        )
        loaded = load(config, lambda message: None)
        assert loaded.kv.blocks >= LARGE_POOL, f"256 MiB hold only {loaded.kv.blocks} blocks of this model"
        first, _ = answers(loaded, LARGE_POOL, 2048)
        for way, bounds in WAYS.items():
            tokens, preemptions = answers(loaded, *bounds)
            same = sum(tokens[name] == first[name] for name in first)
            print(f"{dtype:10} {way:16} {f'{same}/{REQUESTS}':>9} {preemptions:12}")


if __name__ == "__main__":
    main(sys.argv[1])
