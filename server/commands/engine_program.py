"""Runs one of the engine's programs in a process of its own: what needs torch has no place in the server."""

import json
import subprocess
import sys
from typing import Any

from engine import ConfigError


def run_engine_program(module: str, request: Any = None) -> Any:
    """JSON in, JSON out; its progress and warnings go to this terminal. Raises ConfigError with what it said."""
    command = [sys.executable, "-P", "-m", module]
    run = subprocess.run(command, input=json.dumps(request), stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode != 0:
        raise ConfigError(f"{module} ended with status {run.returncode}; what it said is above")
    answer = json.loads(run.stdout)
    if isinstance(answer, dict) and "error" in answer:
        raise ConfigError(str(answer["error"]))
    return answer
