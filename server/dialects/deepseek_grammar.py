"""What DeepSeek's output must match, so that calls and formats are right whatever the model would have liked to say."""

from engine import Grammar
from server.conversation import OutputContract, Tool
from server.dialects import lark
from server.dialects.deepseek_tokens import (
    CALL_BEGIN,
    CALL_END,
    CALLS_BEGIN,
    CALLS_END,
    END_THINK,
    SEPARATOR,
    THINK,
    DeepSeekTokens,
)

_OPEN_FENCE, _CLOSE_FENCE = "\n```json\n", "\n```"


def deepseek_grammar(
    tokens: DeepSeekTokens,
    contract: OutputContract,
    tools: tuple[Tool, ...],
    *,
    fenced: bool,
    opened: bool,
    thinks: bool,
) -> Grammar | None:
    """`tools`: those that may be called. `fenced`: arguments stand in a code fence, as before V3.1. `opened`: the
    prompt has opened the reasoning; `thinks`: the model may open it itself. Raises ContractError."""
    rules = _section(tools, contract, fenced) if tools else []
    markers = lark.Markers(
        begin_calls=(tokens.calls_begin,),
        other_calls=(tokens.calls_end, tokens.call_begin, tokens.separator, tokens.call_end),
        think=THINK,
        end_think=END_THINK,
        end_think_id=tokens.end_think,
        ends=tokens.ends,
    )
    return lark.answer_grammar(contract, markers, "section" if rules else "", rules, opened=opened, thinks=thinks)


def _section(tools: tuple[Tool, ...], contract: OutputContract, fenced: bool) -> list[str]:
    if fenced:
        named = [f"{lark.literal(tool.name + _OPEN_FENCE)} tool_{n}" for n, tool in enumerate(tools)]
        call = f'call: {CALL_BEGIN} "function" {SEPARATOR} named {lark.literal(_CLOSE_FENCE)} {CALL_END}'
    else:
        named = [f"{lark.literal(tool.name)} {SEPARATOR} tool_{n}" for n, tool in enumerate(tools)]
        call = f"call: {CALL_BEGIN} named {CALL_END}"
    return [
        f"section: {CALLS_BEGIN} calls {CALLS_END}",
        lark.call_list(contract, separator="\n" if fenced else ""),
        call,
        "named: " + "\n | ".join(named),
        *lark.tool_rules(tools, contract),
    ]
