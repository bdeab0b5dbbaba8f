"""Scheduler: decides what each step computes, and takes in what it brought.

A step is a map {request: how many tokens} under one token budget. Decode, a chunk of a prompt, what is left after a
prefix-cache hit and the recomputation after a preemption are the same thing: tokens known but not yet in the KV cache.
Pure Python: no tensors, no I/O, no clock of its own (callers pass the time).
"""

from bisect import insort
from dataclasses import dataclass
from operator import attrgetter

from engine.errors import RequestRefused
from engine.messages import EngineStats, GenerateRequest, StepOutput
from engine.scheduling.appending import append
from engine.scheduling.block_pool import BlockPool
from engine.scheduling.plan import NO_TOKEN, NewRow, PlannedRequest, PromptScoring, StepPlan, StepResult
from engine.scheduling.policy import WaitingQueue, order_key
from engine.scheduling.prefix_cache import PrefixCache, extend_hashes, root_hash
from engine.scheduling.request import Request

# Of the token budget, the part that decode leaves to prompts while there are any: neither side starves the other.
PREFILL_SHARE = 0.25
# Waiting requests that one step parks at most: looking at one costs a look-up for each of its blocks.
MAX_PARKED = 256

_NO_LOGITS = "the model gave logits that are not numbers (NaN) for this request"
_BY_KEY = attrgetter("key")


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """Bounds. Lengths in tokens; `blocks` of `block_size` tokens each."""

    blocks: int
    block_size: int
    max_running: int
    max_batch_tokens: int
    max_model_len: int
    vocab_size: int
    prefix_caching: bool = True


