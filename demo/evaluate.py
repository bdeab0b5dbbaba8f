"""Measures the demonstration model on conversations that no training example was made from.

python -m demo.evaluate --base-url http://127.0.0.1:8000/v1     a running server
python -m demo.evaluate --model FOLDER                          the engine in this process, no server

The figures of the model card are those of a server with --no-constrained-decoding; --constrained-url names one without
this flag, for the second column.
"""

import argparse
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from demo.training.answering import Answer, Answerer, InProcess, OverHttp
from demo.training.chance import Chance
from demo.training.conversation import Example
from demo.training.scoring import bfcl_match, quotes, same_calls, same_names
from demo.training.talk import talk_conversation
from demo.training.thoughts import thoughtful
from demo.training.tool_talk import SKILLS, tool_conversation
from server.conversation import Conversation, Message, Tool

SEED = 8611
BFCL = ("simple_python", "multiple", "irrelevance")
MARKS = ("<!-- figures -->", "<!-- end of figures -->")

TARGETS = {
    "right tool, or rightly none": 95,
    "single call, all arguments right": 85,
    "parallel calls, all right": 70,
    "answer quotes the result": 95,
    "ends its turn": 99,
}

# Tools declared, so that prompts of all lengths come about; and the borders of the rows, in tokens.
TOOLS_DECLARED = (1, 6, 14, 28, 56, 110)
LENGTHS = (0, 256, 1024, 2048, 4096, 8192)
LENGTH_ROW = "right tool, prompts of {} to {} tokens"

Scores = dict[str, list[bool]]


@dataclass(frozen=True)
class Question:
    """A conversation up to an assistant's turn, and that turn as it should be."""

    skill: str
    conversation: Conversation
    reference: Message
    results: tuple[str, ...]  # of the tools called just before


def main() -> None:
    options = _options()
    columns = [measure(answerer, options.examples, options.bfcl) for answerer in _answerers(options)]
    print(table(columns))
    if options.card is not None:
        write_card(options.card, table(columns))


def _answerers(options: argparse.Namespace) -> Iterator[Answerer]:
    if options.model is not None:
        yield InProcess(options.model, options.threads)
    else:
        urls = [options.base_url, options.constrained_url]
        yield from (OverHttp(url, options.name) for url in urls if url is not None)


