"""What the wheel carries: every file of the packages that a server needs, and not only its modules."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
PACKAGES = [pattern.rstrip("*") for pattern in PROJECT["packages"]["find"]["include"]]
CODE = {".py", ".cpp", ".hpp", ".so"}  # modules, and what they are compiled from and to
NOT_NEEDED = {"demo/curve.svg"}  # a picture in demo/README.md


@pytest.mark.parametrize("package", PACKAGES)
def test_data_files_are_named_as_package_data(package: str) -> None:
    patterns = PROJECT["package-data"].get(package, [])
    packed = {path for pattern in patterns for path in (ROOT / package).glob(pattern)}
    files = {path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    left_out = {path.relative_to(ROOT).as_posix() for path in files - packed if path.suffix not in CODE}
    assert left_out <= NOT_NEEDED


def test_folders_without_an_init_are_packaged() -> None:
    # The database's migrations are modules that alembic reads from their folder. Only a search that leaves
    # `namespaces` at its default, true, finds such folders.
    assert not (ROOT / "server/store/migrations/__init__.py").exists()
    assert PROJECT["packages"]["find"].get("namespaces", True)
