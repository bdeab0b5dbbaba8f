"""`abruzzi chat`: a conversation with a running server in the terminal, or line by line from a pipe."""

import contextlib
import json
import sys
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import httpx
from rich.console import Console

from server.commands.api import ServerTrouble, chunk_error, error_text, first_model, make_client, no_server

HELP = """\
/reset         forget the conversation
/system TEXT   set the system message and start over; without a text, remove it
/quit          leave (so does Ctrl-D)
Ctrl-C stops an answer."""


class ChatSession:
    """The conversation so far, and one streamed request at a time."""

    def __init__(self, client: httpx.Client, model: str, system: str | None, options: dict[str, Any]) -> None:
        self.model = model
        self.system = system
        self.turns: list[dict[str, str]] = []
        self.finish_reason: str | None = None  # of the last answer
        self._client = client
        self._options = options

    def reset(self) -> None:
        """Forgets the conversation; the system message stays."""
        self.turns = []

    def ask(self, text: str) -> Generator[str, None, None]:
        """Sends `text` and yields the answer as it comes.

        What has come by the time that Ctrl-C or the caller ends this belongs to the conversation; a message that got
        an error does not. Raises ServerTrouble.
        """
        self.finish_reason = None
        self.turns.append({"role": "user", "content": text})
        parts: list[str] = []
        try:
            for part in self._stream():
                parts.append(part)
                yield part
        except ServerTrouble:
            self.turns.pop()
            raise
        except (GeneratorExit, KeyboardInterrupt):
            self.turns.append({"role": "assistant", "content": "".join(parts)})
            raise
        self.turns.append({"role": "assistant", "content": "".join(parts)})

    def _stream(self) -> Iterator[str]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        body = {"model": self.model, "messages": system + self.turns, "stream": True, **self._options}
        try:
            with self._client.stream("POST", "/v1/chat/completions", json=body) as response:
                if response.status_code != 200:
                    raise ServerTrouble(error_text(response.status_code, response.read()))
                for chunk in _chunks(response.iter_lines()):
                    yield from self._text_of(chunk)
        except httpx.ConnectError as error:
            raise no_server(self._client, error) from None
        except httpx.HTTPError as error:
            raise ServerTrouble(f"the connection broke: {error}") from None
        if self.finish_reason is None:
            raise ServerTrouble("the answer broke off")

    def _text_of(self, chunk: Any) -> Iterator[str]:
        if message := chunk_error(chunk):
            raise ServerTrouble(message)
        for choice in chunk["choices"]:
            if text := choice["delta"].get("content"):
                yield text
            self.finish_reason = choice.get("finish_reason") or self.finish_reason


def _chunks(lines: Iterable[str]) -> Iterator[Any]:
    """The JSON objects of a server-sent event stream, up to [DONE]."""
    for line in lines:
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        yield json.loads(data)


def run_chat(
    base_url: str,
    model: str | None,
    system: str | None,
    api_key: str | None,
    temperature: float | None,
    max_tokens: int | None,
    client: httpx.Client | None = None,
) -> int:
    """Runs the command; returns the exit code. `client` is for tests."""
    given = {"temperature": temperature, "max_tokens": max_tokens}
    options = {name: value for name, value in given.items() if value is not None}
    console = Console(highlight=False)
    try:
        with client or make_client(base_url, api_key) as http:
            session = ChatSession(http, model or first_model(http), system, options)
            if sys.stdin.isatty():
                _converse(session, console)
                return 0
            return _answer_lines(session, console)
    except (ServerTrouble, httpx.InvalidURL) as error:
        print(f"abruzzi: {error}", file=sys.stderr)
        return 1


def _answer_lines(session: ChatSession, console: Console) -> int:
    """One message a line from standard input; only answers are printed. The first error ends it."""
    for line in sys.stdin:
        text = line.strip()
        if text.startswith("/"):
            if not _command(session, console, text):
                break
        elif text:
            _print_answer(session, console, text)
    return 0


def _converse(session: ChatSession, console: Console) -> None:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (its import gives input() line editing and a history)
    console.print(f"[bold]{session.model}[/]  [dim]/help shows the commands, Ctrl-D leaves[/]")
    while True:
        try:
            text = input("\nyou> ").strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            console.print()
            return
        if text.startswith("/"):
            if not _command(session, console, text):
                return
        elif text:
            try:
                console.print()
                _print_answer(session, console, text)
            except ServerTrouble as error:
                console.print(str(error), style="red", markup=False)


def _print_answer(session: ChatSession, console: Console, text: str) -> None:
    """Prints the answer as it comes. Ctrl-C stops the answer, not the program."""
    answer = session.ask(text)
    try:
        for part in answer:
            console.print(part, end="", markup=False, soft_wrap=True)
        note = "(cut at the length limit)" if session.finish_reason == "length" and console.is_terminal else ""
    except KeyboardInterrupt:
        answer.close()  # closes the connection, so the server stops too
        note = "(stopped)"
    console.print(f" [dim]{note}[/]" if note else "")


def _command(session: ChatSession, console: Console, text: str) -> bool:
    """Does a /command. Returns whether to go on."""
    name, _, rest = text.partition(" ")
    if name in ("/quit", "/exit"):
        return False
    if name == "/reset":
        session.reset()
        console.print("[dim]a new conversation[/]")
    elif name == "/system":
        session.system = rest.strip() or None
        session.reset()
        what = "with that" if session.system else "without a"
        console.print(f"[dim]a new conversation, {what} system message[/]")
    else:
        console.print(HELP, markup=False, style="dim")
    return True
