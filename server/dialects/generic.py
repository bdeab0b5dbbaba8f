"""The dialect of checkpoints that no other file speaks for: their own chat template in, plain text out."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from engine import Grammar
from server.conversation import Conversation, Message, OutputContract, Tool, ToolCall
from server.dialects import lark
from server.dialects.dialect import OutputParser, Reasoning, TemplateArgumentError, TemplateError
from server.events import Delta, TextDelta
from server.text.detokenizer import Detokenizer
from server.text.template import ChatTemplate
from server.text.tokenizer import Tokenizer

_BASE_MODEL = (
    "this is a base model without a chat template; it cannot be given messages. Serve an instruct checkpoint, or put "
    "a chat_template.jinja into the checkpoint folder"
)
_OWN_VARIABLES = frozenset({"messages", "tools", "add_generation_prompt"})
_SWITCHES = ("thinking", "enable_thinking")  # what templates call the variable that turns thinking on and off


class GenericDialect:
    """Renders the checkpoint's template with the variables it expects. Families override the parts that differ."""

    name = "generic"
    needs: ClassVar[tuple[str, ...]] = ()  # the control tokens without which its calls cannot be read
    calls_tools = False
    reasoning: Reasoning = "never"
    switch: ClassVar[str] = "thinking"  # the template's variable that turns thinking on and off, if it has one

    @classmethod
    def speaks_for(cls, model_type: str, tokenizer: Tokenizer, template: ChatTemplate | None) -> bool:
        """Whether a checkpoint with this `model_type` in its config.json, and these files, is of this family."""
        return True

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate | None) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._knows_developer = template is not None and "developer" in template.source
        self._wants_objects = template is not None and _wants_objects(template)

    @property
    def takes_messages(self) -> bool:
        return self._template is not None

    def render(self, conversation: Conversation) -> list[int]:
        if self._template is None:
            raise TemplateError(_BASE_MODEL)
        return self._template.encode(self._template.render(self.template_variables(conversation)))

    def grammar(self, conversation: Conversation, contract: OutputContract) -> Grammar | None:
        if contract.format is None:
            return None
        return Grammar(f"start: format\nformat: {lark.format_rule(contract.format, contract)}")

    def output_parser(self, conversation: Conversation, contract: OutputContract) -> OutputParser:
        return TextParser(self._tokenizer)

    def template_variables(self, conversation: Conversation) -> dict[str, Any]:
        """The variables of Hugging Face's `apply_chat_template`. Raises TemplateArgumentError if the request's
        template arguments would replace one of them."""
        taken = sorted(_OWN_VARIABLES & conversation.template_arguments.keys())
        if taken:
            raise TemplateArgumentError(f"the chat template's variable {taken[0]!r} cannot be set by a request")
        thinking = self.thinking(conversation)
        return {
            **conversation.template_arguments,
            **({} if thinking is None else {self.switch: thinking}),
            "messages": [self.message_variables(message) for message in conversation.messages],
            "tools": [self.tool_variables(tool) for tool in conversation.tools] or None,
            "add_generation_prompt": conversation.add_generation_prompt,
        }

    def thinking(self, conversation: Conversation) -> bool | None:
        """Whether the model is told to think, by the template's argument or otherwise; None: as it is used to. Raises
        TemplateArgumentError if the two differ."""
        given: bool | None = conversation.template_arguments.get(self.switch)
        wanted = conversation.reasoning if self.reasoning == "optional" else None
        if None not in (given, wanted) and given is not wanted:
            raise TemplateArgumentError(f"chat_template_kwargs: {self.switch} and the rest of the request differ.")
        return given if wanted is None else wanted

    def known_arguments(self) -> frozenset[str]:
        """The template arguments that a request may give. A family may add arguments of its own."""
        return frozenset() if self._template is None else self._template.variables - _OWN_VARIABLES

    def check_arguments(self, arguments: Mapping[str, Any]) -> None:
        known = self.known_arguments()
        for name, value in arguments.items():
            if name not in known:
                few = "it takes " + ", ".join(sorted(known)) if known else "it takes none"
                raise TemplateArgumentError(
                    f"chat_template_kwargs: {name[:40]!r} is no variable that this model's chat template takes from "
                    f"requests; {few}."
                )
            if name in _SWITCHES and not isinstance(value, bool):  # templates and parsers would read it differently
                shown = json.dumps(value, ensure_ascii=False)[:40]
                raise TemplateArgumentError(f"chat_template_kwargs.{name} must be true or false, not {shown}.")

    def message_variables(self, message: Message) -> dict[str, Any]:
        """One message as templates know it; what it does not have is absent, for templates ask `is defined`."""
        role = "system" if message.role == "developer" and not self._knows_developer else message.role
        variables: dict[str, Any] = {"role": role, "content": message.content}
        if message.name is not None:
            variables["name"] = message.name
        if message.reasoning is not None:
            variables["reasoning_content"] = message.reasoning
        if message.tool_calls:
            variables["tool_calls"] = [self.call_variables(call) for call in message.tool_calls]
        if message.tool_call_id is not None:
            variables["tool_call_id"] = message.tool_call_id
        return variables

    def call_variables(self, call: ToolCall) -> dict[str, Any]:
        """An earlier call in OpenAI's form. Arguments that are no JSON object stay the text that they are."""
        arguments: Any = call.arguments if call.arguments.strip() else "{}"
        if self._wants_objects:
            arguments = _parsed(arguments)
        return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}

    def tool_variables(self, tool: Tool) -> dict[str, Any]:
        """One tool in OpenAI's form."""
        function: dict[str, Any] = {"name": tool.name}
        if tool.description is not None:
            function["description"] = tool.description
        if tool.parameters is not None:
            function["parameters"] = tool.parameters
        if tool.strict:
            function["strict"] = True
        return {"type": "function", "function": function}


class TextParser:
    """All output is text."""

    reasoning_tokens = 0
    tool_calls = 0
    in_text = True

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._detokenizer = Detokenizer(tokenizer)

    def feed(self, token_ids: Sequence[int]) -> list[Delta]:
        text = self._detokenizer.feed(token_ids)
        return [TextDelta(text)] if text else []

    def flush(self, *, cut: bool) -> list[Delta]:
        text = self._detokenizer.flush()
        return [TextDelta(text)] if text else []


def _wants_objects(template: ChatTemplate) -> bool:
    """Whether the template writes calls from parsed arguments: it is tried with text, which such a template refuses
    or encodes once more."""
    text = json.dumps({"probe": "a"})
    call = {"id": "functions.f:0", "type": "function", "function": {"name": "f", "arguments": text}}
    messages = [
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "R", "tool_call_id": "functions.f:0"},
    ]
    try:
        written = template.text(template.render({"messages": messages, "tools": None, "add_generation_prompt": True}))
    except TemplateError:
        return True
    return "probe" in written and text not in written


def _parsed(arguments: str) -> Any:
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return value if isinstance(value, dict) else arguments
