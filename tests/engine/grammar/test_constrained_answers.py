"""Grammars through a whole engine with a random model: what comes out always matches, and does not depend on what
shares the batch, on chunks, on preemption or on a prefix-cache hit."""

import json
import random
import re
import time
from pathlib import Path

import jsonschema
import pytest
from support.constrained import Answer, json_lark, make_core, request, run

from engine import Grammar, TiktokenVocabulary, read_tiktoken_vocabulary
from engine.grammar import waiting
from engine.load import Loaded
from engine.messages import GenerateRequest
from engine.scheduling.plan import StepPlan

STRING = {"type": "string", "maxLength": 8}
SCHEMAS = [
    {"type": "object", "properties": {}, "additionalProperties": False},
    {"enum": ["a", "ab", 1, None, {"x": [1, 2]}]},
    {"const": {"fixed": ["text", 1.5, True, None]}},
    {"type": "boolean"},
    {"type": "integer", "minimum": -7, "maximum": 1000},
    {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 9}, "minItems": 2, "maxItems": 5},
    {"type": "string", "pattern": "^[a-z]{2,6}-[0-9]{3}$"},
    {"type": "string", "format": "date"},
    {"type": "array", "prefixItems": [STRING, {"type": "boolean"}], "items": False, "minItems": 2},
    {
        "type": "object",
        "properties": {"city": STRING, "unit": {"enum": ["celsius", "fahrenheit"]}, "days": {"enum": [1, 3, 7]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
    {
        "type": "object",
        "properties": {"kind": {"const": "circle"}, "centre": {"$ref": "#/$defs/point"}},
        "required": ["kind", "centre"],
        "additionalProperties": False,
        "$defs": {
            "point": {
                "type": "object",
                "properties": {axis: {"type": "integer", "minimum": 0, "maximum": 99} for axis in "xy"},
                "required": ["x", "y"],
                "additionalProperties": False,
            }
        },
    },
    {"type": "array", "items": {"type": "string", "minLength": 10, "maxLength": 20}, "minItems": 4, "maxItems": 6},
    {"anyOf": [{"type": "null"}, {"type": "array", "items": STRING, "maxItems": 2}]},
    {"type": "object", "properties": {"clé 漢字 😀": {"const": "<|im_end|>"}}, "required": ["clé 漢字 😀"]}
    | {"additionalProperties": False},
]


@pytest.fixture(scope="module")
def vocabulary(tiny_checkpoint: Path) -> TiktokenVocabulary:
    return read_tiktoken_vocabulary(tiny_checkpoint)


@pytest.fixture(scope="module")
def end(vocabulary: TiktokenVocabulary) -> tuple[int, ...]:
    return (vocabulary.control_tokens["<|im_end|>"],)


def schema_requests(end: tuple[int, ...], count: int, seed: int, **sampling: object) -> list[GenerateRequest]:
    rng = random.Random(seed)
    common = [rng.randrange(400) for _ in range(20)]
    return [
        request(
            f"r{index}",
            common[: rng.choice([0, 13, 20])] + [rng.randrange(400) for _ in range(rng.randrange(1, 30))],
            json_lark(SCHEMAS[index % len(SCHEMAS)]),
            **{"seed": rng.randrange(2**60), "stop_token_ids": end} | sampling,
        )
        for index in range(count)
    ]


def check(answer: Answer, schema: dict, vocabulary: TiktokenVocabulary, end: tuple[int, ...]) -> None:
    assert answer.error is None
    assert answer.reason == "stop"
    jsonschema.Draft202012Validator(schema).validate(json.loads(answer.text(vocabulary, end)))


def test_64_answers_at_once_obey_their_schemas(
    constrained_engine: Loaded, vocabulary: TiktokenVocabulary, end: tuple[int, ...]
) -> None:
    core = make_core(constrained_engine)
    answers = run(core, schema_requests(end, 64, seed=1))
    for index in range(64):
        check(answers[f"r{index}"], SCHEMAS[index % len(SCHEMAS)], vocabulary, end)
    stats = core.scheduler.stats(StepPlan([], [], [], 0), 0.0)
    assert stats.forced_tokens > 64


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0.0},
        {"top_k": 2},
        {"top_p": 0.1, "temperature": 1.5},
        {"min_p": 0.3},
        {"repetition_penalty": 1.5, "frequency_penalty": 1.0, "presence_penalty": 1.0},
        {"logit_bias": dict.fromkeys(range(100), 100.0) | dict.fromkeys(range(100, 300), -100.0)},
        {"min_tokens": 150},
        {"logprobs": 2},
        {"stop_token_ids": ()},
    ],
    ids=str,
)
def test_schemas_hold_under_all_ways_of_sampling(
    constrained_engine: Loaded, vocabulary: TiktokenVocabulary, end: tuple[int, ...], sampling: dict
) -> None:
    answers = run(make_core(constrained_engine), schema_requests(end, len(SCHEMAS), seed=2, **sampling))
    for index, schema in enumerate(SCHEMAS):
        answer = answers[f"r{index}"]
        check(answer, schema, vocabulary, end)
        assert len(answer.logprobs) == (len(answer.tokens) if "logprobs" in sampling else 0)


