"""The command line as a person meets it."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import server.serve
from engine import ConfigError
from server.banner import curl_line
from server.cli import app
from server.settings import OPTIONS, Settings, markdown_table

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, environment: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200", **(environment or {})})


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What `serve` would have been run with."""
    seen: list[Settings] = []

    def fake(settings: Settings) -> int:
        seen.append(settings)
        return 0

    monkeypatch.setattr(server.serve, "serve", fake)
    return seen


def test_the_help_mentions_every_flag_and_its_default() -> None:
    text = run("serve", "--help").output
    for known in OPTIONS:
        assert re.search(rf"{known.flag}\b", text), known.flag
        assert known.group in text
        if known.default_text:
            assert f"Default: {known.default_text}." in re.sub(r"[│\s]+", " ", text), known.flag
    assert "ABRUZZI_MAX_RUNNING" in text
    assert "--config" in text


def test_the_top_level_help_lists_the_commands() -> None:
    text = run("--help").output
    for command in ("serve", "chat", "bench"):
        assert command in text
        assert run(command, "--help").exit_code == 0


def test_version() -> None:
    assert run("--version").output == f"abruzzi {importlib.metadata.version('abruzzi')}\n"


def test_the_model_is_named_by_position_or_by_flag(served: list[Settings]) -> None:
    assert run("serve", "/models/k2").exit_code == 0
    assert run("serve", "--model", "/models/k2").exit_code == 0
    assert run("serve").exit_code == 0
    assert [settings.model for settings in served] == ["/models/k2", "/models/k2", None]


def test_two_different_models_are_refused(served: list[Settings]) -> None:
    result = run("serve", "/models/a", "--model", "/models/b")
    assert result.exit_code == 2
    assert "/models/a" in result.stderr
    assert "/models/b" in result.stderr
    assert not served


def test_flags_environment_and_file_meet(served: list[Settings], tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text("port = 1\nmax_running = 2\n")
    result = run(
        "serve", "--config", str(config), "--port", "3", "--no-prefix-caching", "--api-key", "a", "--api-key", "b",
        environment={"ABRUZZI_MAX_QUEUE": "4"},
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    [settings] = served
    assert (settings.port, settings.max_running, settings.max_queue) == (3, 2, 4)
    assert not settings.prefix_caching
    assert settings.api_key == ("a", "b")


def test_a_switch_that_is_not_given_leaves_the_environment(served: list[Settings]) -> None:
    run("serve", environment={"ABRUZZI_PREFIX_CACHING": "off"})
    assert not served[0].prefix_caching


def test_a_bad_flag_is_one_line_and_exit_code_2(served: list[Settings]) -> None:
    result = run("serve", "--port", "x")
    assert result.exit_code == 2
    assert result.stderr == "abruzzi: --port: 'x' is not allowed; give a whole number from 0 to 65535\n"
    assert not served


def test_a_start_that_fails_is_one_line_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(settings: Settings) -> int:
        raise ConfigError("it does not fit")

    monkeypatch.setattr(server.serve, "serve", fail)
    result = run("serve")
    assert (result.exit_code, result.stderr) == (1, "abruzzi: it does not fit\n")


@pytest.mark.parametrize("folder", ["/no/such/folder", __file__])
def test_a_model_that_is_no_folder_is_one_line(folder: str) -> None:
    result = run("serve", folder)
    assert result.exit_code == 1
    assert folder in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with server.serve.bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "config.json").write_text("{}")
        result = run("serve", str(tmp_path), "--port", str(port))
    assert result.exit_code == 1
    assert result.stderr == f"abruzzi: port {port} on 127.0.0.1 is in use; choose another with --port\n"


def test_a_host_that_is_not_ours_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    result = run("serve", str(tmp_path), "--host", "192.0.2.1", "--port", "0")
    assert result.exit_code == 1
    assert result.stderr == (
        "abruzzi: cannot listen on 192.0.2.1 port 0: Cannot assign requested address; see --host and --port\n"
    )


def test_the_model_folder_is_looked_at_before_the_port(tmp_path: Path) -> None:
    with server.serve.bind("127.0.0.1", 0) as taken:
        result = run("serve", str(tmp_path), "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 1
    assert result.stderr == f"abruzzi: the folder {tmp_path} has no config.json; --model takes a checkpoint folder\n"


def test_a_name_given_twice_is_served_once(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    settings = Settings(model=str(tmp_path), served_model_name=("a", "b", "a"))
    assert server.serve.find_model(settings)[1] == ("a", "b")


def test_without_a_model_the_demonstration_model_is_served() -> None:
    folder, names = server.serve.find_model(Settings())
    assert (folder / "config.json").is_file()
    assert names == ("abruzzi-demo",)


def test_the_curl_line_works_with_one_key_or_several() -> None:
    line = curl_line("http://127.0.0.1:1", "m", keys=True)
    assert line.startswith("# ABRUZZI_API_KEY must hold")
    for held in ("one", "one,two"):
        shown = subprocess.run(
            ["sh", "-c", 'curl() { printf "%s\\n" "$@"; }\n' + line],
            env={"ABRUZZI_API_KEY": held},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "Authorization: Bearer one\n" in shown.stdout


def test_the_help_shows_no_python_types_and_breaks_no_sentence() -> None:
    for command in ((), ("serve",), ("chat",), ("bench",)):
        text = run(*command, "--help").output
        assert not re.search(r"<(str|bool|int|float|path|list)", text), command
    assert "key of the TOML file (max_running = 64)" in run("serve", "--help").output
    assert "so that the prefix cache does not help" in run("bench", "--help").output


def test_a_url_without_a_scheme_is_taken_as_http() -> None:
    result = run("bench", "--base-url", "127.0.0.1:9")
    assert result.exit_code == 1
    assert "no server answers at http://127.0.0.1:9" in result.stderr


@pytest.mark.parametrize("variable", ["ABRUZZI_API_KEY"])
def test_a_key_list_without_a_key_is_exit_code_2(served: list[Settings], variable: str) -> None:
    result = run("serve", environment={variable: ","})
    assert result.exit_code == 2
    assert result.stderr == f"abruzzi: {variable} holds no key; the server would be open to everyone\n"
    assert not served


def test_no_log_level_shows_what_people_are_answered() -> None:
    """sse-starlette logs each chunk that it sends, at debug, and aiosqlite what it stores."""
    code = (
        "import logging, server.serve as s; s.configure_logging('debug');"
        "print(logging.getLogger('server').isEnabledFor(10), "
        "*[logging.getLogger(name).isEnabledFor(10) for name in ('sse_starlette.sse', 'aiosqlite')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "True False False\n"


@pytest.mark.parametrize("levels", ["", "0", "1,x", "1,,2"])
def test_bench_refuses_bad_levels(levels: str) -> None:
    result = run("bench", "--concurrency", levels)
    assert result.exit_code == 2
    assert repr(levels) in result.stderr


def test_help_imports_no_server_and_no_torch() -> None:
    code = "import sys, server.cli; print([name for name in ('torch', 'fastapi', 'uvicorn') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"


def test_the_readme_lists_the_flags() -> None:
    """To renew: python -c 'import server.settings as s; print(s.markdown_table())'."""
    assert markdown_table() in (ROOT / "README.md").read_text("utf-8")
