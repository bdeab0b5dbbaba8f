"""A checkpoint that is not what it says: the start fails with one line that says what and where."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from demo.random_checkpoint import write_checkpoint


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "sharded"
    write_checkpoint(folder, "tiny", shard_bytes=4 * 2**20)
    return folder


@pytest.fixture
def broken(sharded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sharded, tmp_path / "broken"))


def start(folder: Path, *flags: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "server.cli", "serve", str(folder), "--port", "0", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def fails_with(folder: Path, *words: str, flags: tuple[str, ...] = ()) -> None:
    done = start(folder, *flags)
    lines = done.stderr.strip().splitlines()
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stderr + done.stdout
    assert any(all(word in line for word in words) for line in lines), done.stderr
    assert len([line for line in lines if line.strip()]) == 1, done.stderr


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_folder_that_does_not_exist(tmp_path: Path) -> None:
    fails_with(tmp_path / "nowhere", "nowhere")


def test_missing_shard(broken: Path) -> None:
    shard = sorted(broken.glob("*.safetensors"))[1]
    shard.unlink()
    fails_with(broken, shard.name)


def test_truncated_shard(broken: Path) -> None:
    shard = sorted(broken.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-1000])
    fails_with(broken, shard.name)


def test_wrong_shape(broken: Path) -> None:
    change_config(broken, kv_lora_rank=48)
    fails_with(broken, "shape", "kv_")


def test_unexpected_weight(broken: Path) -> None:
    shard = sorted(broken.glob("*.safetensors"))[0]
    tensors = load_file(shard)
    tensors["model.layers.0.surprise"] = tensors[next(iter(tensors))].clone()
    save_file(tensors, shard)
    index = broken / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["model.layers.0.surprise"] = shard.name
    index.write_text(json.dumps(content))
    fails_with(broken, "model.layers.0.surprise")


def test_unknown_architecture(broken: Path) -> None:
    change_config(broken, architectures=["LlamaForCausalLM"], model_type="llama")
    fails_with(broken, "LlamaForCausalLM")


def test_no_tokenizer(broken: Path) -> None:
    (broken / "tiktoken.model").unlink()
    fails_with(broken, "token")


def test_too_large_for_the_memory_given(sharded: Path) -> None:
    fails_with(sharded, "--kv-cache-memory", flags=("--max-model-len", "30000", "--kv-cache-memory", "1MiB"))


def test_device_that_is_not_there(sharded: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    fails_with(sharded, "--device cuda", flags=("--device", "cuda"))
