"""The jinja2 sandbox in which chat templates run, with the helpers that published templates expect.

Templates come with checkpoints: they are foreign code. They see plain data only, cannot change it, and reach nothing
else. The helpers are those of Hugging Face's `apply_chat_template`.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

# Repetition ("x" * n) is the one operation by which a small template makes a large string at once.
MAX_REPEATED_CHARS = 100_000


class TemplateRaisedError(jinja2.TemplateError):
    """The template called `raise_exception`: its text is meant for whoever wrote the conversation."""


class Sandbox(ImmutableSandboxedEnvironment):
    """jinja2's sandbox with a bound on `*` and without `**`."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            raise SecurityError("chat templates may not use **")
        for sequence, count in ((left, right), (right, left)):
            if isinstance(sequence, str | list | tuple) and isinstance(count, int):
                size = len(sequence) * count
                if size > MAX_REPEATED_CHARS:
                    raise SecurityError(f"{size:,} items by repetition; at most {MAX_REPEATED_CHARS:,}")
        return super().call_binop(context, operator, left, right)


class GenerationTag(Extension):
    """`{% generation %}` ... `{% endgeneration %}` marks answers for training; here it has no effect."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def make_environment(now: Callable[[], datetime] = datetime.now) -> Sandbox:
    """An environment for chat templates; `now` is the clock behind `strftime_now`."""
    environment = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, GenerationTag])
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: now().strftime(form)
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as models were trained on it. jinja2's own filter sorts keys and escapes HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise TemplateRaisedError(message)
