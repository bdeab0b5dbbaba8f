"""DeepSeek V3, V3.1 and R1: how their prompts are written.

The checkpoint's template writes it:
    <｜begin▁of▁sentence｜>system prompt<｜User｜>...<｜Assistant｜>...<｜end▁of▁sentence｜>
    <｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>...<｜tool▁output▁end｜><｜tool▁outputs▁end｜>
    <｜Assistant｜>              here the model goes on; R1 behind <think>, V3.1 behind <think> or </think>

Published templates leave tools out: deepseek_tools writes them. Calls have no ids in a prompt. What was thought in
earlier turns is left out, as the family wants it. How output is constrained: deepseek_grammar; read: deepseek_parser.
"""

from typing import Any, ClassVar

from engine import Grammar
from server.conversation import Conversation, Message, OutputContract, Tool
from server.dialects.deepseek_grammar import deepseek_grammar
from server.dialects.deepseek_parser import DeepSeekParser
from server.dialects.deepseek_tokens import CALL_MARKERS, THINK, DeepSeekTokens
from server.dialects.deepseek_tools import with_tools
from server.dialects.dialect import OutputParser, Reasoning
from server.dialects.generic import GenericDialect
from server.dialects.template_probe import ANSWER, CALLING, RESULT, USER, last_control_token, needs_whole_tools
from server.json_schema import NO_PARAMETERS
from server.text.template import ChatTemplate
from server.text.tokenizer import Tokenizer

_ENDINGS = {"user": [USER], "tool": [USER, CALLING, RESULT], "assistant": [USER, ANSWER]}


class DeepSeekDialect(GenericDialect):
    """V3 (which does not think), V3.1 (which does if its template is told so) and what was made of them."""

    name = "deepseek"
    needs: ClassVar[tuple[str, ...]] = CALL_MARKERS
    calls_tools = True

    @classmethod
    def speaks_for(cls, model_type: str, tokenizer: Tokenizer, template: ChatTemplate | None) -> bool:
        """By its tokens, since other families share the architecture and call themselves deepseek_v3."""
        return tokenizer.control_tokens.keys() >= set(cls.needs)

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate | None) -> None:
        super().__init__(tokenizer, template)
        self._tokens = DeepSeekTokens.of(tokenizer.control_tokens)
        source = template.source if template is not None else ""
        self._fenced = "```json" in source
        self._empty_is_none = "message['content'] is not none" in source  # else it writes an empty answer, too
        variables = template.variables if template is not None else frozenset()
        self._declares = "tools" in variables
        self._whole_tools = template is not None and needs_whole_tools(template)
        self.reasoning: Reasoning = "optional" if "thinking" in variables else "never"
        self._opens = {
            (last, thinking): template is not None and _opens(template, messages, thinking, self._tokens)
            for last, messages in _ENDINGS.items()
            for thinking in (None, True, False)
        }

    def render(self, conversation: Conversation) -> list[int]:
        if self._template is None or self._declares or not conversation.tools:
            return super().render(conversation)
        pieces = self._template.render(self.template_variables(conversation))
        pieces = with_tools(pieces, conversation.tools, self._tokenizer.control_tokens, fenced=self._fenced)
        return self._template.encode(pieces)

    def grammar(self, conversation: Conversation, contract: OutputContract) -> Grammar | None:
        opened = self._opened(conversation)
        found = deepseek_grammar(
            self._tokens,
            contract,
            contract.may_call(conversation.tools),
            fenced=self._fenced,
            opened=opened,
            thinks=self.reasoning == "always",
        )
        if found is None and (conversation.tools or any(message.tool_calls for message in conversation.messages)):
            return Grammar(None, forbidden=self._tokens.calls)
        return found

    def output_parser(self, conversation: Conversation, contract: OutputContract) -> OutputParser:
        return DeepSeekParser(
            self._tokenizer,
            self._tokens,
            reasoning=self._opened(conversation),
            names=frozenset(tool.name for tool in contract.may_call(conversation.tools)),
            fenced=self._fenced,
            max_calls=None if contract.parallel_tool_calls else 1,
        )

    def message_variables(self, message: Message) -> dict[str, Any]:
        variables = super().message_variables(message)
        if self._empty_is_none and message.tool_calls and not message.content:
            variables["content"] = None
        return variables

    def tool_variables(self, tool: Tool) -> dict[str, Any]:
        variables = super().tool_variables(tool)
        if self._whole_tools:
            variables["function"] = {"description": "", "parameters": NO_PARAMETERS, **variables["function"]}
        return variables

    def _opened(self, conversation: Conversation) -> bool:
        """Whether the prompt ends within the reasoning."""
        thinking = self.thinking(conversation)
        turns = [message.role for message in conversation.messages if message.role not in ("system", "developer")]
        return conversation.add_generation_prompt and bool(turns) and self._opens[turns[-1], thinking]


class DeepSeekR1Dialect(DeepSeekDialect):
    """R1, which always thinks. Some revisions of its template open the thoughts; with the others (R1-0528) the model
    does, and nothing in the checkpoint tells it from V3: it must be named."""

    name = "deepseek-r1"
    needs: ClassVar[tuple[str, ...]] = (*CALL_MARKERS, THINK)

    @classmethod
    def speaks_for(cls, model_type: str, tokenizer: Tokenizer, template: ChatTemplate | None) -> bool:
        if (
            template is None
            or "thinking" in template.variables
            or not super().speaks_for(model_type, tokenizer, template)
        ):
            return False
        return _opens(template, [USER], None, DeepSeekTokens.of(tokenizer.control_tokens))

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate | None) -> None:
        super().__init__(tokenizer, template)
        self.reasoning = "always"


def _opens(
    template: ChatTemplate, messages: list[dict[str, Any]], thinking: bool | None, tokens: DeepSeekTokens
) -> bool:
    switch = {} if thinking is None else {"thinking": thinking}
    return last_control_token(template, messages, **switch) == tokens.think != -1
