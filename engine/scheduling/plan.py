"""StepPlan and StepResult: what the scheduler asks of the runner for one step, and the answer. Plain data, no tensors.

A *row* is a small integer that stands for a running request: the runner keeps its per-request state
(sampling parameters, block table, token counts) under that index from the step in which it appears in
`new_rows` until the step in which it appears in `freed_rows`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.messages import SamplingParams, TokenLogprobs
from engine.scheduling.request import Request

NO_TOKEN = -1  # none, or (as the last of a planned request's tokens) the one that the step before draws for it


@dataclass(slots=True)
class NewRow:
    """A request that (re-)enters the running set. `token_ids` is all that is known of it: the prompt, then what was
    generated before a preemption."""

    row: int
    sampling: SamplingParams
    token_ids: Sequence[int]
    prompt_length: int
    grammar: object = None  # what the runner knows as the request's grammar; the scheduler only passes it on


@dataclass(slots=True)
class PromptScoring:
    """Prompt tokens whose log-probabilities a step is to bring, with the `top` most likely at each place: `targets`
    follow the planned tokens from index `first` on.

        planned token_ids   [ . . first . . last ]
        targets                     [ . . . . ]      targets[i] comes behind token_ids[first + i]
    """

    first: int
    targets: Sequence[int]
    top: int


@dataclass(slots=True)
class PlannedRequest:
    """The tokens of one request to compute in this step.

        token_ids of the request   [0 ........ start)[start ...... start+count) ...
                                    already in KV      compute now
        block_ids[i] holds the KV of tokens [i*P, (i+1)*P); there are enough of them for start+count tokens.

    `sample` is true where the last token computed is the last known, so that its logits give the next one.
    `block_ids` is the scheduler's own list: read it during the step, do not keep it.
    """

    row: int
    start: int
    token_ids: Sequence[int]
    block_ids: Sequence[int]
    sample: bool
    scoring: PromptScoring | None = None
    request: Request | None = None  # the scheduler's own: whose tokens these are


@dataclass(slots=True)
class StepPlan:
    """One step. Rows in `freed_rows` may come back in `new_rows` of the same plan, for another request:
    apply the frees first."""

    requests: list[PlannedRequest]
    new_rows: list[NewRow]
    freed_rows: list[int]
    total_tokens: int


@dataclass(slots=True)
class Constrained:
    """What a request's grammar makes of the sampled token: the tokens behind it that are `forced`, without sampling;
    whether it is `done`, so that the request ends with them, or the last of them is a stop token that ends it; or the
    `error` that ends it instead. Other stop tokens among them are text."""

    forced: Sequence[int] = ()
    done: bool = False
    stopped: bool = False
    error: str | None = None


@dataclass(slots=True)
class StepResult:
    """One entry for each planned request with `sample`, in the plan's order. A token of NO_TOKEN says that there is
    none: the model gave no usable logits for that request, or its grammar says in `constrained` why. `logprobs` are
    there where the request wants them, and then nothing is forced. `constrained` has the index of an entry only where
    a grammar has something to say."""

    token_ids: list[int]
    logprobs: list[TokenLogprobs | None]
    constrained: dict[int, Constrained] = field(default_factory=dict)
    # By row, for the planned requests with `scoring`: one for each of its targets. None: no usable logits.
    prompt_logprobs: dict[int, list[TokenLogprobs] | None] = field(default_factory=dict)
