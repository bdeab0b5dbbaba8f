"""The plan against published figures, against what is really allocated, and against what it should refuse."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import EngineConfig
from engine.errors import ConfigError, DoesNotFit
from engine.layers.weight import Forms
from engine.models.configs.read import parse_model_config
from engine.models.registry import build_model
from engine.models.sizes import count_parameters, kv_bytes_per_token
from engine.runner.kv_store import KVStore
from engine.runner.memory_plan import GRAMMAR_TRIALS, MemoryPlan, formats_of, plan_memory
from tests.support.configs import SMALL_FAMILIES, published, small_config, small_family

ROOT = Path(__file__).parents[3]
GIB = 1 << 30


def plan(available: int = 8 * GIB, model: dict[str, Any] | None = None, **engine: Any) -> MemoryPlan:
    return plan_memory(EngineConfig(model_path="model", **engine), small_config(**(model or {})), available)


def test_published_figures_of_kimi_k2() -> None:
    config = parse_model_config(published("kimi-k2-instruct"))
    parts = count_parameters(config)
    assert parts["experts"] == 60 * 384 * 3 * 7168 * 2048
    assert sum(parts.values()) == pytest.approx(1.026e12, rel=1e-3)
    active = parts["experts"] * 8 // 384
    assert active == pytest.approx(21.1e9, rel=2e-3)
    # 32B active: all of the rest is read for every token, of the embedding but one row
    assert sum(parts.values()) - parts["experts"] + active == pytest.approx(32e9, rel=0.03)
    assert kv_bytes_per_token(config, 2) == 70_272
    assert 131_072 * kv_bytes_per_token(config, 2) == pytest.approx(9.2e9, rel=2e-3)
    assert pytest.approx(88e6, rel=2e-3) == 3 * 7168 * 2048 * 2


def test_published_figures_of_deepseek_v3() -> None:
    config = parse_model_config(published("deepseek-v3"))
    assert sum(count_parameters(config).values()) == 671_026_419_200
    assert kv_bytes_per_token(config, 2) == 70_272


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"q_lora_rank": None},
        {"tie_word_embeddings": True},
        {"first_k_dense_replace": 0},
        {"first_k_dense_replace": 3},
        {"n_shared_experts": 2, "num_hidden_layers": 5, "first_k_dense_replace": 2},
    ],
    ids=str,
)
def test_weights_and_kv_are_planned_to_the_byte(changes: dict[str, Any], dtype: str) -> None:
    config = small_config(**changes)
    made = plan(model=changes, dtype=dtype, kv_cache_memory=1 << 20)
    with torch.device("meta"):
        model = build_model(config, Forms(getattr(torch, dtype), config.formats))
    assert made.weight_bytes == sum(parameter.nbytes for parameter in model.parameters())
    assert made.parameters == sum(parameter.numel() for parameter in model.parameters())
    kv = KVStore(config, made.kv_blocks, 16, getattr(torch, dtype), torch.device("cpu"))
    assert [line.bytes for line in made.lines if line.name == "KV cache"] == [kv.bytes]
    assert made.total_bytes == sum(line.bytes for line in made.lines) <= made.available_bytes


@pytest.mark.parametrize("quantize", [None, "int8", "int4"])
@pytest.mark.parametrize("name", ["kimi", *SMALL_FAMILIES])
def test_packed_weights_and_other_families_are_planned_to_the_byte(name: str, quantize: Any) -> None:
    config = small_config() if name == "kimi" else small_family(name)
    engine = EngineConfig(model_path="model", quantize=quantize)
    made = plan_memory(engine, config, 8 * GIB)
    with torch.device("meta"):
        model = build_model(config, Forms(torch.bfloat16, formats_of(engine, config)))
    assert made.weight_bytes == sum(parameter.nbytes for parameter in model.parameters())
    assert any("unpacking" in line.name for line in made.lines) == (quantize is not None)
    if quantize is None:
        assert made.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc to measure memory")
@pytest.mark.parametrize(
    ("changes", "tokens", "rows", "dtype"),
    [
        ({}, 2048, 32, "float32"),
        ({"num_attention_heads": 16}, 1024, 32, "bfloat16"),
        ({"num_experts_per_tok": 8, "hidden_size": 768, "num_attention_heads": 4}, 2048, 32, "bfloat16"),
        ({"intermediate_size": 8192}, 2048, 32, "bfloat16"),
    ],
    ids=["fp32", "attention", "experts", "dense"],
)
def test_the_largest_steps_stay_within_the_workspace(
    changes: dict[str, Any], tokens: int, rows: int, dtype: str
) -> None:
    command = [sys.executable, "-m", "tests.engine.runner.memory_probe", json.dumps([changes, tokens, rows, dtype])]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    measured = json.loads(run.stdout)
    made = plan(model=changes, dtype=dtype, max_batch_tokens=tokens, max_running=rows)
    planned = sum(line.bytes for line in made.lines if line.name.startswith("workspace"))
    assert measured["weights"] == made.weight_bytes
    assert measured["growth"] <= planned
    assert planned <= 5 * measured["growth"], "an upper bound, but not just any"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc to measure memory")
@pytest.mark.parametrize(
    ("name", "quantize"),
    [("Qwen3-30B-A3B", None), ("Apertus-8B-Instruct", None), ("kimi", "int4"), ("kimi", "int8")],
    ids=str,
)
def test_the_workspace_of_other_families_and_formats(name: str, quantize: Any) -> None:
    command = [sys.executable, "-m", "tests.engine.runner.memory_probe", json.dumps([name, 1024, 32, quantize])]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    measured = json.loads(run.stdout)
    config = small_config() if name == "kimi" else small_family(name)
    engine = EngineConfig(model_path="model", quantize=quantize, max_batch_tokens=1024, max_running=32)
    made = plan_memory(engine, config, 8 * GIB)
    planned = sum(line.bytes for line in made.lines if line.name.startswith("workspace"))
    assert measured["weights"] == made.weight_bytes
    assert measured["growth"] <= planned


def test_kv_defaults_to_what_all_running_requests_need() -> None:
    made = plan(available=64 * GIB, max_running=4)
    assert (made.kv_tokens, made.max_model_len, made.notes) == (4 * 2048, 2048, ())


def test_kv_defaults_to_half_of_what_is_left() -> None:
    made = plan(available=1 * GIB, model={"max_position_embeddings": 10**7})
    kv = next(line.bytes for line in made.lines if line.name == "KV cache")
    left = GIB - (made.total_bytes - kv)
    assert left // 2 - 16 * 96 * 3 * 2 < kv <= left // 2
    assert made.max_model_len == made.kv_tokens
    assert "max_model_len" in made.notes[0]
    assert "10,000,000" in made.notes[0]


def test_an_explicit_length_may_take_all_that_is_left() -> None:
    by_default = plan(available=512 << 20, max_running=1, model={"max_position_embeddings": 10**6})
    length = by_default.max_model_len + 1000
    made = plan(available=512 << 20, max_running=1, max_model_len=length, model={"max_position_embeddings": 10**6})
    assert made.max_model_len == length <= made.kv_tokens


@pytest.mark.parametrize(
    ("engine", "error", "words"),
    [
        ({"max_model_len": 2049}, ConfigError, ["--max-model-len", "2049", "2048", "max_position_embeddings"]),
        ({"max_model_len": 2048, "kv_cache_memory": 1 << 20}, DoesNotFit, ["--max-model-len", "--kv-cache-memory"]),
        ({"kv_cache_memory": 1000}, DoesNotFit, ["--kv-cache-memory", "1000 bytes", "9.0 KiB"]),
        ({"kv_cache_memory": 9 * GIB}, DoesNotFit, ["--kv-cache-memory", "9.0 GiB"]),
        ({"available": 64 << 20, "dtype": "float32"}, DoesNotFit, ["--dtype bfloat16", "64.0 MiB", "weights"]),
        ({"max_batch_tokens": 10**6, "available": GIB}, DoesNotFit, ["--max-batch-tokens", "1.0 GiB"]),
        ({"dtype": "float16"}, ConfigError, ["--dtype float16", "bfloat16"]),
    ],
    ids=str,
)
def test_refusals_name_the_flag_and_the_sizes(engine: dict[str, Any], error: type, words: list[str]) -> None:
    with pytest.raises(error) as refused:
        plan(**engine)
    assert [word for word in words if word not in str(refused.value)] == []
    assert "\n" not in str(refused.value)


def test_float16_checkpoints_become_bfloat16() -> None:
    made = plan(model={"torch_dtype": "float16"})
    assert (made.dtype, made.dtype_bytes) == ("bfloat16", 2)
    assert "float16" in made.notes[0]


@settings(deadline=None, max_examples=300)
@given(
    available=st.integers(0, 4 * GIB),
    max_model_len=st.none() | st.integers(2, 4096),
    kv_cache_memory=st.none() | st.integers(0, 2 * GIB),
    max_batch_tokens=st.integers(2, 8192),
    max_running=st.integers(1, 512),
    block_size=st.integers(1, 128),
)
def test_a_plan_fits_or_is_refused(available: int, **engine: Any) -> None:
    try:
        made = plan(available, {"max_position_embeddings": 4096}, **engine)
    except DoesNotFit:
        return
    assert made.total_bytes <= available
    assert 1 <= made.max_model_len <= made.kv_tokens == made.kv_blocks * engine["block_size"]
    assert engine["max_model_len"] in (None, made.max_model_len)


def test_planning_needs_no_torch() -> None:
    code = "import sys, engine.runner.memory_plan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_grammars_are_planned_where_they_live() -> None:
    small, large = plan(2 * GIB), plan(64 * GIB)
    assert small.grammar_bytes == 2 * GIB // 16
    assert large.grammar_bytes == 512 << 20
    assert [line.bytes for line in small.lines if line.name == "grammars: compiled"] == [
        small.grammar_bytes + GRAMMAR_TRIALS
    ]
    on_gpu = plan(2 * GIB, device="cuda")
    assert on_gpu.grammar_bytes == 512 << 20
    assert not [line for line in on_gpu.lines if line.name.startswith("grammars")]


KIMI = Path(__file__).parents[4] / "shared" / "data" / "models" / "kimi-k2-instruct"
VOCABULARY_PROBE = """
import sys, resource
from pathlib import Path
from engine.grammar.tokens import load_grammar_tokens
def resident(): return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
before = resident()
tokens = load_grammar_tokens(Path(sys.argv[1]), 1 << 20)
print(tokens.size, resident() - before)
"""


@pytest.mark.skipif(not (KIMI / "tiktoken.model").is_file(), reason=f"needs {KIMI}")
def test_the_vocabulary_for_grammars_is_within_its_line() -> None:
    command = [sys.executable, "-c", VOCABULARY_PROBE, str(KIMI)]
    size, taken = map(int, subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.split())
    made = plan(model={"vocab_size": size})
    (planned,) = (line.bytes for line in made.lines if line.name == "grammars: vocabulary")
    assert 0.75 * planned <= taken <= planned
