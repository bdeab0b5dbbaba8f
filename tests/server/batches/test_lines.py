"""Reading the lines of a batch's file: every line is found once, whatever is in it."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.batches.lines import Line, count_lines, read_lines

URL = "/v1/x"
LIMIT = 200


def read(path: Path) -> list[Line]:
    return [line for block in read_lines(path, URL, LIMIT) for line in block]


def good(custom_id: str, /, **changes: object) -> str:
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": URL, "body": {"a": 1}, **changes})


pieces = st.one_of(
    st.just(b""),
    st.just(b"  \t "),
    st.integers(0, 5).map(lambda number: good(f"id{number}").encode()),
    st.binary(max_size=300).map(lambda data: data.replace(b"\n", b"")),
    st.text(max_size=50).map(lambda text: good(text).encode()),
    st.just(good("long", body={"a": "x" * 300}).encode()),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lines=st.lists(pieces, max_size=12), end=st.booleans())
def test_every_line_is_read_once(tmp_path: Path, lines: list[bytes], end: bool) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"\n".join(lines) + (b"\n" if end else b""))
    found = read(path)
    full = [number for number, line in enumerate(lines, 1) if line[: LIMIT + 1].strip()]
    assert [line.number for line in found] == full
    assert count_lines(path) == sum(1 for line in lines if line.strip())
    ids = [line.custom_id for line in found if line.error is None]
    assert len(ids) == len(set(ids))
    for line in found:
        assert (line.error is None) == bool(line.body)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("not json", "invalid_json_line"),
        ("[1]", "invalid_json_line"),
        ("1", "invalid_json_line"),
        ('{"custom_id": "a"', "invalid_json_line"),
        ('{"custom_id": "\\ud800"}', "invalid_json_line"),
        ("[" * 150, "invalid_json_line"),
        (good("x" * 199), "line_too_long"),
        (good(""), "invalid_custom_id"),
        (good("a", custom_id=5), "invalid_custom_id"),
        (good("a", custom_id=None), "invalid_custom_id"),
        (good("a", method="GET"), "invalid_method"),
        (good("a", method=None), "invalid_method"),
        (good("a", url="/v1/other"), "mismatched_endpoint"),
        (good("a", url=7), "mismatched_endpoint"),
        (good("a", body=None), "invalid_body"),
        (good("a", body=[1]), "invalid_body"),
        (good("a", body="text"), "invalid_body"),
        (good("a", extra=1), "unknown_parameter"),
        (good("a", body={"stream": True}), "unsupported_parameter"),
        (good("a", body={"background": True}), "unsupported_parameter"),
        ('{"custom_id":"a","method":"POST","url":"/v1/x"}', "invalid_body"),
    ],
)
def test_what_is_wrong_with_a_line(tmp_path: Path, line: str, code: str) -> None:
    path = tmp_path / "lines"
    path.write_text(f"{good('before')}\n{line}\n{good('after')}\n")
    before, wrong, after = read(path)
    assert wrong.error is not None
    assert wrong.error[0] == code
    assert before.error is after.error is None


def test_the_first_of_equal_ids_counts(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("\n".join([good("a"), good("a"), good("b", method="GET"), good("b"), good("c")]))
    assert [line.error and line.error[0] for line in read(path)] == [
        None,
        "duplicate_custom_id",
        "invalid_method",
        "duplicate_custom_id",
        None,
    ]


def test_windows_files(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"\xef\xbb\xbf" + f"{good('a')}\r\n\r\n{good('b')}\r\n".encode())
    assert [(line.number, line.custom_id, line.error) for line in read(path)] == [(1, "a", None), (3, "b", None)]


def test_neutral_switches(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text(good("a", body={"stream": False, "background": None}))
    assert json.loads(read(path)[0].body) == {"stream": False, "background": None}


def test_few_lines_are_held_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("\n".join(good(f"id{number}") for number in range(1000)))
    blocks = list(read_lines(path, URL, LIMIT))
    assert max(map(len, blocks)) <= 256
    assert sum(map(len, blocks)) == 1000
