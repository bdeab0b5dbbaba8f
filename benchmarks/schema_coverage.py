"""How much of JSON Schema is held, and how rightly: published schemas with valid and invalid instances.

    python -m benchmarks.schema_coverage FOLDER [--examples N]

FOLDER has JSON lines, in folders as deep as they like, a schema a line: {"id", "schema", "tests": [{"data",
"valid"}]}.
Each schema goes the server's way (checked and narrowed by server/json_schema.py, compiled by the engine), then each
instance is written as a model would have to write it and taken through the grammar. Prints a Markdown table.
"""

import argparse
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine.errors import RequestRefused
from engine.grammar.compiler import Automaton, GrammarCompiler
from engine.grammar.tokens import load_grammar_tokens
from engine.messages import Grammar
from server.json_schema import BLANKS, SchemaError, enforceable

VOCABULARY = Path(__file__).parents[1] / "tests" / "data" / "tiny_kimi"
ORDERS = 200  # of an instance's properties that are tried, at most
Verdict = Literal["compiled", "refused by name", "refused by the compiler", "timed out"]


@dataclass(slots=True)
class Tally:
    """What became of a subset. `narrowed`: valid instances that only our limits refuse (docs/structured-output.md)."""

    schemas: Counter[str] = field(default_factory=Counter)
    valid: Counter[str] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, str, str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __iadd__(self, other: "Tally") -> "Tally":
        for name in ("schemas", "valid", "invalid", "examples", "seconds"):
            getattr(self, name).__iadd__(getattr(other, name))
        return self


def orders(value: Any) -> Iterator[Any]:
    """The same value with its objects' properties in every order, this one first."""
    if isinstance(value, dict):
        for names in itertools.permutations(value):
            for values in itertools.product(*(itertools.islice(orders(value[name]), ORDERS) for name in names)):
                yield dict(zip(names, values, strict=True))
    elif isinstance(value, list):
        for items in itertools.product(*(itertools.islice(orders(item), ORDERS) for item in value)):
            yield list(items)
    else:
        yield value


