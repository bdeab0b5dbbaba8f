"""The GPU table of docs/gpu.md, in one command: python -m benchmarks.gpu --out FOLDER [--only NAME ...]

Needs one NVIDIA GPU with 80 GB or more, torch with CUDA and Triton 3.6 or newer. The kernels' sections need msgspec and
pyzmq besides; the engine's also numpy, llguidance, safetensors and tokenizers; that against transformers needs that.
Random weights at Kimi K2's real widths. Writes FOLDER/gpu.json, FOLDER/gpu.md and FOLDER/timeline.svg; a section that
cannot run says why and the others go on.

--write-choice writes from how many tokens on torch's grouped product wins (engine/kernels/triton/choice.json).
--dry-run takes tiny shapes on the CPU, under Triton's interpreter: it proves this script, its figures mean nothing.
"""

import argparse
import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

if "--dry-run" in sys.argv:
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

import torch

from benchmarks.gpu_kernels import Kernels, Rows
from benchmarks.gpu_support import REAL, TINY
from engine.kernels.triton.choice import FILE as CHOICE
from engine.models.config import ModelConfig

PUBLISHED = Path(__file__).parent.parent / "engine" / "models" / "published"
TINY_QWEN = {
    "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "intermediate_size": 64,
    "vocab_size": 256,
}  # fmt: skip
GOALS = {1: ">= 3", 64: ">= 10"}  # of tokens a second against transformers'
KIMI_LAYERS = 4  # one dense, three with experts: 53 GB in FP8


class Engine:
    """Sections that run whole steps."""

    def __init__(self, device: torch.device, dry: bool, out: Path) -> None:
        self.device, self.dry, self.out = device, dry, out
        self.copy = 1.0  # bytes a second, as measured
        self.qwen_rates: dict[int, float] = {}  # tokens a second by concurrency

    def kimi_steps(self) -> Rows:
        """Decode steps of Kimi K2's layers: time a step and a layer, and how much of it the GPU computes."""
        from benchmarks import gpu_engine as engine
        from engine.kernels.triton.backend import TritonKernels

        config, running, answer = (engine.tiny(), 2, 8) if self.dry else (engine.kimi(KIMI_LAYERS), 64, 128)
        loaded = engine.random_engine(config, TritonKernels(), self.device, running, 256)
        rows = []
        for concurrency in (1, running):
            core, picture = loaded.new_core(), self.out / ("timeline.svg" if concurrency > 1 else "timeline-1.svg")
            found = engine.busy_share(core, concurrency, config.vocab_size, 16, answer, picture)
            each = found["ms a step"] / config.num_hidden_layers
            what = f"{config.num_hidden_layers} layers of Kimi K2, {concurrency} requests"
            rows.append({"what": what, **found, "ms a layer": each, "CPU not hidden": 1 - found["GPU busy"],
                         "goal": "<= 0.05"})  # fmt: skip
        return rows

    def qwen(self) -> Rows:
        """Tokens a second of a Qwen3-30B-A3B with random weights in bf16."""
        from benchmarks import gpu_engine as engine
        from engine.kernels.triton.backend import TritonKernels
        from engine.models.published import model_config

        config = engine.tiny() if self.dry else engine.in_plain(model_config("Qwen3-30B-A3B"))
        levels, answer = ((1, 2), 6) if self.dry else ((1, 16, 64, 256), engine.ANSWER)
        loaded = engine.random_engine(config, TritonKernels(), self.device, levels[-1], engine.PROMPT + answer)
        rows = []
        for concurrency in levels:
            found = engine.tokens_a_second(loaded, concurrency, engine.PROMPT, answer)
            self.qwen_rates[concurrency] = found["tokens/s"]
            rows.append({"what": f"Qwen3-30B-A3B, bf16, {concurrency} requests", **found,
                         "tokens/s by bandwidth": self._bound(config, concurrency, answer)})  # fmt: skip
        return rows

    def _bound(self, config: ModelConfig, concurrency: int, answer: int) -> float:
        """Tokens a second if nothing but the copy bandwidth held decode back."""
        from benchmarks.gpu_engine import PROMPT
        from engine.capacity import Hardware, speed

        context = PROMPT + answer // 2
        return speed(config, config.formats, Hardware(1, 1 << 40, self.copy), concurrency, context).tokens_a_second

    def demonstration(self) -> Rows:
        """Tokens a second of the demonstration model."""
        import demo
        from benchmarks import gpu_engine as engine
        from engine.config import EngineConfig
        from engine.load import load

        levels, answer = ((1,), 4) if self.dry else ((1, 16, 64, 256), engine.ANSWER)
        asked = EngineConfig(
            model_path=str(demo.default_checkpoint()),
            device=self.device.type,
            max_running=levels[-1],
            max_model_len=512,
        )
        loaded, rows = load(asked, lambda message: None), []
        for concurrency in levels:
            found = engine.tokens_a_second(loaded, concurrency, engine.PROMPT, answer)
            rows.append({"what": f"demonstration model, {concurrency} requests", **found,
                         "tokens/s by bandwidth": self._bound(loaded.model_config, concurrency, answer)})  # fmt: skip
        return rows

    def transformers(self) -> Rows:
        """The same shape and machine in transformers, by its continuous batching, beside what `qwen` found."""
        import transformers

        from benchmarks.gpu_engine import ANSWER, PROMPT

        published = json.loads((PUBLISHED / "Qwen3-30B-A3B.json").read_text())
        changes = TINY_QWEN if self.dry else {}
        given = {name: value for name, value in published.items() if name != "architectures"} | changes
        config = transformers.Qwen3MoeConfig(**given)
        usual = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)  # in float32 it would not fit
        try:
            with torch.device(self.device):
                model = transformers.Qwen3MoeForCausalLM(config).eval()
        finally:
            torch.set_default_dtype(usual)
        levels, answer = ((1,), 3) if self.dry else ((1, 64), ANSWER)
        cache = transformers.ContinuousBatchingConfig(num_blocks=8, max_batch_tokens=64) if self.dry else None
        rows = []
        for concurrency in levels:
            prompts = [[(n * 7919 + p * 31) % config.vocab_size for p in range(PROMPT)] for n in range(concurrency)]
            how = transformers.GenerationConfig(max_new_tokens=answer, do_sample=False, eos_token_id=-1)
            model.generate_batch(inputs=prompts, generation_config=how, continuous_batching_config=cache)
            began = time.perf_counter()
            found = model.generate_batch(inputs=prompts, generation_config=how, continuous_batching_config=cache)
            rate = sum(len(one.generated_tokens) for one in found.values()) / (time.perf_counter() - began)
            ours = self.qwen_rates.get(concurrency)  # None: `qwen` did not run
            rows.append({"what": f"transformers, Qwen3-30B-A3B, {concurrency} requests", "tokens/s": rate,
                         "Abruzzi's times theirs": ours and ours / rate, "goal": GOALS[concurrency]})  # fmt: skip
        return rows


