"""The published chat templates of all families with their tokenizers, against recorded texts and token ids.
Skipped where their files are not at hand."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from server.text.template import ChatTemplate, TemplateError
from server.text.tokenizer import Tokenizer, load_tokenizer

MODELS = Path(__file__).parents[4] / "shared" / "data" / "models"
pytestmark = pytest.mark.skipif(not MODELS.is_dir(), reason=f"needs the published model files in {MODELS}")

GOLDEN = [
    file for file in sorted(MODELS.glob("*/golden/*.json")) if not file.parts[-3].startswith("apertus")
]  # Apertus: no tokenizer at hand
FROM_CONFIG = ("bos_token", "eos_token", "pad_token", "unk_token")


@cache
def published(family: str) -> Tokenizer:
    return load_tokenizer(MODELS / family)


def tokenizer_of(family: str, folder: Path) -> Tokenizer:
    if family != "kimi-k2.5":
        return published(family)
    shutil.copy(MODELS / "kimi-k2-instruct" / "tiktoken.model", folder)  # K2.5 has the same ranks and more names
    shutil.copy(MODELS / "kimi-k2.5" / "tokenizer_config.json", folder)
    return load_tokenizer(folder)


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_recorded_prompts(file: Path, tmp_path: Path) -> None:
    golden = json.loads(file.read_text(encoding="utf-8"))
    family = golden["token_ids_with"].rpartition("models/")[2]
    tokenizer = tokenizer_of(family, tmp_path)
    inputs = json.loads((MODELS / "golden_inputs.json").read_text(encoding="utf-8"))
    source = (file.parents[1] / golden["template"]).read_text(encoding="utf-8")
    for case in golden["cases"]:
        special = {name: case["template_kwargs"][name] for name in FROM_CONFIG if case["template_kwargs"].get(name)}
        template = ChatTemplate(source, tokenizer, special)
        variables = variables_of(case, inputs[case["name"]])
        if "error" in case:
            with pytest.raises(TemplateError):
                template.render(variables)
            continue
        pieces = template.render(variables)
        assert template.text(pieces) == case["rendered"]
        assert template.encode(pieces) == case["token_ids"], (case["name"], case["variant"])


def variables_of(case: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    arguments = {key: value for key, value in case["template_kwargs"].items() if key not in FROM_CONFIG}
    tools = given["tools"]
    if case["variant"] != "as_given":
        tools = json.loads(json.dumps(tools, sort_keys=True))
    arguments["add_generation_prompt"] = case["add_generation_prompt"]
    return arguments | {"messages": given["messages"], "tools": tools}
