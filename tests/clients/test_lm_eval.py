"""EleutherAI's evaluation harness, lm-eval: its local-completions asks for log-likelihoods by echo and logprobs."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="make test-clients")

ROOT = Path(__file__).parents[2]
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OPENAI_API_KEY": "none"}


def post(url: str, body: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def evaluated(url: str, name: str, folder: Path) -> list[dict[str, Any]]:
    """What the harness logs of each item."""
    arguments = f"model={name},base_url={url}/v1/completions,num_concurrent=2"
    command = [str(Path(sys.executable).parent / "lm_eval"), "--model", "local-completions"]
    command += ["--model_args", arguments, "--tasks", "items", "--include_path", "tests/clients/lm_eval"]
    command += ["--output_path", str(folder / "out"), "--log_samples"]
    environment = {**os.environ, **OFFLINE, "HF_HOME": str(folder / "hf")}
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr[-3000:]
    (log,) = (folder / "out").rglob("samples_items*.jsonl")
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.timeout(600)
def test_it_gets_the_likelihoods(url: str, name: str, tmp_path: Path) -> None:
    def tokens(text: str) -> list[int]:
        found: list[int] = post(f"{url}/tokenize", {"prompt": text})["tokens"]
        return found

    samples = evaluated(url, name, tmp_path)
    assert len(samples) == 5
    for sample in samples:
        query = sample["doc"]["query"]
        for choice, ((said, greedy),) in zip(sample["doc"]["choices"], sample["resps"], strict=True):
            # Of an empty context lm-eval makes the beginning of sequence.
            start = tokens(query or "[BOS]")
            text = tokens(query + choice) if query else start + tokens(choice)
            fields = {"max_tokens": 0, "logprobs": 1, "echo": True, "temperature": 0}
            found = post(f"{url}/v1/completions", {"model": name, "prompt": text, **fields})["choices"][0]["logprobs"]
            own, tops = found["token_logprobs"][len(start) :], found["top_logprobs"][len(start) :]
            assert float(said) == pytest.approx(sum(own), rel=0.02, abs=0.02)
            likeliest = [value == max(top.values()) for value, top in zip(own, tops, strict=True)]
            assert str(greedy) == str(all(likeliest))
