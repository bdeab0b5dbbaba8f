"""The dialect of checkpoints that no other file speaks for: their own chat template in, plain text out."""

from collections.abc import Mapping
from typing import Any

from server.conversation import Conversation, Message, Tool
from server.dialects.dialect import OutputParser, TemplateArgumentError, TemplateError
from server.text.detokenizer import Detokenizer
from server.text.template import ChatTemplate
from server.text.tokenizer import Tokenizer

_BASE_MODEL = (
    "this is a base model without a chat template; it cannot be given messages. Serve an instruct checkpoint, or put "
    "a chat_template.jinja into the checkpoint folder"
)
_OWN_VARIABLES = frozenset({"messages", "tools", "add_generation_prompt"})


class GenericDialect:
    """Renders the checkpoint's template with the variables it expects. Families override the parts that differ."""

    name = "generic"

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate | None) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._knows_developer = template is not None and "developer" in template.source

    @property
    def takes_messages(self) -> bool:
        return self._template is not None

    def render(self, conversation: Conversation) -> list[int]:
        if self._template is None:
            raise TemplateError(_BASE_MODEL)
        return self._template.encode(self._template.render(self.template_variables(conversation)))

    def output_parser(self) -> OutputParser:
        return Detokenizer(self._tokenizer)

    def template_variables(self, conversation: Conversation) -> dict[str, Any]:
        """The variables of Hugging Face's `apply_chat_template`. Raises TemplateArgumentError if the request's
        template arguments would replace one of them."""
        taken = sorted(_OWN_VARIABLES & conversation.template_arguments.keys())
        if taken:
            raise TemplateArgumentError(f"the chat template's variable {taken[0]!r} cannot be set by a request")
        return {
            **conversation.template_arguments,
            "messages": [self.message_variables(message) for message in conversation.messages],
            "tools": [self.tool_variables(tool) for tool in conversation.tools] or None,
            "add_generation_prompt": conversation.add_generation_prompt,
        }

    def known_arguments(self) -> frozenset[str]:
        """The template arguments that a request may give. A family may add arguments of its own."""
        return frozenset() if self._template is None else self._template.variables - _OWN_VARIABLES

    def check_arguments(self, arguments: Mapping[str, Any]) -> None:
        known = self.known_arguments()
        for name in arguments:
            if name not in known:
                few = "it takes " + ", ".join(sorted(known)) if known else "it takes none"
                raise TemplateArgumentError(
                    f"chat_template_kwargs: {name[:40]!r} is no variable that this model's chat template takes from "
                    f"requests; {few}."
                )

    def message_variables(self, message: Message) -> dict[str, Any]:
        """One message as templates know it; what it does not have is absent, for templates ask `is defined`."""
        role = "system" if message.role == "developer" and not self._knows_developer else message.role
        variables: dict[str, Any] = {"role": role, "content": message.content}
        if message.name is not None:
            variables["name"] = message.name
        if message.reasoning is not None:
            variables["reasoning_content"] = message.reasoning
        if message.tool_calls:
            variables["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in message.tool_calls
            ]
        if message.tool_call_id is not None:
            variables["tool_call_id"] = message.tool_call_id
        return variables

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
