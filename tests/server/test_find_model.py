"""Which checkpoint is meant, and what is said of folders and files that are there and cannot be read."""

import shutil
from pathlib import Path

import pytest
from support.served import TINY
from support.unprivileged import unprivileged

from engine import ConfigError
from server.serve import find_model
from server.served_model import ServedModel
from server.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(TINY, tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "kimi_k2"}')
    (tmp_path / "model" / "generation_config.json").write_text('{"temperature": 0.6}')
    return tmp_path / "model"


def test_a_folder_that_is_a_loop(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ConfigError, match=r"the model .*loop cannot be read: Too many levels of symbolic links"):
        find_model(Settings(model=str(tmp_path / "loop")))


def test_a_folder_that_may_not_be_searched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    folder.parent.chmod(0o755)
    folder.chmod(0)
    with unprivileged(), pytest.raises(ConfigError, match=r"cannot read model/config\.json: Permission denied"):
        find_model(Settings(model="./model"))
    folder.chmod(0o755)


FILES = ("config.json", "tiktoken.model", "tokenizer_config.json", "generation_config.json", "chat_template.jinja")


@pytest.mark.parametrize("name", FILES)
def test_links_that_lead_nowhere_are_not_missing_files(name: str, folder: Path) -> None:
    """Not even where the file may be missing: a template or defaults that are meant would be passed over in silence."""
    for target in (folder / name, Path("nowhere")):
        (folder / name).unlink()
        (folder / name).symlink_to(target)
        found, _ = find_model(Settings(model=str(folder)))
        with pytest.raises(ConfigError, match=name.replace(".", r"\.")) as refused:
            ServedModel.load(found)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", FILES)
def test_files_that_may_not_be_read_are_named(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    folder.parent.chmod(0o755)
    folder.chmod(0o755)
    ServedModel.load(Path("model"))
    (folder / name).chmod(0)
    with unprivileged(), pytest.raises(ConfigError, match=name.replace(".", r"\.")) as refused:
        ServedModel.load(Path("model"))
    assert "ermission denied" in str(refused.value)