@pytest.mark.parametrize(("budget", "blocks"), [(7, 1500), (512, 45), (23, 60)])
def test_tokens_do_not_depend_on_company_chunks_cache_or_preemption(
    constrained_engine: Loaded, end: tuple[int, ...], budget: int, blocks: int
) -> None:
    requests = schema_requests(end, 20, seed=3, max_tokens=120)
    core = make_core(constrained_engine, max_batch_tokens=budget, blocks=blocks)
    together = run(core, requests)
    again = run(core, requests)  # now with what the prefix cache has
    alone_core = make_core(constrained_engine, prefix_caching=False)
    for one in requests:
        alone = run(alone_core, [one])[one.id]
        assert together[one.id].tokens == again[one.id].tokens == alone.tokens
    if blocks < 50:
        assert core.scheduler.stats(StepPlan([], [], [], 0), 0.0).preemptions > 0


@pytest.mark.parametrize("blocks", [90, 1500])
def test_steps_that_start_ahead_change_no_token(
    constrained_engine: Loaded, vocabulary: TiktokenVocabulary, end: tuple[int, ...], blocks: int
) -> None:
    """Beside free requests, with calls that begin in mid-text, log-probabilities, penalties and ends of all kinds."""
    begin = vocabulary.control_tokens["<|tool_calls_section_begin|>"]
    auto = Grammar(kimi_calls(SCHEMAS[9]), begin_with=(begin,))
    requests = schema_requests(end, 20, seed=5, max_tokens=90)
    requests += [
        request(f"auto{i}", [i], auto, seed=i, logit_bias={begin: 14.0}, stop_token_ids=end, max_tokens=60)
        for i in range(8)
    ]
    requests += [request(f"free{i}", [i, 7], None, seed=i, max_tokens=40, logprobs=i % 3 or None) for i in range(6)]
    requests += [
        request("none", [1], 'start: ""'),
        request("forbids", [1, 2], Grammar(None, forbidden=(5, 6)), max_tokens=30, seed=1),
        request("penalised", [3], json_lark(SCHEMAS[11]), stop_token_ids=end, repetition_penalty=1.5, seed=2),
        request("told", [3, 4], json_lark(SCHEMAS[9]), stop_token_ids=end, logprobs=3, seed=2),
    ]
    plain = run(make_core(constrained_engine, blocks=blocks), requests)
    core = make_core(constrained_engine, blocks=blocks, ahead=True)
    drawn, draw = [], core._runner.draw
    core._runner.draw = lambda plan, started: drawn.append(plan) or draw(plan, started)  # type: ignore[method-assign]
    ahead = run(core, requests)
    assert len(drawn) > 20
    for name, answer in ahead.items():
        assert answer.tokens == plain[name].tokens, name
        assert (answer.reason, answer.whole, answer.error) == (plain[name].reason, plain[name].whole, None)
        tops = [[[token for token, _ in one.top] for one in told.logprobs] for told in (answer, plain[name])]
        assert tops[0] == tops[1]


