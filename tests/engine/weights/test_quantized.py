"""Checkpoints in the published quantised layouts: they compute what their unpacked twins do, and stay packed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import CheckpointError
from engine.kernels.formats import Format, Formats
from engine.kernels.packed import dequantize, quantize
from engine.layers.weight import Weight
from engine.models.configs.read import load_model_config, parse_model_config
from engine.runner.memory_plan import formats_of
from engine.weights import loader
from tests.support.configs import PUBLISHED
from tests.support.deepseek_checkpoints import Sequencer, random_tokens, relative_error, write_checkpoint
from tests.support.family_checkpoints import write_family
from tests.support.quantized_checkpoints import EXPERT, FP8, INT4, LINEAR, rounded, to_fp8, to_int4

# Widths of which blocks of 128 and groups of 32 can be made; heads of 128 as the published ones, so that rows join.
WIDE = {"hidden_size": 128, "intermediate_size": 256, "moe_intermediate_size": 128, "num_hidden_layers": 2}
MLA = {"q_lora_rank": 128, "kv_lora_rank": 128, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64}
SHARED = Path(__file__).parents[4] / "shared" / "data" / "models"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    write_checkpoint(folder, **WIDE, **MLA)
    return folder


def logits(folder: Path, **options: Any) -> torch.Tensor:
    sequencer = Sequencer.load(folder, **options)
    tokens = random_tokens(20)
    return torch.cat([sequencer.step({"a": tokens[:15]})["a"], sequencer.step({"a": tokens[15:]})["a"]])


def weights(folder: Path, formats: Formats) -> dict[str, Weight]:
    modules = Sequencer.load(folder, formats=formats).model.named_modules()
    return {name: module for name, module in modules if isinstance(module, Weight)}


def formats_held(folder: Path, **options: Any) -> set[Format]:
    """Of all matrices but the head, which no checkpoint packs."""
    modules = Sequencer.load(folder, **options).model.named_modules()
    return {module.format for name, module in modules if isinstance(module, Weight) and name != "head"}


def test_fp8_blocks(plain: Path, tmp_path: Path) -> None:
    to_fp8(plain, tmp_path / "packed")
    rounded(plain, tmp_path / "rounded", LINEAR, "fp8")
    assert relative_error(logits(tmp_path / "packed"), logits(tmp_path / "rounded")) <= 1e-5
    assert formats_held(tmp_path / "packed") == {"fp8"}


def test_int4_experts(plain: Path, tmp_path: Path) -> None:
    to_int4(plain, tmp_path / "packed")
    rounded(plain, tmp_path / "rounded", EXPERT, "int4")
    # the packed one's scales are bfloat16 in the file and float32 in memory, as its other weights
    assert relative_error(logits(tmp_path / "packed"), logits(tmp_path / "rounded")) <= 1e-5
    assert formats_held(tmp_path / "packed") == {"plain", "int4"}


@pytest.mark.parametrize("family", ["qwen3_moe", "qwen3"])
def test_qwen3_in_fp8(family: str, tmp_path: Path) -> None:
    """Its list of modules that are not converted names what never is."""
    source, packed = tmp_path / "source", tmp_path / "packed"
    write_family(source, family, **WIDE, num_attention_heads=4, num_key_value_heads=2, head_dim=64)
    to_fp8(source, packed)
    raw = json.loads((packed / "config.json").read_text())
    raw["quantization_config"]["modules_to_not_convert"] = ["lm_head", "model.layers.0.mlp.gate"]
    (packed / "config.json").write_text(json.dumps(raw))
    rounded(source, tmp_path / "rounded", LINEAR, "fp8")
    assert relative_error(logits(packed), logits(tmp_path / "rounded")) <= 1e-5


@pytest.mark.parametrize("format", ["int8", "int4"])
@pytest.mark.parametrize("source", ["plain", "fp8"])
def test_matrices_are_packed_while_loading(format: Format, source: str, plain: Path, tmp_path: Path) -> None:
    folder = plain
    if source == "fp8":
        folder = tmp_path / "packed"
        to_fp8(plain, folder)
    made = weights(folder, Formats(linear=format, experts=format, head=format))
    for name, dense in weights(folder, Formats()).items():
        assert made[name].format == format
        again = quantize(dequantize(dense.packed, torch.float32), format, torch.float32)
        assert torch.equal(made[name].packed.values, again.values), name
        torch.testing.assert_close(made[name].packed.scale, again.scale)


@pytest.mark.parametrize("quantized", [None, "int8", "int4"])
@pytest.mark.parametrize("source", ["plain", "fp8", "int4"])
def test_large_matrices_are_read_in_pieces(
    source: str, quantized: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 128 rows here, joined ones and the last, short one included. Nothing else changes."""
    plain = tmp_path / "plain"
    write_checkpoint(plain, **{**WIDE, **MLA, "moe_intermediate_size": 256, "vocab_size": 300})
    packed = {"plain": plain, "fp8": tmp_path / "fp8", "int4": tmp_path / "int4"}[source]
    if source != "plain":
        (to_fp8 if source == "fp8" else to_int4)(plain, packed)
    formats = None if quantized is None else Formats(linear=quantized, experts=quantized, head=quantized)
    whole = Sequencer.load(packed, formats=formats).model.state_dict()
    monkeypatch.setattr(loader, "PIECE_VALUES", 1)
    taken: list[slice | None] = []
    monkeypatch.setattr(loader, "_pieces", lambda tensor, made=loader._pieces: _noted(made(tensor), taken))
    for name, values in Sequencer.load(packed, formats=formats).model.state_dict().items():
        assert torch.equal(values.view(torch.uint8), whole[name].view(torch.uint8)), name
    assert slice(256, 300) in taken
    assert slice(128, 256) in taken


