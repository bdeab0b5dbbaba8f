"""POST /v1/requests/{id}/cancel: ends a request that is being answered."""

from fastapi import APIRouter, Request, Response

from server.errors import NotFound
from server.http import json_response, owner
from server.keys.keyring import visitor
from server.running import Running


def router(running: Running) -> APIRouter:
    """The route, for one application."""
    routes = APIRouter()

    @routes.post("/v1/requests/{id}/cancel", summary="Cancel a running request by its answer's id or its x-request-id")
    async def cancel_request(request: Request, id: str) -> Response:
        who = visitor()
        whose = None if who is not None and who.key.admin else owner(request)
        if not running.cancel(whose, id):
            raise NotFound("running request", id, "id")
        return json_response({"id": id, "object": "request", "status": "cancelled"})

    return routes
