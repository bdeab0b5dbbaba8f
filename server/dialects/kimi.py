"""Kimi K2 and its kin (K2-Thinking, K2.5, Moonlight): all that is particular to the family.

Prompt (the checkpoint's template writes it):
    <|im_system|>tool_declare<|im_middle|>[tools as JSON]<|im_end|>
    <|im_system|>system<|im_middle|>...<|im_end|>            a default one if the conversation has none
    <|im_user|>{name or user}<|im_middle|>...<|im_end|>
    <|im_assistant|>assistant<|im_middle|>                   here the model goes on
"""

from typing import Any

from server.conversation import Tool
from server.dialects.generic import GenericDialect
from server.text.template import ChatTemplate
from server.text.tokenizer import Tokenizer

# Only this family's tokenizers have it.
FAMILY_TOKEN = "<|im_middle|>"


class KimiDialect(GenericDialect):
    """See the module."""

    name = "kimi"

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate | None) -> None:
        super().__init__(tokenizer, template)
        self._sorts_tools = template is not None and _declares_tools_sorted(template.source)

    def tool_variables(self, tool: Tool) -> dict[str, Any]:
        variables = super().tool_variables(tool)
        sorted_variables: dict[str, Any] = deep_sorted(variables) if self._sorts_tools else variables
        return sorted_variables


def _declares_tools_sorted(template: str) -> bool:
    """Whether the model saw tools with their keys in order: since late 2025, when the templates also began to write
    them without blanks, and in all that think."""
    return "separators" in template or "<think>" in template


def deep_sorted(value: Any) -> Any:
    """A copy with the keys of every mapping in order; the order of lists is kept."""
    if isinstance(value, dict):
        return {key: deep_sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [deep_sorted(item) for item in value]
    return value
