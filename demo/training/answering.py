"""Two ways to have a served checkpoint answer a conversation greedily: over HTTP, and in this process."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import httpx

from engine import EngineConfig
from engine.load import load
from engine.messages import GenerateRequest, SamplingParams
from server.conversation import Conversation, Message, Tool
from server.dialects.registry import load_dialect
from server.text.tokenizer import load_tokenizer

MAX_TOKENS = 200
AT_ONCE = 8


@dataclass(frozen=True)
class Answer:
    """What the model said: text, calls as (name, arguments), whether it ended by itself, what it thought, and how many
    tokens the prompt had."""

    text: str
    calls: tuple[tuple[str, str], ...]
    ended: bool
    thought: str = ""
    prompt_tokens: int = 0


class Answerer(Protocol):
    """Answers conversations, each as if it were the only one."""

    def answer(self, conversations: Sequence[Conversation]) -> list[Answer]: ...


class InProcess:
    """The engine without a server, prompts written by the server's dialect."""

    def __init__(self, folder: Path, threads: int | None) -> None:
        self._tokenizer = load_tokenizer(folder)
        self._dialect = load_dialect(folder, self._tokenizer)
        config = EngineConfig(model_path=str(folder), threads=threads, max_model_len=32768, kv_cache_memory=256 * 2**20)
        self._core = load(config, lambda report: None).new_core()
        self._controls = self._tokenizer.control_tokens

    def answer(self, conversations: Sequence[Conversation]) -> list[Answer]:
        stop = (self._controls["<|im_end|>"],)
        sampling = SamplingParams(max_tokens=MAX_TOKENS, temperature=0.0, stop_token_ids=stop)
        prompts = [self._dialect.render(conversation) for conversation in conversations]
        for index, prompt in enumerate(prompts):
            self._core.add(GenerateRequest(str(index), prompt, sampling, arrival=time.monotonic()))
        tokens: list[list[int]] = [[] for _ in conversations]
        ended = [False] * len(conversations)
        while self._core.has_work:
            for output in self._core.step().outputs:
                if output.error is not None:
                    raise RuntimeError(output.error[1])
                tokens[int(output.id)] += output.token_ids
                ended[int(output.id)] |= output.finish_reason == "stop"
        answers = [self._parse(ids, end) for ids, end in zip(tokens, ended, strict=True)]
        return [replace(answer, prompt_tokens=len(prompt)) for answer, prompt in zip(answers, prompts, strict=True)]

    def _parse(self, ids: list[int], ended: bool) -> Answer:
        """Text up to the first control token; then each call's id and arguments between theirs."""
        begin, middle = self._controls["<|tool_call_begin|>"], self._controls["<|tool_call_argument_begin|>"]
        thought = b""
        if (end := self._controls["</think>"]) in ids:
            place = ids.index(end)
            thought, ids = b"".join(map(self._tokenizer.token_bytes, ids[:place])), ids[place + 1 :]
        parts: list[tuple[int, bytes]] = [(0, b"")]
        for token in ids:
            if self._tokenizer.is_control(token):
                parts.append((token, b""))
            else:
                parts[-1] = (parts[-1][0], parts[-1][1] + self._tokenizer.token_bytes(token))
        calls: list[tuple[str, str]] = []
        for control, data in parts:
            text = data.decode("utf-8", "replace").strip()
            if control == begin:
                calls.append((text.removeprefix("functions.").rpartition(":")[0], ""))
            elif control == middle and calls:
                calls[-1] = (calls[-1][0], text)
        return Answer(parts[0][1].decode("utf-8", "replace"), tuple(calls), ended, thought.decode("utf-8", "replace"))


class OverHttp:
    """A running server's chat completions, several at a time."""

    def __init__(self, base_url: str, model: str | None) -> None:
        self._client = httpx.Client(base_url=base_url, timeout=600)
        self._model = model or self._client.get("models").raise_for_status().json()["data"][0]["id"]

    def answer(self, conversations: Sequence[Conversation]) -> list[Answer]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self._one, conversations))

    def _one(self, conversation: Conversation) -> Answer:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [_wire_message(message) for message in conversation.messages],
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
        }
        if conversation.reasoning is not None:
            body["chat_template_kwargs"] = {"thinking": conversation.reasoning}
        if conversation.tools:
            body["tools"] = [_wire_tool(tool) for tool in conversation.tools]
        response = self._client.post("chat/completions", json=body)
        response.raise_for_status()
        choice = response.json()["choices"][0]
        message = choice["message"]
        functions = [call["function"] for call in message.get("tool_calls") or []]
        calls = tuple((function["name"], function["arguments"]) for function in functions)
        thought = message.get("reasoning_content") or ""
        ended, prompt_tokens = choice["finish_reason"] != "length", response.json()["usage"]["prompt_tokens"]
        return Answer(message.get("content") or "", calls, ended, thought, prompt_tokens)


def _wire_message(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name is not None:
        wire["name"] = message.name
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return wire


def _wire_tool(tool: Tool) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
    }