def test_forced_tokens_are_those_of_one_by_one_decoding(constrained_engine: Loaded, end: tuple[int, ...]) -> None:
    forced = run(make_core(constrained_engine), schema_requests(end, 26, seed=4))
    single = run(make_core(constrained_engine), schema_requests(end, 26, seed=4, logprobs=0))
    for name, answer in forced.items():
        assert answer.tokens == single[name].tokens
        assert answer.outputs <= single[name].outputs
    assert sum(a.outputs for a in forced.values()) < 0.8 * sum(a.outputs for a in single.values())


def test_logprobs_are_those_of_the_model(constrained_engine: Loaded) -> None:
    prompt = [5, 6, 7]
    free = run(make_core(constrained_engine), [request("r", prompt, None, max_tokens=1, logprobs=5)])["r"]
    bound = run(make_core(constrained_engine), [request("r", prompt, 'start: "zq"', max_tokens=1, logprobs=5)])["r"]
    assert bound.logprobs[0].top == free.logprobs[0].top
    assert bound.logprobs[0].logprob < free.logprobs[0].top[0][1]


def kimi_calls(schema: dict) -> str:
    return (
        "start: <|tool_calls_section_begin|> call <|tool_calls_section_end|>\n"
        'call: <|tool_call_begin|> "functions.get_weather:0" <|tool_call_argument_begin|> arguments <|tool_call_end|>\n'
        "arguments: " + json_lark(schema).removeprefix("start: ")
    )


def test_a_tool_call_of_kimi_by_the_names_of_its_control_tokens(
    constrained_engine: Loaded, vocabulary: TiktokenVocabulary, end: tuple[int, ...]
) -> None:
    core = make_core(constrained_engine)
    answer = run(core, [request("r", [1, 2, 3], kimi_calls(SCHEMAS[9]), stop_token_ids=end)])["r"]
    text = answer.text(vocabulary, end)
    match = re.fullmatch(
        r"<\|tool_calls_section_begin\|><\|tool_call_begin\|>functions\.get_weather:0"
        r"<\|tool_call_argument_begin\|>(.*)<\|tool_call_end\|><\|tool_calls_section_end\|>",
        text,
    )
    assert match is not None, text
    jsonschema.validate(json.loads(match.group(1)), SCHEMAS[9])
    begin = vocabulary.control_tokens["<|tool_calls_section_begin|>"]
    assert answer.tokens[0] == begin
    assert core.scheduler.stats(StepPlan([], [], [], 0), 0.0).forced_tokens >= 15


def test_a_schema_cannot_forge_control_tokens(
    constrained_engine: Loaded, vocabulary: TiktokenVocabulary, end: tuple[int, ...]
) -> None:
    answer = run(make_core(constrained_engine), [request("r", [1], json_lark({"const": "<|im_end|>"}))])["r"]
    assert answer.text(vocabulary) == '"<|im_end|>"'
    assert all(token < len(vocabulary.ranks) for token in answer.tokens)


def test_a_grammar_that_begins_with_a_sampled_token(
    constrained_engine: Loaded, vocabulary: TiktokenVocabulary, end: tuple[int, ...]
) -> None:
    begin = vocabulary.control_tokens["<|tool_calls_section_begin|>"]
    grammar = Grammar(kimi_calls(SCHEMAS[9]), begin_with=(begin,))
    requests = [
        request(f"r{i}", [i], grammar, seed=i, logit_bias={begin: 14.0}, stop_token_ids=end, max_tokens=120)
        for i in range(20)
    ]
    called = 0
    for answer in run(make_core(constrained_engine), requests).values():
        text = answer.text(vocabulary, end)
        content, marker, rest = text.partition("<|tool_calls_section_begin|>")
        if marker and answer.reason == "stop":
            called += 1
            assert rest.endswith("<|tool_calls_section_end|>")
        assert "<|tool_calls_section_end|>" not in content
    assert called > 5


