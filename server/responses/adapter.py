"""The wire's request and what came before it become a TextRequest; the response as it is before any output. Owns the
checks that take more than one field, the model's names or the settings."""

from collections.abc import Sequence
from typing import Any

from server.contract import check_model
from server.conversation import Conversation, Message
from server.errors import InvalidRequest
from server.generation import TextRequest
from server.responses.contract import declared_tools, output_contract, reasoning_wanted
from server.responses.items import Item, messages
from server.responses.schema import LOGPROBS, PromptRequest, ResponseRequest
from server.responses.tools_schema import FunctionDeclared
from server.sampling import SamplingOverrides
from server.served_model import ServedModel
from server.settings import Settings
from server.store.store import Store


def check_together(wire: PromptRequest, model: ServedModel) -> None:
    """What can be seen before anything is looked up. Raises InvalidRequest, UnknownModel."""
    if wire.previous_response_id is not None and wire.conversation is not None:
        raise InvalidRequest(
            "previous_response_id and conversation both say what came before; give one of them.",
            param="previous_response_id",
        )
    if not isinstance(wire, ResponseRequest):
        return
    check_model(wire.model, model)
    if wire.top_logprobs and LOGPROBS not in (wire.include or ()):
        raise InvalidRequest(f"top_logprobs needs {LOGPROBS!r} in include.", param="top_logprobs")
    if wire.stream_options is not None and not wire.stream:
        raise InvalidRequest("stream_options needs stream: true.", param="stream_options")


def is_kept(wire: ResponseRequest, store: Store) -> bool:
    """Whether the response is to be stored. Raises InvalidRequest if the request wants what only stored ones have."""
    needs = "background" if wire.background else "conversation" if wire.conversation is not None else None
    if wire.store is False and needs is not None:
        raise InvalidRequest(f"{needs} keeps the response, which store: false forbids.", param=needs)
    if not store.enabled and (wire.store or needs):
        raise store.refuse(needs or "store")
    return store.enabled and wire.store is not False


def text_request(
    wire: PromptRequest, id: str, past: Sequence[Item], own: Sequence[Item], model: ServedModel, settings: Settings
) -> TextRequest:
    """`past`: the items before the request's `own`. Raises InvalidRequest."""
    if not past and not own and not wire.instructions:
        raise InvalidRequest("There is no input to answer.", param="input", code="missing_required_parameter")
    turns = messages([*past, *own], lambda index: _place(index - len(past), wire))
    if wire.instructions:
        turns.insert(0, Message("system", wire.instructions))
    if len(turns) > settings.max_messages:
        raise InvalidRequest(
            f"With what came before there are {len(turns)} messages; at most {settings.max_messages} are allowed.",
            param="input",
        )
    tools = declared_tools(wire, model.dialect)
    options: dict[str, Any] = {}
    if isinstance(wire, ResponseRequest):
        options = {"priority": wire.priority or 0, "cache_salt": wire.cache_salt or ""}
    return TextRequest(
        id=id,
        prompt_at="input",
        conversation=Conversation(
            messages=tuple(turns),
            tools=tools,
            template_arguments=wire.chat_template_kwargs or {},
            reasoning=reasoning_wanted(wire, model.dialect),
        ),
        sampling=_sampling(wire) if isinstance(wire, ResponseRequest) else SamplingOverrides(),
        contract=output_contract(wire, tools, settings.max_json_string),
        **options,
    )


def _place(index: int, wire: PromptRequest) -> str:
    if index < 0:
        return "conversation" if wire.conversation is not None else "previous_response_id"
    return f"input[{index}]"


def _sampling(wire: ResponseRequest) -> SamplingOverrides:
    return SamplingOverrides(
        max_tokens=wire.max_output_tokens,
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_k=0 if wire.top_k == -1 else wire.top_k,
        min_p=wire.min_p,
        repetition_penalty=wire.repetition_penalty,
        frequency_penalty=wire.frequency_penalty or 0.0,
        presence_penalty=wire.presence_penalty or 0.0,
        seed=wire.seed,
        ignore_eos=bool(wire.ignore_eos),
        logprobs=(wire.top_logprobs or 0) if LOGPROBS in (wire.include or ()) else None,
    )


def response_object(wire: ResponseRequest, id: str, created: int, model: ServedModel, *, kept: bool) -> dict[str, Any]:
    """The response before its work begins. `user` and `usage` cannot be null, so that they come when there are any."""
    defaults = model.sampling
    conversation = wire.conversation_id
    given = wire.text.format if wire.text is not None else None
    reasoning = wire.reasoning
    body: dict[str, Any] = {
        "id": id,
        "object": "response",
        "created_at": created,
        "status": "queued" if wire.background else "in_progress",
        "background": bool(wire.background),
        "completed_at": None,
        "conversation": None if conversation is None else {"id": conversation},
        "error": None,
        "incomplete_details": None,
        "instructions": wire.instructions,
        "max_output_tokens": wire.max_output_tokens,
        "max_tool_calls": wire.max_tool_calls,
        "metadata": wire.metadata or {},
        "model": wire.model,
        "output": [],
        "parallel_tool_calls": wire.parallel_tool_calls is not False,
        "previous_response_id": wire.previous_response_id,
        "prompt_cache_key": wire.prompt_cache_key,
        "reasoning": {
            "effort": reasoning.effort if reasoning else None,
            "summary": reasoning.summary if reasoning else None,
        },
        "safety_identifier": wire.safety_identifier,
        "service_tier": "default",
        "store": kept,
        "temperature": defaults.temperature if wire.temperature is None else wire.temperature,
        "text": {
            "format": {"type": "text"} if given is None else given.model_dump(by_alias=True, exclude_none=True),
            "verbosity": "medium",
        },
        "tool_choice": "auto" if wire.tool_choice is None else _dumped(wire.tool_choice),
        "tools": [_tool(one) for one in wire.tools or ()],
        "top_logprobs": wire.top_logprobs or 0,
        "top_p": defaults.top_p if wire.top_p is None else wire.top_p,
        "truncation": "disabled",
    }
    return body if wire.user is None else {**body, "user": wire.user}


def _dumped(choice: Any) -> Any:
    return choice if isinstance(choice, str) else choice.model_dump()


def _tool(declared: FunctionDeclared) -> dict[str, Any]:
    return {
        "type": "function",
        "name": declared.name,
        "description": declared.description,
        "parameters": declared.parameters,
        "strict": declared.strict is not False,
    }
