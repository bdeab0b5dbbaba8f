"""Every kernel compiles for a Hopper GPU at the real widths: what the interpreter cannot tell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed")

ROOT = Path(__file__).parents[4]


def compile_for_hopper(*only: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_compile", *(("--only", *only) if only else ())],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_small_kernels_compile() -> None:
    said = compile_for_hopper("rest")
    for kernel in ("_rms_norm", "_choose", "_mla_store", "_gqa_store", "_draw", "_swiglu"):
        assert kernel in said


@pytest.mark.slow
def test_all_kernels_compile_and_fit() -> None:
    said = compile_for_hopper()
    for kernel in ("_gate_up", "_down", "_linear", "_attend", "_decode", "_merge", "_quantize", "_scatter"):
        assert kernel in said
