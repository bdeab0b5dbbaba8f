"""Loading: strict about everything that can be wrong with a checkpoint folder, one line that says what and where."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.errors import CheckpointError
from engine.kernels.formats import PLAIN
from engine.layers.weight import Forms
from engine.models.configs.read import load_model_config
from engine.weights.loader import LoadedModel, load_model
from engine.weights.safetensors_folder import TensorReader
from tests.support.deepseek_checkpoints import Sequencer, random_tokens, write_checkpoint
from tests.support.family_checkpoints import write_family
from tests.support.unprivileged import unprivileged

Tensors = dict[str, Tensor]
EXPERT = "model.layers.1.mlp.experts.3.up_proj.weight"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(folder, num_hidden_layers=2)
    return folder


def make(source: Path, folder: Path, change: Callable[[Tensors], object], **config: Any) -> Path:
    """A copy of the checkpoint in one file, changed."""
    tensors = load_file(source / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    raw = json.loads((source / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, **config}))
    return folder


def make_sharded(source: Path, folder: Path) -> dict[str, str]:
    """A copy of the checkpoint in three shards. Returns its weight_map."""
    tensors = load_file(source / "model.safetensors")
    weight_map = {}
    for number in range(3):
        file = f"model-{number + 1:05d}-of-00003.safetensors"
        part = {name: tensors[name] for name in sorted(tensors)[number::3]}
        save_file(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    write_index(folder, weight_map)
    (folder / "config.json").write_bytes((source / "config.json").read_bytes())
    return weight_map


def write_index(folder: Path, weight_map: dict[str, str]) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def load(folder: Path, dtype: torch.dtype = torch.float32) -> LoadedModel:
    return load_model(folder, load_model_config(folder), Forms(dtype, PLAIN), torch.device("cpu"), lambda done: None)


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        load(folder)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_sharded_and_single_file_are_the_same(source: Path, tmp_path: Path) -> None:
    make_sharded(source, tmp_path)
    tokens = random_tokens(9)
    whole, sharded = Sequencer.load(source).step({"a": tokens})["a"], Sequencer.load(tmp_path).step({"a": tokens})["a"]
    assert torch.equal(whole, sharded)


def test_router_stays_in_fp32_and_progress_reaches_one(source: Path) -> None:
    seen: list[float] = []
    config = load_model_config(source)
    model = load_model(source, config, Forms(torch.bfloat16, PLAIN), torch.device("cpu"), seen.append).model
    for name, parameter in model.named_parameters():
        assert parameter.dtype == (torch.float32 if ".router." in name else torch.bfloat16), name
        assert not parameter.is_meta
        assert not parameter.requires_grad
    original = load_file(source / "model.safetensors")["model.layers.1.mlp.gate.e_score_correction_bias"]
    assert torch.equal(model.get_parameter("layers.1.ffn.router.bias"), original)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)


def test_half_precision_checkpoints_load(source: Path, tmp_path: Path) -> None:
    def halve(tensors: Tensors) -> None:
        for name in tensors:
            tensors[name] = tensors[name].half()

    model = load(make(source, tmp_path, halve), torch.bfloat16).model
    expected = load_file(source / "model.safetensors")["lm_head.weight"].half().bfloat16()
    assert torch.equal(model.get_parameter("head.values"), expected)


def test_known_extras_are_skipped_and_said(source: Path, tmp_path: Path) -> None:
    def add(tensors: Tensors) -> None:
        tensors["model.layers.2.eh_proj.weight"] = torch.zeros(4, 8)
        tensors["model.layers.2.mlp.experts.0.up_proj.weight"] = torch.zeros(4, 8)
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(4)

    folder = make(source, tmp_path, add, num_nextn_predict_layers=1, tie_word_embeddings=True)
    notes = load(folder).notes
    assert len(notes) == 3
    assert any("2 tensors" in note and "layer 2" in note and "MTP" in note for note in notes)
    assert any("1 tensor:" in note and "rotary" in note for note in notes)
    assert any("lm_head" in note for note in notes)
    assert load(source).notes == []


def test_only_what_is_kept_is_read_and_once(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a rank that keeps a part of a model would read that part."""
    make(source, tmp_path, lambda tensors: tensors.update({"model.layers.2.eh_proj.weight": torch.zeros(4, 8)}))
    raw = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**raw, "num_nextn_predict_layers": 1}))
    names: list[str] = []
    read = TensorReader.read
    monkeypatch.setattr(TensorReader, "read", lambda *of: names.append(of[1]) or read(*of))
    load(tmp_path)
    assert sorted(names) == sorted(load_file(source / "model.safetensors"))


