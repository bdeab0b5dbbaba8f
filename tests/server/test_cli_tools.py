"""`abruzzi plan`, `doctor` and `check-quantization`, as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOX = "The quick brown fox jumps over the lazy dog. " * 8


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "server.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"COLUMNS": "200", "PATH": ""})


def test_a_plan_that_fits_and_one_that_does_not() -> None:
    fits = run(
        "plan", "Qwen3-30B-A3B", "--gpus", "1", "--gpu-memory", "141GB", "--context", "8192", "--concurrency", "16"
    )
    assert (fits.returncode, fits.stderr) == (0, "")
    assert "It fits." in fits.stdout
    assert "98,304 bytes a token" in fits.stdout
    assert "65,536 tokens of context" in run("plan", "Apertus-8B-Instruct").stdout  # all that it knows
    kimi = run("plan", "Kimi-K2.5", "--gpus", "8", "--gpu-memory", "141GiB", "--context", "131072")  # 64 requests
    assert kimi.returncode == 1
    assert "make it fit: --concurrency 6, --context 14316" in kimi.stdout
    assert [line.split()[1] for line in kimi.stdout.splitlines() if line.count("│") == 6] == [
        *("1", "4", "16*", "64*", "256*")
    ]
    too_large = run("plan", "Kimi-K2-Instruct", "--gpus", "4", "--gpu-memory", "80GB")
    assert too_large.returncode == 1
    assert "It does not fit." in too_large.stdout


def test_a_plan_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["X"]}))
    answer = run("plan", str(tmp_path))
    assert answer.returncode == 2
    assert "config.json" in answer.stderr
    assert "['X']" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("plan", "Kimi-K2.5", "--gpu-memory", "much"), ["--gpu-memory", "'much'"]),
        (("plan", "Kimi-K2.5", "--gpu-bandwidth", "4 parsecs"), ["--gpu-bandwidth", "parsecs"]),
        (("plan", "Kimi-K2.5", "--quantize", "int3"), ["--quantize", "'int3'", "int8"]),
        (("plan", "Kimi-K9"), ["Kimi-K9", "Kimi-K2.5"]),
        (("plan", "Apertus-8B-Instruct", "--context", "65537"), ["--context 65537", "65536 positions"]),
    ],
    ids=str,
)
def test_wrong_words_are_told(arguments: tuple[str, ...], words: list[str]) -> None:
    answer = run(*arguments)
    assert answer.returncode == 2
    assert [word for word in words if word not in answer.stderr] == []


def test_doctor() -> None:
    answer = run("doctor")
    assert answer.returncode == 0, answer.stderr
    for word in ("processor", "NUMA nodes", "memory bandwidth", "GB/s", "GPU"):
        assert word in answer.stdout
    rows = {
        line.split("│")[1].strip(): line.split("│")[2].strip() for line in answer.stdout.splitlines() if "│" in line
    }
    assert rows["kernels torch, cpu"] == "usable"
    if rows["GPU"].startswith("none: "):
        assert rows["kernels torch, cuda"] == f"not usable: {rows['GPU'].removeprefix('none: ')}"


def test_check_quantization(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "demo.random_checkpoint", "--preset", "tiny", str(tmp_path / "model")], check=False
    )
    assert made.returncode == 0
    (tmp_path / "text").write_text(FOX)
    answer = run("check-quantization", str(tmp_path / "model"), "--text", str(tmp_path / "text"), "--quantize", "int8")
    assert answer.returncode == 0, answer.stderr
    assert "perplexity" in answer.stdout
    assert "nats" in answer.stdout
    cache = run(
        "check-quantization", str(tmp_path / "model"), "--text", str(tmp_path / "text"), "--kv-cache-dtype", "fp8"
    )
    assert "KV cache in fp8" in cache.stdout, cache.stderr
    assert "int4" not in cache.stdout
    missing = run("check-quantization", str(tmp_path / "model"), "--text", str(tmp_path / "nothing"))
    assert missing.returncode == 1
    assert "nothing" in missing.stderr
