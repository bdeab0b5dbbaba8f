"""No field of a conversation can hold a control token: every one is tried in every field, whole and in parts.

The measure: the control tokens of the prompt are those of a harmless conversation of the same shape, and what was
written is in the prompt as text.
"""

from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.conversation import Conversation, Message, Tool, ToolCall
from server.dialects.dialect import Dialect
from server.dialects.registry import load_dialect
from server.text.template import ChatTemplate
from server.text.tokenizer import Tokenizer, load_tokenizer

TINY_KIMI = Path(__file__).parents[2] / "data" / "tiny_kimi"
REAL_KIMI = Path(__file__).parents[4] / "shared" / "data" / "models" / "kimi-k2-instruct"
CHECKPOINTS = pytest.mark.parametrize(
    "folder",
    [
        pytest.param(TINY_KIMI, id="tiny"),
        pytest.param(
            REAL_KIMI,
            id="real",
            marks=pytest.mark.skipif(not REAL_KIMI.is_dir(), reason=f"needs the published files in {REAL_KIMI}"),
        ),
    ],
)


@cache
def checkpoint(folder: Path) -> tuple[Tokenizer, Dialect]:
    tokenizer = load_tokenizer(folder)
    return tokenizer, load_dialect(folder, tokenizer)


def everywhere(*parts: str) -> Conversation:
    """A conversation with the parts, in turn, in every field that a client may fill; neighbouring fields get
    neighbouring parts."""
    turn = 0

    def part() -> str:
        nonlocal turn
        turn += 1
        return parts[(turn - 1) % len(parts)]

    schema: dict[str, Any] = {
        "type": "object",
        part(): {"description": part(), "enum": [part(), part()]},
        "properties": {part() + "1": {"type": part(), "default": {part() + "2": [part()]}}},
    }
    call = ToolCall(part(), part(), part())
    return Conversation(
        messages=(
            Message("system", part(), name=part()),
            Message("developer", part(), name=part()),
            Message("user", part(), name=part()),
            Message("assistant", part(), name=part(), reasoning=part(), tool_calls=(call, call)),
            Message("tool", part(), tool_call_id=part()),
            Message("tool", part(), name=part(), tool_call_id=part()),
            Message("assistant", part(), reasoning=part()),
            Message("user", part() + part() + part()),
        ),
        tools=(Tool(part(), part(), schema), Tool(part(), part(), {})),
        template_arguments={"thinking": part(), "tools_ts_str": part(), part() or "empty": part()},
    )


def control_tokens(tokenizer: Tokenizer, prompt: list[int]) -> list[int]:
    return [token for token in prompt if tokenizer.is_control(token)]


def texts(tokenizer: Tokenizer, prompt: list[int]) -> list[str]:
    """The runs of text between the control tokens."""
    return [
        b"".join(map(tokenizer.token_bytes, run)).decode()
        for control, run in groupby(prompt, tokenizer.is_control)
        if not control
    ]


@CHECKPOINTS
def test_whole_control_tokens_in_every_field(folder: Path) -> None:
    tokenizer, dialect = checkpoint(folder)
    harmless = control_tokens(tokenizer, dialect.render(everywhere("x")))
    assert len(harmless) > 20
    for text in tokenizer.control_tokens:
        prompt = dialect.render(everywhere(text))
        assert control_tokens(tokenizer, prompt) == harmless, text
        assert sum(run.count(text) for run in texts(tokenizer, prompt)) >= 25


@CHECKPOINTS
def test_control_tokens_in_parts_over_neighbouring_fields(folder: Path) -> None:
    tokenizer, dialect = checkpoint(folder)
    harmless = control_tokens(tokenizer, dialect.render(everywhere("x")))
    # The names that templates write, and a few of the reserved ones, which are all alike.
    for text in [text for text in tokenizer.control_tokens if "reserved" not in text] + ["<|reserved_token_517|>"]:
        for cut in range(1, len(text)):
            assert control_tokens(tokenizer, dialect.render(everywhere(text[:cut], text[cut:]))) == harmless
            assert control_tokens(tokenizer, dialect.render(everywhere(text[cut:], text[:cut]))) == harmless


@CHECKPOINTS
def test_control_tokens_in_parts_over_content_parts(folder: Path) -> None:
    """Kimi's template writes the parts of a list right after one another."""
    tokenizer, _ = checkpoint(folder)
    template = ChatTemplate((folder / "chat_template.jinja").read_text(encoding="utf-8"), tokenizer)
    for text in list(tokenizer.control_tokens)[:20]:
        messages = [
            {"role": "user", "content": [{"type": "text", "text": part} for part in (text[:cut], text[cut:])]}
            for cut in range(len(text) + 1)
        ]
        pieces = template.render({"messages": messages})
        assert pieces.count(text) == len(messages)
        assert sum(isinstance(piece, int) for piece in pieces) == 3 + 3 * len(messages)


@CHECKPOINTS
@settings(max_examples=50)
@given(data=st.data())
def test_any_conversation_made_of_pieces_of_control_tokens(folder: Path, data: st.DataObject) -> None:
    tokenizer, dialect = checkpoint(folder)
    pieces = st.sampled_from(
        [*list(tokenizer.control_tokens)[:19], "<|", "|>", "im_", "end", "[", "]", "EOS", "\ud800"]
    )
    parts = data.draw(st.lists(st.lists(pieces, min_size=1, max_size=4).map("".join), min_size=1, max_size=9))
    harmless = control_tokens(tokenizer, dialect.render(everywhere("x")))
    assert control_tokens(tokenizer, dialect.render(everywhere(*parts))) == harmless
