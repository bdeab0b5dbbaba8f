"""Runs the server: start-up in order, one process that answers HTTP beside the engine's, an orderly end.

find the model -> bind the port -> start the engine process, which loads
                                   meanwhile: tokenizer and templates, then HTTP answers (/ready says 503)
engine ready   -> report -> serve until a signal -> drain -> stop the engine
"""

import asyncio
import contextlib
import errno
import logging.config
import os
import signal
import socket
import stat
from pathlib import Path

import uvicorn
import uvloop
from fastapi import FastAPI
from rich.console import Console

import demo
from engine import ConfigError, EngineClient, Ready
from server.app import create_app
from server.banner import address, curl_line, is_loopback, plan_table, print_ready, show_progress
from server.http_protocol import HttpProtocol
from server.hub import download, is_hub_name
from server.served_model import ServedModel
from server.settings import Settings, unknown_variables
from server.shutdown import HttpServer, StopSignals
from server.text.checkpoint_json import is_present

log = logging.getLogger(__name__)

NO_TEMPLATE_NOTE = (
    "this checkpoint has no chat template, so chat completions are answered 400; put a chat_template.jinja into its "
    "folder, or serve an instruct checkpoint"
)
RANDOM_NOTE = "random weights: this model talks nonsense. Name a real checkpoint folder to get answers."
UNHURRIED_CLOSE_SECONDS = 5.0  # for answers cut by the end of the drain to send their last words


def serve(settings: Settings) -> int:
    """Serves until told to stop. Returns the exit code; raises ConfigError if it cannot start."""
    configure_logging(settings.log_level)
    log.debug("settings: %s", settings.describe())
    console = Console()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, console))


async def _serve(settings: Settings, console: Console) -> int:
    signals = StopSignals()
    signals.install()
    folder, names = await asyncio.to_thread(find_model, settings)
    listener = bind(settings.host, settings.port)
    engine = EngineClient(settings.engine_config(folder), stall_seconds=settings.stall_seconds)
    await engine.start()
    try:
        given_up = False
        model = await asyncio.to_thread(ServedModel.load, folder, names, settings.dialect, settings.model_alias)
        app = create_app(settings, engine, model)
        url = address(settings.host, listener.getsockname()[1])
        http = HttpServer(_uvicorn_config(app, settings))
        serving = asyncio.create_task(http.serve(sockets=[listener]))
        app.state.background.start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, app.state.keyring.reload)
        try:
            ready = await _wait_ready(engine, serving, signals, console)
            if ready is not None:
                notes = _notes(settings, folder, model)
                line = curl_line(url, names[0], app.state.keyring.closed) if model.dialect.takes_messages else None
                print_ready(console, names, ready, notes, url, line)
                given_up = await _until_over(engine, serving, signals)
                if not given_up:
                    await drain(app, http, signals, settings.drain_seconds)
        finally:
            await app.state.background.stop()
            await _stop(engine, http, serving, signals)
            await app.state.store.close()
    finally:
        listener.close()
        await engine.stop()
    return signals.exit_code or int(given_up)


async def _wait_ready(
    engine: EngineClient, serving: asyncio.Task[None], signals: StopSignals, console: Console
) -> Ready | None:
    """Waits until the engine answers. None: a signal came first. Raises ConfigError if it cannot start."""
    starting = asyncio.create_task(engine.wait_ready())
    asked = asyncio.create_task(signals.asked.wait())
    planned = asyncio.create_task(_report_plan(engine, console))
    progress = asyncio.create_task(show_progress(console, lambda: (engine.status.detail, engine.status.progress)))
    try:
        await asyncio.wait((starting, serving, asked), return_when=asyncio.FIRST_COMPLETED)
        return starting.result() if starting.done() else None
    finally:
        for task in (starting, asked, planned, progress):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConfigError):
                await task


async def _report_plan(engine: EngineClient, console: Console) -> None:
    console.print(plan_table(await engine.wait_plan()))


