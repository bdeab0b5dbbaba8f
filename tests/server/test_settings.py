"""One table of settings: precedence, all three sources for each of them, errors that help, keys that stay hidden."""

import contextlib
import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import ConfigError, EngineConfig
from server.option_kinds import ALIAS, KEY, PATH, SIZE, STORE, SWITCH, TEXT
from server.settings import OPTIONS, Option, Settings, load_settings, unknown_variables

ids = [known.name for known in OPTIONS]


def sample(known: Option) -> tuple[Any, Any]:
    """A value that is not the default: as text, and as the setting holds it."""
    if known.is_switch:
        return "off", False
    if known.kind is SIZE:
        return "3MiB", 3 * 2**20
    if known.kind is PATH:
        return "some/file", Path("some/file")
    if known.kind is STORE:
        return "sqlite:///some.db", "sqlite:///some.db"
    if known.kind in (TEXT, KEY, ALIAS):
        return ("some-text", ("some-text",)) if known.many else ("some-text", "some-text")
    if known.kind.metavar == "SECONDS":
        return "12.5", 12.5
    if known.kind.metavar == "INTEGER":
        return "7", 7
    choice = known.kind.metavar.split("|")[-1]
    return choice, choice


@pytest.fixture(autouse=True)
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample path is read when it is the API key file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some").mkdir()
    (tmp_path / "some/file").write_text("key-of-the-file\n")


@pytest.mark.parametrize("known", OPTIONS, ids=ids)
def test_each_setting_comes_from_flag_environment_and_file(known: Option, tmp_path: Path) -> None:
    text, value = sample(known)
    config = tmp_path / "server.toml"
    config.write_text(f"{known.name} = {[text] if known.many else text!r}\n")
    flag = [text] if known.many else text
    assert getattr(load_settings({}, {}), known.name) == known.default != value
    assert getattr(load_settings({known.name: flag}, {}), known.name) == value
    assert getattr(load_settings({}, {known.variable: text}), known.name) == value
    assert getattr(load_settings({}, {}, config), known.name) == value


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text("port = 3\nmax_running = 3\nmax_n = 3\n")
    settings = load_settings(
        {"port": "1", "max_running": None}, {"ABRUZZI_PORT": "2", "ABRUZZI_MAX_RUNNING": "2"}, config
    )
    assert (settings.port, settings.max_running, settings.max_n, settings.max_queue) == (1, 2, 3, 256)


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text("port = 3\n")
    assert load_settings({}, {"ABRUZZI_CONFIG": str(config)}).port == 3


def test_toml_has_numbers_booleans_and_lists(tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text(
        'port = 9\ndrain_seconds = 2\nprefix_caching = false\nkv_cache_memory = 1024\napi_key = ["a", "b"]\n'
    )
    settings = load_settings({}, {}, config)
    assert (settings.port, settings.drain_seconds, settings.prefix_caching) == (9, 2.0, False)
    assert (settings.kv_cache_memory, settings.api_key) == (1024, ("a", "b"))


def test_lists_repeat_as_flags_and_are_comma_separated_in_the_environment() -> None:
    assert load_settings({"served_model_name": ["a", "b"]}, {}).served_model_name == ("a", "b")
    assert load_settings({}, {"ABRUZZI_SERVED_MODEL_NAME": "a, b"}).served_model_name == ("a", "b")


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("port", "80a"),
        ("port", "-1"),
        ("port", "65536"),
        ("port", ""),
        ("dtype", "fp8"),
        ("kv_cache_memory", "12 parsecs"),
        ("kv_cache_memory", "0"),
        ("max_running", "0"),
        ("threads", "0"),
        ("threads", "1025"),
        ("max_running", "1.5"),
        ("drain_seconds", "nan"),
        ("drain_seconds", "-1"),
        ("drain_seconds", "inf"),
        ("prefix_caching", "maybe"),
        ("log_level", "loud"),
        ("model_alias", "claude 5"),
        ("model_alias", "a" * 129),
        ("model_alias", "claude=tiny"),
    ],
)
def test_bad_values_are_refused_with_value_source_and_remedy(name: str, bad: str, tmp_path: Path) -> None:
    known = next(known for known in OPTIONS if known.name == name)
    config = tmp_path / "server.toml"
    config.write_text(f"{name} = {bad!r}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings({name: bad}, {})
    assert str(caught.value) == f"{known.flag}: {bad!r} is not allowed; give {known.kind.allowed}"
    with pytest.raises(ConfigError, match=f"{name} in .*server.toml: {bad!r} is not allowed"):
        load_settings({}, {}, config)
    if bad:
        with pytest.raises(ConfigError, match=f"{known.variable}: {bad!r} is not allowed"):
            load_settings({}, {known.variable: bad})


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load_settings({}, {"ABRUZZI_PORT": "", "ABRUZZI_CONFIG": ""}) == Settings()


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("max-running = 3", "'max_running'"),
        ("prot = 3", "'port'"),
        ("zzz = 3", "--help"),
        ("[engine]\nport = 1", "engine"),
    ],
)
def test_unknown_toml_keys_are_refused_by_name(line: str, hint: str, tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text(line + "\n")
    with pytest.raises(ConfigError, match=hint):
        load_settings({}, {}, config)


@pytest.mark.parametrize("bad", ["port = true", "port = 1.5", "host = 7", "prefix_caching = 1", 'api_key = ["a", 7]'])
def test_toml_values_of_a_wrong_type_are_refused(bad: str, tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text(bad + "\n")
    with pytest.raises(ConfigError, match="is not allowed"):
        load_settings({}, {}, config)


def test_a_file_that_is_absent_or_not_toml_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("port = = 3\n")
    for name in ("absent.toml", "bad.toml"):
        with pytest.raises(ConfigError, match=name) as caught:
            load_settings({}, {}, tmp_path / name)
        assert "\n" not in str(caught.value)
        assert str(caught.value).count(name) == 1


@pytest.mark.parametrize("name", [known.name for known in OPTIONS if known.many])
def test_a_list_without_an_item_is_refused(name: str, tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text(f"{name} = []\n")
    what = "holds no key; the server would be open to everyone" if name == "api_key" else "holds no value"
    with pytest.raises(ConfigError, match=f"{name} in .*server.toml {what}"):
        load_settings({}, {}, config)
    with pytest.raises(ConfigError, match=f"ABRUZZI_{name.upper()} {what}"):
        load_settings({}, {f"ABRUZZI_{name.upper()}": " , "})


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("512MiB", 2**29), ("2GB", 2 * 10**9), ("2 gb", 2 * 10**9), ("1.5KiB", 1536), ("64kb", 64_000)],
)
def test_sizes(text: str, size: int) -> None:
    assert SIZE.parse(text) == size


@given(st.text())
def test_sizes_never_fail_in_another_way(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert SIZE.parse(text) > 0


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text()), st.dates()))
def test_whatever_the_file_holds_it_is_taken_or_refused(raw: object) -> None:
    for known in OPTIONS:
        with contextlib.suppress(ConfigError):
            known.parse(raw, "test")


