"""Runs one of the engine's programs in a process of its own: what needs torch has no place in the server."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import engine
from engine import ConfigError

_RUN = (
    "import runpy, sys; root = sys.argv[1]; root in sys.path or sys.path.insert(0, root); "
    "runpy.run_module(sys.argv[2], run_name='__main__')"
)


def run_engine_program(module: str, request: Any = None) -> Any:
    """JSON in, JSON out; its progress and warnings go to this terminal. It imports the same packages as this process,
    and nothing from the current folder. Raises ConfigError with what it said."""
    command = [sys.executable, "-P", "-c", _RUN, str(Path(engine.__file__).resolve().parent.parent), module]
    run = subprocess.run(command, input=json.dumps(request), stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode != 0:
        raise ConfigError(f"{module} ended with status {run.returncode}; what it said is above")
    answer = json.loads(run.stdout)
    if isinstance(answer, dict) and "error" in answer:
        raise ConfigError(str(answer["error"]))
    return answer