async def _until_over(engine: EngineClient, serving: asyncio.Task[None], signals: StopSignals) -> bool:
    """Waits for a signal, or until the engine is given up: returns whether it was that. HTTP never ends before, unless
    it failed; then this returns, and `_stop` raises it."""
    asked = asyncio.create_task(signals.asked.wait())
    giving_up = asyncio.create_task(engine.wait_given_up())
    await asyncio.wait((serving, asked, giving_up), return_when=asyncio.FIRST_COMPLETED)
    given_up = giving_up.done() and not asked.done()
    if given_up:
        log.error("the engine cannot be started any more, so the server ends: %s", engine.status.detail)
    for task in (asked, giving_up):
        task.cancel()
    return given_up


async def drain(app: FastAPI, http: HttpServer, signals: StopSignals, seconds: float) -> None:
    """Refuses newcomers and waits for running requests, up to `seconds` or a second signal."""
    app.state.draining = True
    running = http.open_requests
    if running:
        log.info("stopping: %d running requests get %g s to finish; a second signal stops at once", running, seconds)
    if not await http.wait_idle(seconds, signals.at_once):
        log.warning("stopping with %d requests unfinished", http.open_requests)


async def _stop(engine: EngineClient, http: HttpServer, serving: asyncio.Task[None], signals: StopSignals) -> None:
    """Stops the engine, which ends what still runs with an error of its own, then HTTP."""
    await engine.stop()
    await http.wait_idle(UNHURRIED_CLOSE_SECONDS, signals.at_once)
    http.force_exit = signals.at_once.is_set()
    http.should_exit = True
    await serving


def find_model(settings: Settings) -> tuple[Path, tuple[str, ...]]:
    """The checkpoint folder and the names it is served under. Raises ConfigError."""
    if settings.model is None:
        return demo.default_checkpoint(), _names(settings, demo.DEFAULT_NAME)
    if is_hub_name(settings.model):
        folder = download(settings.model)
        return folder, _names(settings, settings.model.partition("@")[0])
    folder = Path(settings.model).expanduser()
    try:
        what = None if stat.S_ISDIR(folder.stat().st_mode) else "is not a folder"
    except FileNotFoundError:
        what = "does not exist"
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    if what is not None:
        raise ConfigError(
            f"the model {settings.model} {what}; --model takes a checkpoint folder with a config.json, or a name on "
            "Hugging Face's hub such as moonshotai/Kimi-K2-Instruct"
        )
    if not is_present(folder / "config.json"):
        raise ConfigError(f"the folder {settings.model} has no config.json; --model takes a checkpoint folder")
    folder = folder.resolve()
    return folder, _names(settings, folder.name)


def _names(settings: Settings, default: str) -> tuple[str, ...]:
    """What clients may call the model, each name once."""
    return tuple(dict.fromkeys(settings.served_model_name)) or (default,)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port {port} on {host} is in use; choose another with --port") from None
        # What create_server says has another sentence in it; resolvers' own numbers are negative.
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror or str(error)
        raise ConfigError(f"cannot listen on {host} port {port}: {reason}; see --host and --port") from None


def configure_logging(level: str) -> None:
    """Everything to stderr in one format. uvicorn and alembic are quiet unless `level` is debug."""
    debug = level == "debug"
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"plain": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
            "root": {"level": level.upper(), "handlers": ["stderr"]},
            "loggers": {
                "uvicorn": {"level": "INFO" if debug else "WARNING"},
                "alembic": {"level": "INFO" if debug else "WARNING"},
                # Their debug lines hold what people are answered, and what is stored of it.
                "sse_starlette": {"level": "INFO"},
                "aiosqlite": {"level": "INFO"},
            },
        }
    )


def _uvicorn_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=HttpProtocol,
        ws="none",
        lifespan="off",  # the application has none; on, a second signal would end it with a traceback
        log_config=None,
        access_log=settings.log_level == "debug",
        server_header=False,
        timeout_keep_alive=75,  # above the usual 60 s of proxies, which should be the ones to close
        timeout_graceful_shutdown=2,
        backlog=2048,
    )


def _notes(settings: Settings, folder: Path, model: ServedModel) -> list[str]:
    notes = []
    if not model.dialect.takes_messages:
        notes.append(NO_TEMPLATE_NOTE)
    if demo.has_random_weights(folder):
        notes.append(RANDOM_NOTE)
    if not settings.api_key and not is_loopback(settings.host):
        notes.append(f"everyone who reaches {settings.host} can use this server; --api-key asks for a key")
    notes += [f"{name} is set, but there is no such setting" for name in unknown_variables()]
    return notes
