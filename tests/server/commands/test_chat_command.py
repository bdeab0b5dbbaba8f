"""abruzzi chat against a fake server."""

import io
import sys
import time
from typing import Any

import httpx
import pytest
from support.fake_openai import FakeServer

from server.commands.api import ServerTrouble, make_client
from server.commands.chat import ChatSession, run_chat

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


def chat(url: str, text: str, monkeypatch: Patch, **options: Any) -> int:
    """Runs the command with `text` on its standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    given = {"model": None, "system": None, "api_key": None, "temperature": None, "max_tokens": None} | options
    return run_chat(url, **given)


def test_lines_of_a_pipe_are_answered_in_turn(fake_server: FakeServer, monkeypatch: Patch, capsys: Capture) -> None:
    assert chat(fake_server.url, "Hello\n\nAnd now?\n", monkeypatch) == 0
    assert capsys.readouterr().out == "1 2 4 5 \n1 2 4 5 \n"
    first, second = fake_server.requests
    assert first == {"model": "fake-model", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "user"]
    assert second["messages"][1]["content"] == "1 2 4 5 "


def test_options_reach_the_server(fake_server: FakeServer, monkeypatch: Patch) -> None:
    options = {"model": "other", "system": "Be brief.", "api_key": "sk-1", "temperature": 0.5, "max_tokens": 2}
    assert chat(fake_server.url + "/v1/", "Hello", monkeypatch, **options) == 0
    [request] = fake_server.requests
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("other", 0.5, 2)
    assert fake_server.headers[0]["authorization"] == "Bearer sk-1"


def test_commands(fake_server: FakeServer, monkeypatch: Patch, capsys: Capture) -> None:
    lines = "Hello\n/reset\nAgain\n/system Be brief.\nThird\n/help\n/quit\nnever sent\n"
    assert chat(fake_server.url, lines, monkeypatch) == 0
    contents = [[message["content"] for message in request["messages"]] for request in fake_server.requests]
    assert contents == [["Hello"], ["Again"], ["Be brief.", "Third"]]
    assert "/reset" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [("please fail", "the server answered 400: no [such] thing"), ("midway", "the engine died")],
)
def test_errors_are_told_and_end_a_pipe(
    text: str, words: str, fake_server: FakeServer, monkeypatch: Patch, capsys: Capture
) -> None:
    assert chat(fake_server.url, f"{text}\nnever sent\n", monkeypatch) == 1
    assert capsys.readouterr().err == f"abruzzi: {words}\n"
    assert len(fake_server.requests) == 1


def test_no_server_is_one_line(monkeypatch: Patch, capsys: Capture) -> None:
    assert chat("http://127.0.0.1:9", "Hello", monkeypatch) == 1
    error = capsys.readouterr().err
    assert "no server answers at http://127.0.0.1:9" in error
    assert "abruzzi serve" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("url", ["localhost:8000", "", "http://[", "ftp://127.0.0.1:1"])
def test_a_bad_address_is_one_line(url: str, monkeypatch: Patch, capsys: Capture) -> None:
    assert chat(url, "Hello", monkeypatch) == 1
    assert capsys.readouterr().err.count("\n") == 1


def session_for(fake_server: FakeServer) -> tuple[httpx.Client, ChatSession]:
    client = make_client(fake_server.url, None)
    return client, ChatSession(client, "fake-model", None, {})


def test_stopping_an_answer_closes_it_and_keeps_what_came(fake_server: FakeServer) -> None:
    fake_server.pause = 0.01
    client, session = session_for(fake_server)
    with client:
        answer = session.ask("forever")
        assert [next(answer), next(answer)] == ["1 ", "2 "]
        answer.close()
        assert session.turns[-1] == {"role": "assistant", "content": "1 2 "}
        deadline = time.monotonic() + 10
        while fake_server.open:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_failed_message_is_not_part_of_the_conversation(fake_server: FakeServer, monkeypatch: Patch) -> None:
    client, session = session_for(fake_server)
    with client:
        assert "".join(session.ask("Hello")) == "1 2 4 5 "
        turns = list(session.turns)
        with pytest.raises(ServerTrouble, match="the server answered 400"):
            list(session.ask("fail"))
        assert session.turns == turns


def test_on_a_terminal_errors_do_not_end_it(fake_server: FakeServer, monkeypatch: Patch, capsys: Capture) -> None:
    lines = iter(["fail", KeyboardInterrupt(), "Hello", EOFError()])

    def typed(prompt: str) -> str:
        line = next(lines)
        if isinstance(line, BaseException):
            raise line
        return line

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("builtins.input", typed)
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert run_chat(fake_server.url, None, None, None, None, None) == 0
    output = capsys.readouterr().out
    assert "no [such] thing" in output
    assert "1 2 4 5" in output