class Scheduler:
    """Continuous batching over a BlockPool. Call `schedule`, run the plan, call `commit` (or `fail`), and so on.

    Where a device computes by itself, the next plan can be made before the last one's result is known:

        schedule 1 | foresee 1, schedule 2 | commit 1, settle 2 | foresee 2, schedule 3 | commit 2, settle 3 | ...

    At most two plans are out at a time. A request that ends with the first, or is cancelled, is left out when the
    second is committed: what was computed for it is not used.

    Invariants: `_running` is sorted by key; a running request holds blocks for all of its known tokens save at most
    those that its last step brought; a request is in `_running` or in `_waiting`, never in both.
    """

    def __init__(self, config: SchedulerConfig) -> None:
        self.config = config
        self.pool = BlockPool(config.blocks)
        self._cache = PrefixCache(self.pool)
        self._waiting = WaitingQueue()
        self._running: list[Request] = []
        self._idle_rows = list(range(config.max_running - 1, -1, -1))
        self._freed_rows: list[int] = []
        self._new_rows: list[NewRow] = []  # of a plan that is to be run again
        self._watermark = config.blocks // 100
        self._turn = 0  # where decode begins when its share is too small for all
        self._steps = self._preemptions = self._prefix_queries = self._prefix_hits = 0
        self.forced_tokens = 0  # appended without sampling, so far

    @property
    def has_work(self) -> bool:
        return bool(self._running) or len(self._waiting) > 0

    def add(self, source: GenerateRequest, grammar: object = None) -> None:
        """Queues a request. `grammar` is handed to the runner with it. Raises RequestRefused if it could never run."""
        self.check(source)
        longest = self.config.max_model_len
        self._waiting.push(Request(source, order_key(source), root_hash(source.cache_salt), longest, grammar))

    def check(self, source: GenerateRequest) -> None:
        """Raises RequestRefused if the request could never run."""
        prompt, longest = len(source.prompt), self.config.max_model_len
        if not prompt:
            raise RequestRefused("the prompt has no tokens", "invalid_prompt")
        strange = [
            token for token in (min(source.prompt), max(source.prompt)) if not 0 <= token < self.config.vocab_size
        ]
        if strange:
            text = f"the prompt has token {strange[0]}, but the model's vocabulary ends at {self.config.vocab_size - 1}"
            raise RequestRefused(text, "invalid_prompt")
        if prompt + min(1, source.sampling.max_tokens) > longest:
            text = f"the prompt has {prompt} tokens; the context of {longest} must also hold at least one of output"
            raise RequestRefused(text, "context_length_exceeded")
        needed = min(prompt + source.sampling.max_tokens, longest)
        capacity = self.config.blocks * self.config.block_size
        if needed > capacity:
            text = (
                f"prompt and max_tokens come to {needed} tokens but the KV cache holds {capacity}: "
                "lower max_tokens, or start the server with a larger --kv-cache-memory"
            )
            raise RequestRefused(text, "context_length_exceeded")

    def cancel(self, request_id: str) -> bool:
        """Drops a request and frees what it holds. False if it is not here (any more)."""
        if self._waiting.remove(request_id):
            return True
        for request in self._running:
            if request.id == request_id:
                self._running.remove(request)
                self._leave(request)
                return True
        return False

    def schedule(self, now: float) -> StepPlan:
        """Plans the next step: decode first, then prompts that are under way, then new ones. `now` is on the clock of
        `GenerateRequest.arrival`."""
        plan = StepPlan([], self._new_rows, [], 0)
        self._new_rows = []
        preemptions = self._preemptions
        going_on = [request for request in self._running if not request.closing]
        prompts = [request for request in going_on if request.length - request.computed > request.fresh]
        planned = self._plan_decode(plan, going_on, bool(prompts) or self._waiting.has_eligible)
        left = self.config.max_batch_tokens - planned
        prompts = [request for request in prompts if request.row >= 0]
        for index, request in enumerate(prompts):
            others = index + 1 < len(prompts) or self._waiting.has_eligible
            left -= self._plan_tokens(plan, request, left, others)
        if self._preemptions == preemptions:
            self._admit(plan, left, now)
        if plan.requests:
            plan.freed_rows, self._freed_rows = self._freed_rows, []
        else:  # nothing is run
            self._new_rows = plan.new_rows
            assert not self.has_work or len(going_on) < len(self._running), "work but nothing planned"
        plan.total_tokens = sum(len(planned.token_ids) for planned in plan.requests)
        return plan

    def foresee(self, plan: StepPlan) -> bool:
        """Takes it that the plan will be computed and bring a token for each request with `sample`, so that the next
        one can be planned; `commit` of this one says later which token, and then `settle` the next plan. False, and
        nothing has changed, where the next plan needs this one's result, or might have to preempt a request whose
        newest token is not known."""
        size = self.config.block_size
        if self.pool.available < sum(-(-request.fresh // size) for request in self._running):  # what decoding may take
            return False
        owned = [(planned, request) for planned in plan.requests if (request := _owner(planned)) is not None]
        if any(planned.scoring is not None for planned, _ in owned):
            return False
        for planned, request in owned:
            request.computed = planned.start + len(planned.token_ids)
            if planned.sample and request.length < request.max_length:
                request.token_ids.append(NO_TOKEN)
                request.length += 1
                request.foreseen = True
            request.closing = planned.sample and request.length >= request.max_length
        return True

    def settle(self, plan: StepPlan) -> None:
        """The plan was made ahead, the one before it has been committed, and nothing is drawn yet. What a grammar has
        forced behind a token goes first: this plan draws nothing for that request, nor for one that has ended."""
        for planned in plan.requests:
            request = _owner(planned)
            if request is None or request.length > planned.start + len(planned.token_ids):
                planned.sample = False

    def commit(self, plan: StepPlan, result: StepResult) -> list[StepOutput]:
        """Takes in what a step brought. Returns an output for each planned request with `sample` or `scoring`."""
        outputs: list[StepOutput] = []
        block_size, ended, next_sampled = self.config.block_size, False, 0
        for planned in plan.requests:
            request, sampled = _owner(planned), next_sampled
            next_sampled += planned.sample
            if request is None:
                continue
            request.computed = planned.start + len(planned.token_ids)
            if request.foreseen:
                request.token_ids[-1] = result.token_ids[sampled]
            if planned.start // block_size != request.computed // block_size and request.token_ids[-1] != NO_TOKEN:
                self._publish(request)
            if planned.sample:
                output = append(request, result, sampled) or self._without_logits(request)
                self.forced_tokens += max(0, len(output.token_ids) - 1)
            elif planned.scoring is not None:
                output = StepOutput(request.id, [])
            else:
                continue
            if planned.scoring is not None:
                self._add_scores(request, result, output)
            if not request.reported:
                request.reported = True
                output.cached_tokens = request.cached_tokens
                output.queue_seconds = request.queue_seconds
            if output.finish_reason is not None or output.error is not None:
                ended = True
                self._leave(request)
            outputs.append(output)
        if ended:
            self._running = [request for request in self._running if request.row >= 0]
        self._steps += 1
        return outputs

    def _add_scores(self, request: Request, result: StepResult, output: StepOutput) -> None:
        """Puts the prompt's log-probabilities that the step brought into the request's output."""
        scores = result.prompt_logprobs[request.row]
        if scores is None:
            output.error = self._without_logits(request).error
            output.token_ids, output.finish_reason, output.logprobs = [], None, None
        elif output.error is None:
            request.scored += len(scores)
            output.prompt_logprobs = scores

    def _without_logits(self, request: Request) -> StepOutput:
        """The request's end. What it left in the cache shall not be found."""
        self.pool.forget(request.block_ids)
        return StepOutput(request.id, [], error=("engine_error", _NO_LOGITS))

    def fail(self, plan: StepPlan, code: str, text: str) -> list[StepOutput]:
        """The step could not be run: ends its requests with an error. The others are unaffected."""
        outputs = []
        for request in filter(None, map(_owner, plan.requests)):
            self._leave(request)
            outputs.append(StepOutput(request.id, [], error=(code, text)))
        self._running = [request for request in self._running if request.row >= 0]
        return outputs

    def fail_largest(self, plan: StepPlan, code: str, text: str) -> list[StepOutput]:
        """The step was too large for the device: ends the request with the most tokens to compute, or of equals the one
        with the longest context. The others are planned again as they were, new rows included."""
        there = [planned for planned in plan.requests if _owner(planned) is not None]
        if not there:
            return []
        largest = max(there, key=lambda planned: (len(planned.token_ids), planned.start))
        request = _owner(largest)
        assert request is not None
        self._freed_rows = plan.freed_rows + self._freed_rows
        self._new_rows = [new for new in plan.new_rows if new.row != largest.row]
        self._leave(request)
        self._running.remove(request)
        return [StepOutput(request.id, [], error=(code, text))]

    def stats(self, plan: StepPlan, step_seconds: float) -> EngineStats:
        """The state after `plan` was committed."""
        return EngineStats(
            running=len(self._running),
            waiting=len(self._waiting),
            blocks_total=self.pool.total,
            blocks_held=self.pool.held,
            blocks_cached=self.pool.cached,
            steps=self._steps,
            preemptions=self._preemptions,
            prefix_queries=self._prefix_queries,
            prefix_hits=self._prefix_hits,
            batch_requests=len(plan.requests),
            batch_tokens=plan.total_tokens,
            step_seconds=step_seconds,
            forced_tokens=self.forced_tokens,
        )

    # Planning

    def _plan_decode(self, plan: StepPlan, going_on: list[Request], prompts_wait: bool) -> int:
        """One token for each request that has its prompt behind it, in turns if there are more than decode may have;
        what is left of the share goes to those with forced tokens to compute. Returns how many tokens."""
        decoding = [request for request in going_on if request.length - request.computed <= request.fresh]
        budget = self.config.max_batch_tokens
        share = max(1, int(budget * (1 - PREFILL_SHARE))) if prompts_wait else budget
        if len(decoding) > share:
            decoding = self._take_turns(decoding, share)
        spare = free = share - len(decoding)
        block_size, requests = self.config.block_size, plan.requests
        for request in decoding:
            if request.row < 0:  # preempted just now, for one that goes before it
                continue
            start, end, last = request.computed, request.length, True
            if end - start > 1:  # behind the sampled token come forced ones
                end = min(end, start + 1 + spare)
                last = end == request.length
            if end > len(request.block_ids) * block_size and not self._grow(request, -(-end // block_size)):
                continue
            if end - start > 1:
                spare -= end - start - 1
            tokens = request.token_ids[start:end]
            requests.append(PlannedRequest(request.row, start, tokens, request.block_ids, last, request=request))
        if decoding and not requests:  # all whose turn it was gave way to those before them: now it is theirs
            return self._plan_decode(plan, [request for request in going_on if request.row >= 0], prompts_wait)
        return len(requests) + free - spare

    def _take_turns(self, decoding: list[Request], share: int) -> list[Request]:
        """`share` of the requests, going on where the last step left off, still in order of their keys."""
        first = self._turn % len(decoding)
        self._turn = first + share
        chosen = decoding[first : first + share]
        return decoding[: share - len(chosen)] + chosen

    def _grow(self, request: Request, blocks: int) -> bool:
        """Gives a decoding request `blocks` blocks, at the cost of the last in order. False: that was itself.

        Whoever is preempted comes after `request` in order, and requests are planned in order, so none is planned yet.
        """
        more = blocks - len(request.block_ids)
        while self.pool.available < more:
            last = self._running.pop()
            self._preempt(last)
            if last is request:
                return False
        request.block_ids += self.pool.allocate(more)
        return True

    def _preempt(self, request: Request) -> None:
        """Back to waiting, in its old place in the order. Its full blocks stay findable, so that little is computed
        twice if it returns soon."""
        assert not request.foreseen
        self._preemptions += 1
        self._leave(request)
        request.computed = request.published = 0
        request.fresh = 1
        self._waiting.push(request)

    def _plan_tokens(self, plan: StepPlan, request: Request, left: int, others: bool) -> int:
        """Plans a chunk of what `request` has to do, within `left` tokens; half of that while others want some too.
        Returns how many."""
        todo = request.length - request.computed
        count = min(todo, (left + 1) // 2 if others and todo > 1 else left)
        if count <= 0:
            return 0
        start, end = request.computed, request.computed + count
        tokens, scoring = request.token_ids[start:end], _scoring(request, start, end)
        last = end == request.length
        plan.requests.append(PlannedRequest(request.row, start, tokens, request.block_ids, last, scoring, request))
        return count

    # Admission

    def _admit(self, plan: StepPlan, left: int, now: float) -> None:
        """Lets waiting requests in, in order, while there are rows, blocks and budget. The first that finds no blocks
        stops it, so that a large request is not overtaken for ever. One whose next blocks are being computed by a
        running request is parked until they are published, since it will find them in the cache."""
        parked = 0
        while left > 0 and self._idle_rows and parked < MAX_PARKED:
            request = self._waiting.pop()
            if request is None:
                break
            hashes = self._usable_hashes(request)
            cached = self._cache.match(hashes)
            awaited = self._cache.being_computed(hashes[len(cached) :])
            if awaited is not None:
                self._waiting.park(request, awaited)
                parked += 1
                continue
            if not self._enter(request, cached, now):
                self._waiting.push(request)
                break
            known = tuple(request.token_ids)
            plan.new_rows.append(NewRow(request.row, request.sampling, known, request.prompt_length, request.grammar))
            left -= self._plan_tokens(plan, request, left, self._waiting.has_eligible)

    def _usable_hashes(self, request: Request) -> list[bytes]:
        """Hashes of the blocks that a cache hit may cover: what is left to compute are the last token, for its logits,
        and all those that the log-probabilities of the prompt are still to be taken from."""
        if not self.config.prefix_caching:
            return []
        extend_hashes(request.hashes, request.root, request.token_ids, self.config.block_size)
        needed = request.scored if request.to_score else request.length - 1
        return request.hashes[: needed // self.config.block_size]

    def _enter(self, request: Request, cached: list[int], now: float) -> bool:
        """Gives the request a row and blocks for all of its tokens. False if there are not enough blocks."""
        blocks = -(-request.length // self.config.block_size)
        fresh = blocks - len(cached)
        spare = self._watermark if self._running else 0
        if fresh + self.pool.unused(cached) + spare > self.pool.available:
            return False
        for block in cached:
            self.pool.take(block)
        request.block_ids = cached + self.pool.allocate(fresh)
        request.computed = len(cached) * self.config.block_size
        request.published = len(cached)
        request.row = self._idle_rows.pop()
        insort(self._running, request, key=_BY_KEY)
        self._cache.announce(request.hashes[len(cached) :], request.row)
        if request.queue_seconds < 0:
            request.queue_seconds = max(0.0, now - request.source.arrival)
            request.cached_tokens = request.computed
            self._prefix_queries += 0 if request.to_score else request.length
            self._prefix_hits += request.computed
        return True

    def _publish(self, request: Request) -> None:
        """Makes the blocks that became full findable."""
        if not self.config.prefix_caching:
            return
        full = request.computed // self.config.block_size
        if len(request.hashes) < full:
            extend_hashes(request.hashes, request.root, request.token_ids, self.config.block_size)
        for index in range(request.published, full):
            self.pool.publish(request.block_ids[index], request.hashes[index])
        self._withdraw(request, full)
        request.published = full

    def _withdraw(self, request: Request, end: int) -> None:
        """The request has published its blocks up to `end`, or will not: whoever waits for them need not any more."""
        withdrawn = self._cache.withdraw(request.hashes[request.published : end], request.row)
        self._waiting.wake(withdrawn)

    def _leave(self, request: Request) -> None:
        """Frees the request's row and blocks. The caller takes it out of `_running`."""
        self._withdraw(request, len(request.hashes))
        self.pool.release(reversed(request.block_ids))
        request.block_ids = []
        self._idle_rows.append(request.row)
        self._freed_rows.append(request.row)
        request.row = -1


def _owner(planned: PlannedRequest) -> Request | None:
    """Whose tokens these are, if that still runs: it may have ended or been cancelled since the plan was made."""
    assert planned.request is not None
    return planned.request if planned.request.row == planned.row else None


def _scoring(request: Request, start: int, end: int) -> PromptScoring | None:
    """What the log-probabilities of the request's prompt need of its tokens [start, end)."""
    if not request.to_score:
        return None
    # The logits of token p are about token p + 1; those of the prompt's last are about the answer.
    first, end = request.scored, min(end, request.prompt_length - 1)
    if end <= first:
        return None
    assert first >= start, (first, start)
    return PromptScoring(first - start, request.token_ids[first + 1 : end + 1], request.sampling.prompt_logprobs or 0)
