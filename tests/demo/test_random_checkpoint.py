"""The random checkpoint: repeatable, in Kimi's layout, and of sound mind in another implementation."""

import base64
import json
import math
import stat
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from demo.presets import PRESETS, model_config
from demo.random_checkpoint import tensor_specs, write_checkpoint
from demo.tokenizer import CONTROL_TOKENS, END_OF_TURN, RANKS, VOCAB_SIZE, learn_ranks

KIMI = Path(__file__).resolve().parents[3] / "shared/data/models/kimi-k2-instruct"
needs_kimi = pytest.mark.skipif(not KIMI.is_dir(), reason=f"the published files are not at {KIMI}")


def test_the_same_preset_gives_the_same_files(tiny_checkpoint: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "again", "tiny")
    names = sorted(path.name for path in tiny_checkpoint.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    for name in names:
        assert (tiny_checkpoint / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_another_seed_gives_other_weights(tiny_checkpoint: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "other", "tiny", seed=1)
    ours, other = (read(folder, "model.safetensors") for folder in (tiny_checkpoint, tmp_path / "other"))
    assert not torch.equal(ours["lm_head.weight"], other["lm_head.weight"])


def read(folder: Path, name: str) -> dict[str, torch.Tensor]:
    with safe_open(folder / name, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)


def test_shards_hold_what_one_file_holds(tiny_checkpoint: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "sharded", "tiny", shard_bytes=4 * 2**20)
    index = json.loads((tmp_path / "sharded/model.safetensors.index.json").read_text())
    shards = sorted(set(index["weight_map"].values()))
    assert len(shards) > 2
    assert shards[0] == f"model-00001-of-{len(shards):05d}.safetensors"
    whole = read(tiny_checkpoint, "model.safetensors")
    found = {name: tensor for shard in shards for name, tensor in read(tmp_path / "sharded", shard).items()}
    assert found.keys() == whole.keys() == index["weight_map"].keys()
    assert all(torch.equal(found[name], whole[name]) for name in whole)
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in whole.values())


def test_every_user_can_read_it(tiny_checkpoint: Path) -> None:
    assert (tiny_checkpoint / "model.safetensors").stat().st_mode & stat.S_IROTH


@pytest.mark.parametrize(("preset", "low", "high"), [("tiny", 5e6, 10e6), ("30m", 25e6, 35e6), ("1b", 1.0e9, 1.3e9)])
def test_sizes(preset: str, low: float, high: float) -> None:
    assert low < sum(math.prod(spec.shape) for spec in tensor_specs(PRESETS[preset])) < high


@needs_kimi
def test_tensor_names_are_the_published_ones() -> None:
    """But for the scales of its fp8 format and the rotary table, which is computed."""
    lines = (KIMI / "tensor_names.tsv").read_text().splitlines()
    published = {line.split("\t")[0] for line in lines if line and not line.startswith("#")}
    published = {name for name in published if not name.endswith(("weight_scale_inv", "inv_freq"))}
    ours = {spec.name for spec in tensor_specs(PRESETS["tiny"])}
    first = {name for name in ours if "layers" not in name or "layers.0." in name}
    second = {name for name in ours if "layers.1." in name and ("experts." not in name or "experts.0." in name)}
    second |= {name for name in ours if "layers.1.mlp.shared_experts." in name}
    assert first | second == published


@needs_kimi
def test_control_tokens_and_config_follow_kimi() -> None:
    published = json.loads((KIMI / "tokenizer_config.json").read_text())["added_tokens_decoder"]
    expected = {int(number) - 163584: (token["content"], token["special"]) for number, token in published.items()}
    assert expected | {22: ("<think>", False), 23: ("</think>", False)} == CONTROL_TOKENS  # as Kimi K2.5 has them
    theirs = json.loads((KIMI / "config.json").read_text())
    ours = model_config(PRESETS["tiny"])
    only_theirs = {"auto_map", "quantization_config", "transformers_version", "aux_loss_alpha", "seq_aux"}
    assert theirs.keys() - ours.keys() == only_theirs | {"pretraining_tp"}
    assert theirs["rope_scaling"].keys() == ours["rope_scaling"].keys()


def test_the_vocabulary(tiny_checkpoint: Path) -> None:
    ranks = learn_ranks()
    assert ranks == learn_ranks()
    assert ranks[:256] == [bytes([value]) for value in range(256)]
    lines = (tiny_checkpoint / "tiktoken.model").read_bytes().splitlines()
    assert [base64.b64decode(line.split()[0]) for line in lines] == ranks
    assert [int(line.split()[1]) for line in lines] == list(range(RANKS))


def test_every_merge_is_made_of_two_earlier_ranks() -> None:
    """Otherwise the encoder could never reach it."""
    ranks = {token: rank for rank, token in enumerate(learn_ranks())}
    for token, rank in ranks.items():
        if len(token) > 1:
            halves = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
            assert any(ranks.get(left, rank) < rank and ranks.get(right, rank) < rank for left, right in halves), token


def test_transformers_runs_it_and_it_speaks(tiny_checkpoint: Path) -> None:
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    torch.set_num_threads(1)
    fields = json.loads((tiny_checkpoint / "config.json").read_text())
    del fields["model_type"]  # transformers knows the architecture under DeepSeek's name only
    model, loading = DeepseekV3ForCausalLM.from_pretrained(
        tiny_checkpoint, config=DeepseekV3Config(**fields), dtype=torch.float32, output_loading_info=True
    )
    assert not any(loading.values()), loading  # neither missing nor unexpected weights
    generator = torch.Generator().manual_seed(0)
    prompt_NT = torch.randint(0, RANKS, (8, 64), generator=generator)
    with torch.no_grad():
        probabilities_V = torch.softmax(model(prompt_NT).logits / 0.6, -1).mean((0, 1))
    assert probabilities_V.shape == (VOCAB_SIZE,)
    ends = probabilities_V[END_OF_TURN].item()
    assert 1 / 1000 < ends < 1 / 20
    controls = probabilities_V[RANKS:].sum().item() - ends
    assert controls < 1e-3
    words = [rank for rank, token in enumerate(learn_ranks()) if token.isascii() and token.strip().isalpha()]
    assert probabilities_V[words].sum().item() > 0.9
