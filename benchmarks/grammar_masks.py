"""What grammars cost, on the real vocabulary of Kimi K2: set-up, compiling, masks, forced tokens.

    python -m benchmarks.grammar_masks [--model FOLDER] [--tools FOLDER] [--batches 64]

FOLDER has tiktoken.model and tokenizer_config.json; the tools are requests of the Berkeley Function-Calling
Leaderboard as JSON lines. No model runs. Every request's first expected call is taken token by token through the
grammar of its tool.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from engine.errors import RequestRefused
from engine.grammar.compiler import CompiledGrammar, GrammarCompiler
from engine.grammar.state import GrammarState
from engine.grammar.tokens import GrammarTokens, load_grammar_tokens
from engine.messages import Grammar
from engine.runner.grammar_masks import GrammarMasks
from engine.vocabulary import read_tiktoken_vocabulary

SHARED = Path(__file__).parents[2] / "shared" / "data"


def kimi_call(name: str, schema: dict[str, Any]) -> str:
    """One tool call as Kimi writes it."""
    schema = schema | {"x-guidance": {"whitespace_flexible": False}}
    return (
        "start: <|tool_calls_section_begin|> call <|tool_calls_section_end|>\n"
        f"call: <|tool_call_begin|> {json.dumps(f'functions.{name}:0')} <|tool_call_argument_begin|> arguments "
        f"<|tool_call_end|>\narguments: %json {json.dumps(schema)}\n"
    )


def expected_arguments(entry: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The first expected call of a request, with the first value that is right for each argument."""
    for call in entry.get("ground_truth", []):
        for function, arguments in call.items():
            if function.replace(".", "_") == name:
                return {key: values[0] for key, values in arguments.items() if values and values[0] != ""}
    return None


def read_calls(folder: Path) -> list[tuple[str, str | None]]:
    """(grammar, the expected arguments as compact JSON in the schema's order) for every tool of every request."""
    calls = []
    for path in sorted(folder.glob("*.openai.jsonl")):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            for tool in entry["tools"]:
                function = tool["function"]
                arguments = expected_arguments(entry, function["name"])
                schema = function.get("parameters") or {"type": "object", "properties": {}}
                text = None
                if arguments is not None:
                    order = [key for key in schema.get("properties", {}) if key in arguments]
                    text = json.dumps({key: arguments[key] for key in order}, ensure_ascii=False, separators=(",", ":"))
                calls.append((kimi_call(function["name"], schema), text))
    return calls