def test_keys_from_a_file_are_added(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# team A\nsk-a\n\n  sk-b  \n#sk-c\n")
    assert load_settings({"api_key": ["sk-x"], "api_key_file": str(keys)}, {}).api_key == ("sk-x", "sk-a", "sk-b")


@pytest.mark.parametrize("content", ["", "# none\n", "sk a\n", "sk-ä\n", None])
def test_a_key_file_that_protects_nothing_is_refused(content: str | None, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    if content is not None:
        keys.write_text(content, "utf-8")
    with pytest.raises(ConfigError, match="keys"):
        load_settings({"api_key_file": str(keys)}, {})


def test_keys_are_never_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = "sk-very-secret"
    settings = load_settings({"api_key": [secret]}, {})
    with caplog.at_level(logging.DEBUG):
        logging.getLogger().info("%s %r %s", settings, settings, settings.describe())
    assert secret not in caplog.text
    assert settings.describe()["api_key"] == "1 hidden"
    bad = "very secret"
    keys = tmp_path / "keys"
    keys.write_text(bad)
    for flags, environment in (
        ({"api_key": [bad]}, {}),
        ({}, {"ABRUZZI_API_KEY": bad}),
        ({"api_key_file": str(keys)}, {}),
    ):
        with pytest.raises(ConfigError) as caught:
            load_settings(flags, environment)
        assert bad not in str(caught.value)


def test_the_engine_gets_its_share() -> None:
    settings = load_settings({"max_running": "3", "kv_cache_memory": "1MiB", "prefix_caching": False}, {})
    config = settings.engine_config(Path("/models/k2"))
    assert (config.model_path, config.max_running, config.kv_cache_memory) == ("/models/k2", 3, 2**20)
    assert not config.prefix_caching


def test_settings_and_engine_agree() -> None:
    """Every field of the engine's configuration is a setting, with the same default."""
    ours = {field.name: field.default for field in dataclasses.fields(Settings)}
    theirs = EngineConfig(model_path="")
    for name in EngineConfig.__struct_fields__:
        if name != "model_path":
            assert ours[name] == getattr(theirs, name), name


def test_unknown_variables_are_reported() -> None:
    environment = {"ABRUZZI_PORT": "1", "ABRUZZI_CONFIG": "x", "ABRUZZI_PROT": "1", "OTHER": "1"}
    assert unknown_variables(environment) == ["ABRUZZI_PROT"]


@pytest.mark.parametrize(
    "text", ["NONE", "sqlite:///a.db", "sqlite:////a/b.db", "postgresql://u:p@h:5/d?sslmode=require"]
)
def test_stores(text: str) -> None:
    assert STORE.parse(text) in (text, "none")


@pytest.mark.parametrize(
    "text", ["", "sqlite:///", "sqlite:///:memory:", "mysql://h/d", "postgresql://u:p@h", "a.db", 7]
)
def test_what_is_no_store(text: object) -> None:
    with pytest.raises(ConfigError, match="give none, sqlite:///PATH or postgresql"):
        load_settings({"store": text}, {})


def test_the_password_of_a_store_is_not_shown() -> None:
    settings = load_settings({"store": "postgresql://me:secret@here/db"}, {})
    assert "secret" not in f"{settings} {settings.describe()}"
    with pytest.raises(ConfigError) as caught:
        load_settings({"store": "postgresql:/me:secret@here"}, {})
    assert "secret" not in str(caught.value)


def test_a_switch_is_the_only_kind_without_a_metavar() -> None:
    assert {known.kind for known in OPTIONS if not known.kind.metavar} == {SWITCH}