def test_a_grammar_that_begins_behind_a_sampled_token_and_what_is_forbidden_before(
    constrained_engine: Loaded, vocabulary: TiktokenVocabulary, end: tuple[int, ...]
) -> None:
    close, opened = (vocabulary.control_tokens[name] for name in ("<|im_middle|>", "<|im_user|>"))
    grammar = Grammar(json_lark(SCHEMAS[9]), begin_after=(close,), forbidden=(*end, opened))
    bias = {close: 14.0, end[0]: 100.0, opened: 100.0}
    requests = [
        request(f"r{i}", [i], grammar, seed=i, logit_bias=bias, stop_token_ids=end, max_tokens=120) for i in range(8)
    ]
    finished = 0
    for answer in run(make_core(constrained_engine), requests).values():
        thought, _, content = answer.text(vocabulary, end).partition("<|im_middle|>")
        assert "<|im_user|>" not in thought
        if answer.reason == "stop":
            finished += 1
            jsonschema.validate(json.loads(content), SCHEMAS[9])
    assert finished >= 4


def test_forbidden_without_a_grammar(constrained_engine: Loaded, end: tuple[int, ...]) -> None:
    forbidden = tuple(range(0, 400, 2))
    bias = dict.fromkeys(forbidden, 50.0)
    one = request("r", [1], Grammar(None, forbidden=forbidden), logit_bias=bias, max_tokens=50)
    answer = run(make_core(constrained_engine), [one])["r"]
    assert len(answer.tokens) == 50
    assert not set(answer.tokens) & set(forbidden)


def test_the_length_cuts_forced_tokens(constrained_engine: Loaded, vocabulary: TiktokenVocabulary) -> None:
    text = "the very same words again and again and so on to the end of the line"
    whole = run(make_core(constrained_engine), [request("r", [1], f'start: "{text}"')])["r"]
    assert (whole.text(vocabulary), whole.reason, whole.outputs) == (text, "stop", 1)
    for count in (1, 5, len(whole.tokens) - 1):
        cut = run(make_core(constrained_engine), [request("r", [1], f'start: "{text}"', max_tokens=count)])["r"]
        assert (cut.tokens, cut.reason) == (whole.tokens[:count], "length")
    exact = run(make_core(constrained_engine), [request("r", [1], f'start: "{text}"', max_tokens=len(whole.tokens))])
    assert exact["r"].reason == "stop"


@pytest.mark.parametrize("logprobs", [None, 0])  # the tokens are forced, or drawn one by one
def test_a_stop_token_ends_only_where_the_text_matches(
    constrained_engine: Loaded, vocabulary: TiktokenVocabulary, logprobs: int | None
) -> None:
    stop = (vocabulary.control_tokens["<|im_end|>"],)

    def answer(source: str, **sampling: object) -> Answer:
        made = request("r", [1], source, stop_token_ids=stop, logprobs=logprobs, **sampling)
        return run(make_core(constrained_engine), [made])["r"]

    within = answer('start: "one" <|im_end|> "two"')
    assert (within.text(vocabulary), within.reason, within.whole) == ("one<|im_end|>two", "stop", True)
    last = answer('start: "one" <|im_end|>')
    assert (last.text(vocabulary), last.reason, last.whole) == ("one<|im_end|>", "stop", True)
    behind = answer('start: "one" (<|im_end|> "two")?', logit_bias={stop[0]: 100.0})
    assert (behind.text(vocabulary), behind.reason, behind.whole) == ("one<|im_end|>", "stop", False)


