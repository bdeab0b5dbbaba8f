"""The native kernels' threads, by themselves."""

import shutil
import subprocess
from pathlib import Path

import pytest

from engine.kernels.cpu import library

HERE = Path(__file__).parent
SOURCE = Path(library.__file__).with_name("source")
COMPILER = shutil.which("g++") or shutil.which("c++")


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
def test_each_item_of_short_loops_runs_once(tmp_path: Path) -> None:
    assert COMPILER is not None
    program = tmp_path / "loops"
    build = [COMPILER, "-std=c++20", "-O2", "-pthread", "-I", str(SOURCE), str(HERE / "loops.cpp"), "-o", str(program)]
    subprocess.run(build, check=True)
    done = subprocess.run([program, "3"], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout
