"""The npm packages openai and ai (Vercel's AI SDK), in the scripts beside this file."""

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "javascript"


@pytest.mark.parametrize("script", ["openai", "ai"])
def test_script(script: str, url: str, name: str) -> None:
    node = shutil.which("node")
    if node is None or not (FOLDER / "node_modules").is_dir():
        pytest.skip("needs node and npm; make test-clients")
    command = [node, f"{script}.mjs", url, name]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"{script}: ok\n"
