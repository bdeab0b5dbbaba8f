"""A training run from the command line: it makes a checkpoint, goes on from its state, and starts from a checkpoint."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from demo.training.export import export, read_folder, write_folder
from demo.training.model import DemoModel
from demo.training.shape import SHAPE
from demo.training.team import Team

ROOT = Path(__file__).resolve().parents[2]


def test_a_checkpoint_holds_the_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first, second = DemoModel(SHAPE), DemoModel(SHAPE)
    for name in ("tiktoken.model", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / name).write_text("")
    write_folder(first, tmp_path, tmp_path / "out")
    read_folder(second, tmp_path / "out")
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one.bfloat16(), other.bfloat16())


def test_the_shares_of_a_team_are_everything_once() -> None:
    model = DemoModel(SHAPE)
    team = Team(model, 2)
    names = [*team.share(0), *team.share(1)]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    team.join(0)
    team.join(1)  # the last to join in this process: its gradients are the model's
    model.embedding.grad.add_(1.0)  # type: ignore[union-attr]
    team.average([model.embedding])
    assert model.embedding.grad is not None
    assert float(model.embedding.grad.mean()) == 0.5


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def train(folder: Path, *flags: str) -> list[dict[str, Any]]:
        command = [sys.executable, "-m", "demo.train", str(folder), "--batch", "1024", "--log-every", "1", *flags]
        subprocess.run(command, cwd=ROOT, check=True)
        return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]

    assert train(tmp_path / "run", "--tokens", "8000")[-1]["tokens"] >= 8000
    assert train(tmp_path / "run", "--tokens", "12000")[-1]["step"] >= 6
    assert export(tmp_path / "run", tmp_path / "out") > 9e6
    (first, *_) = train(tmp_path / "second", "--tokens", "2000", "--from", str(tmp_path / "out"))
    assert first["step"] == 1
