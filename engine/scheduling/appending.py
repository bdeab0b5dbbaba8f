"""What a step's result brings one request: the tokens it goes on with, and whether it ends with them."""

from engine.messages import FinishReason, StepOutput
from engine.scheduling.plan import NO_TOKEN, Constrained, StepResult
from engine.scheduling.request import Request


def append(request: Request, result: StepResult, index: int) -> StepOutput | None:
    """Appends what entry `index` of the result brought the request; where the token was foreseen, its place has it
    already, unless a grammar has something to say. None: the model gave no usable logits."""
    token = result.token_ids[index]
    constrained = result.constrained.get(index) if result.constrained else None
    if token == NO_TOKEN and constrained is None:
        return None
    foreseen, request.foreseen = request.foreseen, False
    if foreseen and constrained is not None:
        request.token_ids.pop()
        request.length -= 1
    if foreseen and constrained is None:
        request.fresh = 1
        output = StepOutput(request.id, [token], request.finish_reason())
    elif request.length >= request.max_length:  # max_tokens is 0
        return StepOutput(request.id, [], "length")
    elif constrained is not None:
        output = _append_constrained(request, token, constrained)
    else:
        request.token_ids.append(token)
        request.length += 1
        request.fresh = 1
        output = StepOutput(request.id, [token], request.finish_reason())
    logprob = result.logprobs[index]
    if logprob is not None and output.token_ids:
        output.logprobs = [logprob]
    return output


def _append_constrained(request: Request, token: int, constrained: Constrained) -> StepOutput:
    """Appends the sampled token and those that are forced behind it, as far as there is room."""
    if constrained.error is not None:
        return StepOutput(request.id, [], error=("invalid_grammar", constrained.error))
    tokens: list[int] = []
    reason: FinishReason | None = None
    come = [] if token == NO_TOKEN else [token, *constrained.forced]
    for next_token in come:
        tokens.append(next_token)
        request.token_ids.append(next_token)
        request.length += 1
        if request.length >= request.max_length:
            reason = "length"
            break
    ends = len(tokens) == len(come) and (constrained.done or constrained.stopped)
    request.fresh = len(tokens)
    return StepOutput(request.id, tokens, "stop" if ends else reason, whole=ends and not constrained.stopped)
