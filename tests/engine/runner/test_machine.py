"""What is decided from the machine."""

from pathlib import Path

import pytest
import torch

from engine.errors import ConfigError
from engine.runner import machine
from engine.runner.machine import choose_device, choose_threads, free_memory


def test_threads_are_as_asked_one_for_small_models_or_torchs_choice() -> None:
    assert choose_threads(3, 10**12, waits_cost=True) == 3
    assert choose_threads(None, 200 << 20, waits_cost=True) == 1
    assert choose_threads(None, 300 << 20, waits_cost=True) is None
    assert choose_threads(None, 200 << 20, waits_cost=False) is None


def test_a_device_is_honoured_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == choose_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="--device cuda"):
        choose_device("cuda")
    with pytest.raises(ConfigError, match="tpu"):
        choose_device("tpu")


def test_a_containers_limit_counts_but_not_its_file_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    cpu = torch.device("cpu")
    unlimited = free_memory(cpu)
    assert unlimited > 0
    (tmp_path / "memory.max").write_text("1000000")
    (tmp_path / "memory.current").write_text("700000")
    assert free_memory(cpu) == 300000
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 400000\nactive_file 50000\n")
    assert free_memory(cpu) == 750000
    (tmp_path / "memory.max").write_text("max")
    assert free_memory(cpu) > 1000000
