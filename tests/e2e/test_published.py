"""Every published model, made small, in its published format, with its own template: served, asked for text and for an
answer to a message. One row of docs/models.md each."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.dialect_checkpoints import DATA, apertus, deepseek
from support.qwen_checkpoints import CONTROL
from support.serving import serving
from support.tiny_tokenizers import write_byte_tokenizer

from engine import published_names
from server.text.tokenizer import load_tokenizer
from tests.support.published_checkpoints import language_model, small_published, write_published

pytestmark = pytest.mark.slow

NOTES = {
    "DeepSeek-V3": "note: skipped 3 tensors: layer 4, which predicts further tokens (MTP) and is not used",
    "DeepSeek-R1": "note: skipped 3 tensors: layer 4, which predicts further tokens (MTP) and is not used",
    "Kimi-K2.5": "note: skipped 2 tensors: weights of the part that sees, which is not served",
}
PROMPT = [{"role": "user", "content": "Hello"}]
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}]


def write_served(folder: Path, name: str) -> None:
    """The checkpoint with a small tokenizer of its family and a published template."""
    folder.mkdir()
    end = _write_tokenizer(folder, name)
    tokenizer = load_tokenizer(folder)
    raw = small_published(name, vocab_size=tokenizer.vocab_size)
    language_model(raw)["dtype"] = language_model(raw)["torch_dtype"] = "bfloat16"
    raw["eos_token_id"] = tokenizer.control_tokens[end]
    write_published(folder, raw)


def _write_tokenizer(folder: Path, name: str) -> str:
    """Returns the token that ends an answer."""
    if name.startswith("Kimi"):
        shutil.copytree(DATA / "tiny_kimi", folder, dirs_exist_ok=True)
        return "<|im_end|>"
    if name.startswith("DeepSeek"):
        deepseek(folder, (DATA / "deepseek" / "chat_template.v3.jinja").read_text("utf-8"))
        return "<｜end▁of▁sentence｜>"
    if name.startswith("Apertus"):
        apertus(folder, (DATA / "apertus" / "chat_template.jinja").read_text("utf-8"))
        return "<|assistant_end|>"
    write_byte_tokenizer(folder, CONTROL)
    shutil.copy(DATA / "qwen3" / "chat_template.jinja", folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({}))
    return "<|im_end|>"


@pytest.mark.parametrize("name", published_names())
def test_served(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    write_served(folder, name)
    with serving(folder, tmp_path / "log", "--max-model-len", "512", "--store", "none") as server:
        text: dict[str, Any] = {"model": name, "prompt": "Once upon", "max_tokens": 12, "ignore_eos": True}
        whole = server.post("/v1/completions", text).json()
        assert whole["usage"]["completion_tokens"] == 12
        chat = {"model": name, "messages": PROMPT, "max_tokens": 12, "ignore_eos": True}
        answer = server.post("/v1/chat/completions", chat)
        assert answer.status_code == 200, answer.text
        assert answer.json()["usage"]["completion_tokens"] == 12
        refused = server.post("/v1/chat/completions", {"model": name, "messages": IMAGE})
        assert refused.status_code == 400
        assert '"image_url"; only text is supported here' in refused.json()["error"]["message"]
    log = (tmp_path / "log").read_text()
    assert NOTES.get(name, "") in log
    assert ("skipped" in log) == (name in NOTES or name.startswith("Apertus"))
