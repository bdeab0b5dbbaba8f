"""/v1/batches: create, list, retrieve, cancel."""

import asyncio
import os
import re
import secrets
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.routing import Router

from server.admission import BodyRoom
from server.batches import batch as life
from server.batches.fields import ENDPOINTS
from server.batches.inside import has_route
from server.batches.openapi import CANCEL, CREATE, LIST, RETRIEVE
from server.batches.runner import Runner
from server.batches.schema import CreateBatch
from server.batches.work import input_path
from server.errors import InvalidRequest, NotFound
from server.http import json_response, owner, read_body
from server.paging import listing, page_query
from server.served_model import ServedModel
from server.settings import Settings
from server.store.cleanup import FILE
from server.store.files import Files
from server.store.rows import Stored
from server.wire import parse_body


def router(
    settings: Settings, model: ServedModel, files: Files, room: BodyRoom, runner: Runner, inside: Router
) -> APIRouter:
    """The routes, for one application. `inside`: the routes that lines may ask for."""
    routes = APIRouter()
    store = files.store

    @routes.post("/v1/batches", summary="Answer the requests of a file", openapi_extra=CREATE)
    async def create_batch(request: Request) -> Response:
        with room.share() as share:
            wire = await parse_body(CreateBatch, await read_body(request, settings.max_body_bytes, share))
        _check_endpoint(wire.endpoint, inside)
        id = "batch_" + secrets.token_hex(12)
        await _link_input(files, wire.input_file_id, owner(request), id)
        body, metadata = life.new(wire), wire.metadata
        batch = await store.put(
            life.KIND, id, owner(request), body, model=model.names[0], metadata=metadata, active=True
        )
        runner.submit(batch)
        return json_response(life.shown(batch))

    @routes.get("/v1/batches", summary="The batches", openapi_extra=LIST)
    async def list_batches(request: Request) -> Response:
        query = page_query(request)
        page = await store.list(
            life.KIND, owner(request), after=query.after, limit=query.limit, ascending=query.ascending
        )
        return json_response(listing([await _shown(one) for one in page.data], page.has_more))

    @routes.get("/v1/batches/{batch_id}", summary="One batch", openapi_extra=RETRIEVE)
    async def retrieve_batch(batch_id: str, request: Request) -> Response:
        return json_response(await _shown(await store.get(life.KIND, batch_id, owner(request))))

    @routes.post("/v1/batches/{batch_id}/cancel", summary="Cancel a batch", openapi_extra=CANCEL)
    async def cancel_batch(batch_id: str, request: Request) -> Response:
        batch = await store.change(life.KIND, batch_id, owner(request), life.cancelled(batch_id))
        return json_response(await _shown(batch))

    async def _shown(batch: Stored) -> dict[str, Any]:
        if not life.is_running(batch.body):
            return life.shown(batch)
        return life.shown(batch, await store.count_items(life.KIND, batch.id, batch.owner, life.LINES))

    return routes


def _check_endpoint(endpoint: str, inside: Router) -> None:
    for known in ENDPOINTS:
        pattern = re.escape(known).replace(re.escape("{model}"), r"[\w.%/-]+")
        if re.fullmatch(pattern, endpoint, re.ASCII) and has_route(inside, endpoint):
            return
    there = [known for known in ENDPOINTS if has_route(inside, known.replace("{model}", "model"))]
    text = f"The endpoint {endpoint[:200]!r} cannot be used in a batch; there are {', '.join(there)}."
    raise InvalidRequest(text, param="endpoint")


async def _link_input(files: Files, file_id: str, owner: str, batch_id: str) -> None:
    """Gives the contents a name for the batch. Raises InvalidRequest."""
    try:
        file = await files.get(file_id, owner)
        if file.body["purpose"] != "batch":
            text = f"The file {file_id!r} has the purpose {file.body['purpose']!r}; a batch needs one of 'batch'."
            raise InvalidRequest(text, param="input_file_id")
        source = await files.contents(file_id, owner)
        await asyncio.to_thread(os.link, source, input_path(files, batch_id))
    except (NotFound, FileNotFoundError):
        raise InvalidRequest(str(NotFound(FILE, file_id)), param="input_file_id", code="not_found") from None