def _noted(pieces: Any, taken: list[slice | None]) -> Any:
    for rows in pieces:
        taken.append(rows)
        yield rows


def test_published_quantisation_is_understood() -> None:
    deepseek = parse_model_config(json.loads((PUBLISHED / "deepseek-v3.json").read_text()))
    assert deepseek.formats == Formats(linear="fp8", experts="fp8")
    kimi = parse_model_config(json.loads((PUBLISHED / "kimi-k2-instruct.json").read_text()))
    assert kimi.formats == Formats(linear="fp8", experts="fp8")


@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not there")
def test_more_published_configs_are_understood() -> None:
    k25 = load_model_config_of("kimi-k2.5/config.json")
    assert (k25.formats, k25.prefix, k25.model_type) == (Formats(experts="int4"), "language_model.", "kimi_k2")
    assert load_model_config_of("qwen3-moe/config.qwen3-30b-a3b-fp8.json").formats == Formats(
        linear="fp8", experts="fp8"
    )
    for name in ("apertus-8b-instruct/config.json", "qwen3-moe/config.qwen3-235b-a22b.json"):
        assert load_model_config_of(name).formats == Formats()


def load_model_config_of(name: str) -> Any:
    return parse_model_config(json.loads((SHARED / name).read_text()), name)


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


EXPERT_0 = "model.layers.1.mlp.experts.0.up_proj"
BROKEN: list[tuple[str, Callable[[dict[str, torch.Tensor]], object], list[str]]] = [
    ("fp8", lambda t: t.pop(f"{EXPERT_0}.weight_scale_inv"), [f"{EXPERT_0}.weight_scale_inv", "missing"]),
    ("fp8", lambda t: t.update({f"{EXPERT_0}.weight_scale_inv": torch.ones(1, 2)}), ["shape [1, 2]", "[1, 1]"]),
    (
        "fp8",
        lambda t: t[f"{EXPERT_0}.weight_scale_inv"].fill_(torch.nan),
        ["not finite", f"{EXPERT_0}.weight_scale_inv"],
    ),
    ("fp8", lambda t: t[f"{EXPERT_0}.weight_scale_inv"].fill_(torch.inf), ["not finite"]),
    ("fp8", lambda t: t.update({f"{EXPERT_0}.weight": torch.ones(128, 128)}), ["torch.float32", "float8_e4m3fn"]),
    ("int4", lambda t: t.pop(f"{EXPERT_0}.weight_scale"), [f"{EXPERT_0}.weight_scale", "missing"]),
    ("int4", lambda t: t[f"{EXPERT_0}.weight_shape"].fill_(5), ["weight_shape is [5, 5]", "[128, 128]"]),
    ("int4", lambda t: t[f"{EXPERT_0}.weight_scale"].fill_(torch.nan), ["not finite"]),
    ("int4", lambda t: t[f"{EXPERT_0}.weight_scale"].fill_(-torch.inf), ["not finite"]),
    ("int4", lambda t: t.update({f"{EXPERT_0}.weight_scale": torch.ones(128, 8)}), ["shape [128, 8]", "[128, 4]"]),
    ("int4", lambda t: t.update({f"{EXPERT_0}.weight_scale": torch.ones(128, 4).int()}), ["torch.int32", "bfloat16"]),
    ("int4", lambda t: t[f"{EXPERT_0}.weight_packed"].resize_(128, 8), ["shape [128, 8]", "[128, 16]"]),
    ("int4", lambda t: t.pop(f"{EXPERT_0}.weight_packed"), [f"{EXPERT_0}.weight_packed", "missing"]),
    ("int4", lambda t: t.update({f"{EXPERT_0}.weight": torch.ones(128, 128)}), [f"{EXPERT_0}.weight", "unexpected"]),
]


