"""Schemathesis: requests made from /openapi.json, right ones and wrong ones, none of which may make the server fail.

FUZZ_EXAMPLES (default: 1) says how many random requests it tries for each operation, beside those that it derives from
the schema. The server counts what it was sent and how it answered.
"""

import os
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from support.client_server import serving

pytest.importorskip("schemathesis", reason="make test-clients")

EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "1")
# Any name is the model's, or most requests would end at an unknown one; answers are short.
FLAGS = ["--model-alias", "*", "--max-model-len", "256", "--max-json-string", "24", "--max-n", "2"]


@pytest.mark.timeout(3600)
def test_no_request_makes_the_server_fail(tmp_path: Path) -> None:
    with serving(tmp_path, *FLAGS) as url:
        command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{url}/openapi.json"]
        # One worker: with several, `ast.parse` may fail on Python 3.11 (python/cpython#106905), and the run with it.
        command += ["--checks", "not_a_server_error", "--max-examples", EXAMPLES, "--workers", "1", "--seed", "1"]
        command += ["--continue-on-failure", "--suppress-health-check", "all", "--request-timeout", "120"]
        before = statuses(url)
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        after = statuses(url)
    after.subtract(before)
    print("requests by status:", dict(sorted(after.items())), "in all:", after.total())
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert not [status for status, count in after.items() if status >= 500 and count], after
    assert after[200] > 100
    assert after[400] > 1000


def statuses(url: str) -> "Counter[int]":
    """How many requests the server has answered with which status."""
    found: Counter[int] = Counter()
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if match := re.match(r'abruzzi_http_requests_total\{.*status="(\d+)"\} (\S+)', line):
                found[int(match[1])] += int(float(match[2]))
    return found
