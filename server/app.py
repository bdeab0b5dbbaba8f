"""create_app: puts the application together. Everything it needs is passed in; nothing is global.

Envelope (request id, counting, last resort) -> Door (keys, draining) -> routes -> error table
"""

from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sse_starlette.sse import AppStatus
from starlette.exceptions import HTTPException

import server.chat_completions.routes as chat_completions
import server.operations.models as models
import server.operations.probes as probes
from engine import EngineError
from server.admission import Admission, BodyRoom, Door
from server.engine_port import Engine
from server.error_shapes import error_response
from server.errors import ApiError, InvalidRequest, MethodNotAllowed, UnknownUrl
from server.generation import Generator
from server.http import Envelope, LastWords, report, request_id
from server.metrics import Metrics
from server.openapi import OpenApi
from server.served_model import ServedModel
from server.settings import Settings


def create_app(settings: Settings, engine: Engine, model: ServedModel) -> FastAPI:
    """The application. Whoever runs it sets `app.state.draining` to refuse newcomers; streams then go on, and end with
    an error when the engine is stopped."""
    # sse-starlette would cut all streams at SIGTERM; they are given time to finish instead.
    AppStatus.enable_automatic_graceful_drain = False
    app = FastAPI(
        title="Abruzzi",
        version=version("abruzzi"),
        docs_url=None,  # its page is loaded from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},  # read no environment
    )
    app.state.draining = False
    admission = Admission(settings.max_running, settings.max_queue)
    metrics = Metrics(engine, admission)
    generator = Generator(engine, model, admission, metrics, settings.seed, constrained=settings.constrained_decoding)
    room = BodyRoom(settings.max_body_bytes)
    app.include_router(chat_completions.router(settings, model, generator, room))
    app.include_router(models.router(model))
    app.include_router(probes.router(engine, metrics))
    app.add_exception_handler(ApiError, _on_known)
    app.add_exception_handler(EngineError, _on_known)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_middleware(Door, keys=settings.api_key, state=app.state, drain_seconds=settings.drain_seconds)
    app.add_middleware(Envelope, metrics=metrics)  # added last, so outermost
    app.openapi = OpenApi(app, keys=bool(settings.api_key))  # type: ignore[method-assign]
    return app


def _answer(request: Request, error: ApiError) -> Response:
    return error_response(error, request.url.path, request_id(request))


async def _on_known(request: Request, error: Exception) -> Response:
    answer = _answer(request, report(error, request_id(request)))
    if answer.headers.get("connection") == "close":  # the body was not read to its end
        return LastWords(answer.body, answer.status_code, answer.headers)
    return answer


async def _on_http(request: Request, error: Exception) -> Response:
    """What starlette's router raises."""
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path}"
    if error.status_code == 404:
        return _answer(request, UnknownUrl(f"Unknown URL: {where[:200]}"))
    if error.status_code == 405:
        allowed = dict(error.headers or {})
        return _answer(request, MethodNotAllowed(f"Not allowed: {where[:200]}", headers=allowed))
    return _answer(request, InvalidRequest(error.detail))


async def _on_validation(request: Request, error: Exception) -> Response:
    """What FastAPI finds wrong with path and query: 400 in our shape, not its 422."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = ".".join(str(step) for step in first["loc"][1:])
    return _answer(request, InvalidRequest(f"{param}: {first['msg']}", param=param))
