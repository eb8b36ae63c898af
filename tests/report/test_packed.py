"""Data as scripts: columns come back as they were, and no text gets out of its quotes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.packed import (
    CHUNK,
    ChunkWriter,
    as_json,
    as_script,
    fitted,
    names,
    numbers,
    small_numbers,
)
from harness.types import Json


def codes(column: Json) -> Any:
    kind = "u1" if column["bits"] == 8 else "<u2"
    return np.frombuffer(base64.b64decode(column["codes"]), dtype=kind)


def test_few_numbers_come_back_exactly() -> None:
    given = np.array([0.3, np.nan, 1.0, 0.3, 0.0])
    column = numbers(given)
    values = np.array([np.nan, *column["values"]])[codes(column)]
    np.testing.assert_array_equal(values, given)
    assert column["bits"] == 8


def test_many_numbers_come_back_within_half_a_step_and_in_order() -> None:
    given = np.random.default_rng(0).normal(size=5000)
    given[7] = np.nan
    column = numbers(given)
    step = (column["high"] - column["low"]) / 65533
    values = np.where(codes(column) == 0, np.nan, column["low"] + (codes(column) - 1.0) * step)
    np.testing.assert_allclose(values, given, atol=step / 2 * 1.001)
    assert (np.diff(codes(column)[np.argsort(given)][:-1].astype(int)) >= 0).all()


def test_names_come_in_the_order_of_numbers_and_letters() -> None:
    column = names(["10", "9", None, "b", "a"], 500)
    assert column is not None
    assert column["values"] == ["9", "10", "a", "b"]
    assert codes(column).tolist() == [2, 1, 0, 4, 3]
    assert names([str(number) for number in range(501)], 500) is None


def test_a_column_of_nothing_but_zeros_is_left_out() -> None:
    assert small_numbers(np.zeros(5, dtype=np.uint8)) is None
    assert small_numbers(np.array([0, 300], dtype=np.uint16)) is not None


@given(st.text())
def test_any_text_comes_back_and_is_ascii_without_a_tag(text: str) -> None:
    script = as_json({"text": text})
    assert script.isascii()
    assert "<" not in script
    assert json.loads(script) == {"text": text}


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), [1.0, {"a": float("-inf")}]])
def test_numbers_that_json_lacks_are_null(odd: Any) -> None:
    assert "null" in as_json(odd)


def test_a_script_is_a_call() -> None:
    assert as_script("said", "k", 3, [1]) == 'explorer.said("k", 3, [1]);\n'


@given(st.text(max_size=300), st.integers(min_value=0, max_value=500))
def test_a_text_is_cut_to_so_many_bytes_and_no_more(text: str, most: int) -> None:
    begun, left = fitted(text, most)
    assert text.startswith(begun)
    assert len(begun) + left == len(text)
    if begun:
        assert len(as_json(begun)) <= max(most, 12 * len(begun))
    if left:
        assert len(as_json(text[: len(begun) + 1])) > most


def test_chunks_are_small_and_say_where_they_start(tmp_path: Path) -> None:
    writer = ChunkWriter(tmp_path, "said", "k", 400)
    given = ["x" * size for size in (10, 10, 390, 10, 1000, *[5] * 60)]
    for entry in given:
        writer.add(entry)
    starts = writer.close()
    found: list[str] = []
    for number, start in enumerate(starts):
        text = (tmp_path / f"{number}.js").read_text(encoding="ascii")
        entries = json.loads(text[text.index(", [") + 2 : text.rindex(")")])
        assert len(found) == start
        assert len(entries) <= CHUNK
        assert len(text) <= 460 or len(entries) == 1
        found += entries
    assert found == given
