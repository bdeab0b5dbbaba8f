"""The key file: read strictly, edited without losing anything, never holding a key itself."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine import ConfigError
from server.keys.key import digest_of
from server.keys.key_file import create_key, read_keys, revoke_key

HASH = "sha256:" + "0" * 64


@pytest.mark.parametrize("name", ["keys.toml", "keys.json"])
def test_what_is_created_is_read_and_can_be_revoked(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    key = create_key(path, "alice", models=["m"], requests_per_minute=60, priority=-5, expires="2027-01-01T00:00:00Z")
    other = create_key(path, "bob", admin=True)
    assert key not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    alice, bob = read_keys(path)
    assert alice.digest == digest_of(key.encode())
    assert (alice.name, alice.models, alice.requests_per_minute, alice.priority) == ("alice", ("m",), 60, -5)
    assert (alice.tokens_per_minute, alice.concurrent_requests, alice.admin) == (None, None, False)
    assert alice.expires == datetime(2027, 1, 1, tzinfo=UTC)
    assert (bob.digest, bob.admin) == (digest_of(other.encode()), True)
    revoke_key(path, "alice")
    assert [one.name for one in read_keys(path)] == ["bob"]
    assert sorted(tmp_path.iterdir()) == [path]


def test_comments_survive_an_edit(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(
        f'# whose keys these are\n[[keys]]\nname = "a"  # the first\nhash = "{HASH}"\nexpires = 2030-05-01\n'
    )
    create_key(path, "b")
    text = path.read_text()
    assert "# whose keys these are" in text
    assert "# the first" in text
    first, second = read_keys(path)
    assert first.expires == datetime(2030, 5, 1, tzinfo=UTC)
    assert first.expired(datetime(2030, 5, 1, tzinfo=UTC))
    assert not first.expired(datetime(2030, 4, 30, tzinfo=UTC))
    assert second.name == "b"


BROKEN = [
    ([{"name": "a"}], ["keys.0.hash"]),
    ([{"name": "a", "hash": "secret"}], ["keys.0.hash"]),
    ([{"name": "a b", "hash": HASH}], ["keys.0.name", "'a b'"]),
    ([{"name": "a", "hash": HASH, "request_per_minute": 5}], ["request_per_minute"]),
    ([{"name": "a", "hash": HASH, "tokens_per_minute": 0}], ["tokens_per_minute", "0"]),
    ([{"name": "a", "hash": HASH, "tokens_per_minute": "5"}], ["tokens_per_minute", "'5'"]),
    ([{"name": "a", "hash": HASH, "models": []}], ["models"]),
    ([{"name": "a", "hash": HASH, "expires": "soon"}], ["expires", "'soon'"]),
    ([{"name": "a", "hash": HASH}, {"name": "a", "hash": HASH.replace("0", "1")}], ["'a'", "one name"]),
    ([{"name": "a", "hash": HASH}, {"name": "b", "hash": HASH}], ["'b'", "'a'", "one hash"]),
    ("alice", ["keys"]),
]


@pytest.mark.parametrize(("entries", "words"), BROKEN, ids=str)
def test_mistakes_are_told_with_their_place(entries: object, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": entries}))
    with pytest.raises(ConfigError) as refused:
        read_keys(path)
    assert [word for word in [str(path), *words] if word not in str(refused.value)] == []
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("content", ["{", "[1]", "", '{"keys": 5}', '{"keys": [5]}', '{"keys": [{}]}'])
def test_damaged_files(content: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    for use in (read_keys, lambda path: create_key(path, "a"), lambda path: revoke_key(path, "a")):
        with pytest.raises(ConfigError, match=r"keys\.json"):
            use(path)
    assert path.read_text() == content


def test_a_link_to_a_key_file_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "keys.json", tmp_path / "link.json"
    create_key(path, "a")
    link.symlink_to(path)
    create_key(link, "b")
    assert link.is_symlink()
    assert [key.name for key in read_keys(path)] == ["a", "b"]


def test_names_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    create_key(path, "a")
    before = path.read_text()
    for wrong in ("a", "two words", ""):
        with pytest.raises(ConfigError, match=r"keys\.toml"):
            create_key(path, wrong)
    with pytest.raises(ConfigError, match="no key 'b'"):
        revoke_key(path, "b")
    with pytest.raises(ConfigError, match=r"neither in \.toml nor in \.json"):
        create_key(tmp_path / "keys.txt", "a")
    assert path.read_text() == before
    assert sorted(tmp_path.iterdir()) == [path]