@pytest.mark.parametrize(("format", "change", "words"), BROKEN, ids=range(len(BROKEN)))
def test_broken_parts_are_named(
    format: str, change: Callable[[dict[str, torch.Tensor]], object], words: list[str], plain: Path, tmp_path: Path
) -> None:
    (to_fp8 if format == "fp8" else to_int4)(plain, tmp_path)
    change_tensors(tmp_path, change)
    with pytest.raises(CheckpointError) as refused:
        Sequencer.load(tmp_path)
    assert [word for word in [str(tmp_path), *words] if word not in str(refused.value)] == []
    assert "\n" not in str(refused.value)


CONFIGS: list[tuple[dict[str, Any], list[str]]] = [
    ({"quant_method": "awq"}, ["quant_method", "'awq'", "fp8"]),
    ({**FP8, "weight_block_size": [64, 64]}, ["weight_block_size", "[64, 64]"]),
    ({**FP8, "weight_block_size": None}, ["weight_block_size", "None"]),
    ({**FP8, "activation_scheme": "static"}, ["activation_scheme", "'static'"]),
    ({**FP8, "modules_to_not_convert": ["model.layers.0.mlp.down_proj"]}, ["model.layers.0.mlp.down_proj"]),
    ({**INT4, "format": "marlin"}, ["format", "'marlin'", "pack-quantized"]),
    ({**INT4, "ignore": ["re:.*self_attn.*"]}, ["lm_head"]),
    ({**INT4, "ignore": ["lm_head", "re:.*self_attn.*"]}, ["self_attn.o_proj"]),
    ({**INT4, "config_groups": {}}, ["config_groups"]),
]


@pytest.mark.parametrize(("quantization", "words"), CONFIGS, ids=range(len(CONFIGS)))
def test_other_quantisations_are_refused_by_name(quantization: dict[str, Any], words: list[str]) -> None:
    raw = json.loads((PUBLISHED / "kimi-k2-instruct.json").read_text())
    with pytest.raises(CheckpointError) as refused:
        parse_model_config({**raw, "quantization_config": quantization}, "folder/config.json")
    assert [word for word in ["folder/config.json", *words] if word not in str(refused.value)] == []


def test_rows_that_cut_a_block_are_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "plain", **{**WIDE, **MLA, "q_lora_rank": 96})
    to_fp8(tmp_path / "plain", tmp_path / "packed")
    with pytest.raises(CheckpointError, match="cut a block of 128"):
        Sequencer.load(tmp_path / "packed")


def test_widths_that_groups_do_not_divide_are_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="72 x 48 cannot be int8: 32 must divide its width"):
        Sequencer.load(tmp_path, formats=Formats(linear="int8", experts="int8"))


def test_formats_of_an_engine(plain: Path) -> None:
    from engine.config import EngineConfig

    config = load_model_config(plain)
    assert formats_of(EngineConfig(model_path="x"), config) == Formats()
    packed = Formats(linear="int4", experts="int4", head="int8")
    assert formats_of(EngineConfig(model_path="x", quantize="int4"), config) == packed
