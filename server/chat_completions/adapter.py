"""The wire's chat-completions request becomes a TextRequest. Owns every check that takes more than one field, the
model's names or the settings."""

from collections.abc import Sequence

from server.chat_completions.contract import check_results, declared_tools, output_contract, reasoning_wanted
from server.chat_completions.schema import (
    AssistantMessage,
    ChatCompletionRequest,
    PromptMessage,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolMessage,
)
from server.contract import check_model
from server.conversation import Conversation, Message, ToolCall
from server.errors import InvalidRequest
from server.generation import TextRequest
from server.sampling import SamplingOverrides
from server.served_model import ServedModel
from server.settings import Settings


def text_request(wire: ChatCompletionRequest, id: str, model: ServedModel, settings: Settings) -> TextRequest:
    """Raises InvalidRequest or UnknownModel."""
    check_model(wire.model, model)
    _check_together(wire, settings)
    tools = declared_tools(wire, model.dialect)
    contract = output_contract(wire, tools, settings.max_json_string)
    check_results(wire)
    return TextRequest(
        id=id,
        conversation=Conversation(
            messages=tuple(_message(message) for message in wire.messages if not _declares_only(message)),
            tools=tools,
            template_arguments=wire.chat_template_kwargs or {},
            add_generation_prompt=wire.add_generation_prompt is not False,
            reasoning=reasoning_wanted(wire, model.dialect),
        ),
        sampling=_sampling(wire),
        contract=contract,
        n=wire.n or 1,
        priority=wire.priority or 0,
        cache_salt=wire.cache_salt or "",
    )


def _declares_only(message: object) -> bool:
    """Whether a message only declares tools: those are the conversation's, and nothing is left to say."""
    return isinstance(message, SystemMessage) and message.content is None


def _check_together(wire: ChatCompletionRequest, settings: Settings) -> None:
    wire.check_delivery(settings.max_n)
    both = (wire.max_tokens, wire.max_completion_tokens)
    if None not in both and both[0] != both[1]:
        raise InvalidRequest(
            f"max_tokens is {both[0]} and max_completion_tokens is {both[1]}; give one of them.", param="max_tokens"
        )
    if wire.top_logprobs is not None and not wire.logprobs:
        raise InvalidRequest("top_logprobs needs logprobs: true.", param="top_logprobs")


def _sampling(wire: ChatCompletionRequest) -> SamplingOverrides:
    max_tokens = wire.max_tokens if wire.max_completion_tokens is None else wire.max_completion_tokens
    return wire.overrides(max_tokens, (wire.top_logprobs or 0) if wire.logprobs else None)


def _message(wire: PromptMessage | SystemMessage | AssistantMessage | ToolMessage) -> Message:
    content = _text(wire.content)
    if isinstance(wire, PromptMessage | SystemMessage):
        return Message(wire.role, content, wire.name)
    if isinstance(wire, ToolMessage):
        return Message("tool", content, wire.name, tool_call_id=wire.tool_call_id)
    return Message(
        "assistant",
        content or wire.refusal or "",
        wire.name,
        reasoning=wire.reasoning if wire.reasoning_content is None else wire.reasoning_content,
        tool_calls=tuple(
            ToolCall(call.id, call.function.name, call.function.arguments) for call in wire.tool_calls or ()
        ),
    )


def _text(content: str | Sequence[TextPart | RefusalPart] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text if isinstance(part, TextPart) else part.refusal for part in content)