def test_constants_of_xielu_are_skipped_if_they_are_the_published_ones(tmp_path: Path) -> None:
    write_family(tmp_path, "apertus")
    tensors = load_file(tmp_path / "model.safetensors")
    for layer in range(3):
        tensors[f"model.layers.{layer}.mlp.act_fn.beta"] = torch.tensor(0.5, dtype=torch.bfloat16)
        tensors[f"model.layers.{layer}.mlp.act_fn.eps"] = torch.tensor(-1e-6, dtype=torch.bfloat16)
    save_file(tensors, tmp_path / "model.safetensors")
    assert any("6 tensors: xIELU's constants" in note for note in load(tmp_path).notes)
    tensors["model.layers.1.mlp.act_fn.beta"].fill_(0.75)
    save_file(tensors, tmp_path / "model.safetensors")
    text = refusal(tmp_path)
    assert "model.layers.1.mlp.act_fn.beta is [0.75], only 0.5 is supported" in text


def test_the_language_model_of_one_that_sees(source: Path, tmp_path: Path) -> None:
    """K2.5's layout: the config is within text_config, names have a prefix, and what sees is skipped."""

    def nest(tensors: Tensors) -> None:
        for name in list(tensors):
            tensors[f"language_model.{name}"] = tensors.pop(name)
        tensors["vision_tower.encoder.blocks.0.norm0.weight"] = torch.zeros(4)
        tensors["mm_projector.linear_1.weight"] = torch.zeros(4, 4)

    make(source, tmp_path, nest)
    text_config = json.loads((source / "config.json").read_text())
    nested = {
        "architectures": ["KimiK25ForConditionalGeneration"],
        "model_type": "kimi_k25",
        "text_config": text_config,
    }
    (tmp_path / "config.json").write_text(json.dumps(nested))
    tokens = random_tokens(9)
    assert torch.equal(
        Sequencer.load(tmp_path).step({"a": tokens})["a"], Sequencer.load(source).step({"a": tokens})["a"]
    )
    assert load(tmp_path).notes == ["skipped 2 tensors: weights of the part that sees, which is not served"]


def test_missing_weights_are_named(source: Path, tmp_path: Path) -> None:
    text = refusal(make(source, tmp_path, lambda tensors: tensors.pop(EXPERT)))
    assert f"{EXPERT} is missing" in text
    assert str(tmp_path) in text
    several = refusal(make(source, tmp_path, lambda tensors: [tensors.pop(EXPERT), tensors.pop("lm_head.weight")]))
    assert "and 1 more" in several


@pytest.mark.parametrize("name", ["model.layers.2.input_layernorm.weight", "model.layers.1.mlp.gate.weight_scale_inv"])
def test_unexpected_weights_are_named(name: str, source: Path, tmp_path: Path) -> None:
    text = refusal(make(source, tmp_path, lambda tensors: tensors.update({name: torch.zeros(48)})))
    assert f"{name} is unexpected" in text
    assert "model.safetensors" in text


def test_wrong_shapes_are_named(source: Path, tmp_path: Path) -> None:
    text = refusal(make(source, tmp_path, lambda tensors: tensors.update({EXPERT: torch.zeros(23, 48)})))
    assert EXPERT in text
    assert "[23, 48]" in text
    assert "[24, 48]" in text


