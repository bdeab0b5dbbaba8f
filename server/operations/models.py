"""GET /v1/models and /v1/models/{id}: the names that requests may use."""

from typing import Any

from fastapi import APIRouter, Response

from server.errors import UnknownModel
from server.http import json_response
from server.served_model import ServedModel


def router(model: ServedModel) -> APIRouter:
    """The routes, for one application."""
    routes = APIRouter()

    @routes.get("/v1/models", summary="The models served")
    async def list_models() -> Response:
        return json_response({"object": "list", "data": [_entry(name) for name in model.names]})

    @routes.get("/v1/models/{id:path}", summary="One model")  # :path, since names may have slashes
    async def retrieve_model(id: str) -> Response:
        if id not in model.names:
            raise UnknownModel(id, model.names)
        return json_response(_entry(id))

    def _entry(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": model.created, "owned_by": "abruzzi"}

    return routes
