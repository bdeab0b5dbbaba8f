"""Models by name, downloaded by huggingface_hub from a hub on this machine."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import uvicorn
from support.fake_hub import COMMIT, FakeHub
from support.serving import serving

from server.hub import is_hub_name

RUN = (
    "import logging, sys; from server.hub import download; "
    "logging.basicConfig(level='INFO', format='%(message)s'); print(download(sys.argv[1]))"
)
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights" * 20_000,
    "tiktoken.model": b"ranks",
    "chat_template.jinja": b"template",
    "pytorch_model.bin": b"pickle",
    "modeling_tiny.py": b"import os",
}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[FakeHub, str]]:
    folder = tmp_path / "published"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    fake = FakeHub(folder)
    server = uvicorn.Server(uvicorn.Config(fake.application(), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield fake, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def download(
    name: str, home: Path, endpoint: str, under: Sequence[str] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings = {
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    return subprocess.run(
        [*under, sys.executable, "-c", RUN, name],
        env={**kept, **settings, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_only_needed_files_come_and_only_once(hub: tuple[FakeHub, str], tmp_path: Path) -> None:
    fake, endpoint = hub
    answer = download("org/tiny", tmp_path / "home", endpoint, HF_TOKEN="hf_secret")
    assert answer.returncode == 0, answer.stderr
    folder = Path(answer.stdout.strip().splitlines()[-1])
    assert folder.name == COMMIT
    wanted = {"config.json", "model.safetensors", "tiktoken.model", "chat_template.jinja"}
    assert {path.name for path in folder.iterdir()} == wanted
    assert {file for _, file in fake.requested} == wanted
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert fake.tokens == {"Bearer hf_secret"}
    assert f"model org/tiny: looking for it at {endpoint}" in answer.stderr
    assert re.search(r"downloading: \d\.\d\d of 0\.00 GB at \d+ MB/s", answer.stderr)
    fake.requested.clear()
    assert download("org/tiny", tmp_path / "home", endpoint).stdout == answer.stdout
    assert not [file for method, file in fake.requested if method == "GET"]
    assert download("org/tiny", tmp_path / "home", endpoint, HF_HUB_OFFLINE="1").stdout == answer.stdout


def test_a_revision(hub: tuple[FakeHub, str], tmp_path: Path) -> None:
    _, endpoint = hub
    assert download("org/tiny@v1", tmp_path / "home", endpoint).returncode == 0
    missing = download("org/tiny@v9", tmp_path / "home", endpoint)
    assert missing.returncode != 0
    assert f"org/tiny@v9: there is no such revision at {endpoint}" in missing.stderr


def test_what_was_cut_off_goes_on(hub: tuple[FakeHub, str], tmp_path: Path) -> None:
    """The client writes pieces of 10 MiB, so that it takes more than one to have something to go on from."""
    fake, endpoint = hub
    fake.folder.joinpath("model.safetensors").write_bytes(bytes(16 << 20))
    fake.cut["model.safetensors"] = 12 << 20
    first = download("org/tiny", tmp_path / "home", endpoint)
    if first.returncode != 0:
        first = download("org/tiny", tmp_path / "home", endpoint)
    assert first.returncode == 0, first.stderr
    assert [given for given in fake.ranges if given.startswith(f"bytes={10 << 20}-")]
    folder = Path(first.stdout.strip().splitlines()[-1])
    assert (folder / "model.safetensors").read_bytes() == bytes(16 << 20)


def test_refusals_say_what_to_do(hub: tuple[FakeHub, str], tmp_path: Path) -> None:
    fake, endpoint = hub
    unknown = download("org/other", tmp_path / "home", endpoint)
    assert "org/other is no folder here and no model at" in unknown.stderr
    assert "HF_TOKEN" in unknown.stderr
    offline = download("org/tiny", tmp_path / "home", endpoint, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in offline.stderr
    unreachable = download("org/tiny", tmp_path / "home", "http://127.0.0.1:9")
    assert "org/tiny could not be downloaded from http://127.0.0.1:9" in unreachable.stderr
    fake.gated = True
    gated = download("org/tiny", tmp_path / "home", endpoint)
    assert "agree to its terms" in gated.stderr
    for answer in (unknown, offline, unreachable, gated):
        assert answer.returncode != 0
        assert "engine.errors.ConfigError" in answer.stderr


def test_a_model_without_safetensors(hub: tuple[FakeHub, str], tmp_path: Path) -> None:
    fake, endpoint = hub
    (fake.folder / "model.safetensors").unlink()
    answer = download("org/tiny", tmp_path / "home", endpoint)
    assert "no safetensors files" in answer.stderr


INTO_A_FULL_DISK = 'mount -t tmpfs -o size=256k none "$HF_HOME" && exec "$@"'


def test_a_full_disk(hub: tuple[FakeHub, str], tmp_path: Path) -> None:
    """A disk of 256 KiB, seen by the process alone."""
    fake, endpoint = hub
    fake.folder.joinpath("model.safetensors").write_bytes(bytes(1 << 20))
    home = tmp_path / "home"
    home.mkdir()
    mount = ["unshare", "-rm", "sh", "-c", INTO_A_FULL_DISK, "sh"]
    try:
        subprocess.run([*mount, "true"], env={**os.environ, "HF_HOME": str(home)}, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system in a namespace")
    answer = download("org/tiny", home, endpoint, under=mount)
    assert answer.returncode != 0
    assert f"org/tiny: the disk of {home}/hub is full; set HF_HOME" in answer.stderr


def test_a_home_that_cannot_be_written_to(hub: tuple[FakeHub, str], tmp_path: Path) -> None:
    _, endpoint = hub
    (tmp_path / "home").write_text("a file, not a folder")
    answer = download("org/tiny", tmp_path / "home", endpoint)
    assert answer.returncode != 0
    assert "engine.errors.ConfigError" in answer.stderr
    assert str(tmp_path / "home") in answer.stderr.splitlines()[-1]


def test_which_words_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("moonshotai/Kimi-K2-Instruct", "a/b@main", "a/b@refs/pr/1"):
        assert is_hub_name(name)
    for name in ("/models/x", "./a/b/c", "a", "a/b/c", "a b/c"):
        assert not is_hub_name(name)
    (tmp_path / "moonshotai" / "Kimi-K2-Instruct").mkdir(parents=True)
    assert not is_hub_name("moonshotai/Kimi-K2-Instruct")


@pytest.mark.slow
def test_a_model_is_served_by_its_name(
    hub: tuple[FakeHub, str], tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, endpoint = hub
    shutil.copytree(tiny_checkpoint, fake.folder, dirs_exist_ok=True)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with serving(Path("org/tiny@v1"), tmp_path / "log", "--store", "none") as server:
        assert server.get("/v1/models").json()["data"][0]["id"] == "org/tiny"
        answer = server.post("/v1/completions", {"model": "org/tiny", "prompt": "The", "max_tokens": 3})
        assert answer.status_code == 200
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fake.requested.clear()
    with serving(Path("org/tiny@v1"), tmp_path / "log", "--store", "none"):
        assert fake.requested == []