def measure(answerer: Answerer, examples: int, bfcl_folder: Path | None) -> Scores:
    """All scores; the leaderboard's if its folder is given."""
    scores = evaluate(answerer, examples) | by_manner(answerer, 4 * examples) | by_length(answerer, examples // 3)
    if bfcl_folder is not None:
        scores |= {f"BFCL {name}": bfcl(answerer, bfcl_folder / f"{name}.openai.jsonl") for name in BFCL}
    return scores


def evaluate(answerer: Answerer, examples: int) -> Scores:
    """Scores of every assistant's turn in `examples` held-out conversations of each kind of tool use, and as many
    without tools."""
    questions = [question for example in held_out(examples) for question in questions_of(example)]
    answers = answerer.answer([question.conversation for question in questions])
    scores: Scores = defaultdict(list)
    for question, answer in zip(questions, answers, strict=True):
        for name, right in score(question, answer):
            scores[name].append(right)
    return dict(scores)


def by_manner(answerer: Answerer, examples: int) -> Scores:
    """Whether single calls are right, by the kind of tool and how it is asked for."""
    chance = Chance(SEED - 4, "held_out")
    made = [tool_conversation(chance, skill="single") for _ in range(examples)]
    questions = [next(questions_of(example)) for example in made]
    scores: Scores = defaultdict(list)
    answers = answerer.answer([question.conversation for question in questions])
    for example, question, answer in zip(made, questions, answers, strict=True):
        scores[f"single call of {example.manner}, all right"].append(same_calls(answer, question.reference))
    return dict(scores)


def by_length(answerer: Answerer, examples: int) -> Scores:
    """Whether the right tool is called, by the prompt's length: single calls with more and more tools declared."""
    chance = Chance(SEED - 3, "held_out")
    made = [
        tool_conversation(chance, count, skill="single", least_tools=count)
        for count in TOOLS_DECLARED
        for _ in range(examples)
    ]
    questions = [next(questions_of(example)) for example in made]
    answers = answerer.answer([_with_one_of_each_name(question.conversation) for question in questions])
    scores: Scores = {}
    for low, high in itertools.pairwise(LENGTHS):
        rights = [
            same_names(answer, question.reference)
            for question, answer in zip(questions, answers, strict=True)
            if low < answer.prompt_tokens <= high
        ]
        if rights:
            scores[LENGTH_ROW.format(f"{low + 1:,}", f"{high:,}")] = rights
    return scores


def _with_one_of_each_name(conversation: Conversation) -> Conversation:
    """Many tools may have a name in common, which servers refuse."""
    return replace(conversation, tools=tuple({tool.name: tool for tool in conversation.tools}.values()))


def held_out(examples: int) -> Iterator[Example]:
    """Conversations from the held-out part, the same on every run."""
    for number, skill in enumerate(SKILLS):
        chance = Chance(SEED + number, "held_out")
        yield from (tool_conversation(chance, skill=skill) for _ in range(examples))
    chance = Chance(SEED - 1, "held_out")
    yield from islice(iter(lambda: talk_conversation(chance, most_turns=1), None), 3 * examples)
    chance = Chance(SEED - 2, "held_out")
    yield from (thoughtful(chance, tool_conversation(chance, most_turns=1)) for _ in range(examples))


def questions_of(example: Example) -> Iterator[Question]:
    """One question for each of the assistant's turns; of a thoughtful conversation, for the last one."""
    messages = example.conversation.messages
    thinks = example.conversation.reasoning
    for place, message in enumerate(messages):
        if message.role == "assistant" and (not thinks or place == len(messages) - 1):
            asked = replace(example.conversation, messages=messages[:place])
            results: list[str] = []
            while messages[place - 1 - len(results)].role == "tool":
                results.append(messages[place - 1 - len(results)].content)
            yield Question(example.skill, asked, message, tuple(results))


def score(question: Question, answer: Answer) -> Iterator[tuple[str, bool]]:
    """What this turn says about the model."""
    reference = question.reference
    if question.conversation.reasoning:
        yield "thinking: a thought, then the right answer", bool(answer.thought) and _is_right(question, answer)
        return
    yield "ends its turn", answer.ended
    if question.conversation.tools and not question.results:
        yield "right tool, or rightly none", same_names(answer, reference)
    if len(reference.tool_calls) == 1:
        yield "single call, all arguments right", same_calls(answer, reference)
    elif reference.tool_calls:
        yield "parallel calls, all right", same_calls(answer, reference)
    elif question.results:
        yield "answer quotes the result", quotes(answer, list(question.results))
    else:
        yield f"{question.skill}: the expected answer", _is_right(question, answer)


def _is_right(question: Question, answer: Answer) -> bool:
    if question.results and not question.reference.tool_calls:
        return quotes(answer, list(question.results))
    if question.reference.tool_calls:
        return same_calls(answer, question.reference)
    return not answer.calls and answer.text.strip() == question.reference.content


def bfcl(answerer: Answerer, path: Path) -> list[bool]:
    """A part of the Berkeley Function Calling Leaderboard; without a ground truth, no call is right."""
    cases = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    answers = answerer.answer([_bfcl_conversation(case) for case in cases])
    scores = []
    for case, answer in zip(cases, answers, strict=True):
        truth = case.get("ground_truth")
        dotted = {name.replace(".", "_"): name for call in truth or () for name in call}
        scores.append(bfcl_match(answer, truth, dotted) if truth else not answer.calls)
    return scores


def _bfcl_conversation(case: dict[str, Any]) -> Conversation:
    functions = [tool["function"] for tool in case["tools"]]
    tools = tuple(Tool(one["name"], one.get("description"), one.get("parameters")) for one in functions)
    return Conversation(tuple(Message(one["role"], one["content"]) for one in case["messages"]), tools)


def table(columns: Sequence[Scores]) -> str:
    """A table in Markdown: first what there are targets for. A second column is with constrained decoding."""
    rows = [LENGTH_ROW.format(f"{low + 1:,}", f"{high:,}") for low, high in itertools.pairwise(LENGTHS)]
    first = [name for name in (*TARGETS, *rows) if name in columns[0]]
    names = [*first, *sorted(set(columns[0]) - set(first))]
    heads = ["right", "with constrained decoding"][: len(columns)]
    lines = [f"| what | wanted | {' | '.join(heads)} | of |", "|---" * (3 + len(columns)) + "|"]
    for name in names:
        shares = " | ".join(_percent(scores[name]) for scores in columns)
        target = f"{TARGETS[name]}%" if name in TARGETS else ""
        lines.append(f"| {name} | {target} | {shares} | {len(columns[0][name])} |")
    return "\n".join(lines)


def _percent(right: list[bool]) -> str:
    return f"{100 * sum(right) / len(right):.1f}%"


def write_card(path: Path, text: str) -> None:
    """Puts `text` between the marks in the model card."""
    before, _, rest = path.read_text("utf-8").partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    path.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}", "utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.evaluate", description=(__doc__ or "").splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--base-url", help="of a running server, /v1 included")
    source.add_argument("--model", type=Path, help="folder of a checkpoint, run in this process")
    parser.add_argument("--constrained-url", help="of a second server, for the column with constrained decoding")
    parser.add_argument("--name", help="the model's name in requests to a server; default: the first that it serves")
    parser.add_argument("--examples", type=int, default=50, help="conversations of each kind")
    parser.add_argument("--threads", type=int, help="CPU threads of the engine in this process")
    parser.add_argument("--card", type=Path, help="model card to write the table to")
    parser.add_argument("--bfcl", type=Path, help="folder with the parts of the Berkeley Function Calling Leaderboard")
    return parser.parse_args()


if __name__ == "__main__":
    main()
