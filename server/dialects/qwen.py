"""Qwen3 and its kin (Qwen 2.5, QwQ), and Qwen3-Coder: how their prompts are written.

The checkpoint's template writes it:
    <|im_start|>system
    ...# Tools ...<|im_end|>
    <|im_start|>user
    ...<|im_end|>                                a call's result is here too, within <tool_response>
    <|im_start|>assistant
                                                 here the model goes on; some behind <think>, some behind </think>

Calls have no ids in this family: a result answers by its place. How output is read: qwen_parser; the two forms of a
call: qwen_json, and qwen_xml for Qwen3-Coder.
"""

import json
from typing import Any, ClassVar

from engine import Grammar
from server.conversation import Conversation, OutputContract, Tool, ToolCall
from server.dialects import lark, qwen_json, qwen_xml, qwen_xml_grammar
from server.dialects.dialect import OutputParser, Reasoning, TemplateError
from server.dialects.generic import GenericDialect
from server.dialects.qwen_parser import GAP, CallReader, QwenParser
from server.dialects.qwen_tokens import CALL, END_CALL, END_THINK, FAMILY_TOKENS, THINK, QwenTokens
from server.text.template import ChatTemplate
from server.text.tokenizer import Tokenizer

# Variables that the templates read, but set themselves before.
_OWN_VARIABLES = frozenset({"content", "reasoning_content", "loop_messages"})


class QwenDialect(GenericDialect):
    """Calls as JSON."""

    name = "qwen3"
    needs: ClassVar[tuple[str, ...]] = (CALL, END_CALL)
    switch = "enable_thinking"

    @classmethod
    def speaks_for(cls, model_type: str, tokenizer: Tokenizer, template: ChatTemplate | None) -> bool:
        return model_type.startswith("qwen") and all(name in tokenizer.control_tokens for name in FAMILY_TOKENS)

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate | None) -> None:
        super().__init__(tokenizer, template)
        self._tokens = QwenTokens.of(tokenizer.control_tokens)
        self._prompts = {thinking: self._prompt_end(thinking) for thinking in (None, True, False)}
        self.calls_tools = -1 not in self._tokens.calls
        self.reasoning: Reasoning = self._reasoning()

    def grammar(self, conversation: Conversation, contract: OutputContract) -> Grammar | None:
        tools = contract.may_call(conversation.tools) if self.calls_tools else ()
        tokens, end = self._tokens, self._end_of(conversation)
        found = lark.answer_grammar(
            contract,
            lark.Markers(
                begin_calls=(tokens.call,),
                other_calls=(tokens.end_call,),
                think=THINK,
                end_think=END_THINK,
                end_think_id=tokens.end_think,
                ends=tokens.ends,
                gap=GAP,
            ),
            "calls" if tools else "",
            [lark.call_list(contract, "\n"), *self._call_rules(tools, contract)] if tools else [],
            opened=end == THINK,
            thinks=end == "" and self.reasoning != "never",
        )
        earlier = any(message.tool_calls for message in conversation.messages)
        if found is None and self.calls_tools and (conversation.tools or earlier):
            return Grammar(None, forbidden=tokens.calls)
        return found

    def output_parser(self, conversation: Conversation, contract: OutputContract) -> OutputParser:
        tools = contract.may_call(conversation.tools)
        return QwenParser(
            self._tokenizer,
            self._tokens,
            lambda: self._new_reader(tools),
            reasoning=self._end_of(conversation) == THINK,
            names=frozenset(tool.name for tool in tools),
            max_calls=None if contract.parallel_tool_calls else 1,
        )

    def known_arguments(self) -> frozenset[str]:
        return super().known_arguments() - _OWN_VARIABLES

    def _call_rules(self, tools: tuple[Tool, ...], contract: OutputContract) -> list[str]:
        return qwen_json.call_rules(tools, contract)

    def _new_reader(self, tools: tuple[Tool, ...]) -> CallReader:
        return qwen_json.JsonCall()

    def _reasoning(self) -> Reasoning:
        if self._template is None or self._tokens.think == -1:
            return "never"
        if self.switch in self._template.variables:
            return "optional"
        if self._prompts[None] == END_THINK or THINK not in self._template.source:
            return "never"
        return "always"

    def _end_of(self, conversation: Conversation) -> str:
        """The marker of thoughts behind which the model goes on: one of <think>, </think> and none."""
        if not conversation.add_generation_prompt:
            return ""
        return self._prompts[self.thinking(conversation)]

    def _prompt_end(self, thinking: bool | None) -> str:
        if self._template is None:
            return ""
        variables: dict[str, Any] = {"messages": [{"role": "user", "content": "Q"}], "tools": None}
        variables |= {"add_generation_prompt": True} | ({} if thinking is None else {self.switch: thinking})
        try:
            pieces = self._template.render(variables)
        except TemplateError:
            return ""
        control = [piece for piece in pieces if isinstance(piece, int)]
        names = {self._tokens.think: THINK, self._tokens.end_think: END_THINK}
        return names.get(control[-1], "") if control else ""


class QwenCoderDialect(QwenDialect):
    """Calls as tagged texts."""

    name = "qwen3-coder"

    @classmethod
    def speaks_for(cls, model_type: str, tokenizer: Tokenizer, template: ChatTemplate | None) -> bool:
        """By what the template tells the model to write."""
        return (
            template is not None
            and "<function=" in template.source
            and super().speaks_for(model_type, tokenizer, template)
        )

    def call_variables(self, call: ToolCall) -> dict[str, Any]:
        """Arguments must be an object, of which the template makes parameters. Text that is none is shown as one."""
        variables = super().call_variables(call)
        function = variables["function"]
        if not isinstance(function["arguments"], dict):
            function["arguments"] = _object(call.arguments)
        return variables

    def _call_rules(self, tools: tuple[Tool, ...], contract: OutputContract) -> list[str]:
        return qwen_xml_grammar.call_rules(tools, contract)

    def _new_reader(self, tools: tuple[Tool, ...]) -> CallReader:
        return qwen_xml.XmlCall(tools)


def _object(arguments: str) -> dict[str, Any]:
    try:
        value = json.loads(arguments) if arguments.strip() else {}
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}
