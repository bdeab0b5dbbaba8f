"""The default checkpoint: it comes with the package, and transformers computes with it what the engine does."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import demo
from demo.training.talk import WHAT_I_AM
from engine import EngineConfig
from engine.load import load
from engine.messages import GenerateRequest, SamplingParams
from server.conversation import Conversation, Message
from server.dialects.registry import load_dialect
from server.text.tokenizer import load_tokenizer

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 24_000_000


def test_it_is_whole_and_small() -> None:
    folder = demo.default_checkpoint()
    assert (folder / "config.json").is_file()
    assert not demo.has_random_weights(folder)
    assert sum(path.stat().st_size for path in folder.iterdir()) < MOST_BYTES


def test_it_says_its_size_truly() -> None:
    with safe_open(demo.default_checkpoint() / "model.safetensors", "pt") as weights:
        names = [name for name in weights.keys() if not name.endswith("bias")]  # noqa: SIM118 - no iterator
        parameters = sum(weights.get_tensor(name).numel() for name in names)
    assert f" {round(parameters / 1e6)} million parameters" in WHAT_I_AM


@torch.no_grad()
def test_transformers_computes_what_the_engine_does() -> None:
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    torch.set_num_threads(1)
    folder = demo.default_checkpoint()
    fields = json.loads((folder / "config.json").read_text())
    del fields["model_type"]  # transformers knows the architecture under DeepSeek's name only
    model, loading = DeepseekV3ForCausalLM.from_pretrained(
        folder, config=DeepseekV3Config(**fields), dtype=torch.float32, output_loading_info=True
    )
    assert not any(loading.values()), loading
    dialect = load_dialect(folder, load_tokenizer(folder))
    prompt = dialect.render(Conversation((Message("user", "What is the capital of France?"),)))
    expected = model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)

    config = EngineConfig(model_path=str(folder), dtype="float32", threads=1, max_model_len=256)
    core = load(config, lambda report: None).new_core()
    sampling = SamplingParams(max_tokens=1, temperature=0.0, logprobs=5)
    core.add(GenerateRequest("a", prompt, sampling, arrival=time.monotonic()))
    (output,) = core.step().outputs
    assert output.logprobs is not None
    for token, logprob in output.logprobs[0].top:
        assert logprob == pytest.approx(expected[token].item(), abs=1e-3)


def test_a_folder_that_is_taken_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    command = [sys.executable, "-m", "demo.random_checkpoint", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "holds a checkpoint already" in done.stderr


def test_random_checkpoints_are_told_apart(tiny_checkpoint: Path, tmp_path: Path) -> None:
    assert demo.has_random_weights(tiny_checkpoint)
    assert not demo.has_random_weights(tmp_path)


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, demo; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout == "False\n"
