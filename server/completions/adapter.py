"""The wire's completions request becomes a TextRequest. Owns every check that takes more than one field, the model's
names or the settings."""

from typing import cast

from server.completions.schema import CompletionRequest
from server.contract import check_model
from server.conversation import OutputContract, RawPrompt
from server.errors import InvalidRequest
from server.generation import TextRequest
from server.served_model import ServedModel
from server.settings import Settings

DEFAULT_MAX_TOKENS = 16  # OpenAI's


def text_request(wire: CompletionRequest, id: str, model: ServedModel, settings: Settings) -> TextRequest:
    """Raises InvalidRequest or UnknownModel."""
    check_model(wire.model, model)
    wire.check_delivery(settings.max_n)
    prompts = raw_prompts(wire)
    n, room = wire.n or 1, settings.max_running + settings.max_queue
    if n * len(prompts) > room:
        raise InvalidRequest(
            f"{len(prompts)} prompts with {n} answers each are {n * len(prompts)} answers; this server has room for "
            f"{room}.",
            param="prompt",
        )
    return TextRequest(
        id=id,
        raw=prompts,
        prompt_at="prompt",
        sampling=wire.overrides(
            DEFAULT_MAX_TOKENS if wire.max_tokens is None else wire.max_tokens,
            wire.logprobs,
            prompt_logprobs=wire.logprobs if wire.echo else None,
            cut_max_tokens=wire.max_tokens is None,
        ),
        contract=OutputContract(
            stop=(wire.stop,) if isinstance(wire.stop, str) else tuple(wire.stop or ()),
            include_stop=bool(wire.include_stop_str_in_output),
            min_tokens=wire.min_tokens or 0,
            end_logprobs=True,
        ),
        n=n,
        priority=wire.priority or 0,
        cache_salt=wire.cache_salt or "",
    )


def raw_prompts(wire: CompletionRequest) -> tuple[RawPrompt, ...]:
    """One for each prompt, of which a list of token ids is one."""
    special = wire.add_special_tokens is not False
    given = wire.prompt
    several = not isinstance(given, str) and not isinstance(given[0], int)
    prompts = cast(list[str | list[int]], given if several else [given])
    return tuple(RawPrompt(one if isinstance(one, str) else tuple(one), special) for one in prompts)
