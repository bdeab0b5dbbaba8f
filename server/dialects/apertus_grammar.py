"""What Apertus' output must match, so that calls and formats are right whatever the model would have liked to say."""

from engine import Grammar
from server.conversation import OutputContract, Tool
from server.dialects import lark
from server.dialects.apertus_tokens import CALLS_BEGIN, CALLS_END, END_THINK, THINK, ApertusTokens


def apertus_grammar(
    tokens: ApertusTokens, contract: OutputContract, tools: tuple[Tool, ...], *, thinks: bool
) -> Grammar | None:
    """`tools`: those that may be called. `thinks`: the model was told to think. Raises ContractError."""
    rules: list[str] = []
    if tools:
        named = [f"{lark.literal(f'{lark.literal(tool.name)}: ')} tool_{index}" for index, tool in enumerate(tools)]
        rules = [
            f'section: {CALLS_BEGIN} "[" calls "]" {CALLS_END}',
            lark.call_list(contract, separator=", "),
            'call: "{" named "}"',
            "named: " + "\n | ".join(named),
            *lark.tool_rules(tools, contract),
        ]
    markers = lark.Markers(
        begin_calls=(tokens.calls_begin,),
        other_calls=(tokens.calls_end,),
        think=THINK,
        end_think=END_THINK,
        end_think_id=tokens.end_think,
        ends=tokens.ends,
    )
    return lark.answer_grammar(contract, markers, "section" if rules else "", rules, opened=False, thinks=thinks)
