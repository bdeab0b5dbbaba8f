"""The fields that OpenAI's chat completions and completions share: how tokens are drawn and delivered."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints

from server.errors import InvalidRequest
from server.sampling import SamplingOverrides
from server.wire import INT64, Wire

MAX_BIASES = 1024

StopString = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


# Tags are in angle brackets, so that an error's path can leave them out: the client did not write them.
def _kind(value: Any) -> str | None:
    return "<text>" if isinstance(value, str) else "<list>" if isinstance(value, list) else None


# Of a union of a string tagged <text> and a list tagged <list>.
text_or_list = Discriminator(
    _kind, custom_error_type="stop", custom_error_message="must be a string or a list of strings"
)


class StreamOptions(Wire):
    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class SamplingFields(Wire):
    """Part of a request's body."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: (
        Annotated[
            dict[Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")], Annotated[float, Field(ge=-100, le=100)]],
            Field(max_length=MAX_BIASES),
        ]
        | None
    ) = None
    seed: Annotated[int, Field(ge=-INT64, lt=INT64)] | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    top_k: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=10)] | None = None
    min_tokens: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    ignore_eos: bool | None = None
    stop_token_ids: Annotated[list[int], Field(fail_fast=True, max_length=64)] | None = None
    include_stop_str_in_output: bool | None = None
    cache_salt: Annotated[str, StringConstraints(max_length=128)] | None = None
    priority: Annotated[int, Field(ge=-1000, le=1000)] | None = None

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def check_delivery(self, max_n: int) -> None:
        """Raises InvalidRequest for more answers than are given, or options of a stream where there is none."""
        if (self.n or 1) > max_n:
            raise InvalidRequest(f"n is {self.n}; at most {max_n} answers are given.", param="n")
        if self.stream_options is not None and not self.stream:
            raise InvalidRequest("stream_options needs stream: true.", param="stream_options")

    def overrides(self, max_tokens: int | None, logprobs: int | None, **more: Any) -> SamplingOverrides:
        """What these fields say, with `more` of SamplingOverrides."""
        return SamplingOverrides(
            max_tokens=max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=0 if self.top_k == -1 else self.top_k,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            frequency_penalty=self.frequency_penalty or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
            logit_bias={int(token): bias for token, bias in (self.logit_bias or {}).items()},
            seed=self.seed,
            min_tokens=self.min_tokens or 0,
            stop_token_ids=tuple(self.stop_token_ids or ()),
            ignore_eos=bool(self.ignore_eos),
            logprobs=logprobs,
            **more,
        )