def test_text_that_is_to_stop_an_answer_does_not_cut_its_json(
    constrained_engine: Loaded, vocabulary: TiktokenVocabulary
) -> None:
    letter = vocabulary.token_bytes.index(b"a")
    properties = {"a": {"type": "string", "maxLength": 20}}
    schema = {"type": "object", "properties": properties, "required": ["a"], "additionalProperties": False}
    requests = [
        request(f"r{seed}", [seed], json_lark(schema), stop_token_ids=(letter,), seed=seed, max_tokens=200)
        for seed in range(4)
    ]
    for answer in run(make_core(constrained_engine), requests).values():
        assert answer.reason == "stop"
        assert list(json.loads(answer.text(vocabulary))) == ["a"]


def test_a_grammar_of_nothing_ends_with_nothing(constrained_engine: Loaded) -> None:
    answer = run(make_core(constrained_engine), [request("r", [1], 'start: ""')])["r"]
    assert (answer.tokens, answer.reason) == ([], "stop")


def test_stop_tokens_come_only_where_the_text_matches(
    constrained_engine: Loaded, vocabulary: TiktokenVocabulary, end: tuple[int, ...]
) -> None:
    bias = {end[0]: 100.0}
    requests = [
        request("free", [1], "start: /[a-z]+[0-9]{3}[a-z]*/", stop_token_ids=end, logit_bias=bias, max_tokens=100),
        request("least", [1], "start: /[a-z]*/", stop_token_ids=end, logit_bias=bias, min_tokens=7),
    ]
    answers = run(make_core(constrained_engine), requests)
    assert re.fullmatch("[a-z]+[0-9]{3}", answers["free"].text(vocabulary, end)) or answers["free"].reason == "length"
    assert len(answers["least"].tokens) == 8
    assert answers["least"].tokens[-1] == end[0]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("start: nothing", "nothing"),
        ("start: <|no_such_token|>", "<|no_such_token|>"),
        ("start: /(/", "regex"),
        ("start: a\na: a", "nothing matches"),
        ('start: %json {"type": "array", "uniqueItems": true}', "uniqueItems"),
        ('start: %json {"type": "string", "format": "phone"}', "phone"),
        ('start: %json {"$ref": "https://example.com/schema.json"}', "https://example.com/schema.json"),
        ('start: %json {"not": {}, "x-guidance": {"lenient": true}}', "not"),
        ('start: %json {"type": 5}', ""),
        ("start: " + " | ".join(f'"{i:x}{"z" * i}"' for i in range(100, 160)) + "(" * 3000, ""),
        ("start: /a{100000}/", "32768 bytes"),
        ("start: /x/" + " " * 2**21, "characters"),
    ],
    ids=range(12),
)
def test_a_bad_grammar_is_refused_alone(
    constrained_engine: Loaded, vocabulary: TiktokenVocabulary, end: tuple[int, ...], source: str, says: str
) -> None:
    core = make_core(constrained_engine)
    good = request("good", [1, 2], json_lark(SCHEMAS[9]), stop_token_ids=end)
    plain = request("plain", [1, 2], None, max_tokens=5)
    if len(source) > 2**20:
        with pytest.raises(Exception, match=says):
            core.add(request("bad", [1], source))
        return
    answers = run(core, [request("bad", [1, 2, 3], source), good, plain])
    assert answers["bad"].error is not None
    code, text = answers["bad"].error
    assert code == "invalid_grammar"
    assert says.lower() in text.lower()
    assert "\n" not in text
    check(answers["good"], SCHEMAS[9], vocabulary, end)
    assert len(answers["plain"].tokens) == 5


