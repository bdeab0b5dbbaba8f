"""Whether every tool call that leaves a server is valid: real requests, checked by a JSON Schema validator.

    abruzzi serve --max-json-string 24 &
    python benchmarks/tool_validity.py ../shared/data/toolcalls [--choice auto] [--ids random] [--only simple]

Sends each request of the BFCL files (`*.openai.jsonl`, `multi_turn_base.jsonl`) and of tau-bench's trajectories, whole
and streamed, to `--url`, and looks at each call: its name is declared, its arguments are JSON and valid by that tool's
schema, its id counts on (or is random, by `--ids`), no marker is in any text, `finish_reason` is `tool_calls`. Answers
that `max_tokens` cut are counted apart: their last call is not whole. Printed: a table by file. Exit status 1 if
anything was wrong.
"""

import argparse
import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema

MARKERS = ("<|tool", "<|im_", "<think>", "</think>", "[EOS]", "<｜", "<|inner_", "<tool_call>", "</tool_call>")
COLUMNS = ("answers", "cut", "calls", "valid", "leaks", "wrong", "refused", "too long")


def requests(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file, the fields of a request), for every request in the folder."""
    for file in sorted((folder / "bfcl_v4").glob("*.openai.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            entry = json.loads(line)
            if entry.get("tools"):
                yield file.name, {"messages": entry["messages"], "tools": entry["tools"]}
    classes = json.loads((folder / "bfcl_v4" / "multi_turn_tools.json").read_text("utf-8"))
    for line in (folder / "bfcl_v4" / "multi_turn_base.jsonl").read_text("utf-8").splitlines():
        entry = json.loads(line)
        tools = [tool for name in entry["tool_classes"] for tool in classes[name]]
        yield "multi_turn_base.jsonl", {"messages": entry["turns"][0], "tools": tools}
    tools = json.loads((folder / "tau_bench" / "airline_tools.json").read_text("utf-8"))
    trajectories = folder / "tau_bench" / "airline_gpt4o_trajectories.jsonl"
    for line in trajectories.read_text("utf-8").splitlines():
        messages = json.loads(line)["messages"]
        # up to where the model called a tool last: its answer is what we ask for
        calling = [index for index, message in enumerate(messages) if message.get("tool_calls")]
        yield trajectories.name, {"messages": messages[: calling[-1]] if calling else messages[:2], "tools": tools}


async def whole(http: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    """The message of an answer that is not streamed, with its finish reason."""
    answer = await http.post("/v1/chat/completions", json=body)
    if answer.status_code != 200:
        return {"error": answer.json()["error"]}
    choice = answer.json()["choices"][0]
    return {**choice["message"], "finish_reason": choice["finish_reason"]}


async def streamed(http: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    """The same from a stream."""
    message: dict[str, Any] = {"content": "", "reasoning": "", "tool_calls": []}
    async with http.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as response:
        if response.status_code != 200:
            return {"error": json.loads(await response.aread())["error"]}
        async for frame in frames(response):
            if not frame.startswith(b"data: {"):
                continue
            chunk = json.loads(frame.removeprefix(b"data: "))
            if "error" in chunk:
                return dict(chunk)
            for choice in chunk["choices"]:
                collect(message, choice["delta"])
                message["finish_reason"] = choice["finish_reason"]
    return message


async def frames(response: httpx.Response) -> AsyncIterator[bytes]:
    """A stream's events. Not by httpx's lines: it ends them at characters that JSON may hold, such as U+2028."""
    rest = b""
    async for part in response.aiter_bytes():
        *whole, rest = (rest + part).split(b"\n\n")
        for frame in whole:
            yield frame


def collect(message: dict[str, Any], delta: dict[str, Any]) -> None:
    message["content"] += delta.get("content") or ""
    message["reasoning"] += delta.get("reasoning") or ""
    for call in delta.get("tool_calls") or ():
        if "id" in call:
            assert call["index"] == len(message["tool_calls"]), "a call began twice"
            message["tool_calls"].append({"id": call["id"], "function": dict(call["function"])})
        else:
            message["tool_calls"][call["index"]]["function"]["arguments"] += call["function"]["arguments"]


def judge(
    message: dict[str, Any], body: dict[str, Any], seen: Counter[str], complaints: list[str], *, counting: bool
) -> None:
    """Counts what is right and wrong with one answer. `counting`: whether ids count the calls of a conversation."""
    if "error" in message:
        long = message["error"]["code"] == "context_length_exceeded"
        seen["too long" if long else "refused"] += 1
        if not long:
            complaints.append(f"refused: {message['error']['message'][:200]}")
        return
    seen["answers"] += 1
    calls = list(message.get("tool_calls") or ())
    reason = message["finish_reason"]
    texts = [message.get("content"), message.get("reasoning"), *(call["function"]["arguments"] for call in calls)]
    seen["leaks"] += any(marker in (text or "") for text in texts for marker in MARKERS)
    if reason == "length":
        seen["cut"] += 1
        calls = calls[:-1]
    elif reason != ("tool_calls" if calls else "stop") or (body["tool_choice"] == "required" and not calls):
        seen["wrong"] += 1
        complaints.append(f"{len(calls)} calls, but finish_reason {reason}")
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in body["tools"]}
    earlier = sum(len(one.get("tool_calls") or ()) for one in body["messages"])
    for index, call in enumerate(calls):
        seen["calls"] += 1
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        try:
            jsonschema.validate(json.loads(arguments), schemas[name])
            if counting and call["id"] != f"functions.{name}:{earlier + index}":
                raise ValueError(f"the id {call['id']!r} does not count on from {earlier + index}")
            if not counting and not re.fullmatch("call_[0-9a-f]{24}", call["id"]):
                raise ValueError(f"the id {call['id']!r} is not random")
            seen["valid"] += 1
        except (KeyError, ValueError, jsonschema.ValidationError) as error:
            complaints.append(f"{name}({arguments[:200]}): {type(error).__name__} {str(error)[:200]}")


async def measure(options: argparse.Namespace) -> bool:
    chosen: dict[str, list[dict[str, Any]]] = {}
    for file, fields in requests(options.folder):
        if not any(part in f"/{file}" for part in options.only):
            continue
        some = chosen.setdefault(file, [])
        if options.limit is None or len(some) < options.limit:
            some.append(fields)
    complaints: list[str] = []
    totals: Counter[str] = Counter()
    places = asyncio.Semaphore(options.concurrency)
    limits = httpx.Limits(max_connections=options.concurrency)
    async with httpx.AsyncClient(base_url=options.url, timeout=None, limits=limits) as http:
        model = (await http.get("/v1/models")).json()["data"][0]["id"]
        print("| file | " + " | ".join(COLUMNS) + " |\n|---|" + "---:|" * len(COLUMNS))
        for file, some in chosen.items():
            seen: Counter[str] = Counter()

            async def ask(seed: int, fields: dict[str, Any], how: Any, seen: Counter[str] = seen) -> None:
                body = {"model": model, **fields, "tool_choice": options.choice, "seed": seed}
                body |= {"max_tokens": options.max_tokens, "logit_bias": dict(options.bias)}
                if options.thinking:
                    body["chat_template_kwargs"] = {"thinking": True}
                async with places:
                    judge(await how(http, body), body, seen, complaints, counting=options.ids == "counting")

            asked = [(seed, fields, how) for seed, fields in enumerate(some) for how in (whole, streamed)]
            asked = asked[2 * options.skip :]
            await asyncio.gather(*(ask(*one) for one in asked))
            print(f"| {file} | " + " | ".join(str(seen[column]) for column in COLUMNS) + " |", flush=True)
            totals += seen
    print("| **all** | " + " | ".join(f"**{totals[column]}**" for column in COLUMNS) + " |")
    if totals["calls"]:
        print(f"\n{totals['valid'] / totals['calls']:.2%} of {totals['calls']} calls are valid.")
    for complaint, times in Counter(complaints).most_common(20):
        print(f"{times} times: {complaint}")
    return not complaints and not totals["leaks"]


def bias(text: str) -> tuple[str, float]:
    token, _, logit = text.partition("=")
    return token, float(logit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with bfcl_v4 and tau_bench in it")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--choice", default="required", choices=("required", "auto"))
    parser.add_argument("--ids", default="counting", choices=("counting", "random"), help="random: all but Kimi's")
    parser.add_argument("--only", nargs="+", default=[""], metavar="PART", help="files with this in their name")
    parser.add_argument("--thinking", action="store_true", help="the model thinks first, if it can be told to")
    parser.add_argument("--limit", type=int, help="requests of each file; default: all")
    parser.add_argument("--skip", type=int, default=0, help="the first of each file, to go on with a run that ended")
    parser.add_argument(
        "--bias", nargs="*", type=bias, default=[], metavar="TOKEN=LOGIT", help="so that a random model begins calls"
    )
    parser.add_argument("--max-tokens", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=32)
    sys.exit(0 if asyncio.run(measure(parser.parse_args())) else 1)


if __name__ == "__main__":
    main()
