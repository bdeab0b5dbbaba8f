"""What grammars cost, and save, in a running engine: steps and tokens a second with and without.

python -m benchmarks.grammar_latency CHECKPOINT [--threads 2]

free        no grammar
all text    a grammar that admits all text: the cost of masks alone
one by one  a JSON schema; every token sampled
forced      the same schema; what has no alternative is not sampled

"step": the median from one token to the next while all rows decode; "added": beyond that without a grammar.
"""

import argparse
import statistics
import time
from pathlib import Path

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.load import Loaded, load
from engine.messages import GenerateRequest, Grammar, SamplingParams
from engine.runner.sampler import Sampler

PROMPT = 64
ALL_TEXT = Grammar(r"start: /(.|\n)*/")
RECORDS = Grammar(
    'start: %json {"type": "array", "minItems": 40, "items": {"type": "object", "additionalProperties": false, '
    '"properties": {"city": {"type": "string", "maxLength": 12}, "temperature": {"type": "integer", "minimum": -40, '
    '"maximum": 50}, "unit": {"enum": ["celsius", "fahrenheit"]}}, "required": ["city", "temperature", "unit"]}, '
    '"x-guidance": {"whitespace_flexible": false}}'
)


def measure(
    core: EngineCore, grammar: Grammar | None, batch: int, output: int
) -> tuple[list[float], list[float], float]:
    """Seconds of each decode step, those of the processor (all threads), and tokens a second from the first to the last
    of all answers."""
    for index in range(batch):
        prompt = [(index * 7919 + position * 31) % 4000 for position in range(PROMPT)]
        sampling = SamplingParams(max_tokens=output, seed=index)
        core.add(GenerateRequest(f"r{index:03}", prompt, sampling, 0.0, grammar=grammar))
    steps: list[float] = []
    busy: list[float] = []
    tokens, began = 0, 0.0
    while core.has_work or core.compiling:
        if not core.has_work:
            time.sleep(0.001)
            continue
        started, worked = time.perf_counter(), time.process_time()
        report = core.step()
        ended = time.perf_counter()
        assert not any(output.error for output in report.outputs), report.outputs
        if tokens == 0:
            began = ended
        elif len(report.outputs) == batch:
            steps.append(ended - started)
            busy.append(time.process_time() - worked)
        tokens += sum(len(output.token_ids) for output in report.outputs)
    return steps, busy, (tokens - batch) / (ended - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=int, default=64, help="tokens an answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    arguments = parser.parse_args()
    config = EngineConfig(
        model_path=str(arguments.checkpoint),
        max_model_len=512,
        kv_cache_memory=512 * 2**20,
        prefix_caching=False,
        threads=arguments.threads,
    )
    loaded = load(config, lambda message: None)
    kinds: list[tuple[str, Grammar | None, bool]] = [("free", None, True), ("all text", ALL_TEXT, True)]
    kinds += [("one by one", RECORDS, False), ("forced", RECORDS, True)]
    print(f"{'rows':>5} {'':12}{'step ms':>9}{'added':>8}{'CPU ms':>9}{'tokens/s':>10}{'forced':>8}")
    for batch in arguments.batches:
        cores = {name: (make_core(loaded, forcing), grammar) for name, grammar, forcing in kinds}
        for core, grammar in cores.values():
            measure(core, grammar, batch, 8)  # warm
        steps: dict[str, list[float]] = {name: [] for name in cores}
        busy: dict[str, list[float]] = {name: [] for name in cores}
        rates: dict[str, list[float]] = {name: [] for name in cores}
        for _ in range(arguments.rounds):  # in turn, so that all have the same machine
            for name, (core, grammar) in cores.items():
                some_steps, some_busy, rate = measure(core, grammar, batch, arguments.output)
                steps[name] += some_steps
                busy[name] += some_busy
                rates[name].append(rate)
        for name, (core, _) in cores.items():
            step, work = statistics.median(steps[name]), statistics.median(busy[name])
            added = step / statistics.median(steps["free"]) - 1
            tokens = batch * (8 + arguments.output * arguments.rounds)
            forced = core.scheduler.forced_tokens / tokens
            shown = f"{batch:5} {name:12}{step * 1e3:9.2f}" + (f"{added:8.1%}" if name != "forced" else f"{'':8}")
            print(f"{shown}{work * 1e3:9.2f}{statistics.median(rates[name]):10.1f}{forced:8.0%}", flush=True)


def make_core(loaded: Loaded, forcing: bool) -> EngineCore:
    core = loaded.new_core()
    if not forcing:
        sampler: Sampler = core._runner._sampler  # type: ignore[attr-defined]
        add_row = sampler.add_row

        def without_forcing(new: object) -> None:
            add_row(new)  # type: ignore[arg-type]
            row = sampler._rows[new.row]  # type: ignore[attr-defined]
            if row is not None and row.grammar is not None:
                row.grammar._forcing = False

        sampler.add_row = without_forcing  # type: ignore[method-assign, assignment]
    return core


if __name__ == "__main__":
    main()