def percent(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def row(name: str, seconds: list[float], unit: float = 1e3) -> None:
    picked = [statistics.median(seconds), percent(seconds, 0.9), percent(seconds, 0.99), max(seconds)]
    print(f"{name:44}" + "".join(f"{value * unit:10.3f}" for value in picked))


def compile_all(tokens: GrammarTokens, sources: list[str]) -> dict[str, CompiledGrammar]:
    compiler, compiled, seconds = GrammarCompiler(tokens, tokens.size, max_bytes=2**40), {}, []
    refused: dict[str, int] = {}
    for source in dict.fromkeys(sources):
        started = time.perf_counter()
        try:
            compiled[source] = compiler.submit(Grammar(source)).result()
        except RequestRefused as error:
            text = str(error).split("\n")[0][-90:]
            refused[text] = refused.get(text, 0) + 1
        seconds.append(time.perf_counter() - started)
    row(f"compile a tool's call ({len(seconds)} schemas), ms", seconds)
    for text, count in sorted(refused.items(), key=lambda item: -item[1]):
        print(f"    refused {count:4}: ...{text}")
    return compiled


def walk(
    tokens: GrammarTokens, grammar: CompiledGrammar, text: str, forcing: bool
) -> tuple[list[int], int, list[float]] | None:
    """Takes the expected arguments through the grammar. Returns the tokens that had to be sampled, how many were
    forced, and the seconds that each advance took. None if the text does not match."""
    library = tokens.library
    state = GrammarState(grammar, [], (), 0, forcing)
    assert state.matcher is not None
    head = library.decode_str(state.matcher.compute_ff_tokens())
    marker = "<|tool_call_argument_begin|>"
    body = library.tokenize_str(text)
    begin = library.tokenize_str(head[: head.index(marker) + len(marker)], parse_special=True)
    ends = library.tokenize_str("<|tool_call_end|><|tool_calls_section_end|>", parse_special=True)
    whole, sampled, forced, seconds, at = begin + body + ends, [], 0, [], 0
    while at < len(whole):
        started = time.perf_counter()
        follows = state.advance(whole[at])
        seconds.append(time.perf_counter() - started)
        sampled.append(whole[at])
        if follows is None:
            at += 1
            continue
        if follows.error is not None or list(follows.forced) != whole[at + 1 : at + 1 + len(follows.forced)]:
            return None
        forced += len(follows.forced)
        at += 1 + len(follows.forced)
    return whole, forced, seconds


def mask_times(grammars: list[tuple[CompiledGrammar, list[int]]], vocab_size: int, batch: int) -> None:
    """Masks of `batch` requests that are each somewhere else in their call."""
    masks = GrammarMasks(vocab_size, torch.device("cpu"))
    logits_NV = torch.randn(batch, vocab_size)
    places = [(grammar, whole, start) for grammar, whole in grammars for start in range(0, len(whole), 3)]
    compute, apply = [], []
    for first in range(0, min(len(places), 400 * batch) - batch, batch):
        states = {
            index: GrammarState(grammar, whole[:start], (), 0, False)
            for index, (grammar, whole, start) in enumerate(places[first : first + batch])
        }
        for state in states.values():
            state._masks = 2  # the next is none of those at which the automaton's memory is measured
        started = time.perf_counter()
        masks._compute(states)
        compute.append(time.perf_counter() - started)
        masks.start(states)
        masks._forbidden.result()  # type: ignore[union-attr]
        copy_NV = logits_NV.clone()
        started = time.perf_counter()
        masks.apply(copy_NV)
        apply.append(time.perf_counter() - started)
    row(f"masks of {batch} rows, unpacked (in parallel), ms", compute)
    row("    of which a row, us", [value / batch for value in compute], 1e6)
    row(f"    applied to {batch} rows of logits, ms", apply)


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHARED / "models" / "kimi-k2-instruct")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--tools", type=Path, default=SHARED / "toolcalls" / "bfcl_v4")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    assert read_tiktoken_vocabulary(arguments.model)
    before, started = resident(), time.perf_counter()
    tokens = load_grammar_tokens(arguments.model, 2**20)
    print(f"{tokens.size} tokens in {time.perf_counter() - started:.2f} s, {resident() - before:.0f} MiB\n")
    print(f"{'':44}{'median':>10}{'90 %':>10}{'99 %':>10}{'worst':>10}")
    calls = read_calls(arguments.tools)
    compiled = compile_all(tokens, [source for source, _ in calls])
    wholes, forced, total, seconds, other = [], 0, 0, [], 0
    for source, text in calls:
        if text is None or source not in compiled:
            continue
        taken = walk(tokens, compiled[source], text, forcing=True)
        if taken is None:
            other += 1
            continue
        wholes.append((compiled[source], taken[0]))
        forced, total, seconds = forced + taken[1], total + len(taken[0]), seconds + taken[2]
    row("advance by a sampled token, forced ones too, ms", seconds)
    for batch in arguments.batches:
        mask_times(wholes, tokens.size, batch)
    print(f"\n{len(wholes)} expected calls, {total} tokens, of which forced: {forced} ({forced / total:.1%})")
    print(f"{other} expected calls do not obey their own schema, or are cut into other tokens")
    print(f"resident at the end: {resident():.0f} MiB")


if __name__ == "__main__":
    main()
