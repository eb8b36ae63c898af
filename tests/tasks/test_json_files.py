"""Reading JSON and text: what comes back, and what is said of what is wrong."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInput
from harness.tasks.datasets.faults import Faults, Faulty, lines_of
from harness.tasks.datasets.json_files import (
    is_number,
    number_of,
    parse_json,
    read_json,
    read_json_lines,
    read_lines,
    read_text,
)

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def said(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_json(path, "mend it")
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


@given(plain)
def test_json_comes_back_as_it_was(value: object) -> None:
    assert parse_json(json.dumps(value), "here", "mend it") == value


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"a": 1, "b": [{"c": 1, "c": 2}]}', "the key 'c' is there twice in one object"),
        (b'{"line\\nfeed": 1, "line\\nfeed": 1}', "the key 'line\\nfeed' is there twice"),
        (b'{"a": 1', "this is not JSON (Expecting ',' delimiter: line 1 column 8 (char 7)); mend"),
        (b"", "this is not JSON"),
        (b"[" * 100_000, "this is not JSON"),
        (b"1" * 10_000, "this is not JSON"),
        (b'{"a\xff": 1}', "byte 3 is not UTF-8; mend it"),
    ],
)
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert complaint in said(path)
    assert gc.isenabled()


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "there is no such file; mend it" in said(tmp_path / "absent.json")
    assert "the file cannot be read" in said(tmp_path)


def test_the_search_for_cycles_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]", encoding="utf-8")
    gc.disable()
    try:
        read_json(tmp_path / "a.json", "")
        assert not gc.isenabled()
    finally:
        gc.enable()
    read_json(tmp_path / "a.json", "")
    assert gc.isenabled()


def test_a_byte_order_mark_is_passed_over_and_only_line_feeds_end_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('\ufeff{"a": "x\u2028y"}\r\n\n{"a": 2}'.encode())
    assert read_lines(path, "") == ['{"a": "x\u2028y"}', "", '{"a": 2}']
    assert read_text(path, "").startswith('{"a"')
    lines = list(read_json_lines(path, ""))
    assert lines == [(f"{path}: line 1", {"a": "x\u2028y"}), (f"{path}: line 3", {"a": 2})]


def test_numbers_are_finite_and_of_usual_size() -> None:
    for value in (float("nan"), float("inf"), 10**400, True, "1", None):
        assert not is_number(value)
        with pytest.raises(BadInput, match="here has no number 'a'; mend it"):
            number_of({"a": value}, "a", "here", "mend it")
    assert number_of({"a": 3}, "a", "here", "mend it") == 3.0


def test_faults_are_told_a_line_a_kind_with_the_first_place() -> None:
    faults = Faults(Path("a.json"), "mend it")
    faults.check()
    for place in range(1002):
        faults.add(f"line {place}", "is odd")
    faults.add("line 7", "is even")
    with pytest.raises(Faulty) as caught:
        faults.check()
    lines = ("a.json: line 0 is odd (and 1,001 more); mend it", "a.json: line 7 is even; mend it")
    assert lines_of(caught.value) == lines
    assert str(caught.value) == lines[0]
    assert lines_of(BadInput("one")) == ("one",)
