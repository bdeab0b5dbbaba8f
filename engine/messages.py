"""What crosses the process boundary, as msgspec structs in MessagePack. Plain data only.

API process  -> engine:  GenerateRequest | Cancel | Ping
engine -> API process:   Planned and Loading, then Ready | LoadFailed, then one StepReport a step
"""

from typing import Literal

import msgspec

FinishReason = Literal["stop", "length"]


class SamplingParams(msgspec.Struct, frozen=True, array_like=True):
    """How tokens are drawn and when a request ends. The defaults leave the model's distribution as it is."""

    max_tokens: int  # 0: compute the prompt and end
    temperature: float = 1.0  # 0: the most likely token
    top_p: float = 1.0
    top_k: int = 0  # 0: all
    min_p: float = 0.0
    repetition_penalty: float = 1.0  # over prompt and output
    frequency_penalty: float = 0.0  # over output
    presence_penalty: float = 0.0  # over output
    logit_bias: dict[int, float] = {}
    seed: int = 0  # the caller draws one if the user gave none
    min_tokens: int = 0  # no stop token before that many
    stop_token_ids: tuple[int, ...] = ()  # the end-of-sequence set and the request's own
    logprobs: int | None = None  # None: none; n: the chosen token's and the n most likely
    prompt_logprobs: int | None = None  # the same for the prompt's tokens behind the first


class Grammar(msgspec.Struct, frozen=True, array_like=True):
    """What the output must match, in Lark as llguidance reads it (control tokens by name, `%json {schema}`).

    When it begins: with the first output token if `begin_with` and `begin_after` are empty; otherwise with the token of
    `begin_with` that is sampled, which is its first; or behind one of `begin_after`, which is not part of it. Before
    that the model is free, but for `forbidden` tokens. `source` None: it never begins, and only forbids.
    Once it matches, a stop token may end the request; once it cannot go on, the request ends.
    """

    source: str | None
    begin_with: tuple[int, ...] = ()
    begin_after: tuple[int, ...] = ()
    forbidden: tuple[int, ...] = ()


class GenerateRequest(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """One sequence to generate. `arrival` is CLOCK_MONOTONIC in seconds, shared by the processes of a machine.
    Lower `priority` goes first. Requests share cached prefixes only within one `cache_salt`."""

    id: str
    prompt: list[int]
    sampling: SamplingParams
    arrival: float
    priority: int = 0
    cache_salt: str = ""
    grammar: Grammar | None = None


class Cancel(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The caller no longer wants request `id`. Unknown ids are ignored: it may just have finished."""

    id: str


class Ping(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Asks for a sign of life: a StepReport."""


ToEngine = GenerateRequest | Cancel | Ping


class TokenLogprobs(msgspec.Struct, frozen=True, array_like=True):
    """Log-probabilities of one token under the model's own distribution (before temperature, penalties and filters),
    and the most likely alternatives in falling order."""

    logprob: float
    top: list[tuple[int, float]]


class StepOutput(msgspec.Struct, array_like=True):
    """What one step brought one request. After a `finish_reason` or an `error` nothing more comes for it."""

    id: str
    token_ids: list[int]
    finish_reason: FinishReason | None = None
    error: tuple[str, str] | None = None  # (code, text)
    logprobs: list[TokenLogprobs] | None = None  # one for each of token_ids
    cached_tokens: int | None = None  # prompt tokens found in the prefix cache; on the first output only
    queue_seconds: float | None = None  # arrival to first scheduled; on the first output only
    # The next of the prompt's tokens behind its first, if they were asked for: all have come with the first token.
    prompt_logprobs: list[TokenLogprobs] | None = None
    whole: bool = False  # the last token is text though it may be a stop token: a grammar ends with it


class EngineStats(msgspec.Struct, frozen=True, array_like=True):
    """The engine's state after a step. Counters only grow (within one engine process)."""

    running: int = 0
    waiting: int = 0
    blocks_total: int = 0
    blocks_held: int = 0
    blocks_cached: int = 0
    # counters
    steps: int = 0
    preemptions: int = 0
    prefix_queries: int = 0  # prompt tokens looked up
    prefix_hits: int = 0  # of these found
    # the last step
    batch_requests: int = 0
    batch_tokens: int = 0
    step_seconds: float = 0.0
    # counter
    forced_tokens: int = 0  # appended without sampling, because a grammar left no choice


class StepReport(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """One message a step for all requests."""

    outputs: list[StepOutput]
    stats: EngineStats


class Loading(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Start-up progress: `phase` in words, `done` from 0 to 1."""

    phase: str
    done: float


class PlanLine(msgspec.Struct, frozen=True, array_like=True):
    """One row of the memory plan."""

    name: str
    bytes: int
    detail: str = ""


class Planned(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The memory plan. It fits; what it lists is allocated next."""

    plan: list[PlanLine]


class Ready(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The engine answers now. `max_model_len` and `kv_tokens` bound what one request may ask."""

    architecture: str
    parameters: int
    dtype: str
    device: str
    vocab_size: int
    max_model_len: int
    kv_tokens: int  # capacity of the KV cache
    notes: list[str]  # what the operator should know, such as weights skipped on purpose


class LoadFailed(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The engine cannot start; `message` is for the operator."""

    message: str


FromEngine = StepReport | Planned | Loading | Ready | LoadFailed
