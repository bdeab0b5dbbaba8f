"""How tokens are drawn for one request: the checkpoint's defaults, overridden by what the client said, within the
bounds of the engine. Knows no wire format; ranges of single values are the protocol's schema's."""

from dataclasses import dataclass, field
from typing import TypeVar

from engine import Ready, SamplingParams
from server.errors import InvalidRequest
from server.text.tokenizer import Tokenizer

T = TypeVar("T", int, float)
GOLDEN = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: multiples of it are spread evenly


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingDefaults:
    """What generation_config.json says; what it leaves out changes nothing about the model's distribution."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOverrides:
    """What the client said. None: the checkpoint's default, or for `max_tokens` the rest of the context, or for
    `seed` a drawn one. `cut_max_tokens`: where the context has less room than `max_tokens`, that much will do."""

    max_tokens: int | None = None
    cut_max_tokens: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: dict[int, float] = field(default_factory=dict)
    seed: int | None = None
    min_tokens: int = 0
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    prompt_logprobs: int | None = None


def context_length(ready: Ready) -> int:
    """The most tokens, prompt and answer together, that one sequence can have."""
    return min(ready.max_model_len, ready.kv_tokens)


def allowed_tokens(
    prompt_tokens: int, max_tokens: int | None, ready: Ready, *, cut: bool = False, param: str = "messages"
) -> int:
    """How many tokens may be generated. Raises InvalidRequest if they do not fit the context; with `cut`, only if
    none does. `param`: where the prompt is in the request."""
    limit = context_length(ready)
    if prompt_tokens + (max_tokens != 0) > limit:
        raise InvalidRequest(
            f"The context holds {limit} tokens; the prompt has {prompt_tokens}, which leaves none for the answer.",
            param=param,
            code="context_length_exceeded",
        )
    if max_tokens is None or (cut and prompt_tokens + max_tokens > limit):
        return limit - prompt_tokens
    if prompt_tokens + max_tokens > limit:
        raise InvalidRequest(
            f"The context holds {limit} tokens; you asked for {prompt_tokens + max_tokens}: {prompt_tokens} in the "
            f"prompt and {max_tokens} for the answer.",
            param=param,
            code="context_length_exceeded",
        )
    return max_tokens


def check_token_ids(overrides: SamplingOverrides, tokenizer: Tokenizer, vocab_size: int) -> None:
    """Raises InvalidRequest if `logit_bias` or `stop_token_ids` name a token that does not exist."""
    size = min(vocab_size, tokenizer.vocab_size)
    for param, ids in (("logit_bias", overrides.logit_bias), ("stop_token_ids", overrides.stop_token_ids)):
        for token_id in ids:
            if not (0 <= token_id < size and tokenizer.token_bytes(token_id)):
                raise InvalidRequest(
                    f"{param}: there is no token {token_id}; ids go from 0 to {size - 1}.", param=param
                )


def resolve(
    overrides: SamplingOverrides, defaults: SamplingDefaults, eos_ids: frozenset[int], max_tokens: int, seed: int
) -> SamplingParams:
    """The parameters for the engine. `max_tokens` as from `allowed_tokens`. Raises InvalidRequest."""
    if overrides.min_tokens > max_tokens:
        raise InvalidRequest(
            f"min_tokens is {overrides.min_tokens}, but at most {max_tokens} tokens may be generated.",
            param="min_tokens",
        )
    stops = set(overrides.stop_token_ids) | (set() if overrides.ignore_eos else eos_ids)
    return SamplingParams(
        max_tokens=max_tokens,
        temperature=_first(overrides.temperature, defaults.temperature),
        top_p=_first(overrides.top_p, defaults.top_p),
        top_k=_first(overrides.top_k, defaults.top_k),
        min_p=_first(overrides.min_p, defaults.min_p),
        repetition_penalty=_first(overrides.repetition_penalty, defaults.repetition_penalty),
        frequency_penalty=overrides.frequency_penalty,
        presence_penalty=overrides.presence_penalty,
        logit_bias=overrides.logit_bias,
        seed=seed,
        min_tokens=overrides.min_tokens,
        stop_token_ids=tuple(sorted(stops)),
        logprobs=overrides.logprobs,
        prompt_logprobs=overrides.prompt_logprobs,
    )


def sequence_seed(seed: int, index: int) -> int:
    """The seed of a request's sequence `index`, from 0 to 2**63 - 1. Sequence 0 has the request's own, so that the
    first of n answers is the answer to the same request with n = 1."""
    return (seed + index * GOLDEN) % 2**63


def _first(chosen: T | None, default: T) -> T:
    return default if chosen is None else chosen
