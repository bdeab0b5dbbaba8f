"""What Kimi's output must match, so that calls and formats are right whatever the model would have liked to say.

tool_choice            begins                                  matches
auto                   with the marker that begins a call      calls
auto, with a format    at once, or behind </think>             calls or the format
required, named        at once, or behind </think>             calls
none, no tools         (with a format) as above                the format; markers of calls are forbidden
"""

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
    must_call = contract.tool_choice.mode == "required"
    choices = []
    if tools:
        # Behind a marker that the model chose by itself the section's own may be missing.
        choices = ["section"] if must_call and not opened else ["section", "calls::0"]
    if contract.format is not None and not must_call:
        choices.append("format")
    if not choices:
        return None
    lines = ["answer: " + " | ".join(choices)]
    if tools:
        lines += [f"section: {SECTION_BEGIN} calls::0 {SECTION_END}"]
        lines += lark.call_rules(
            tools, contract, head=CALL_BEGIN, middle=ARGUMENT_BEGIN, tail=CALL_END, base=first_index
        )
    if "format" in choices:
        lines.append("format: " + lark.format_rule(contract.format, contract))  # type: ignore[arg-type]
    begins = (tokens.section_begin, tokens.call_begin) if tools else ()
    stray = tuple(sorted(set(tokens.calls) - set(begins) - {-1}))
    if not must_call and contract.format is None:
        return Grammar(_source("answer", lines), begin_with=begins, forbidden=stray)
    if opened:
        forbidden = (*stray, *tokens.ends)  # the answer is not over before it has begun
        return Grammar(
            _source("answer", lines), begin_with=begins, begin_after=(tokens.end_think,), forbidden=forbidden
        )
    if thinks:
        lines.append(f"thoughts: {THINK} /(?s:.*)/ {END_THINK}")
        return Grammar(_source("thoughts? answer", lines))
    return Grammar(_source("answer", lines))


def _source(start: str, lines: list[str]) -> str:
    return "\n".join([f"start: {start}", *lines])
