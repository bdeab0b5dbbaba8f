"""The results of a run as tables for docs/performance.md."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.peers.cases import CASES, Result
from engine.capacity import Hardware, speed, touched
from engine.kernels.formats import quantized
from engine.models.configs.read import load_model_config

Results = Mapping[tuple[str, str, str], Result]  # by group, engine, case

# (group, case) -> how many times the best peer's figure is wanted
GOALS = {
    ("k2-small bf16", "1 stream"): 1.3,
    ("k2-small bf16", "4 streams"): 1.5,
    ("k2-small bf16", "16 streams"): 2.0,
    ("k2-small bf16", "prefill 512"): 1.5,
    ("k2-small bf16", "prefill 2048"): 2.0,
    ("k2-small bf16", "prefix, 1 user"): 1.0,
    ("k2-small bf16", "prefix, 16 users"): 3.0,
    ("k2-small int8", "1 stream"): 1.3,
    ("k2-small int8", "16 streams"): 2.0,
    ("k2-small int4", "1 stream"): 1.2,
    ("k2-small int4", "16 streams"): 2.0,
    ("k2-tiny bf16", "one token, 16 at once"): 2.0,
    ("qwen3moe-small bf16", "1 stream"): 1.1,
}
ENGINES = ("abruzzi", "llama.cpp", "vLLM", "transformers")


def figure(case: str, result: Result) -> float | None:
    """What counts in a case: the rate, or for a prefix the time to the first text in ms."""
    if case.startswith("prefix"):
        return result.first
    if case.startswith("prefill"):
        return result.prefill_rate
    return result.request_rate if case.startswith("one token") else result.output_rate


def comparison(results: Results) -> str:
    """Ours beside each peer, with the ratio to the best of them."""
    lines = [
        f"| checkpoint | case | {' | '.join(ENGINES)} | ratio | wanted |",
        f"|---|---|{'---:|' * (len(ENGINES) + 2)}",
    ]
    for group, case in dict.fromkeys((group, case) for group, _, case in results):
        values = {
            engine: figure(case, results[group, engine, case]) for engine in ENGINES if (group, engine, case) in results
        }
        cells = [_cell(values.get(engine), (group, engine, case) in results) for engine in ENGINES]
        goal = GOALS.get((group, case))
        lines.append(
            f"| {group} | {_named(case)} | {' | '.join(cells)} | {_ratio(case, values)} | "
            f"{'' if goal is None else f'{goal:.1f}'} |"
        )
    return "\n".join(lines)


def _named(case: str) -> str:
    unit = "ms to the first token" if case.startswith("prefix") else "tokens/s"
    return f"{case}, {'requests/s' if case.startswith('one token') else unit}"


def _cell(value: float | None, asked: bool) -> str:
    if not value:
        return "fails" if asked else ""
    return f"{value:,.0f}" if value >= 200 else f"{value:.1f}"


def _ratio(case: str, values: Mapping[str, float | None]) -> str:
    ours = values.get("abruzzi")
    peers = [value for engine, value in values.items() if engine != "abruzzi" and value]
    if not ours or not peers:
        return ""
    return f"{min(peers) / ours if case.startswith('prefix') else ours / max(peers):.2f}"


def limits(peers: Path, results: Results, bandwidth: float) -> str:
    """Time of a token beside what memory allows: the bytes that a step reads over the measured bandwidth."""
    lines = [
        f"Memory: {bandwidth / 1e9:.1f} GB/s.",
        "",
        "| checkpoint | streams | distinct experts | GB a step | limit, tokens/s | abruzzi | llama.cpp | vLLM |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for group in dict.fromkeys(group for group, _, _ in results):
        checkpoint, kind = group.split()
        config = load_model_config(peers / "ckpt" / checkpoint)
        formats = quantized(kind) if kind != "bf16" else config.formats  # type: ignore[arg-type]
        for case in (case for case in ("1 stream", "4 streams", "16 streams") if (group, "abruzzi", case) in results):
            streams = CASES[case].streams
            limit = speed(config, formats, Hardware(1, 1, bandwidth), streams, 192).tokens_a_second
            experts = touched(config.moe.experts, config.moe.per_token, streams) if config.moe else 0
            shares = [_share(results.get((group, engine, case)), streams, limit) for engine in ENGINES[:3]]
            lines.append(
                f"| {group} | {streams} | {experts:.1f} | {streams * bandwidth / limit / 1e9:.2f} | {limit:.0f} | "
                f"{' | '.join(shares)} |"
            )
    return "\n".join(lines)


def _share(result: Result | None, streams: int, limit: float) -> str:
    if result is None or not result.each:
        return ""
    rate = streams * 1e3 / result.each
    return f"{rate:.1f} ({rate / limit:.0%})"
