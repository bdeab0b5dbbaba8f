"""/live, /ready, /health, /version, /metrics: for those who operate the server.

/live    the process answers                                   restart it if not
/ready   requests would be accepted now                        send it none if not
/health  the engine is there and gets on with its work         worry if not
"""

from importlib.metadata import version

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from server.engine_port import Engine
from server.errors import Unavailable, openai_error
from server.generation import RETRY_AFTER
from server.http import json_response
from server.metrics import Metrics


def router(engine: Engine, metrics: Metrics) -> APIRouter:
    """The routes, for one application."""
    routes = APIRouter()

    @routes.get("/live", summary="Whether the process answers")
    async def live() -> Response:
        return json_response({"status": "live"})

    @routes.get("/ready", summary="Whether requests are accepted now")
    async def ready(request: Request) -> Response:
        if request.app.state.draining:
            return _state("draining", "running requests finish, new ones are refused", 1.0)
        return health_of_engine()

    @routes.get("/health", summary="Whether the engine works")
    async def health() -> Response:
        return health_of_engine()

    @routes.get("/version", summary="This server's version")
    async def show_version() -> Response:
        return json_response({"version": version("abruzzi")})

    @routes.get("/metrics", summary="Metrics in Prometheus' text format")
    async def show_metrics() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    def health_of_engine() -> Response:
        status = engine.status
        # Everyone can read this. Why an engine failed may name files: that is for the log.
        detail = "the server's log says why" if status.state == "failed" else status.detail
        return _state(status.state, detail, status.progress)

    return routes


def _state(state: str, detail: str, progress: float) -> Response:
    """200 for ready, else 503 with the usual error besides the facts."""
    facts = {"status": state, "detail": detail, "progress": progress}
    if state == "ready":
        return json_response(facts)
    error = Unavailable(f"{state}: {detail}", retry_after=RETRY_AFTER, code=state)
    return json_response({**facts, **openai_error(error)}, 503, error.headers)
