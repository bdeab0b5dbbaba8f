"""Apertus: how its prompts are written.

The checkpoint's template writes it:
    <|system_start|>...<|system_end|>                        a default one if the conversation has none
    <|developer_start|>Deliberation: enabled⏎Tool Capabilities:⏎[tools as TypeScript]<|developer_end|>
    <|user_start|>...<|user_end|>
    <|assistant_start|>...<|tools_prefix|>[calls]<|tools_suffix|>[results]...<|assistant_end|>
    <|assistant_start|>                                      here the model goes on

Calls have no ids in a prompt. Earlier thoughts are left out. How output is constrained: apertus_grammar; read:
apertus_parser.
"""

from dataclasses import replace
from itertools import takewhile
from typing import Any, ClassVar

from engine import Grammar
from server.conversation import Conversation, Message, OutputContract, Tool
from server.dialects.apertus_grammar import apertus_grammar
from server.dialects.apertus_parser import ApertusParser
from server.dialects.apertus_tokens import CALL_MARKERS, ApertusTokens
from server.dialects.dialect import OutputParser, Reasoning
from server.dialects.generic import GenericDialect
from server.dialects.template_probe import needs_whole_tools
from server.text.template import ChatTemplate
from server.text.tokenizer import Tokenizer


class ApertusDialect(GenericDialect):
    """See the module."""

    name = "apertus"
    needs: ClassVar[tuple[str, ...]] = CALL_MARKERS
    calls_tools = True
    switch = "enable_thinking"

    @classmethod
    def speaks_for(cls, model_type: str, tokenizer: Tokenizer, template: ChatTemplate | None) -> bool:
        return tokenizer.control_tokens.keys() >= set(cls.needs)

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate | None) -> None:
        super().__init__(tokenizer, template)
        self._tokens = ApertusTokens.of(tokenizer.control_tokens)
        # The first revision of the template takes tools without their OpenAI wrapping.
        self._bare_tools = template is not None and "tool.function" not in template.source
        self._whole_tools = template is not None and (self._bare_tools or needs_whole_tools(template))
        variables = template.variables if template is not None else frozenset()
        self.reasoning: Reasoning = "optional" if self.switch in variables else "never"

    def grammar(self, conversation: Conversation, contract: OutputContract) -> Grammar | None:
        tools = contract.may_call(conversation.tools)
        found = apertus_grammar(self._tokens, contract, tools, thinks=self._thinks(conversation))
        if found is None and (conversation.tools or any(message.tool_calls for message in conversation.messages)):
            return Grammar(None, forbidden=self._tokens.calls)
        return found

    def output_parser(self, conversation: Conversation, contract: OutputContract) -> OutputParser:
        return ApertusParser(
            self._tokenizer,
            self._tokens,
            names=frozenset(tool.name for tool in contract.may_call(conversation.tools)),
            max_calls=None if contract.parallel_tool_calls else 1,
        )

    def template_variables(self, conversation: Conversation) -> dict[str, Any]:
        messages = one_system_message(conversation.messages)
        return super().template_variables(replace(conversation, messages=messages))

    def tool_variables(self, tool: Tool) -> dict[str, Any]:
        variables = super().tool_variables(tool)
        function = variables["function"]
        if self._whole_tools:
            function.setdefault("description", "")
        return function if self._bare_tools else variables

    def _thinks(self, conversation: Conversation) -> bool:
        return bool(self.thinking(conversation)) and self.reasoning == "optional"


def one_system_message(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages with those of the system and the developer at their beginning made into one, since the template
    takes no other; it refuses those that come later."""
    first = tuple(takewhile(lambda message: message.role in ("system", "developer"), messages))
    if not first:
        return messages
    system = replace(first[0], role="system", content="\n\n".join(message.content for message in first))
    return (system, *messages[len(first) :])