@pytest.mark.parametrize(
    "source",
    [
        "start: /((a|b|ab|ba|aa)*c?){1,100}{1,100}/",
        "start: /(.*a.{60}b)+(.*c.{60})/",
        'start: e\ne: e e | /[a-z]/ | ""',
        "start: x{300}\nx: y{300}\ny: /[ab]/",
        'start: "x" /a{100000}/',
        "start: /[xy]/ /a{100000}/",
    ],
)
def test_a_costly_grammar_is_bounded_and_hurts_nobody_else(
    constrained_engine: Loaded,
    vocabulary: TiktokenVocabulary,
    end: tuple[int, ...],
    source: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "COMPILE_SECONDS", 100.0)  # of the clock: a loaded machine needs more
    core = make_core(constrained_engine)
    answers = run(core, [request("bomb", [1], source, max_tokens=30), *schema_requests(end, 3, seed=5)])
    bomb = answers["bomb"]
    assert bomb.reason in ("length", "stop") or bomb.error[0] == "invalid_grammar"
    for index in range(3):
        check(answers[f"r{index}"], SCHEMAS[index], vocabulary, end)


def test_others_go_on_while_a_grammar_compiles_and_cancel_ends_the_wait(
    constrained_engine: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    from threading import Event

    from engine.grammar import compiler

    go, compile_ = Event(), compiler._compiled_here

    def slowly(*arguments: object) -> object:
        assert go.wait(20)
        return compile_(*arguments)

    monkeypatch.setattr(compiler, "_compiled_here", slowly)
    core = make_core(constrained_engine)
    core.add(request("slow", [1], 'start: "abc"'))
    core.add(request("gone", [1], 'start: "abcd"'))
    assert core.compiling == 2
    assert not core.has_work
    core.add(request("plain", [1], None, max_tokens=3))
    outputs = [output for _ in range(3) for output in core.step().outputs]
    assert [output.id for output in outputs] == ["plain"] * 3
    assert core.cancel("gone")
    assert not core.cancel("gone")
    woken = Event()
    core.on_compiled(woken.set)
    go.set()
    assert woken.wait(20)
    while not core.has_work:
        time.sleep(0.001)
    report = core.step()
    assert [(output.id, output.finish_reason) for output in report.outputs] == [("slow", "stop")]
    assert not core.compiling


def test_a_grammar_that_waits_for_too_long_is_refused(
    constrained_engine: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    from threading import Event

    from engine.grammar import compiler, waiting

    go = Event()
    monkeypatch.setattr(compiler, "_compiled_here", lambda *arguments: go.wait(20))
    monkeypatch.setattr(waiting, "COMPILE_SECONDS", 0.0)
    core = make_core(constrained_engine)
    answers = run(core, [request("slow", [1], 'start: "abc"')])
    go.set()
    assert answers["slow"].error[0] == "engine_busy"
    assert "try again later" in answers["slow"].error[1]


def test_a_grammar_names_only_tokens_that_exist(constrained_engine: Loaded) -> None:
    core = make_core(constrained_engine)
    with pytest.raises(Exception, match="forbidden names token 99999999"):
        core.add(request("r", [1], Grammar(None, forbidden=(99999999,))))
    answers = run(core, [request("r", [1], Grammar('start: "a"', begin_with=(5,)))])
    assert answers["r"].error[0] == "invalid_grammar"


def test_logits_that_are_not_numbers_fail_a_constrained_request_alone(
    constrained_engine: Loaded, vocabulary: TiktokenVocabulary, end: tuple[int, ...]
) -> None:
    embedding = constrained_engine.model.get_parameter("embedding").data
    poison, kept = 399, embedding[399].clone()
    embedding[poison] = float("nan")
    try:
        core = make_core(constrained_engine, prefix_caching=False)
        bad = request("bad", [5, poison], json_lark(SCHEMAS[9]), stop_token_ids=end)
        good = request("good", [5, 6], json_lark(SCHEMAS[4]), stop_token_ids=end, logit_bias={poison: -100.0})
        answers = run(core, [bad, good])
    finally:
        embedding[poison] = kept
    assert answers["bad"].error[0] == "engine_error"
    check(answers["good"], SCHEMAS[4], vocabulary, end)
