"""What lists of items share: their pages, and what may be included in them."""

from collections.abc import Sequence
from typing import get_args

from starlette.requests import Request

from server.errors import InvalidRequest, NotFound
from server.paging import PageQuery
from server.responses.items import Item
from server.responses.schema import Include

INCLUDE = ("include", "include[")  # as names in a query; clients put brackets behind a list's


def page_of(items: Sequence[Item], query: PageQuery) -> tuple[Sequence[Item], bool]:
    """A page, and whether something follows. Raises NotFound."""
    ordered = list(items) if query.ascending else list(reversed(items))
    first = 0
    if query.after is not None:
        ids = [item["id"] for item in ordered]
        if query.after not in ids:
            raise NotFound("item", query.after, param="after")
        first = ids.index(query.after) + 1
    end = first + query.limit
    return ordered[first:end], end < len(ordered)


def check_include(request: Request) -> None:
    """What an item can have was decided when it was made, and is always shown. Raises InvalidRequest for a value that
    is none."""
    known = get_args(Include)
    for name, value in request.query_params.multi_items():
        if (name == "include" or name.startswith("include[")) and value not in known:
            raise InvalidRequest(f"include has {value[:80]!r}; known are {', '.join(known)}.", param="include")
