"""`abruzzi keys`: what is created is printed once, listed without the key, and revoked by name."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from server.cli import app
from server.keys.key import digest_of
from server.keys.key_file import read_keys


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments], env={"COLUMNS": "200"})


@pytest.mark.parametrize("name", ["keys.toml", "keys.json"])
def test_a_key_from_creation_to_revocation(name: str, tmp_path: Path) -> None:
    file = ("--file", str(tmp_path / name))
    made = run("create", "alice", *file, "--requests-per-minute", "60")
    assert made.exit_code == 0, made.output
    (alice,) = read_keys(tmp_path / name)
    assert digest_of(made.stdout.split()[-1].encode()) == alice.digest
    listed = run("list", *file)
    assert "alice" in listed.output
    assert "60" in listed.output
    assert made.stdout.split()[-1] not in listed.output
    assert run("revoke", "alice", *file).exit_code == 0
    assert not list(read_keys(tmp_path / name))


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    file = ("--file", str(tmp_path / "keys.toml"))
    assert run("create", "alice", *file).exit_code == 0
    for arguments, word in ((("create", "alice"), "alice"), (("revoke", "bob"), "bob")):
        done = run(*arguments, *file)
        assert done.exit_code != 0
        assert word in done.output
        assert "Traceback" not in done.output
