"""How much of JSON Schema is held, and how rightly: published schemas with valid and invalid instances.

    python -m benchmarks.schema_coverage FOLDER [--engine llguidance] [--published FILE] [--examples N]

FOLDER has JSON lines, in folders as deep as they like, a schema a line: {"id", "schema", "tests": [{"data",
"valid"}]}.
Each schema goes the server's way, or that of another library (benchmarks/schema_engines.py), then each instance is
written as a model would have to write it and taken through the grammar. Prints a Markdown table. "right": compiled, and
every instance is decided rightly. FILE is llguidance's json_stats/expected_maskbench.json: its own results by schema,
{} if right, else the kind of error.
"""

import argparse
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.schema_engines import Abruzzi, Accepts, RawLlguidance, Verdict, Xgrammar, in_child
from engine.grammar.compiler import GrammarCompiler
from engine.grammar.tokens import load_grammar_tokens
from server.json_schema import BLANKS

VOCABULARY = Path(__file__).parents[1] / "tests" / "data" / "tiny_kimi"
ORDERS = 200  # of an instance's properties that are tried, at most


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
        yield from _parts(_target(reference, root), root, depth + 1)
    for keyword in ("allOf", "anyOf", "oneOf"):
        for one in schema.get(keyword, ()):
            yield from _parts(one, root, depth + 1)


def _target(reference: str, root: Any) -> Any:
    """What a reference within the schema points at; None if that is nothing plain."""
    target = root
    for step in reference.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        try:
            target = target[int(step)] if isinstance(target, list) else target[step]
        except (LookupError, TypeError, ValueError):
            return None
    return target


def admits(accepts: Accepts, value: Any, schema: Any) -> bool:
    """Whether any way of writing the instance matches."""
    candidates = itertools.chain([in_order_of(schema, value, schema)], itertools.islice(orders(value), ORDERS))
    return any(accepts(json.dumps(one, ensure_ascii=False, separators=(",", ":"))) for one in candidates)


class Coverage:
    """Takes schemas and their instances through an engine."""

    def __init__(self, engine: Abruzzi | RawLlguidance | Xgrammar) -> None:
        self._engine = engine

    def compile(self, schema: Any) -> tuple[Verdict, str, Accepts | None]:
        """The engine's verdict, the text of a refusal, what takes texts."""
        return self._engine.compile(schema)

    def take_apart(self, entry: dict[str, Any]) -> Tally:
        """`take`, in a process of its own if the engine may crash."""
        if not self._engine.isolated:
            return self.take(entry)
        found = in_child(lambda: self.take(entry))
        return found if isinstance(found, Tally) else Tally(schemas=Counter([found]))

    def take(self, entry: dict[str, Any]) -> Tally:
        tally, schema = Tally(), entry["schema"]
        started = time.perf_counter()
        verdict, said, accepts = self.compile(schema)
        tally.seconds.append(time.perf_counter() - started)
        tally.schemas[verdict] += 1
        if accepts is None:
            tally.examples.append((verdict, entry["id"], said))
            return tally
        for test in entry["tests"]:
            admitted = admits(accepts, test["data"], schema)
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
        tally.schemas["right"] += not (tally.invalid["admitted"] or tally.valid["narrowed"] or tally.valid["wrong"])
        return tally

    def _why_not(self, value: Any, schema: Any) -> str:
        """Whether the engine would have admitted a valid instance without what server/json_schema.py narrows."""
        if isinstance(schema, dict) and isinstance(self._engine, Abruzzi):
            options = {**BLANKS, "lenient": True}
            accepts = self._engine.compile_as_is({**schema, "x-guidance": options})[2]
            if accepts is not None and admits(accepts, value, schema):
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


VERDICTS: tuple[Verdict, ...] = ("compiled", "refused by name", "refused by the compiler", "timed out", "crashed")


def table(tallies: dict[str, Tally], published: dict[str, Counter[str]]) -> str:
    names = ["subset", "schemas", "compiled", "right", "refused by name", "by the compiler", "timed out", "crashed"]
    names += ["valid admitted", "narrowed", "wrong", "invalid refused"]
    names += ["published: right", "refused", "wrong"] if published else []
    lines = ["| " + " | ".join(names) + " |", "|---" + "|---:" * (len(names) - 1) + "|"]
    for name, tally in tallies.items():
        schemas, valid, invalid = tally.schemas, tally.valid, tally.invalid
        total = sum(schemas[verdict] for verdict in VERDICTS)
        cells: list[Any] = [name, total, *(share(schemas[what], total).split(" ")[0] for what in ("compiled", "right"))]
        cells += [schemas[verdict] for verdict in VERDICTS[1:]]
        cells += [share(valid["admitted"], valid.total()), valid["narrowed"], valid["wrong"]]
        cells += [share(invalid["refused"], invalid.total())]
        if published:
            known = published.get(name, Counter())
            cells += [share(known["right"], known.total()), known["refused"], known["wrong"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def read_published(file: Path, suites: dict[str, list[dict[str, Any]]]) -> dict[str, Counter[str]]:
    """llguidance's own results for those of our schemas that it has, by subset."""
    results = json.loads(file.read_text("utf-8"))
    kinds = {"json_error": "refused", "validation_error": "wrong"}
    found = {
        subset: Counter(
            next((kinds[kind] for kind in results[entry["id"]]), "right") for entry in entries if entry["id"] in results
        )
        for subset, entries in suites.items()
    }
    return found | {"**all**": sum(found.values(), Counter())}


def make_engine(name: str) -> Abruzzi | RawLlguidance | Xgrammar:
    tokens = load_grammar_tokens(VOCABULARY, 2**20)
    if name == "llguidance":
        return RawLlguidance(tokens)
    return Xgrammar() if name == "xgrammar" else Abruzzi(GrammarCompiler(tokens, tokens.size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", default="abruzzi", choices=("abruzzi", "llguidance", "xgrammar"))
    parser.add_argument("--published", type=Path, help="llguidance's expected_maskbench.json")
    parser.add_argument("--examples", type=int, default=0, help="of each kind of refusal and fault that are shown")
    arguments = parser.parse_args()
    coverage = Coverage(make_engine(arguments.engine))
    tallies: dict[str, Tally] = {}
    suites = read(arguments.folder)
    for subset, entries in suites.items():
        tallies[subset] = Tally()
        for entry in entries:
            tallies[subset] += coverage.take_apart(entry)
    whole = Tally()
    for tally in tallies.values():
        whole += tally
    tallies["**all**"] = whole
    print(table(tallies, read_published(arguments.published, suites) if arguments.published else {}))
    by_kind: dict[str, list[tuple[str, str, str]]] = {}
    for example in whole.examples:
        by_kind.setdefault(example[0], []).append(example)
    for kind, examples in by_kind.items():
        print(f"\n{kind}: {len(examples)}")
        for _, id, text in examples[: arguments.examples]:
            print(f"    {id}: {text}")


if __name__ == "__main__":
    main()
