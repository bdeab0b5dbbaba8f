"""The wire's generateContent request becomes a TextRequest.

Turns of the same role in a row are one turn: clients keep a stream's pieces as turns of their own. A user's turn holds
what functions returned and what people wrote; the model sees these as messages of their own, in their order.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby

from server.contract import check_model
from server.conversation import Conversation, Message, ToolCall
from server.errors import InvalidRequest
from server.gemini.contents_schema import Content, FunctionResponse, Part
from server.gemini.contract import declared_tools, output_contract, reasoning_wanted
from server.gemini.schema import GenerateContentRequest, GenerationConfig
from server.gemini.thoughts import reveal
from server.generation import TextRequest
from server.sampling import SamplingOverrides
from server.served_model import ServedModel
from server.settings import Settings

BETWEEN_PARTS = "\n\n"  # of text that people wrote; an answer's own are pieces of one text

Placed = tuple[str, Part]  # where it is in the request, and what


def text_request(
    wire: GenerateContentRequest, name: str, id: str, model: ServedModel, settings: Settings
) -> TextRequest:
    """`name`: the model's, from the path. Raises InvalidRequest or UnknownModel."""
    check_model(name, model)
    if wire.model is not None and wire.model.removeprefix("models/") != name:
        raise InvalidRequest(f"The path names the model {name[:80]!r}, and the body another.", param="model")
    config = wire.generation_config
    if (config.candidate_count or 1) > settings.max_n:
        where = "generationConfig.candidateCount"
        raise InvalidRequest(
            f"{where} is {config.candidate_count}; at most {settings.max_n} answers are given.", param=where
        )
    tools = declared_tools(wire, model.dialect)
    return TextRequest(
        id=id,
        conversation=Conversation(
            messages=tuple(_messages(wire)), tools=tools, reasoning=reasoning_wanted(wire, model.dialect)
        ),
        sampling=_sampling(config),
        contract=output_contract(wire, tools, settings.max_json_string),
        n=config.candidate_count or 1,
        prompt_at="contents",
    )


def _sampling(config: GenerationConfig) -> SamplingOverrides:
    if config.logprobs is not None and not config.response_logprobs:
        raise InvalidRequest("logprobs needs responseLogprobs: true.", param="generationConfig.logprobs")
    return SamplingOverrides(
        max_tokens=config.max_output_tokens,
        cut_max_tokens=True,
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        frequency_penalty=config.frequency_penalty or 0.0,
        presence_penalty=config.presence_penalty or 0.0,
        seed=config.seed,
        logprobs=(config.logprobs or 0) if config.response_logprobs else None,
    )


def _messages(wire: GenerateContentRequest) -> Iterator[Message]:
    if wire.contents[-1].role == "model":
        last = f"contents[{len(wire.contents) - 1}]"
        raise InvalidRequest(f"{last} is the model's: an answer cannot be begun for it here.", param=last)
    if wire.system_instruction is not None:
        yield Message("system", BETWEEN_PARTS.join(part.text or "" for part in wire.system_instruction.parts))
    calls = _Calls()
    for from_model, turns in groupby(enumerate(wire.contents), lambda numbered: numbered[1].role == "model"):
        parts = [placed for index, turn in turns for placed in _placed(turn, index)]
        if from_model:
            yield _answer(parts, calls)
        else:
            yield from _asked(parts, calls)


def _placed(turn: Content, index: int) -> Iterator[Placed]:
    for position, part in enumerate(turn.parts):
        yield f"contents[{index}].parts[{position}]", part


class _Calls:
    """The calls so far, and which of them have an answer. Calls without an id are given one."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # id -> name
        self._open: list[str] = []  # ids without an answer, in order

    def made(self, name: str, id: str | None) -> str:
        id = id or f"call_{len(self._names)}"
        self._names[id] = name
        self._open.append(id)
        return id

    def answered(self, response: FunctionResponse, where: str) -> str:
        """The id of the call that this answers. Raises InvalidRequest."""
        id = response.id
        if id is None:
            id = next((one for one in self._open if self._names[one] == response.name), None)
        if id is None or id not in self._names:
            what = f"the id {id[:80]!r}" if id else f"the name {response.name[:80]!r} that has no response yet"
            raise InvalidRequest(f"No turn of the model before this one has a call of {what}.", param=where)
        if id in self._open:
            self._open.remove(id)
        return id


def _answer(parts: Sequence[Placed], calls: _Calls) -> Message:
    texts: list[str] = []
    thoughts: list[str] = []
    kept: list[str | None] = []  # thoughts in signatures
    made: list[ToolCall] = []
    for _, part in parts:
        if part.text is not None:
            (thoughts if part.thought else texts).append(part.text)
        if part.thought_signature is not None and not part.thought:
            kept.append(reveal(part.thought_signature))
        if (call := part.function_call) is not None:
            arguments = json.dumps(call.args or {}, ensure_ascii=False)
            made.append(ToolCall(calls.made(call.name, call.id), call.name, arguments))
    reasoning = "".join(thoughts) or "".join(thought for thought in kept if thought) or None
    return Message("assistant", "".join(texts), reasoning=reasoning, tool_calls=tuple(made))


def _asked(parts: Sequence[Placed], calls: _Calls) -> Iterator[Message]:
    """What people wrote and functions returned, in its order."""
    texts: list[str] = []
    for where, part in parts:
        if part.text is not None:
            texts.append(part.text)
        elif (response := part.function_response) is not None:
            if texts:
                yield Message("user", BETWEEN_PARTS.join(texts))
                texts = []
            text = json.dumps(response.response or {}, ensure_ascii=False)
            yield Message("tool", text, tool_call_id=calls.answered(response, f"{where}.functionResponse"))
    if texts:
        yield Message("user", BETWEEN_PARTS.join(texts))
