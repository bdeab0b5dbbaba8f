"""The examples of docs/clients.md, run as they stand but for the server's address; those whose client is not installed
in this environment are left out."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JAVASCRIPT = Path(__file__).parent / "javascript"
ADDRESS = "http://127.0.0.1:8000"
# Section -> the package that must be there to run its example.
SECTIONS = {
    "curl": None,
    "OpenAI SDK": "openai",
    "Anthropic SDK": "anthropic",
    "Google's SDK": "google.genai",
    "LangChain": "langchain_openai",
    "LiteLLM": "litellm",
    "Instructor": "instructor",
    "Pydantic AI": "pydantic_ai",
    "OpenAI Agents SDK": "agents",
    "JavaScript: openai": "node",
    "JavaScript: Vercel AI SDK": "node",
    "lm-eval": "lm_eval",
}
WITHOUT_EXAMPLE = ("Coding agents", "Schemathesis")


def sections() -> dict[str, str]:
    """Heading without its versions -> text."""
    _, *parts = (ROOT / "docs" / "clients.md").read_text("utf-8").split("\n## ")
    return {part.split("\n", 1)[0].split(" (")[0]: part for part in parts}


def installed(package: str) -> bool:
    if package == "node":
        return shutil.which("node") is not None and (JAVASCRIPT / "node_modules").is_dir()
    top = package.split(".")[0]
    return importlib.util.find_spec(top) is not None and importlib.util.find_spec(package) is not None


def command(language: str, source: str) -> tuple[list[str], Path]:
    """What runs an example, and where."""
    if language == "python":
        return [sys.executable, "-c", source], ROOT
    if language == "js":
        return ["node", "--input-type=module", "--eval", source], JAVASCRIPT
    path = f"PATH={Path(sys.executable).parent}:$PATH\n"  # where pip puts programs
    return ["bash", "-ec", path + source], ROOT


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SECTIONS)
def test_an_example_runs(name: str, url: str) -> None:
    package = SECTIONS[name]
    if package is not None and not installed(package):
        pytest.skip(f"{package} is not installed here")
    ((language, source),) = re.findall(r"```(python|js|sh)\n(.*?)```", sections()[name], re.DOTALL)
    assert ADDRESS in source
    arguments, folder = command(language, source.replace(ADDRESS, url))
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) > 5
    assert '"error"' not in done.stdout


def test_every_section_has_its_example() -> None:
    assert set(sections()) == {*SECTIONS, *WITHOUT_EXAMPLE}


def test_the_versions_are_those_that_are_tested() -> None:
    files = Path(__file__).parent.glob("constraints-*.txt")
    pinned = {line for file in files for line in file.read_text().splitlines()}
    packages = json.loads((JAVASCRIPT / "package.json").read_text())["dependencies"]
    pinned |= {f"{name}=={version}" for name, version in packages.items()}
    for section, text in sections().items():
        named = re.findall(r"([@\w/.-]+) (\d[\d.]+\d)", text.split("\n", 1)[0])
        assert named or section in ("curl", *WITHOUT_EXAMPLE)
        assert {f"{name}=={version}" for name, version in named} <= pinned
