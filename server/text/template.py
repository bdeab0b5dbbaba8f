"""A checkpoint's own chat template: finds it, renders it, and encodes what it rendered.

It knows no roles and no families (dialects do): variables in, text and control tokens out. That users' text never
becomes a control token is owed to template_marks; that a template can do no harm, to template_environment.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta

from engine import ConfigError
from server.text.checkpoint_json import is_present, read_optional_json_object
from server.text.template_environment import TemplateRaisedError, make_environment
from server.text.template_marks import MarkLiterals, Marks, Pieces
from server.text.tokenizer import Tokenizer
from server.text.well_formed import well_formed

MAX_RENDERED_CHARS = 32 * 1024 * 1024

# Variables that a template is given besides the caller's, named in tokenizer_config.json.
_SPECIAL_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


class TemplateError(ValueError):
    """The template refused the conversation, or there is none. The text is for the client."""


class TemplateArgumentError(TemplateError):
    """The request sets a variable that the template does not take, or in a way that means nothing. The text is for the
    client."""


class ChatTemplate:
    """One compiled template. Immutable; may be shared between threads."""

    def __init__(
        self,
        source: str,
        tokenizer: Tokenizer,
        special_tokens: Mapping[str, str] | None = None,
        *,
        max_chars: int = MAX_RENDERED_CHARS,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        """`special_tokens`: variables such as `bos_token` and the text of their tokens. `max_chars` bounds what one
        rendering may make. Raises ConfigError for a template that does not compile, or that puts control tokens
        together from parts."""
        self.source = source
        self._tokenizer = tokenizer
        self._max_chars = max_chars
        self._special_tokens = dict(special_tokens or {})
        self._marks = Marks(tokenizer.control_tokens)
        self._marked_tokens = {name: self._marks.mark(text) for name, text in self._special_tokens.items()}
        environment = make_environment(now)
        self._reserved = {*environment.globals, *self._special_tokens}
        try:
            self._plain = environment.from_string(source)
            tree = environment.parse(source)
            # The variables that the template reads and a caller may set.
            self.variables = frozenset(jinja2.meta.find_undeclared_variables(tree) - self._reserved)
            MarkLiterals(self._marks).visit(tree)
            self._marked = environment.from_string(tree)
        except (jinja2.TemplateError, RecursionError, ValueError) as error:
            raise ConfigError(f"the chat template does not compile: {error}") from error
        self._check_marks()

    def render(self, variables: Mapping[str, Any]) -> Pieces:
        """Text and control tokens, in order. `variables` are plain data (None, bool, numbers, strings, lists and
        dicts). Raises TemplateError if the template refuses them, fails on them, or does not come to an end."""
        for name in variables:
            if name in self._reserved:
                raise TemplateArgumentError(f"the chat template's variable {name[:40]!r} cannot be set by a request")
        return self._marks.split(self._run(self._marked, {**variables, **self._marked_tokens}))

    def encode(self, pieces: Pieces) -> list[int]:
        """The token ids of what `render` returned. Each run of text between control tokens is encoded as one."""
        token_ids: list[int] = []
        for piece in pieces:
            if isinstance(piece, str):
                token_ids += self._tokenizer.encode(piece)
            else:
                token_ids.append(piece)
        return token_ids

    def text(self, pieces: Pieces) -> str:
        """What `render` returned, as a person reads it."""
        return self._marks.join(pieces)

    def _run(self, template: jinja2.Template, variables: Mapping[str, Any]) -> str:
        chunks: list[str] = []
        size = 0
        try:
            for chunk in template.generate(_plain_data(variables, keep_top=self._marked_tokens)):
                size += len(chunk)
                if size > self._max_chars:
                    raise TemplateError(
                        f"the conversation becomes a prompt of more than {self._max_chars:,} characters"
                    )
                chunks.append(chunk)
        except (TemplateError, TemplateRaisedError) as error:
            raise TemplateError(str(error)) from error
        except Exception as error:  # foreign code may raise anything; it is this conversation that it fails on
            reason = f"{type(error).__name__}: {error}"
            raise TemplateError(f"the model's chat template cannot write this conversation ({reason})") from error
        return "".join(chunks)

    def _check_marks(self) -> None:
        """Refuses a template whose control tokens are not found by marking its literals, such as
        `'<|' + message.role + '|>'`: its prompts would silently be wrong."""
        for variables in _probes():
            try:
                plain = self._run(self._plain, {**variables, **self._special_tokens})
            except TemplateError:
                continue  # a conversation that this template does not take
            expected = self._marks.split_unmarked(plain)
            try:
                found = self._marks.split(self._run(self._marked, {**variables, **self._marked_tokens}))
            except TemplateError as error:
                raise ConfigError(f"the chat template works on the text of its own control tokens: {error}") from error
            # Only the control tokens are compared: the text may hold the time of day.
            if _control_tokens(found) != _control_tokens(expected):
                raise ConfigError(
                    "the chat template puts control tokens together from parts, which is not supported: "
                    f"{self._marks.join(expected)!r} has {len(_control_tokens(expected))}, and not all stand whole in "
                    "the template"
                )


def load_template(folder: Path, tokenizer: Tokenizer) -> ChatTemplate | None:
    """The chat template of a checkpoint: `chat_template.jinja`, else `chat_template` in `tokenizer_config.json` (text,
    or a list of named ones of which `default` is meant). None if it has none. Raises ConfigError."""
    config_path = folder / "tokenizer_config.json"
    config = read_optional_json_object(config_path)
    source = _find_source(folder / "chat_template.jinja", config_path, config.get("chat_template"))
    if source is None:
        return None
    special_tokens = {}
    for name in _SPECIAL_TOKENS:
        value = config.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            special_tokens[name] = text
    return ChatTemplate(source, tokenizer, special_tokens)


def _find_source(file: Path, config_path: Path, configured: Any) -> str | None:
    if is_present(file):
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {file}: {error}") from error
    if configured is None or isinstance(configured, str):
        return configured
    try:
        named = {entry["name"]: entry["template"] for entry in configured}
        source = named["default"]
    except (TypeError, KeyError) as error:
        raise ConfigError(f"{config_path}: chat_template is neither text nor a list with a 'default' one") from error
    if not isinstance(source, str):
        raise ConfigError(f"{config_path}: the default chat_template is a {type(source).__name__}, not text")
    return source


def _plain_data(variables: Mapping[str, Any], keep_top: Mapping[str, str]) -> dict[str, Any]:
    """A copy without surrogates, which are the marks; `keep_top` names the variables that may hold marks."""
    return {name: value if name in keep_top else _clean(value) for name, value in variables.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    raise TypeError(f"chat templates take plain data only, not a {type(value).__name__}")


def _control_tokens(pieces: Pieces) -> list[int]:
    return [piece for piece in pieces if isinstance(piece, int)]


def _probes() -> list[dict[str, Any]]:
    """Harmless conversations of every shape, to compare a template with its marked self."""
    system, user = {"role": "system", "content": "S"}, {"role": "user", "content": "Q"}
    answer = {"role": "assistant", "content": "A"}
    function = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
    call = {"id": "functions.f:0", "type": "function", "function": {"name": "f", "arguments": json.dumps({})}}
    calling = {"role": "assistant", "content": "", "reasoning_content": "R", "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "T"}
    conversations: list[tuple[list[dict[str, Any]], list[dict[str, Any]] | None]] = [
        ([user], None),
        ([system, user, answer, user], None),
        ([user, calling, result], [{"type": "function", "function": function}]),
    ]
    return [
        {"messages": messages, "tools": tools, "add_generation_prompt": True, **thinking}
        for messages, tools in conversations
        for thinking in ({}, {"thinking": False, "enable_thinking": False})
    ]
