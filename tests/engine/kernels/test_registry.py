"""A backend is honoured or refused, never replaced in silence."""

from pathlib import Path

import pytest
import torch

from engine.errors import ConfigError
from engine.kernels.cpu.library import find_library
from engine.kernels.registry import ORDER, choose_kernels, describe, why_unusable

BF16 = torch.bfloat16


def test_by_name() -> None:
    assert choose_kernels("torch", "cpu", BF16).name == "torch"
    with pytest.raises(ConfigError, match="--kernels fast: only auto, native"):
        choose_kernels("fast", "cpu", BF16)


def test_native_kernels_are_refused_where_they_cannot_compute() -> None:
    with pytest.raises(ConfigError, match="for the CPU, not for cuda"):
        choose_kernels("native", "cuda", BF16)
    with pytest.raises(ConfigError, match="bfloat16, not in float32"):
        choose_kernels("native", "cpu", torch.float32)


def test_native_kernels_that_were_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.kernels.cpu.kernels.find_library", lambda: None)
    kernels = choose_kernels("auto", "cpu", BF16)
    assert kernels.name == "torch"
    assert "plain torch; --kernels native: they were not built" in describe(kernels, "auto", "cpu", BF16)
    assert describe(kernels, "torch", "cpu", BF16) == "kernels: plain torch"
    reason = why_unusable("native", "cpu", BF16)
    assert reason is not None
    assert "C++ compiler" in reason


def test_native_kernels_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "_native.so"
    broken.write_bytes(b"not a library")
    monkeypatch.setattr("engine.kernels.cpu.kernels.find_library", lambda: broken)
    with pytest.raises(ConfigError, match="cannot be used"):
        choose_kernels("native", "cpu", BF16)
    assert choose_kernels("auto", "cpu", BF16).name == "torch"


def test_a_cache_in_fp8_takes_kernels_that_read_it() -> None:
    kernels = choose_kernels("auto", "cpu", BF16, fp8_cache=True)
    assert kernels.name == "torch"
    if find_library() is not None:
        assert "native kernels cannot read a KV cache in fp8" in describe(kernels, "auto", "cpu", BF16)
        with pytest.raises(ConfigError, match="--kv-cache-dtype fp8: the native kernels cannot read it; use --kernels"):
            choose_kernels("native", "cpu", BF16, fp8_cache=True)


def test_auto_takes_the_first_that_is_usable() -> None:
    for device, dtype in (("cpu", BF16), ("cpu", torch.float32)):
        usable = [name for name in ORDER[device] if why_unusable(name, device, dtype) is None]
        assert choose_kernels("auto", device, dtype).name == usable[0]
    if find_library() is not None:
        assert choose_kernels("auto", "cpu", BF16).name == "native"
