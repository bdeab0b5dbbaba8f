"""/v1/files: upload, list, retrieve, content, delete."""

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import FileResponse

from server.errors import ApiError, InvalidRequest
from server.files.fields import EXPIRY, PURPOSES, REFUSED_PURPOSES, purpose_text
from server.files.openapi import CONTENT, DELETED, FILE, LIST, UPLOAD
from server.files.room import FileRoom
from server.files.upload import Form, read_form, unread
from server.http import json_response, owner
from server.paging import listing, page_query
from server.settings import Settings
from server.store.files import Files
from server.store.rows import Stored


def router(settings: Settings, files: Files) -> APIRouter:
    """The routes, for one application."""
    routes = APIRouter()
    room = FileRoom(files.store, settings.files_max_bytes)

    @routes.post("/v1/files", summary="Upload a file", openapi_extra=UPLOAD)
    async def upload_file(request: Request) -> Response:
        try:
            incoming = files.incoming()
            share = await room.enter()
        except ApiError as error:
            raise unread(error) from None
        try:
            form = await read_form(request, incoming, settings.max_file_bytes, share.grow)
            purpose, seconds = _purpose(form), _lifetime(form)
            async with room.keeping(share):
                name = form.filename or ""
                kept = await files.keep(incoming, owner(request), filename=name, purpose=purpose, seconds=seconds)
        finally:
            share.leave()
            await incoming.close()
        return json_response(file_object(kept))

    @routes.get("/v1/files", summary="The files", openapi_extra=LIST)
    async def list_files(request: Request) -> Response:
        query = page_query(request, default=10_000, most=10_000, others=("purpose",))
        purpose = query.others.get("purpose")
        if purpose is not None and purpose not in {*PURPOSES, *REFUSED_PURPOSES}:
            raise InvalidRequest(f"There is no purpose {purpose[:80]!r}.", param="purpose")
        page = await files.list(
            owner(request), after=query.after, limit=query.limit, ascending=query.ascending, purpose=purpose
        )
        return json_response(listing([file_object(one) for one in page.data], page.has_more))

    @routes.get("/v1/files/{file_id}", summary="One file", openapi_extra=FILE)
    async def retrieve_file(file_id: str, request: Request) -> Response:
        return json_response(file_object(await files.get(file_id, owner(request))))

    @routes.get("/v1/files/{file_id}/content", summary="A file's contents", openapi_extra=CONTENT)
    async def download_file(file_id: str, request: Request) -> Response:
        return FileResponse(await files.contents(file_id, owner(request)), media_type="application/octet-stream")

    @routes.delete("/v1/files/{file_id}", summary="Delete a file", openapi_extra=DELETED)
    async def delete_file(file_id: str, request: Request) -> Response:
        await files.delete(file_id, owner(request))
        return json_response({"id": file_id, "object": "file", "deleted": True})

    return routes


def file_object(file: Stored) -> dict[str, Any]:
    """As OpenAI's API shows it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.body["bytes"],
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "filename": file.body["filename"],
        "purpose": file.body["purpose"],
        "status": "processed",
    }


def _purpose(form: Form) -> str:
    purpose = form.values.get("purpose")
    if purpose is None:
        raise InvalidRequest("The parameter 'purpose' is missing.", param="purpose", code="missing_required_parameter")
    if purpose in REFUSED_PURPOSES:
        text = f"The purpose {purpose!r} is not supported: {REFUSED_PURPOSES[purpose]}. Use {purpose_text()}."
        raise InvalidRequest(text, param="purpose", code="unsupported_parameter")
    if purpose not in PURPOSES:
        raise InvalidRequest(f"purpose must be {purpose_text()}, not {purpose[:80]!r}.", param="purpose")
    return purpose


def _lifetime(form: Form) -> int | None:
    """The seconds that the file is to live, if the upload says so."""
    anchor, seconds = (form.values.get(f"expires_after[{part}]") for part in ("anchor", "seconds"))
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise InvalidRequest("expires_after[anchor] must be 'created_at'.", param="expires_after[anchor]")
    if seconds is None or not seconds.isascii() or not seconds.isdecimal() or int(seconds[:20]) not in EXPIRY:
        allowed = f"a whole number from {EXPIRY.start} to {EXPIRY.stop - 1}"
        raise InvalidRequest(f"expires_after[seconds] must be {allowed}.", param="expires_after[seconds]")
    return int(seconds)
