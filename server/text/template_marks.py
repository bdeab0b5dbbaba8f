"""Tells the template's own control tokens from text that merely reads like them.

Every control token that stands whole in a literal of the template is replaced, in the template's syntax tree, by one
character that text cannot hold: a lone low surrogate, the *mark* of that token.

    template   <|im_user|>{{ name }}<|im_middle|>{{ content }}<|im_end|>
    marked     A{{ name }}B{{ content }}C                     A, B, C: U+DC00, U+DC01, U+DC02
    rendered   AuserB<|im_end|> hello C
    pieces     A, "user", B, "<|im_end|> hello ", C           what users wrote stays text

Users' strings are cleaned of surrogates before they are rendered, so a mark in the output can only be the template's:
control tokens cannot be forged, whole or from parts, and users' text needs no escaping that templates might trip over.

Literals that are looked for in users' text (`'</think>' in content`, `content.split('</think>')`) are left unmarked.
"""

# ruff: noqa: N802 - jinja2 finds visitors by the names of its nodes

import re
from collections.abc import Mapping

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

_FIRST_MARK, _LAST_MARK = 0xDC00, 0xDFFF
_MARK = re.compile("([\udc00-\udfff])")

# Methods and filters of strings whose arguments are looked for. `replace` looks for its first only.
_SEARCHES = frozenset(
    {"count", "endswith", "find", "index", "lstrip", "partition", "removeprefix", "removesuffix", "replace"}
    | {"rfind", "rindex", "rpartition", "rsplit", "rstrip", "split", "startswith", "strip", "trim"}
)

Pieces = list[str | int]  # text, and ids of control tokens


class Marks:
    """The marks of one template. Given out when a control token is first seen in it."""

    def __init__(self, control_tokens: Mapping[str, int]) -> None:
        self._control_tokens = control_tokens
        # Longest first: where one token begins another, the longer is meant, as tokenizers do.
        longest_first = sorted(control_tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self._token_ids: list[int] = []  # by mark
        self._texts: dict[int, str] = {token_id: text for text, token_id in control_tokens.items()}

    def mark(self, text: str) -> str:
        """`text`, a part of the template, with each control token in it replaced by its mark."""
        return self._pattern.sub(lambda match: self._mark_of(self._control_tokens[match.group()]), text)

    def split(self, rendered: str) -> Pieces:
        """What a marked template rendered, as text and control tokens. Neighbouring text is one piece."""
        return [
            self._token_ids[ord(piece) - _FIRST_MARK] if _MARK.match(piece) else piece
            for piece in _MARK.split(rendered)
            if piece
        ]

    def split_unmarked(self, rendered: str) -> Pieces:
        """What the unmarked template rendered, split at everything that reads like a control token: what an
        encoder does that trusts its whole input."""
        pieces: Pieces = []
        end = 0
        for match in self._pattern.finditer(rendered):
            if match.start() > end:
                pieces.append(rendered[end : match.start()])
            pieces.append(self._control_tokens[match.group()])
            end = match.end()
        return [*pieces, rendered[end:]] if end < len(rendered) else pieces

    def join(self, pieces: Pieces) -> str:
        """The text that `pieces` show, control tokens spelled out."""
        return "".join(piece if isinstance(piece, str) else self._texts[piece] for piece in pieces)

    def _mark_of(self, token_id: int) -> str:
        if token_id not in self._token_ids:
            self._token_ids.append(token_id)
        code = _FIRST_MARK + self._token_ids.index(token_id)
        if code > _LAST_MARK:
            raise ValueError(f"a template may use at most {_LAST_MARK - _FIRST_MARK + 1} different control tokens")
        return chr(code)


class MarkLiterals(NodeTransformer):
    """Marks the control tokens in the literals of a template's syntax tree, in place."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:
        node.data = self._marks.mark(node.data)
        return node

    def visit_Const(self, node: nodes.Const) -> nodes.Node:
        if isinstance(node.value, str):
            node.value = self._marks.mark(node.value)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self._visit_unless_literal([node.expr, *(operand.expr for operand in node.ops)])
        return node

    def visit_Test(self, node: nodes.Test) -> nodes.Node:
        self._visit_unless_literal([node.node, *(node.args or [])])
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self._visit_unless_literal([node.node, node.arg])
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        self.visit(node.node)
        method = node.node.attr if isinstance(node.node, nodes.Getattr) else ""
        self._visit_arguments(node, method)
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        if node.node is not None:
            self.visit(node.node)
        self._visit_arguments(node, node.name)
        return node

    def _visit_arguments(self, node: nodes.Call | nodes.Filter, name: str) -> None:
        sought = 0
        if name in _SEARCHES:
            sought = 1 if name == "replace" else len(node.args)
        self._visit_unless_literal(node.args[:sought])
        for argument in [*node.args[sought:], *node.kwargs]:
            self.visit(argument)

    def _visit_unless_literal(self, expressions: list[nodes.Expr]) -> None:
        for expression in expressions:
            if not isinstance(expression, nodes.Literal):
                self.visit(expression)
