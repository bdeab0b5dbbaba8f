"""What is asked of each server: some requests, some of them at a time. Knows no server.

Prompts have an exact number of tokens and differ from their first word on, so that no prefix cache helps, except in the
two cases that measure one.
"""

import random
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from server.commands.bench import WORDS
from server.commands.load import UNFINISHED, LoadClient, Outcome, run_level

LIMIT = 400.0  # seconds a case may take


@dataclass(frozen=True)
class Case:
    """`streams` requests at a time, `requests` in all. With `prefix` each stream's requests share that many tokens,
    which the server has seen before."""

    streams: int
    requests: int
    prompt: int
    answer: int
    prefix: int = 0


CASES = {
    "prefill 512": Case(1, 3, 512, 1),
    "prefill 2048": Case(1, 2, 2048, 1),
    "1 stream": Case(1, 3, 128, 128),
    "4 streams": Case(4, 8, 128, 128),
    "16 streams": Case(16, 32, 128, 128),
    "one token, 16 at once": Case(16, 800, 8, 1),
    "prefix, 1 user": Case(1, 4, 2064, 2, prefix=2048),
    "prefix, 16 users": Case(16, 16, 2064, 2, prefix=2048),
}


@dataclass(frozen=True)
class Result:
    """Times in milliseconds; rates a second."""

    errors: int
    output_rate: float
    request_rate: float
    prefill_rate: float | None  # of one stream: prompt tokens until the first text
    first: float | None  # median time to the first text
    each: float | None  # median time of a token after the first
    example: str | None


async def run_case(client: LoadClient, common: dict[str, Any], case: Case, texts: "Texts") -> Result:
    """Puts one case to a server that is ready. `common`: what each request has beside its prompt."""
    prefixes = [texts.make(case.prefix) if case.prefix else "" for _ in range(case.streams)]
    if case.prefix:
        await run_level(client, [_body(common, prefix, 1) for prefix in prefixes], case.streams, LIMIT, lambda: None)
    prompts = [
        f"{prefixes[number % case.streams]} {texts.make(case.prompt - case.prefix)}".strip()
        for number in range(case.requests)
    ]
    bodies = [_body(common, prompt, case.answer) for prompt in prompts]
    outcomes, seconds = await run_level(client, bodies, case.streams, LIMIT, lambda: None)
    return _result(case, outcomes, seconds)


def _body(common: dict[str, Any], prompt: str, answer: int) -> dict[str, Any]:
    return {**common, "prompt": prompt, "max_tokens": answer}


def _result(case: Case, outcomes: list[Outcome], seconds: float) -> Result:
    for one in outcomes:
        if one.error == UNFINISHED and one.gaps:  # transformers neither says [DONE] nor counts; each piece is a token
            one.error, one.completion_tokens = None, one.completion_tokens or len(one.gaps) + 1
    good = [one for one in outcomes if one.error is None]
    first = _median(one.first_text for one in good if one.first_text is not None)
    each = _median(
        (one.ended - one.started - one.first_text) / (one.completion_tokens - 1)
        for one in good
        if one.first_text is not None and one.completion_tokens > 1
    )
    return Result(
        errors=case.requests - len(good),
        output_rate=sum(one.completion_tokens for one in good) / seconds,
        request_rate=len(good) / seconds,
        prefill_rate=case.prompt / first if first and case.streams == 1 else None,
        first=first and first * 1e3,
        each=each and each * 1e3,
        example=next((one.error for one in outcomes if one.error), None),
    )


def _median(values: Iterable[float]) -> float | None:
    held = list(values)
    return statistics.median(held) if held else None


class Texts:
    """Texts of an exact number of tokens."""

    def __init__(self, tokenizer: str, seed: int) -> None:
        self._tokenizer = Tokenizer.from_file(tokenizer)
        self._random = random.Random(seed)

    def make(self, tokens: int) -> str:
        ids = self._ids(" ".join(self._random.choices(WORDS, k=tokens)))
        for cut in range(tokens, 0, -1):  # what is cut may not come back as the same tokens
            text: str = self._tokenizer.decode(ids[:cut]).strip()
            if len(self._ids(text)) == tokens:
                return text
            ids = ids[:cut] + self._ids(self._random.choice(WORDS)) + ids[cut:]
        raise ValueError(f"no text of {tokens} tokens was found")

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids
