"""Result files in every accepted form, and what is refused or kept for scoring to count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInput
from harness.metrics.moment import parse_moments
from harness.tasks.datasets.moment_results import _ranked, read_moment_results
from harness.types import Json


def read(tmp_path: Path, content: object, name: str = "r.json") -> dict[str, Json]:
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_moment_results(tmp_path / name)


def message_of(tmp_path: Path, content: object, name: str = "r.json") -> str:
    with pytest.raises(BadInput) as caught:
        read(tmp_path, content, name)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    return str(caught.value)


def test_an_object_of_ids(tmp_path: Path) -> None:
    assert read(tmp_path, {"b-1": [[1, 2.5], [0, 4]], "a": [[3, 4]]}) == {
        "b-1": {"moments": [[1, 2.5], [0, 4]]},
        "a": {"moments": [[3, 4]]},
    }


@pytest.mark.parametrize("id_key", ["id", "annotation_id", "qid"])
@pytest.mark.parametrize("key", ["moments", "pred_relevant_windows", "timestamps", "times"])
def test_a_list_of_records_and_lines_of_records(tmp_path: Path, id_key: str, key: str) -> None:
    records = [{id_key: 7, key: [[0, 1]], "query": "q"}, {id_key: "8", key: [[2, 3, 0.5]]}]
    expected = {"7": {"moments": [[0, 1]]}, "8": {"moments": [[2, 3]]}}
    assert read(tmp_path, records) == expected
    lines = "\n".join(map(json.dumps, records)) + "\n"
    assert read(tmp_path, lines, "r.jsonl") == expected


def test_scores_put_the_best_first_and_ties_stay_in_order(tmp_path: Path) -> None:
    moments = [[0, 1, 0.2], [2, 3, 0.9], [4, 5, 0.2], [6, 7, 1]]
    assert read(tmp_path, {"a": moments})["a"]["moments"] == [[6, 7], [2, 3], [0, 1], [4, 5]]


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.floats(-1, 1)).map(list), min_size=1
    )
)
def test_ranking_keeps_every_moment(moments: list[list[float]]) -> None:
    ranked = _ranked(moments)
    assert sorted(ranked) == sorted(moment[:2] for moment in moments)
    best = max(moment[2] for moment in moments)
    assert ranked[0] in [moment[:2] for moment in moments if moment[2] == best]


@pytest.mark.parametrize(
    "moments",
    [
        [[0, 1, 0.5], [2, 3]],
        [[0, 1, "high"]],
        [[0, 1, None]],
        [[0, 1, True]],
        [[0, 1, 2, 3]],
        [[5, 1]],
        [["a", 1]],
        [1, 2],
        [],
        None,
        "0-3",
        {"start": 1},
        [{"start": 1, "end": 2}],
    ],
)
def test_bad_moments_are_kept_as_they_are_and_invalid_to_the_scorer(
    tmp_path: Path, moments: object
) -> None:
    prediction = read(tmp_path, {"a": moments, "b": [[0, 1]]})["a"]
    assert prediction == {"moments": moments}
    assert isinstance(parse_moments(prediction["moments"]), str)


def test_a_score_that_is_not_finite_is_kept_for_the_scorer_to_refuse(tmp_path: Path) -> None:
    prediction = read(tmp_path, '{"a": [[0, 1, NaN], [2, 3, 0.5]]}')["a"]
    assert isinstance(parse_moments(prediction["moments"]), str)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"a": [[0, 1]], "a": [[2, 3]]}', "the key 'a' is there twice in one object"),
        ([{"id": 1, "times": []}, {"qid": "1", "times": []}], "record 1: id '1' is there twice"),
        ('[{"id": 1, "id": 2, "times": []}]', "the key 'id' is there twice in one object"),
        ([{"times": []}], "record 0 has no id; give it one of the keys id, annotation_id, qid"),
        ([{"id": None, "times": []}], "record 0: 'id' is no number or text"),
        ([{"id": True, "times": []}], "record 0: 'id' is no number or text"),
        ([{"id": 3, "answer": []}], "record 0 (id 3) has no moments"),
        ([3], "record 0 is not an object"),
        ([], "there is no prediction"),
        ({}, "there is no prediction"),
        ("3", "neither a JSON object nor a list"),
        ('{"a": }', "line 1 column 7"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: object, complaint: str) -> None:
    assert complaint in message_of(tmp_path, content)


def test_lines_are_named_by_their_number(tmp_path: Path) -> None:
    good = '{"id": 1, "times": [[0, 1]]}'
    assert "line 2: this is not JSON" in message_of(tmp_path, f"{good}\n{{\n", "r.jsonl")
    assert "line 3: id '1' is there twice" in message_of(tmp_path, f"{good}\n\n{good}", "r.jsonl")


def test_a_missing_file_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"r\.json: there is no such file"):
        read_moment_results(tmp_path / "r.json")
    (tmp_path / "r.json").write_bytes(b'{"a\xff": []}')
    with pytest.raises(BadInput, match="byte 3 is not UTF-8"):
        read_moment_results(tmp_path / "r.json")
