"""What Kimi's output must match, so that calls and formats are right whatever the model would have liked to say."""

from engine import Grammar
from server.conversation import OutputContract, Tool
from server.dialects import lark
from server.dialects.kimi_tokens import (
    ARGUMENT_BEGIN,
    CALL_BEGIN,
    CALL_END,
    END_THINK,
    SECTION_BEGIN,
    SECTION_END,
    THINK,
    KimiTokens,
)


def kimi_grammar(
    tokens: KimiTokens,
    contract: OutputContract,
    tools: tuple[Tool, ...],
    *,
    first_index: int,
    opened: bool,
    thinks: bool,
) -> Grammar | None:
    """`tools`: those that may be called. `opened`: the prompt has opened the reasoning; `thinks`: the model may open it
    itself. Raises ContractError."""
    calls, rules = "", []
    if tools:
        # Behind a marker that the model chose by itself the section's own may be missing.
        calls = "section" if contract.tool_choice.mode == "required" and not opened else "section | calls::0"
        rules = [f"section: {SECTION_BEGIN} calls::0 {SECTION_END}"]
        rules += lark.call_rules(
            tools, contract, head=CALL_BEGIN, middle=ARGUMENT_BEGIN, tail=CALL_END, base=first_index
        )
    markers = lark.Markers(
        begin_calls=(tokens.section_begin, tokens.call_begin),
        other_calls=(tokens.section_end, tokens.argument_begin, tokens.call_end),
        think=THINK,
        end_think=END_THINK,
        end_think_id=tokens.end_think,
        ends=tokens.ends,
    )
    return lark.answer_grammar(contract, markers, calls, rules, opened=opened, thinks=thinks)
