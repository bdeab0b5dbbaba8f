"""The generated conversations: training and evaluation apart, rendered as the server renders them, well-formed."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from demo.evaluate import questions_of
from demo.tokenizer import write_tokenizer
from demo.training import phrasing
from demo.training.batches import Encoder, make_batch
from demo.training.chance import Chance, Part, part_of_name
from demo.training.conversation import Example, all_text, ways
from demo.training.real_tools import real_actions, real_cases, real_texts
from demo.training.source import Mixing, examples
from demo.training.talk import REPEAT, UPPER, asked, talk_conversation
from demo.training.thoughts import thoughtful
from demo.training.tool_talk import SKILLS, tool_conversation, tool_requests
from demo.training.vocabulary import learn_ranks
from server.dialects.registry import load_dialect

COUNT = 1500
PARTS: tuple[Part, ...] = ("train", "held_out")
WORDS = ("Paris", "New", "qwertzuiop", "zzz", "Temperature", "ångström", "NASA", "x")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder with a tokenizer only."""
    path = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(path, learn_ranks(all_text(list(islice(examples(0, "train"), COUNT)))))
    return path


class Recorder(Chance):
    """Remembers which entries of which tables it picked."""

    def __init__(self, seed: int, part: Part) -> None:
        super().__init__(seed, part)
        self.picked: dict[int, set[Any]] = defaultdict(set)

    def pick(self, table: Sequence[Any]) -> Any:
        entry = super().pick(table)
        self.picked[id(table)].add(entry)
        return entry


def test_the_parts_share_no_tool_name() -> None:
    names = {
        part: {tool.name for example in islice(examples(3, part), COUNT) for tool in example.conversation.tools}
        for part in ("train", "held_out")
    }
    assert min(map(len, names.values())) > COUNT / 2  # about half of the examples declare tools
    assert not names["train"] & names["held_out"]


def test_the_parts_share_no_template_and_no_value_of_a_table() -> None:
    picked = []
    for part in ("train", "held_out"):
        chance = Recorder(5, part)
        for _ in range(COUNT):
            tool_conversation(chance)
            tool_requests(chance)
            talk_conversation(chance)
        picked.append(chance.picked)
    assert len(picked[0]) > 30
    for table, entries in picked[0].items():
        assert not entries & picked[1].get(table, set())


def test_no_wish_is_composed_around_a_held_out_phrase() -> None:
    """With few choices of words, composing comes upon held-out phrases often: it would show here."""
    words = ("echo", "write", "this", "the following", "in upper case", "in capitals", "please ", ": ")
    with pytest.MonkeyPatch.context() as patch:
        for table in ("_SAY", "_WORDS", "_CAPITALS", "_POLITE", "_COLONS"):
            entries = getattr(phrasing, table)
            patch.setattr(phrasing, table, [entry for entry in entries if entry in words])
        chance = Chance(7, "train")
        for table, compose, held_out in (
            (REPEAT, phrasing.repeating, "echo the following"),
            (UPPER, phrasing.shouting, "write this in upper case"),
        ):
            assert any(held_out + ":" in compose(chance).lower() for _ in range(2000))
            assert not any(held_out + ":" in asked(chance, table, compose).lower() for _ in range(2000))


def test_examples_are_reproducible() -> None:
    assert list(islice(examples(9, "train"), 50)) == list(islice(examples(9, "train"), 50))


def test_encoding_is_what_the_server_renders(folder: Path) -> None:
    encoder = Encoder(folder)
    dialect = load_dialect(folder, encoder.tokenizer)
    for example in islice(examples(11, "train"), 100):
        for question in questions_of(example):
            prompt = dialect.render(question.conversation)
            assert encoder.encode(example).tokens[: len(prompt)] == prompt


def test_every_turn_of_the_assistant_is_learnt_to_its_end(folder: Path) -> None:
    encoder = Encoder(folder)
    end = encoder.controls["<|im_end|>"]
    for example in islice(examples(13, "train"), 100):
        encoded = encoder.encode(example)
        turns = sum(message.role == "assistant" for way in ways(example) for message in way)
        assert len(encoded.calls) == turns == sum(encoded.tokens[place] == end for place in encoded.learnt)
        assert len(encoded.turns) == len(encoded.learnt)


def test_batches_predict_the_learnt_tokens_and_then_the_users_words(folder: Path) -> None:
    encoder = Encoder(folder)
    batch = make_batch([encoder.encode(example) for example in islice(examples(17, "train"), 8)])
    flat, targets = batch.tokens_BS.flatten(), batch.targets_P.tolist()
    assert flat[batch.from_P + 1].tolist() == targets
    assert targets[: batch.learnt] == [one.tokens[place] for one in batch.examples for place in one.learnt]
    assert targets[batch.learnt :] == [one.tokens[place] for one in batch.examples for place in one.asked]


def test_what_the_user_says_is_asked(folder: Path) -> None:
    encoder = Encoder(folder)
    for example in islice(examples(19, "train"), 50):
        encoded = encoder.encode(example)
        said = [message.content for way in ways(example) for message in way if message.role == "user"]
        assert [encoded.tokens[place] for place in encoded.asked] == [
            id for one in said for id in encoder.tokenizer.encode(one)
        ]


