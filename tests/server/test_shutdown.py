"""The end of the server: what SIGTERM does to a running stream, to newcomers and to the exit code."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

DUMMY = Path(__file__).with_name("dummy_server.py")
ROOT = Path(__file__).resolve().parents[2]


class Dummy:
    """A dummy server process."""

    def __init__(self, *arguments: str) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "200",
        }
        self.process = subprocess.Popen(
            [sys.executable, str(DUMMY), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.output = ""

    def wait_url(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if found := re.search(r"curl (http://[\d.]+:\d+)", line):
                return found[1]
        raise AssertionError(f"no address in: {self.output}")

    def exit_code(self) -> int:
        return self.process.wait(20)


@pytest.fixture
def start() -> Iterator[type[Dummy]]:
    started: list[Dummy] = []

    class Tracked(Dummy):
        def __init__(self, *arguments: str) -> None:
            super().__init__(*arguments)
            started.append(self)

    yield Tracked
    for dummy in started:
        dummy.process.kill()
        dummy.process.communicate()


def wait_draining(url: str) -> httpx.Response:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        answer = httpx.get(f"{url}/state", trust_env=False)
        if answer.status_code == 503:
            return answer
        time.sleep(0.02)
    raise AssertionError("never draining")


def test_a_stream_completes_and_newcomers_get_503(start: type[Dummy]) -> None:
    dummy = start()
    url = dummy.wait_url()
    with httpx.stream("GET", f"{url}/stream/20", trust_env=False) as response:
        lines = response.iter_lines()
        assert next(lines) == "line 0"
        dummy.process.send_signal(signal.SIGTERM)
        assert wait_draining(url).headers["retry-after"] == "5"
        assert list(lines) == [f"line {number}" for number in range(1, 20)]
    assert dummy.exit_code() == 0


def test_the_drain_is_bounded_and_the_stream_is_told(start: type[Dummy]) -> None:
    dummy = start("0.2")
    url = dummy.wait_url()
    with httpx.stream("GET", f"{url}/stream/100000", trust_env=False) as response:
        lines = response.iter_lines()
        next(lines)
        dummy.process.send_signal(signal.SIGINT)
        assert list(lines)[-1] == "engine stopped"
    assert dummy.exit_code() == 0


def test_a_second_signal_ends_it_at_once(start: type[Dummy]) -> None:
    dummy = start("3600")
    url = dummy.wait_url()
    with httpx.stream("GET", f"{url}/stream/100000", trust_env=False) as response:
        next(response.iter_lines())
        dummy.process.send_signal(signal.SIGTERM)
        wait_draining(url)
        dummy.process.send_signal(signal.SIGTERM)
        assert dummy.exit_code() == 128 + signal.SIGTERM
    assert dummy.process.stderr is not None
    assert "Traceback" not in dummy.process.stderr.read()


def test_an_engine_that_is_given_up_ends_the_server_with_1(start: type[Dummy]) -> None:
    dummy = start("3600")
    url = dummy.wait_url()
    with httpx.stream("GET", f"{url}/stream/100000", trust_env=False) as response:
        lines = response.iter_lines()
        next(lines)
        httpx.get(f"{url}/give-up", trust_env=False)
        assert list(lines)[-1] == "engine stopped"
    assert dummy.exit_code() == 1
    assert dummy.process.stderr is not None
    errors = dummy.process.stderr.read()
    assert "it keeps dying" in errors
    assert "Traceback" not in errors


def test_a_checkpoint_without_a_template_is_told_and_gets_no_curl_line(start: type[Dummy]) -> None:
    dummy = start("30", "--base")
    assert dummy.process.stdout is not None
    for line in dummy.process.stdout:
        dummy.output += line
        if "Ready on" in line:
            break
    assert "no chat template" in dummy.output
    dummy.process.send_signal(signal.SIGTERM)
    assert "curl" not in dummy.process.stdout.read()


def test_a_head_without_end_is_cut(start: type[Dummy]) -> None:
    host, port = start().wait_url().removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(b"GET /state HTTP/1.1\r\nhost: x\r\nx-long: ")
        with contextlib.suppress(OSError):  # the server hangs up while we send
            for _ in range(64):
                connection.sendall(b"x" * 2**16)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            answer = connection.recv(100)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


def test_heads_and_bodies_of_usual_sizes_pass(start: type[Dummy]) -> None:
    with httpx.Client(base_url=start().wait_url(), trust_env=False) as client:
        for _ in range(3):  # one connection: what was counted for one request is not the next one's
            answer = client.request("GET", "/state", headers={"x-long": "x" * 40_000}, content=b"x" * 200_000)
            assert answer.status_code == 200


def test_an_idle_server_stops_with_0(start: type[Dummy]) -> None:
    dummy = start()
    dummy.wait_url()
    dummy.process.send_signal(signal.SIGTERM)
    assert dummy.exit_code() == 0


def test_a_signal_while_loading_stops_it(start: type[Dummy]) -> None:
    dummy = start("30", "--hang")
    time.sleep(2.0)  # long enough for the handlers to be there on most machines; either way it must end
    dummy.process.send_signal(signal.SIGTERM)
    assert dummy.exit_code() in (0, -signal.SIGTERM)


def test_an_engine_that_cannot_start_is_one_line(start: type[Dummy]) -> None:
    dummy = start("30", "--fail")
    _, errors = dummy.process.communicate(timeout=20)
    assert dummy.process.returncode == 1
    assert errors == "the weights are made of cheese\n"


def test_the_report_names_what_is_served(start: type[Dummy]) -> None:
    dummy = start()
    dummy.wait_url()
    for expected in ("dummy", "8.3 million", "weights", "3.0 MiB", "[bf16]", "4.0 MiB", "the engine's note"):
        assert expected in dummy.output