def test_quantised_weights_are_named(source: Path, tmp_path: Path) -> None:
    fp8 = torch.zeros(24, 48, dtype=torch.float8_e4m3fn)
    text = refusal(make(source, tmp_path, lambda tensors: tensors.update({EXPERT: fp8})))
    assert EXPERT in text
    assert "float8_e4m3fn" in text


def test_wrong_dtypes_are_named(source: Path, tmp_path: Path) -> None:
    text = refusal(make(source, tmp_path, lambda tensors: tensors.update({EXPERT: torch.zeros(24, 48).double()})))
    assert f"{EXPERT} has dtype torch.float64" in text
    assert "bfloat16" in text


def test_missing_shard(source: Path, tmp_path: Path) -> None:
    make_sharded(source, tmp_path)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    assert "model-00002-of-00003.safetensors does not exist" in refusal(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_truncated_shard(keep: int, source: Path, tmp_path: Path) -> None:
    make_sharded(source, tmp_path)
    shard = tmp_path / "model-00003-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:keep])
    text = refusal(tmp_path)
    assert "model-00003-of-00003.safetensors is damaged or truncated" in text


def test_index_that_names_a_file_without_the_tensor(source: Path, tmp_path: Path) -> None:
    weight_map = make_sharded(source, tmp_path)
    other = next(file for file in weight_map.values() if file != weight_map[EXPERT])
    write_index(tmp_path, {**weight_map, EXPERT: other})
    text = refusal(tmp_path)
    assert EXPERT in text
    assert "model-0000" in text


def test_shard_with_a_tensor_that_the_index_lacks(source: Path, tmp_path: Path) -> None:
    weight_map = make_sharded(source, tmp_path)
    file = weight_map.pop(EXPERT)
    write_index(tmp_path, weight_map)
    text = refusal(tmp_path)
    assert EXPERT in text
    assert file in text


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": 3}', "[" * 100_000])
def test_damaged_index(content: str, source: Path, tmp_path: Path) -> None:
    make_sharded(source, tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(content)
    assert "model.safetensors.index.json" in refusal(tmp_path)


def test_extra_and_misnamed_shards(source: Path, tmp_path: Path) -> None:
    make_sharded(source, tmp_path)
    (tmp_path / "extra.safetensors").write_bytes(b"no shard, and nobody's business")
    load(tmp_path)
    extra = tmp_path / "model-00004-of-00003.safetensors"
    extra.write_bytes((tmp_path / "model-00003-of-00003.safetensors").read_bytes())
    assert f"{extra} is a shard that no model.safetensors.index.json names: remove" in refusal(tmp_path)
    extra.unlink()
    (tmp_path / "model-00002-of-00003.safetensors").rename(tmp_path / "model-00002-of-00004.safetensors")
    text = refusal(tmp_path)
    assert "model-00002-of-00004.safetensors" in text
    assert "model-00002-of-00003.safetensors is missing" in text


def test_a_shard_beside_a_single_file(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"")
    assert "model-00001-of-00002.safetensors is a shard" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "model-00002-of-00003.safetensors"])
def test_symlink_loops(name: str, source: Path, tmp_path: Path) -> None:
    make_sharded(source, tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(tmp_path / name)
    text = refusal(tmp_path)
    assert name in text
    assert "symbolic links" in text


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors.index.json", "model-00002-of-00003.safetensors", "."]
)
def test_no_permission_to_read(name: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # which nobody may not reach from above
    folder = Path("checkpoint")
    for made in (tmp_path, folder):
        made.mkdir(exist_ok=True)
        made.chmod(0o755)
    make_sharded(source, folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    with unprivileged():
        load(folder)
    (folder / name).chmod(0)
    with unprivileged():
        text = refusal(folder)
    (folder / name).chmod(0o755)
    assert text.startswith("checkpoint")
    assert "ermission" in text
    if name != ".":
        assert name in text


def test_no_weights_and_twice_the_weights(source: Path, tmp_path: Path) -> None:
    make_sharded(source, tmp_path)
    (tmp_path / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes())
    assert "both" in refusal(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").unlink()
    assert "neither" in refusal(tmp_path)