def sections(kernels: Kernels, engine: Engine) -> dict[str, Callable[[], Rows]]:
    """By name, in order; the first measures what the others are compared with."""
    return {
        "limits": kernels.limits,
        "moe-decode": kernels.moe_decode,
        "moe-prefill": kernels.moe_prefill,
        "attention": kernels.attention,
        "others": kernels.others,
        "grouped-mm": kernels.grouped_mm,
        "kimi-steps": engine.kimi_steps,
        "qwen": engine.qwen,
        "demonstration": engine.demonstration,
        "transformers": engine.transformers,
    }


def run_section(name: str, section: Callable[[], Rows]) -> dict[str, Any]:
    """Its rows, or why there are none."""
    began = time.perf_counter()
    try:
        found: dict[str, Any] = {"rows": section()}
    except Exception as error:
        traceback.print_exc()
        found = {"not run": f"{type(error).__name__}: {error}".partition("\n")[0]}
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    found["seconds"] = round(time.perf_counter() - began, 1)
    print(f"{name}: {found['seconds']} s", flush=True)
    return found


def markdown(results: dict[str, Any]) -> str:
    """A table for each section."""
    lines = [f"Measured on {results['device']}, torch {results['torch']}, Triton {results['triton']}.", ""]
    for name, found in results["sections"].items():
        lines += [f"## {name}", ""]
        if "not run" in found:
            lines += [f"Not run: {found['not run']}", ""]
            continue
        columns = list(dict.fromkeys(column for row in found["rows"] for column in row))
        lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += ["| " + " | ".join(_cell(row.get(column)) for column in columns) + " |" for row in found["rows"]]
        lines.append("")
    return "\n".join(lines)


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def write_choice(rows: Rows, device: str) -> None:
    """From the least number of tokens from which on the grouped product always won."""
    won: int | None = None
    for row in sorted(rows, key=lambda row: -row["tokens"]):
        if row["grouped_mm ms"] >= row["Triton ms"]:
            break
        won = row["tokens"]
    CHOICE.write_text(json.dumps({"device": device, "grouped_mm_from_tokens": won}, indent=2) + "\n")


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--write-choice", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    asked = parser.parse_args()
    if not asked.dry_run and not torch.cuda.is_available():
        print("no CUDA device is found; --dry-run tries this script without one", file=sys.stderr)
        return 1
    asked.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cpu" if asked.dry_run else "cuda")
    kernels, engine = Kernels(TINY if asked.dry_run else REAL, device), Engine(device, asked.dry_run, asked.out)
    known = sections(kernels, engine)
    if strange := [name for name in asked.only if name not in known]:
        print(f"no section is called {strange[0]}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    import triton

    name = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU (dry run: figures mean nothing)"
    results: dict[str, Any] = {"device": name, "torch": torch.__version__, "triton": triton.__version__, "sections": {}}
    for section in [key for key in known if not asked.only or key in ("limits", *asked.only)]:
        results["sections"][section] = run_section(section, known[section])
        engine.copy = kernels.copy
        # after each, so that a run cut short leaves what it had
        (asked.out / "gpu.json").write_text(json.dumps(results, indent=1) + "\n")
        (asked.out / "gpu.md").write_text(markdown(results))
    grouped = results["sections"].get("grouped-mm", {})
    if asked.write_choice and "rows" in grouped and device.type == "cuda":
        write_choice(grouped["rows"], name)
    print(markdown(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
