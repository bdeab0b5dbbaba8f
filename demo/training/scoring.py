"""Whether an answer is right: against a reference turn, and by the Berkeley Function Calling Leaderboard's rules."""

import json
import re
from typing import Any

from demo.training.answering import Answer
from server.conversation import Message

_IGNORED = re.compile(r"[ ,./\-_*^]")


def same_calls(answer: Answer, reference: Message) -> bool:
    """The same functions with equal arguments, in the same order."""
    wanted = [(call.name, json.loads(call.arguments)) for call in reference.tool_calls]
    return [(name, parsed(arguments)) for name, arguments in answer.calls] == wanted


def same_names(answer: Answer, reference: Message) -> bool:
    """The same functions, or rightly none."""
    return [name for name, _ in answer.calls] == [call.name for call in reference.tool_calls]


def quotes(answer: Answer, results: list[str]) -> bool:
    """Whether every value of the tools' results stands in the answer."""
    return not answer.calls and all(value in answer.text for result in results for value in _values(result))


def _values(result: str) -> list[str]:
    content = parsed(result)
    if isinstance(content, dict):
        return [str(one) for value in content.values() for one in (value if isinstance(value, list) else [value])]
    return [result.removeprefix("Error: ")]


def parsed(text: str) -> Any:
    """The JSON value; None if it is none. An empty text is an empty object."""
    try:
        return json.loads(text or "{}")
    except ValueError:
        return None


def bfcl_match(answer: Answer, ground_truth: list[dict[str, Any]], wire_names: dict[str, str]) -> bool:
    """One call of the right function, every argument among the acceptable values, those with "" among them optional.
    `wire_names` maps declared names to the dotted ones of the ground truth."""
    if len(answer.calls) != 1 or len(ground_truth) != 1:
        return False
    (name, text), (wanted,) = answer.calls[0], ground_truth
    ((wanted_name, acceptable),) = wanted.items()
    arguments = parsed(text)
    if wire_names.get(name, name) != wanted_name or not isinstance(arguments, dict):
        return False
    if any(key not in acceptable for key in arguments):
        return False
    return all(
        _acceptable(arguments[key], values) if key in arguments else "" in values for key, values in acceptable.items()
    )


def _acceptable(value: Any, values: list[Any]) -> bool:
    return any(_normal(value) == _normal(one) for one in values)


def _normal(value: Any) -> Any:
    """Strings without case, blanks and light punctuation; lists and objects by their parts."""
    if isinstance(value, str):
        return _IGNORED.sub("", value).lower().replace("'", '"')
    if isinstance(value, list):
        return [_normal(one) for one in value]
    if isinstance(value, dict):
        return {key: _normal(one[0] if isinstance(one, list) and one else one) for key, one in value.items()}
    return value
