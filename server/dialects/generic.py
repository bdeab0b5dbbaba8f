"""The dialect of checkpoints that no other file speaks for: their own chat template in, plain text out."""

from typing import Any

from server.conversation import Conversation, Message, Tool
from server.dialects.dialect import OutputParser, TemplateError
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

    def render(self, conversation: Conversation) -> list[int]:
        if self._template is None:
            raise TemplateError(_BASE_MODEL)
        return self._template.encode(self._template.render(self.template_variables(conversation)))

    def output_parser(self) -> OutputParser:
        return Detokenizer(self._tokenizer)

    def template_variables(self, conversation: Conversation) -> dict[str, Any]:
        """The variables of Hugging Face's `apply_chat_template`. Raises TemplateError if the request's template
        arguments would replace one of them."""
        taken = sorted(_OWN_VARIABLES & conversation.template_arguments.keys())
        if taken:
            raise TemplateError(f"the chat template's variable {taken[0]!r} cannot be set by a request")
        return {
            **conversation.template_arguments,
            "messages": [self.message_variables(message) for message in conversation.messages],
            "tools": [self.tool_variables(tool) for tool in conversation.tools] or None,
            "add_generation_prompt": conversation.add_generation_prompt,
        }

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
