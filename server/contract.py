"""Checks on what an answer shall be that every protocol makes alike. `param` is the place in the request."""

from collections.abc import Iterable, Mapping, Sequence

from server.conversation import Tool
from server.dialects.dialect import Dialect
from server.errors import ForbiddenModel, InvalidRequest, UnknownModel
from server.keys.gate import may_use
from server.served_model import ServedModel


def check_model(name: str, model: ServedModel) -> None:
    """Raises UnknownModel unless the model that is served answers to this name, ForbiddenModel unless the API key may
    use it."""
    if not model.answers_to(name):
        raise UnknownModel(name, model.names)
    if not may_use(name):
        raise ForbiddenModel(f"This API key may not use the model {name[:200]!r}.", param="model")


def check_tools(tools: Sequence[Tool], names_at: Iterable[str], dialect: Dialect, param: str = "tools") -> None:
    """Names are unique, and this model's family can call tools. `names_at`: where each tool's name is in the request.
    Raises InvalidRequest."""
    if tools and not dialect.calls_tools:
        raise InvalidRequest(f"Tool calls of this model's family are not known here ({dialect.name}).", param=param)
    seen: set[str] = set()
    for tool, where in zip(tools, names_at, strict=True):
        if tool.name in seen:
            raise InvalidRequest(f"There are two tools of the name {tool.name!r}.", param=where)
        seen.add(tool.name)


def known_tool(name: str, declared: Iterable[str], param: str) -> str:
    """`name`, if a tool of that name is declared. Raises InvalidRequest."""
    if name not in declared:
        raise InvalidRequest(f"There is no tool of the name {name[:80]!r}.", param=param)
    return name


def agreed_reasoning(
    said: Mapping[str, bool], dialect: Dialect, variables: Iterable[str] = ("chat_template_kwargs",)
) -> bool | None:
    """Whether the model shall think, from what each field says of it; None: as it is used to. `variables` are fields
    that only set a variable of the template, which may have no use for it. Raises InvalidRequest for what this model
    cannot do, or if fields differ."""
    if len(set(said.values())) > 1:
        raise InvalidRequest(f"{' and '.join(said)} say different things about thinking.", param=next(iter(said)))
    for param, wanted in said.items():
        if param in variables:
            continue
        if not wanted and dialect.reasoning == "always":
            raise InvalidRequest(f"This model always thinks; {param} cannot turn that off.", param=param)
        if wanted and dialect.reasoning == "never":
            raise InvalidRequest(f"This model does not think; {param} cannot turn that on.", param=param)
    return next(iter(said.values()), None)
