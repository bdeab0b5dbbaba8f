"""Lists over HTTP, a page at a time: the query that asks for one, and the object that answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from server.errors import InvalidRequest

ORDERS = {"asc": True, "desc": False}
KEY = "key"  # an API key may be in any query


@dataclass(frozen=True, slots=True)
class PageQuery:
    """What a client asks for. `after`: the id of the object behind which the page begins."""

    after: str | None
    limit: int
    ascending: bool
    others: Mapping[str, str]  # parameters of this list only


def page_query(
    request: Request, *, default: int = 20, most: int = 100, ascending: bool = False, others: Sequence[str] = ()
) -> PageQuery:
    """Raises InvalidRequest for a value that is not allowed, and for a parameter that this list has not. An item of
    `others` that ends in [ stands for all parameters that begin so."""
    given = dict(request.query_params)
    given.pop(KEY, None)
    limit = given.pop("limit", None)
    order = given.pop("order", None)
    after = given.pop("after", None)
    for name in given:
        if name not in others and not any(name.startswith(one) for one in others if one.endswith("[")):
            raise InvalidRequest(f"There is no parameter {name[:80]!r}.", param=name[:80], code="unknown_parameter")
    if order is not None and order not in ORDERS:
        raise InvalidRequest(f"order must be asc or desc, not {order[:40]!r}.", param="order")
    if limit is not None and not (limit.isascii() and limit.isdecimal() and len(limit) < 9 and 1 <= int(limit) <= most):
        raise InvalidRequest(f"limit must be a whole number from 1 to {most}, not {limit[:40]!r}.", param="limit")
    return PageQuery(
        after=after,
        limit=default if limit is None else int(limit),
        ascending=ascending if order is None else ORDERS[order],
        others=given,
    )


def listing(objects: Sequence[Mapping[str, Any]], has_more: bool) -> dict[str, Any]:
    """One page, as OpenAI's lists are."""
    return {
        "object": "list",
        "data": objects,
        "first_id": objects[0]["id"] if objects else None,
        "last_id": objects[-1]["id"] if objects else None,
        "has_more": has_more,
    }