@pytest.mark.parametrize("skill", SKILLS)
def test_calls_fit_their_declaration(skill: str) -> None:
    chance = Chance(19, "train")
    for _ in range(100):
        conversation = tool_conversation(chance, skill=skill).conversation
        declared = {tool.name: tool.parameters for tool in conversation.tools}
        for message in conversation.messages:
            for call in message.tool_calls:
                arguments, parameters = json.loads(call.arguments), declared[call.name]
                assert parameters is not None
                assert set(parameters["required"]) <= set(arguments) <= set(parameters["properties"])
                assert list(arguments) == sorted(arguments)


def test_each_way_on_from_an_opening_is_encoded_as_it_would_be_alone(folder: Path) -> None:
    encoder, chance = Encoder(folder), Chance(43, "train")
    for _ in range(20):
        example = tool_requests(chance)
        together = encoder.encode(example)
        messages = example.conversation.messages
        system = messages[: messages[0].role == "system"]
        ends = [*together.starts[1:], len(together.tokens)]
        for way, start, end in zip(ways(example), together.starts, ends, strict=True):
            alone = encoder.encode(Example("", replace(example.conversation, messages=(*system, *way))))
            assert alone.tokens == together.tokens[: together.starts[0]] + together.tokens[start:end]
        assert together.skill in SKILLS
        assert len(together.calls) == together.turns[-1] + 1


def test_most_requests_end_with_the_first_answer() -> None:
    chance = Chance(47, "train")
    followed = [ways(tool_requests(chance)) for _ in range(50)]
    roles = [[message.role for message in way if message.role != "system"] for found in followed for way in found]
    assert sum(one == ["user", "assistant"] for one in roles) > len(roles) / 2
    assert any("tool" in one for one in roles)


def test_no_request_in_a_conversation_could_mean_two_of_its_tools() -> None:
    chance = Chance(53, "train")
    for _ in range(200):
        tools = tool_conversation(chance).conversation.tools
        assert len({tool.name for tool in tools}) == len(tools)


@pytest.mark.parametrize("word", WORDS)
def test_words_fall_into_the_same_pieces_wherever_they_stand(folder: Path, word: str) -> None:
    tokenizer = Encoder(folder).tokenizer

    def pieces(text: str) -> list[bytes]:
        return [tokenizer.token_bytes(token) for token in tokenizer.encode(text)]

    alone = pieces(word)
    assert pieces(f'{{"a":"{word}"')[-len(alone) - 1 : -1] == alone
    assert [piece.removeprefix(b" ") for piece in pieces(f"to {word}")[1:] if piece != b" "] == alone


def test_only_the_last_turn_shows_its_thought() -> None:
    chance = Chance(23, "train")
    for _ in range(100):
        conversation = thoughtful(chance, tool_conversation(chance)).conversation
        assert conversation.reasoning
        *earlier, last = conversation.messages
        assert last.role == "assistant"
        assert last.reasoning
        assert all(message.reasoning is None for message in earlier)
        for call in last.tool_calls:
            assert call.name in last.reasoning


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A folder with two declarations, one of them with a name from the held-out part, and a question to each."""
    names = {part: next(n for n in map("tool{}".format, range(99)) if part_of_name(n) == part) for part in PARTS}
    lines = [
        {
            "id": "live_simple_1",
            "messages": [{"role": "user", "content": "Do it with 7."}],
            "tools": [declaration(name)],
            "ground_truth": [{name: {"n": [7], "mode": ["", "fast"]}}],
        }
        for name in names.values()
    ]
    (tmp_path / "bfcl_v4").mkdir()
    (tmp_path / "bfcl_v4" / "live_simple.openai.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "bfcl_v4" / "simple_python.openai.jsonl").write_text("this file is for evaluation only")
    (tmp_path / "tau_bench").mkdir()
    (tmp_path / "tau_bench" / "airline_tools.json").write_text("[]")
    return tmp_path


def declaration(name: str) -> dict[str, Any]:
    properties = {"n": {"type": "integer"}, "mode": {"type": "string", "enum": ["fast", "slow"]}}
    return {"type": "function", "function": {"name": name, "parameters": {"properties": properties, "required": ["n"]}}}


def test_real_tools_are_used_in_training_unless_their_name_is_held_out(real: Path) -> None:
    (action,) = real_actions(real)
    (case,) = real_cases(real)
    assert part_of_name(action.tool.name) == "train"
    assert case.calls == ((action.tool.name, {"n": 7}),)
    assert "evaluation" not in "".join(real_texts(real))
    used = [example for example in islice(examples(29, "train", mixing=Mixing(real)), 300) if example.skill == "real"]
    assert used
    assert all(example.conversation.tools == case.tools for example in used)


def test_digits_stand_alone(folder: Path) -> None:
    assert len(Encoder(folder).tokenizer.encode("1234567890")) == 10
