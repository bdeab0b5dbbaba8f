"""Request: what the scheduler knows of one sequence, from arrival to its finish reason."""

from engine.messages import FinishReason, GenerateRequest


class Request:
    """A GenerateRequest with its progress. Lengths and counts in tokens.

    token_ids   [ prompt ............ ][ output ...... ]
                [ computed: KV in block_ids ][ to do .. ]      to do >= 1 while it runs; decoding while to do <= fresh
    """

    __slots__ = (
        "block_ids",
        "cached_tokens",
        "closing",
        "computed",
        "foreseen",
        "fresh",
        "grammar",
        "hashes",
        "id",
        "key",
        "length",
        "max_length",
        "min_length",
        "prompt_length",
        "published",
        "queue_seconds",
        "reported",
        "root",
        "row",
        "sampling",
        "scored",
        "source",
        "stop",
        "token_ids",
    )

    def __init__(
        self, source: GenerateRequest, key: tuple[float, str], root: bytes, max_model_len: int, grammar: object = None
    ) -> None:
        self.source = source
        self.grammar = grammar
        self.id = source.id
        self.sampling = source.sampling
        self.key = key  # smaller goes first
        self.root = root
        self.token_ids = list(source.prompt)
        self.length = self.prompt_length = len(source.prompt)
        self.max_length = min(self.prompt_length + source.sampling.max_tokens, max_model_len)
        self.min_length = self.prompt_length + source.sampling.min_tokens
        self.stop = frozenset(source.sampling.stop_token_ids)
        self.row = -1  # -1: not running
        self.computed = 0
        self.foreseen = False  # the last of token_ids is still being drawn
        self.closing = False  # what is being computed is its last
        self.fresh = 1  # bound of what is to do that counts as decoding: what a grammar last forced, and 1
        self.block_ids: list[int] = []
        self.hashes: list[bytes] = []  # of full blocks of token_ids, as far as they were needed
        self.scored = 0  # prompt tokens behind the first whose log-probabilities went out
        self.published = 0  # blocks that the prefix cache has been told of
        self.cached_tokens = 0  # prompt tokens that needed no computing at first admission
        self.queue_seconds = -1.0  # -1: never scheduled yet
        self.reported = False  # the first StepOutput went out

    @property
    def to_score(self) -> int:
        """Prompt tokens whose log-probabilities are wanted and have not gone out."""
        return 0 if self.sampling.prompt_logprobs is None else self.prompt_length - 1 - self.scored

    def finish_reason(self) -> FinishReason | None:
        """Why the request ends with its newest token, or None if it goes on."""
        if self.token_ids[-1] in self.stop and self.length > self.min_length:
            return "stop"
        if self.length >= self.max_length:
            return "length"
        return None