def in_order_of(schema: Any, value: Any, root: Any, depth: int = 0) -> Any:
    """The value with its properties as `schema` declares them, wherever that is plain to see."""
    if depth > 40:
        return value
    parts = list(_parts(schema, root))
    if isinstance(value, list):
        items: list[Any] = [part["items"] for part in parts if isinstance(part.get("items"), dict)]
        return [in_order_of({"allOf": items}, item, root, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    declared: dict[str, list[Any]] = {}
    others: list[Any] = []
    for part in parts:
        for name, one in part.get("properties", {}).items():
            declared.setdefault(name, []).append(one)
        others += [part["additionalProperties"]] if isinstance(part.get("additionalProperties"), dict) else []
        others += list(part.get("patternProperties", {}).values())
        for name in part.get("required", ()):
            declared.setdefault(name, [])
    names = [name for name in declared if name in value] + [name for name in value if name not in declared]
    return {name: in_order_of({"allOf": declared.get(name) or others}, value[name], root, depth + 1) for name in names}


def _parts(schema: Any, root: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The schema and those that apply to the same value."""
    if not isinstance(schema, dict) or depth > 20:
        return
    yield schema
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        target = root
        for step in reference.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            target = target[int(step)] if isinstance(target, list) else target[step]
        yield from _parts(target, root, depth + 1)
    for keyword in ("allOf", "anyOf", "oneOf"):
        for one in schema.get(keyword, ()):
            yield from _parts(one, root, depth + 1)


def admits(automaton: Automaton, value: Any, schema: Any) -> bool:
    """Whether any way of writing the instance matches."""
    candidates = itertools.chain([in_order_of(schema, value, schema)], itertools.islice(orders(value), ORDERS))
    return any(_matches(automaton, json.dumps(one, ensure_ascii=False, separators=(",", ":"))) for one in candidates)


def _matches(automaton: Automaton, text: str) -> bool:
    matcher = automaton.matcher.deep_copy()
    token_ids = automaton.tokens.library.tokenize_str(text)
    return matcher.try_consume_tokens(token_ids) == len(token_ids) and matcher.is_accepting()


class Coverage:
    """Takes schemas and their instances through a compiler."""

    def __init__(self, compiler: GrammarCompiler) -> None:
        self._compiler = compiler

    def compile(self, schema: Any) -> tuple[Verdict, str, Automaton | None]:
        """The server's way from a schema to a grammar, and the text of a refusal."""
        try:
            rewritten = enforceable(schema)
        except SchemaError as error:
            return "refused by name", str(error), None
        if rewritten is False:
            return "refused by name", "no value matches the schema false", None
        return self._compiled({} if rewritten is True else rewritten)

    def _compiled(self, schema: Any) -> tuple[Verdict, str, Automaton | None]:
        grammar = Grammar("start: %json " + json.dumps(schema, ensure_ascii=False))
        try:
            return "compiled", "", self._compiler.submit(grammar).result().automaton
        except RequestRefused as error:
            late = "longer than" in str(error)
            return "timed out" if late else "refused by the compiler", str(error), None

    def take(self, entry: dict[str, Any]) -> Tally:
        tally, schema = Tally(), entry["schema"]
        started = time.perf_counter()
        verdict, said, automaton = self.compile(schema)
        tally.seconds.append(time.perf_counter() - started)
        tally.schemas[verdict] += 1
        if automaton is None:
            tally.examples.append((verdict, entry["id"], said))
            return tally
        for test in entry["tests"]:
            admitted = admits(automaton, test["data"], schema)
            instance = json.dumps(test["data"], ensure_ascii=False)[:300]
            if not test["valid"]:
                tally.invalid["admitted" if admitted else "refused"] += 1
                if admitted:
                    tally.examples.append(("WRONGLY ADMITTED", entry["id"], instance))
                continue
            why = "admitted" if admitted else self._why_not(test["data"], schema)
            tally.valid[why] += 1
            if not admitted:
                tally.examples.append((f"valid, {why}", entry["id"], instance))
        return tally

    def _why_not(self, value: Any, schema: Any) -> str:
        """Whether the engine would have admitted a valid instance without what server/json_schema.py narrows."""
        if isinstance(schema, dict):
            options = {**BLANKS, "lenient": True}
            automaton = self._compiled({**schema, "x-guidance": options})[2]
            if automaton is not None and admits(automaton, value, schema):
                return "narrowed"
        return "wrong"


def read(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Entries by subset: the names of the folder and the file."""
    paths = sorted(folder.rglob("*.jsonl"))
    # not splitlines(): texts may have line separators of Unicode
    return {
        str(path.relative_to(folder).with_suffix("")): [
            json.loads(line) for line in path.read_text("utf-8").split("\n") if line
        ]
        for path in paths
    }


def share(count: int, total: int) -> str:
    return f"{count / total:.1%} of {total}" if total else "–"


def table(tallies: dict[str, Tally]) -> str:
    lines = [
        "| subset | schemas | compiled | refused by name | by the compiler | timed out | valid admitted | narrowed "
        "| wrong | invalid refused |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, tally in tallies.items():
        schemas, valid, invalid = tally.schemas, tally.valid, tally.invalid
        counts = [schemas["refused by name"], schemas["refused by the compiler"], schemas["timed out"]]
        cells = [name, schemas.total(), share(schemas["compiled"], schemas.total()).split(" ")[0], *counts]
        cells += [share(valid["admitted"], valid.total()), valid["narrowed"], valid["wrong"]]
        cells += [share(invalid["refused"], invalid.total())]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--examples", type=int, default=0, help="of each kind of refusal and fault that are shown")
    arguments = parser.parse_args()
    tokens = load_grammar_tokens(VOCABULARY, 2**20)
    coverage = Coverage(GrammarCompiler(tokens, tokens.size))
    tallies: dict[str, Tally] = {}
    for subset, entries in read(arguments.folder).items():
        tallies[subset] = Tally()
        for entry in entries:
            tallies[subset] += coverage.take(entry)
    whole = Tally()
    for tally in tallies.values():
        whole += tally
    tallies["**all**"] = whole
    print(table(tallies))
    by_kind: dict[str, list[tuple[str, str, str]]] = {}
    for example in whole.examples:
        by_kind.setdefault(example[0], []).append(example)
    for kind, examples in by_kind.items():
        print(f"\n{kind}: {len(examples)}")
        for _, id, text in examples[: arguments.examples]:
            print(f"    {id}: {text}")


if __name__ == "__main__":
    main()
