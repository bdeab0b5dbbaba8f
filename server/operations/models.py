"""GET /v1/models and /v1/models/{id}: the names that requests may use, with the key that asks."""

from typing import Any

from fastapi import APIRouter, Response

from server.errors import UnknownModel
from server.http import json_response
from server.keys.gate import may_use
from server.served_model import ServedModel


def router(model: ServedModel) -> APIRouter:
    """The routes, for one application."""
    routes = APIRouter()

    @routes.get("/v1/models", summary="The models served")
    async def list_models() -> Response:
        return json_response({"object": "list", "data": [_entry(name) for name in _usable()]})

    @routes.get("/v1/models/{id:path}", summary="One model")  # :path, since names may have slashes
    async def retrieve_model(id: str) -> Response:
        if id not in _usable():
            raise UnknownModel(id, _usable())
        return json_response(_entry(id))

    def _usable() -> tuple[str, ...]:
        return tuple(filter(may_use, model.names))

    def _entry(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": model.created, "owned_by": "abruzzi"}

    return routes
