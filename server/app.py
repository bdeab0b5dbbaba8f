"""create_app: puts the application together. Everything it needs is passed in; nothing is global.

Envelope (request id, counting, last resort) -> Door (keys, draining) -> routes -> error table
"""

from dataclasses import dataclass, replace
from importlib.metadata import version

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sse_starlette.sse import AppStatus
from starlette.exceptions import HTTPException
from starlette.routing import Match

import server.batches.routes as batches
import server.chat_completions.routes as chat_completions
import server.chat_completions.stored_routes as stored_chat_completions
import server.completions.routes as completions
import server.files.routes as files_routes
import server.gemini.routes as gemini
import server.messages.routes as messages
import server.operations.models as models
import server.operations.probes as probes
import server.operations.requests as requests
import server.operations.tokens as tokens
import server.responses.conversations as conversations
import server.responses.routes as responses
from engine import EngineError
from server.admission import Admission, BodyRoom
from server.background import Background
from server.batches.capacity import Capacity
from server.batches.runner import Runner
from server.batches.work import Tools
from server.door import Door
from server.engine_port import Engine
from server.error_shapes import error_response
from server.errors import ApiError, InvalidRequest, MethodNotAllowed, UnknownUrl
from server.generation import Generator
from server.http import METHODS, Envelope, LastWords, report, request_id
from server.keys.keyring import Keyring
from server.metrics import Metrics
from server.openapi import OpenApi
from server.served_model import ServedModel
from server.settings import Settings
from server.store.files import Files
from server.store.store import Store


@dataclass(frozen=True, slots=True)
class Parts:
    """What protocols are made of."""

    settings: Settings
    engine: Engine
    model: ServedModel
    admission: Admission
    metrics: Metrics
    generator: Generator
    room: BodyRoom
    store: Store
    background: Background


def create_app(settings: Settings, engine: Engine, model: ServedModel) -> FastAPI:
    """The application. Raises ConfigError. Whoever runs it sets `app.state.draining` to refuse newcomers (streams then
    go on, and end with an error when the engine is stopped), starts and stops `app.state.background`, and closes
    `app.state.store` at the end."""
    # sse-starlette would cut all streams at SIGTERM; they are given time to finish instead.
    AppStatus.enable_automatic_graceful_drain = False
    app = _application()
    app.state.draining = False
    app.state.keyring = keyring = Keyring(settings.api_key, settings.key_file)
    app.state.store = store = Store.of(settings)
    app.state.background = background = Background()
    background.add("the store's maintenance", store.maintain)
    admission = Admission(settings.max_running, settings.max_queue)
    metrics = Metrics(engine, admission)
    generator = Generator(engine, model, admission, metrics, settings.seed, constrained=settings.constrained_decoding)
    room = BodyRoom(settings.max_body_bytes)
    parts = Parts(settings, engine, model, admission, metrics, generator, room, store, background)
    for routes in _protocols(parts):
        app.include_router(routes)
    files = Files(store)
    inside = _application()
    runner = _batch_runner(app, inside, parts, files, keyring)
    background.add("the sweeping of files", files.sweep)
    background.add("batches", runner.run)
    app.include_router(conversations.router(settings, room, store))
    app.include_router(files_routes.router(settings, files))
    app.include_router(batches.router(settings, model, files, room, runner, inside.router))
    app.include_router(tokens.router(settings, model, generator, engine, room))
    app.include_router(requests.router(generator.running))
    app.include_router(stored_chat_completions.router(settings, store, room))
    app.include_router(models.router(model))
    app.include_router(probes.router(engine, metrics))
    app.add_middleware(Door, keyring=keyring, state=app.state, drain_seconds=settings.drain_seconds)
    app.add_middleware(Envelope, metrics=metrics)  # added last, so outermost
    app.openapi = OpenApi(app, keys=keyring.closed)  # type: ignore[method-assign]
    return app


def _protocols(parts: Parts) -> list[APIRouter]:
    """All that generates."""
    common = (parts.settings, parts.model, parts.generator, parts.room)
    return [
        chat_completions.router(*common, parts.store),
        completions.router(*common),
        messages.router(*common),
        gemini.router(*common, parts.engine),
        responses.router(*common, parts.store, parts.background),
    ]


def _batch_runner(app: FastAPI, inside: FastAPI, parts: Parts, files: Files, keyring: Keyring) -> Runner:
    """Lines of batches are answered by an application inside: the same protocols, behind everybody else's requests.
    Nothing but batches reaches it, so that it has no door."""
    settings = parts.settings
    beside = Background()
    admission = Admission(settings.max_running, settings.max_queue)
    for routes in _protocols(replace(parts, generator=parts.generator.behind(admission), background=beside)):
        inside.include_router(routes)
    inside.add_middleware(Envelope, metrics=parts.metrics)
    capacity = Capacity(
        parts.engine,
        parts.admission,
        admission,
        at_once=settings.batch_running,
        max_running=settings.max_running,
        closing=lambda: app.state.draining,
    )
    tools = Tools(files.store, files, inside, capacity, keyring, settings.max_body_bytes)
    return Runner(tools, parts.model.names, beside)


def _application() -> FastAPI:
    """Without routes; errors are explained."""
    app = FastAPI(
        title="Abruzzi",
        version=version("abruzzi"),
        docs_url=None,  # its page is loaded from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},  # read no environment
    )
    app.add_exception_handler(ApiError, _on_known)
    app.add_exception_handler(EngineError, _on_known)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
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
        text = f"Not allowed: {where[:200]}"
        return _answer(request, MethodNotAllowed(text, headers={"Allow": ", ".join(_allowed(request))}))
    return _answer(request, InvalidRequest(error.detail))


def _allowed(request: Request) -> list[str]:
    """The methods of all routes with this path; starlette's own answer knows the first one's."""
    asked = [(method, {**request.scope, "method": method}) for method in METHODS]
    routes = request.app.routes
    return sorted(method for method, scope in asked if any(one.matches(scope)[0] is Match.FULL for one in routes))


async def _on_validation(request: Request, error: Exception) -> Response:
    """What FastAPI finds wrong with path and query: 400 in our shape, not its 422."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = ".".join(str(step) for step in first["loc"][1:])
    return _answer(request, InvalidRequest(f"{param}: {first['msg']}", param=param))
