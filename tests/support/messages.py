"""Anthropic's messages over an application around a FakeEngine: requests, streams, and a model that can think."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import httpx
from support.fake_engine import ScriptStep, outputs
from support.served import MODEL, Served
from support.tiny_tokenizers import write_byte_tokenizer

from engine import GenerateRequest
from server.dialects.kimi_tokens import (
    ARGUMENT_BEGIN,
    CALL_BEGIN,
    CALL_END,
    CALL_MARKERS,
    END_THINK,
    ENDS,
    SECTION_BEGIN,
    SECTION_END,
    THINK,
)
from server.dialects.registry import load_dialect
from server.sampling import SamplingDefaults
from server.served_model import ServedModel
from server.text.tokenizer import load_tokenizer

# Kimi K2.5's way, as short as it goes: it thinks unless it is told not to.
SWITCHED = "thinking is not defined or thinking"
TEMPLATE = (
    "{%- for m in messages -%}<|im_user|>{{ m['role'] }}<|im_middle|>"
    "{%- if m.get('reasoning_content') -%}<think>{{ m['reasoning_content'] }}</think>{%- endif -%}"
    "{{ m['content'] }}"
    "{%- for c in m.get('tool_calls') or [] -%}{{ c['id'] }}={{ c['function']['arguments'] }}{%- endfor -%}"
    "<|im_end|>{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_assistant|>assistant<|im_middle|>"
    "{%- if WHEN -%}<think>{%- endif -%}{%- endif -%}"
)
CONTROL = ("<|im_user|>", "<|im_assistant|>", "<|im_middle|>", *ENDS, *CALL_MARKERS, THINK, END_THINK)

WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
BUDGET = {"type": "enabled", "budget_tokens": 1024}
CALLS = [("get_weather", '{"city": "Zürich"}'), ("get-time", "")]
TIME = {"name": "get-time", "input_schema": {"type": "object", "properties": {}}}


def thinking_model(folder: Path, *, always: bool = False) -> ServedModel:
    """A model whose prompt opens its thoughts: unless it is told not to, or `always`."""
    folder.mkdir()
    write_byte_tokenizer(folder, CONTROL)
    (folder / "chat_template.jinja").write_text(TEMPLATE.replace("WHEN", "true" if always else SWITCHED))
    (folder / "config.json").write_text(json.dumps({"model_type": "kimi_k2"}))
    tokenizer = load_tokenizer(folder)
    return ServedModel(
        names=(MODEL,),
        created=1_700_000_000,
        folder=folder,
        tokenizer=tokenizer,
        dialect=load_dialect(folder, tokenizer),
        sampling=SamplingDefaults(),
        eos_ids=frozenset({tokenizer.control_tokens["<|im_end|>"]}),
    )


def message(**fields: Any) -> dict[str, Any]:
    """A request body."""
    return {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": "Hello"}], **fields}


async def ask(served: Served, path: str = "/v1/messages", **fields: Any) -> httpx.Response:
    body = message(**fields)
    if path.endswith("count_tokens"):
        del body["max_tokens"]
    async with served.client() as client:
        return await client.post(path, json=body)


def events(body: str) -> list[dict[str, Any]]:
    """The data of a stream's events, each checked against its name."""
    assert body.endswith("\n\n")
    found = []
    for frame in body.split("\n\n")[:-1]:
        name, data = frame.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def say(
    served: Served,
    *,
    thought: str | None = None,
    text: str = "",
    calls: Sequence[tuple[str, str]] = (),
    at_once: int = 1,
    **how: Any,
) -> Any:
    """A script in Kimi's format: the end of a thought that the prompt has opened, text, calls (name, arguments)."""
    encode, control = served.model.tokenizer.encode, served.model.tokenizer.control_tokens
    token_ids = [] if thought is None else [*encode(thought), control[END_THINK]]
    token_ids += encode(text)
    if calls:
        token_ids.append(control[SECTION_BEGIN])
        for index, (name, arguments) in enumerate(calls):
            token_ids += [control[CALL_BEGIN], *encode(f"functions.{name}:{index}"), control[ARGUMENT_BEGIN]]
            token_ids += [*encode(arguments), control[CALL_END]]
        token_ids.append(control[SECTION_END])
    token_ids.append(served.end)

    def script(request: GenerateRequest) -> Iterable[ScriptStep]:
        return outputs(request, token_ids, at_once=at_once, **how)

    return script


def prompt_text(served: Served) -> str:
    """What the engine was asked last."""
    return b"".join(map(served.model.tokenizer.token_bytes, served.engine.requests[-1].prompt)).decode()
