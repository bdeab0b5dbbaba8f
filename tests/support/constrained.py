"""Drives an EngineCore with grammars to the end of its requests."""

import json
import time
from dataclasses import dataclass, field

from engine.core import EngineCore
from engine.load import Loaded
from engine.messages import GenerateRequest, Grammar, SamplingParams, TokenLogprobs
from engine.scheduling.scheduler import Scheduler, SchedulerConfig
from engine.vocabulary import TiktokenVocabulary


@dataclass
class Answer:
    """What came for one request."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    outputs: int = 0
    reason: str | None = None
    error: tuple[str, str] | None = None
    whole: bool = False

    def text(self, vocabulary: TiktokenVocabulary, stop: tuple[int, ...] = ()) -> str:
        """The tokens as text, without a stop token at the end."""
        known = vocabulary.token_bytes
        tokens = self.tokens[:-1] if self.tokens and self.tokens[-1] in stop else self.tokens
        return b"".join(known[token] for token in tokens).decode()


def make_core(loaded: Loaded, **changes: object) -> EngineCore:
    """A fresh engine over the loaded model, with its own bounds."""
    values = {
        "blocks": 1500,
        "block_size": 4,
        "max_running": 64,
        "max_batch_tokens": 512,
        "max_model_len": 512,
        "vocab_size": loaded.model_config.vocab_size,
    }
    ahead = bool(changes.pop("ahead", False))
    scheduler = Scheduler(SchedulerConfig(**values | changes))  # type: ignore[arg-type]
    return EngineCore(scheduler, loaded.new_runner(), loaded.new_compiler(), ahead=ahead)


def run(core: EngineCore, requests: list[GenerateRequest]) -> dict[str, Answer]:
    """Adds the requests and steps until all have ended, once each."""
    answers = {request.id: Answer() for request in requests}
    for request in requests:
        core.add(request)
    for _ in range(20_000):
        if not core.has_work:
            if not core.compiling:
                break
            time.sleep(0.001)
            continue
        for output in core.step().outputs:
            answer = answers[output.id]
            assert answer.reason is None, "an output after the last"
            assert answer.error is None, "an output after an error"
            answer.tokens += output.token_ids
            answer.logprobs += output.logprobs or []
            answer.outputs += 1
            answer.reason, answer.error, answer.whole = output.finish_reason, output.error, output.whole
    assert all(answer.reason or answer.error for answer in answers.values())
    assert core.scheduler.pool.held == 0
    return answers


def json_lark(schema: object) -> str:
    """A grammar of the JSON texts that obey a schema, without white space."""
    assert isinstance(schema, dict)
    return "start: %json " + json.dumps(schema | {"x-guidance": {"whitespace_flexible": False}})


def request(name: str, prompt: list[int], grammar: Grammar | str | None, **sampling: object) -> GenerateRequest:
    """A request with a grammar, or the source of one that begins at once."""
    params = SamplingParams(**{"max_tokens": 200} | sampling)  # type: ignore[arg-type]
    grammar = Grammar(grammar) if isinstance(grammar, str) else grammar
    return GenerateRequest(name, prompt, params, 0.0, grammar=grammar)
