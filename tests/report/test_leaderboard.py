"""The leaderboard: ranks that a paired test stands behind, and runs shown as what they are."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.compare import compare
from harness.errors import BadInput
from harness.report import leaderboard
from harness.report.collect import collect
from harness.report.leaderboard import Leaderboard, leaderboard_of
from harness.report.leaderboard_files import as_csv, as_json, as_markdown
from harness.report.published import published
from harness.report.ranking import rank

Write = Callable[..., Path]
Some = Callable[..., Any]


def board(*paths: Path) -> Leaderboard:
    return leaderboard_of(paths)


def test_a_rank_is_one_more_than_the_number_of_significantly_better_models(
    write_run: Write, answer_some: Some, tmp_path: Path
) -> None:
    write_run("best", answer_some(0.9), limit=300)
    write_run("second", answer_some(0.88, shift=50), limit=300)
    write_run("third", answer_some(0.5), limit=300)
    write_run("last", answer_some(0.1), limit=300)
    (task,) = board(tmp_path).tasks
    (table,) = task.tables
    found = {row.model: (row.rank, list(row.better)) for row in table.standing("ranked")}
    assert found == {
        "best": (1, []),
        "second": (1, []),  # the best is not far enough ahead
        "third": (3, ["second", "best"]),
        "last": (4, ["third", "second", "best"]),
    }


def test_ranks_are_those_of_harness_compare_with_holm_over_the_pairs_of_the_table(
    write_run: Write, answer_some: Some, tmp_path: Path
) -> None:
    a, b, c = (
        write_run(name, answer_some(s), limit=100)
        for name, s in (("a", 0.5), ("b", 0.6), ("c", 0.7))
    )
    (table,) = board(tmp_path).tasks[0].tables
    for pair in table.pairs:
        (alone,) = compare([pair.first.run.path, pair.other.run.path])
        found = pair.difference
        assert found.p == alone.primary.p
        assert found.difference == pytest.approx(alone.primary.difference)
        assert found.p_holm is not None
        assert found.p is not None
        assert found.p <= found.p_holm <= 3 * found.p
    assert {one.first.run.path for one in table.pairs} == {a, b}
    assert {one.other.run.path for one in table.pairs} == {b, c}


def test_runs_of_other_samples_or_another_signature_have_a_table_of_their_own(
    write_run: Write, answer_some: Some, tmp_path: Path
) -> None:
    write_run("a", answer_some(0.9), limit=100)
    write_run("b", answer_some(0.1), limit=100)
    write_run("fewer", answer_some(0.5), limit=60)
    write_run("half", answer_some(0.5), limit=100, dtype="float16")
    data = json.loads((tmp_path / "runs/a/run.json").read_text())["data"]
    write_run("other-data", answer_some(0.5), limit=100, data=data | {"sha256": "f" * 64})
    (task,) = board(tmp_path).tasks
    tables = {tuple(row.model for row in t.standing("ranked")): t for t in task.tables}
    assert tables["a", "b"].differs == ()
    assert next(iter(tables)) == ("a", "b")
    assert list(tables["fewer",].differs) == [f"samples: {data['n']} | 60"]
    assert list(tables["half",].differs) == ["dtype: float32 | float16"]
    assert list(tables["other-data",].differs) == [
        f"data checksum: {data['sha256'][:12]} | {'f' * 12}"
    ]


def test_failed_started_and_incomplete_runs_and_unreadable_ones_are_shown_as_what_they_are(
    write_run: Write, answer_some: Some, tmp_path: Path
) -> None:
    write_run("whole", answer_some(0.9), limit=100)
    fails = answer_some(0.9)
    write_run("fails", lambda n, sample: None if n < 5 else fails(n, sample), reason="5 failed")
    write_run("begun", answer_some(0.9), limit=100, status="started")
    missing = {"samples": 600, "scored": 590, "missing": 10, "failed": 0, "invalid": 0}
    write_run("gaps", answer_some(0.9), limit=100, coverage=missing)
    (tmp_path / "runs/torn").mkdir()
    (tmp_path / "runs/torn/run.json").write_text('{"schema": 1, "sta')
    (tmp_path / "runs/killed").mkdir()
    (tmp_path / "runs/killed/samples.jsonl").write_text("")
    found = board(tmp_path)
    (task,) = found.tasks
    (table,) = task.tables
    assert [row.model for row in table.rows] == ["whole"]
    unfinished = {row.model: (row.status, row.reason) for row in task.unfinished}
    assert unfinished == {
        "fails": ("failed", "5 failed"),
        "begun": ("started", "it was started and not finished"),
        "gaps": ("incomplete", "10 samples have no prediction"),
    }
    (fails_row,) = (row for row in task.unfinished if row.model == "fails")
    assert fails_row.bounds is not None
    assert fails_row.bounds[0] < fails_row.bounds[1]
    assert sorted(one.path.name for one in found.unreadable) == ["killed", "torn"]
    frame = leaderboard(tmp_path)
    assert len(frame) == 6
    assert set(frame["status"]) == {"complete", "failed", "started", "incomplete", "unreadable"}


def test_of_several_runs_of_one_model_the_newest_is_ranked_and_the_others_are_named(
    write_run: Write, answer_some: Some, tmp_path: Path
) -> None:
    write_run("old", answer_some(0.9), limit=100, model="m", started_at="2024-01-01T00:00:00Z")
    new = write_run(
        "new", answer_some(0.8), limit=100, model="m", started_at="2024-02-01T00:00:00Z"
    )
    weights = {"name": "m", "weights_sha256": "abcdef1234", "parameters": 5}
    path = write_run("retrained", answer_some(0.7), limit=100, model="m") / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": weights}))
    (table,) = board(tmp_path).tasks[0].tables
    assert {row.model for row in table.standing("ranked")} == {"m", "m (abcdef)"}
    (old,) = table.standing("not ranked")
    assert old.reason == f"an earlier run of this model; {new} is newer"


def test_a_run_without_readable_rows_is_left_out_with_the_reason(
    write_run: Write, answer_some: Some, tmp_path: Path
) -> None:
    write_run("good", answer_some(0.9), limit=100)
    (write_run("bad", answer_some(0.9), limit=100) / "rows.parquet").write_bytes(b"no parquet")
    (table,) = board(tmp_path).tasks[0].tables
    (left_out,) = table.standing("not ranked")
    assert left_out.model == "bad"
    assert "rows.parquet: cannot be read" in left_out.reason
    assert left_out.value is not None


def test_a_task_that_is_not_installed_is_shown_without_ranks(
    write_run: Write, answer_some: Some, tmp_path: Path
) -> None:
    path = write_run("strange", answer_some(0.9), limit=100) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"task": "telepathy"}))
    (table,) = board(tmp_path).tasks[0].tables
    (row,) = table.rows
    assert row.rank is None
    assert "unknown task 'telepathy'" in row.reason


def controls(gain: float) -> dict[str, Any]:
    ci95 = [gain - 0.1, gain + 0.1]
    entry = {"value": 0.4, "ci95": [0.3, 0.5], "n": 100, "gain": {"value": gain, "ci95": ci95}}
    return {"shuffled": {"accuracy": entry}, "blind": {"reason": "no picture could be read"}}


def test_a_model_that_does_not_beat_its_control_or_a_floor_is_warned_of(
    write_run: Write, answer_some: Some, tmp_path: Path
) -> None:
    floors = {"prior": {"accuracy": {"value": 0.5, "ci95": [0.4, 0.6], "n": 100}}}
    write_run("sees", answer_some(0.9), limit=100, controls=controls(0.5), floors=floors)
    write_run("guesses", answer_some(0.5), limit=100, controls=controls(0.05), floors=floors)
    (table,) = board(tmp_path).tasks[0].tables
    warnings = {row.model: list(row.warnings) for row in table.standing("ranked")}
    assert warnings["sees"] == []
    assert warnings["guesses"] == [
        "does not beat its control shuffled",
        "not clearly above the floor prior",
    ]
    (floor,) = table.standing("floor")
    assert (floor.model, floor.rank, floor.value) == ("prior", None, 0.5)
    assert "guesses: not clearly above the floor prior" in as_markdown(board(tmp_path), ())


def test_a_floor_that_was_run_itself_stands_once_and_has_no_rank(
    write_run: Write, answer_some: Some, tmp_path: Path
) -> None:
    floors = {"prior": {"accuracy": {"value": 0.5, "ci95": [0.4, 0.6], "n": 100}}}
    write_run("model", answer_some(0.9), limit=100, floors=floors)
    run = write_run("prior", answer_some(0.3), limit=100)
    (table,) = board(tmp_path).tasks[0].tables
    (floor,) = table.standing("floor")
    assert floor.run is not None
    assert floor.run.run.path == run
    assert [row.model for row in table.standing("ranked")] == ["model"]
    assert not table.pairs


def test_too_many_pairs_for_the_swaps_are_said_to_be(
    write_run: Write, answer_some: Some, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        write_run(name, answer_some(0.5), limit=20)
    runs = collect([tmp_path]).runs
    assert not rank(runs).notes
    monkeypatch.setattr("harness.report.ranking.SWAPS", 40)
    assert "too many" in rank(runs).notes[0]


def test_no_run_is_one_line_and_exit_2(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "absent"):
        done = cli("report", folder, "-o", "out")
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert folder in done.stderr
    assert not (tmp_path / "out").exists()
    with pytest.raises(BadInput):
        leaderboard(tmp_path)


# ---------------------------------------------------------------- forms

HOSTILE = '<script>alert(1)</script>|`x`\n# \u202e"quoted" \U0001f600'


def test_every_form_holds_the_same_rows(
    write_run: Write, answer_some: Some, tmp_path: Path
) -> None:
    path = write_run("a", answer_some(0.9), limit=100, controls=controls(0.5)) / "run.json"
    model = {"name": "a", "weights_sha256": "ab", "parameters": 1234}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": model}))
    write_run("b", answer_some(0.2), limit=100, model=HOSTILE)
    found = board(tmp_path)
    frame = leaderboard([tmp_path])
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    content = json.loads(as_json(found, published()))
    (table,) = content["tasks"][0]["tables"]
    assert list(frame["model"]) == [row["model"] for row in rows] == ["a", HOSTILE]
    assert [row["model"] for row in table["rows"]] == ["a", HOSTILE]
    assert list(frame["rank"]) == [int(row["rank"]) for row in rows] == [1, 2]
    assert [row["score"] for row in table["rows"]] == list(frame["score"])
    assert frame["shuffled_gain"][0] == 0.5
    assert frame["samples_per_second"][0] == frame["samples"][0] / 2.0
    assert frame["parameters"][0] == 1234
    (pair,) = table["pairs"]
    assert pair["p_holm"] < 0.05


def test_markdown_holds_a_models_name_as_text_in_one_cell(
    write_run: Write, answer_some: Some, tmp_path: Path
) -> None:
    write_run("b", answer_some(0.2), limit=100, model=HOSTILE)
    (line,) = (x for x in as_markdown(board(tmp_path), ()).splitlines() if "alert" in x)
    assert "<script>" not in line
    assert r"\|\`x\` \#" in line
    (heading,) = (x for x in as_markdown(board(tmp_path), ()).splitlines() if "| rank" in x)
    assert line.replace(r"\|", "").count("|") == heading.count("|")


def test_published_results_stand_apart_and_are_never_ranked(
    write_run: Write, answer_some: Some, tmp_path: Path
) -> None:
    write_run("a", answer_some(0.9), limit=100)
    found = board(tmp_path)
    text = as_markdown(found, published())
    ours, theirs = text.split("## Published results")
    assert "LXMERT" in theirs
    assert "LXMERT" not in ours
    names = {one.model for one in published()}
    assert not names & set(leaderboard(tmp_path)["model"])
    assert all(one.source and one.task and float(one.value) > 0 for one in published())
    assert len({replace(one, value="") for one in published()}) == len(published())
