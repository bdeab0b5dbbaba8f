"""The default checkpoint: made once, also when two start at the same time; failures are one line."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import demo
import demo.default

ROOT = Path(__file__).resolve().parents[2]


def test_it_is_made_once_under_a_name_with_a_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # the generator is found from any folder
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: demo.default_checkpoint(), range(2))
    assert first == second == tmp_path / "abruzzi" / f"{demo.DEFAULT_NAME}-{demo.default.recipe_fingerprint()}"
    assert [path.name for path in (tmp_path / "abruzzi").iterdir()] == [first.name]  # nothing else is left
    assert demo.has_random_weights(first)
    made = (first / "model.safetensors").stat().st_mtime_ns
    assert demo.default_checkpoint() == first
    assert (first / "model.safetensors").stat().st_mtime_ns == made


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(demo.CheckpointNotMade, match=r"XDG_CACHE_HOME"):
        demo.default_checkpoint(tmp_path / "file" / "cache")


def test_a_generator_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.default, "DEFAULT_PRESET", "colossal")
    with pytest.raises(demo.CheckpointNotMade, match="colossal"):
        demo.default_checkpoint(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_taken_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    command = [sys.executable, "-m", "demo.random_checkpoint", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "holds a checkpoint already" in done.stderr


def test_other_folders_are_not_random(tmp_path: Path) -> None:
    assert not demo.has_random_weights(tmp_path)


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, demo; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout == "False\n"


def test_nothing_is_imported_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    (here / "demo").mkdir(parents=True)
    for name in ("json.py", "demo/__init__.py"):
        (here / name).write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(here)
    assert (demo.default_checkpoint(tmp_path / "cache") / "config.json").is_file()
