"""The wire form of a completions request, and its one-sentence errors. Strict: a string is not a number, an unknown
field is an error. Which fields are refused, and why: `fields`. Checks that need the model or the settings are in
`adapter`."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from server.bounds import check_bounds
from server.completions.fields import REFUSED
from server.sampling_fields import SamplingFields, StopString, text_or_list
from server.wire import refuse

MAX_PROMPTS = 1024
MAX_STOPS = 16  # evaluation tasks bring more than the 4 of OpenAI's
FREE_FORM = frozenset({"prompt"})

TokenId = Annotated[int, Field(ge=0, lt=2**31)]


# Tags are in angle brackets, so that an error's path can leave them out: the client did not write them.
def _prompt_kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "<text>"
    if not isinstance(value, list):
        return None
    first = value[0] if value else ""
    return "<texts>" if isinstance(first, str) else "<lists>" if isinstance(first, list) else "<ids>"


Prompt = Annotated[
    Annotated[str, Tag("<text>")]
    | Annotated[list[str], Field(fail_fast=True, min_length=1, max_length=MAX_PROMPTS), Tag("<texts>")]
    | Annotated[list[TokenId], Field(fail_fast=True, min_length=1), Tag("<ids>")]
    | Annotated[
        list[Annotated[list[TokenId], Field(fail_fast=True, min_length=1)]],
        Field(fail_fast=True, min_length=1, max_length=MAX_PROMPTS),
        Tag("<lists>"),
    ],
    Discriminator(
        _prompt_kind,
        custom_error_type="prompt",
        custom_error_message="must be a string, a list of strings, a list of token ids or a list of such lists",
    ),
]


class CompletionRequest(SamplingFields):
    """Body of POST /v1/completions."""

    model: str
    prompt: Prompt

    max_tokens: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    stop: (
        Annotated[
            Annotated[StopString, Tag("<text>")]
            | Annotated[list[StopString], Field(fail_fast=True, max_length=MAX_STOPS), Tag("<list>")],
            text_or_list,
        ]
        | None
    ) = None
    add_special_tokens: bool | None = None
    user: str | None = None

    suffix: Any = None
    best_of: Any = None

    @field_validator(*REFUSED)
    @classmethod
    def _refuse(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        return refuse(info.field_name, value, REFUSED)

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        check_bounds(value, None, FREE_FORM)
        return value
