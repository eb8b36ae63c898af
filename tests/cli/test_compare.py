"""`harness compare` through the command line: what it prints, writes and ends with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from harness.types import Json, Sample

Cli = Callable[..., CompletedProcess[str]]
SaveRun = Callable[..., Path]
Right = Callable[[Sample], Json]


@pytest.fixture
def wrong_at(right: Right) -> Callable[..., Callable[[int, Sample], Json]]:
    """Predictions that are wrong where number % step is in `rest`."""

    def make(step: int, *rest: int) -> Callable[[int, Sample], Json]:
        return lambda number, sample: (
            {"answer": "nothing of the kind"} if number % step in rest else right(sample)
        )

    return make


def compared(cli: Cli, *arguments: object) -> Any:
    done = cli("compare", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["comparisons"]


def lines_of(done: CompletedProcess[str], code: int) -> list[str]:
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()


# ---------------------------------------------------------------- what is found


def test_a_real_difference_is_told_with_the_samples_that_moved(
    cli: Cli, saved_run: SaveRun, wrong_at: Any, tmp_path: Path
) -> None:
    a = saved_run("a", wrong_at(10, 0, 1))
    b = saved_run("b", wrong_at(10, 1), model="better")
    done = cli("compare", a, b, "--flipped", "out/flipped.jsonl")
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert "better against fake on vqa/toybox test, 600 samples about 120 visuals" in shown
    assert "accuracy: better is better (p = 0.0001)" in shown
    assert "better 60 samples: test-00000-0 (0.0 to " in shown
    assert "worse 0 samples" in shown
    lines = [json.loads(x) for x in (tmp_path / "out/flipped.jsonl").read_text().splitlines()]
    assert len(lines) == 60
    assert {line["change"] for line in lines} == {"better"}
    assert lines[0].keys() >= {"id", "group", "before", "after", "metric", "task"}


def test_equal_noise_both_ways_is_no_difference(
    cli: Cli, saved_run: SaveRun, wrong_at: Any
) -> None:
    a, b = saved_run("a", wrong_at(10, 0)), saved_run("b", wrong_at(10, 5))
    (one,) = compared(cli, a, b)
    accuracy = one["metrics"]["accuracy"]
    assert accuracy["p"] > 0.2
    assert accuracy["ci95"][0] < 0 < accuracy["ci95"][1]
    assert one["flipped"] == {"better": 60, "worse": 60}
    assert "no difference can be told" in cli("compare", a, b).stdout


def test_invalid_answers_are_counted_beside_the_difference(
    cli: Cli, saved_run: SaveRun, right: Right
) -> None:
    a = saved_run("a", lambda number, sample: right(sample), limit=50)
    b = saved_run("b", lambda n, s: {"answer": 7} if n < 3 else right(s), limit=50)
    (one,) = compared(cli, a, b)
    assert one["notes"] == [f"{b}: 3 samples are invalid and count as wrong"]
    assert one["metrics"]["accuracy"]["difference"] < 0


def test_of_five_pictures_no_difference_could_be_told(
    cli: Cli, saved_run: SaveRun, wrong_at: Any
) -> None:
    """Five swaps have a p of 2 / 32 at the least."""
    a, b = (saved_run(name, wrong_at(4, n), limit=25) for n, name in enumerate("ab"))
    shown = cli("compare", a, b).stdout
    assert "and of so few visuals none could be" in shown
    assert shown.splitlines()[4].split()[-1] == "n/a"


def test_a_run_against_itself_differs_in_nothing(
    cli: Cli, saved_run: SaveRun, wrong_at: Any
) -> None:
    a = saved_run("a", wrong_at(10, 0))
    (one,) = compared(cli, a, a / "run.json")
    for entry in one["metrics"].values():
        assert (entry["difference"], entry["ci95"], entry["p"]) == (0.0, [0.0, 0.0], 1.0)
    # even so a test needs some eight answers of 600 to go wrong
    assert 0.01 < one["metrics"]["accuracy"]["detectable"] < 0.03


def test_the_order_in_which_samples_were_scored_changes_nothing(
    cli: Cli, saved_run: SaveRun, wrong_at: Any
) -> None:
    a = saved_run("a", wrong_at(10, 0, 3))
    b = saved_run("b", wrong_at(10, 1))
    c = saved_run("c", wrong_at(10, 1), backwards=True)
    (one,), (other,) = compared(cli, a, b), compared(cli, a, c)
    assert one["metrics"] == other["metrics"]


def test_several_runs_are_each_held_against_the_first_and_corrected_by_holm(
    cli: Cli, saved_run: SaveRun, wrong_at: Any
) -> None:
    runs = [saved_run(name, wrong_at(20, *rest)) for name, rest in (("a", [0]), ("b", [1, 2]))]
    runs.append(saved_run("c", wrong_at(20, 5)))
    found = compared(cli, *runs)
    assert [Path(one["other"]["run"]).name for one in found] == ["b", "c"]
    first, second = (one["metrics"]["accuracy"] for one in found)
    assert first["p"] < second["p"]
    assert first["p_holm"] == pytest.approx(2 * first["p"])
    assert second["p_holm"] == pytest.approx(second["p"])
    assert " Holm " in cli("compare", *runs).stdout


def test_folders_of_runs_are_compared_task_by_task(
    cli: Cli, saved_run: SaveRun, wrong_at: Any, tmp_path: Path
) -> None:
    for name, step in (("old", 4), ("new", 20)):
        saved_run(f"{name}/vqa/1", wrong_at(step, 0))
        saved_run(f"{name}/captions/1", _caption(step), task="captioning/toybox")
    found = compared(cli, tmp_path / "old", tmp_path / "new")
    assert {one["task"] for one in found} == {"vqa/toybox", "captioning/toybox"}
    captions = next(one for one in found if one["primary"] == "CIDEr")["metrics"]
    for name in ("CIDEr", "BLEU-4", "ROUGE-L"):
        assert captions[name]["difference"] > 0
        assert captions[name]["p"] < 0.05
        assert captions[name]["ci95"][0] < captions[name]["difference"] < captions[name]["ci95"][1]


def _caption(step: int) -> Callable[[int, Sample], Json]:
    def caption(number: int, sample: Sample) -> Json:
        wrong = "nothing that anybody said of any picture of this kind"
        return {"caption": wrong if number % step == 0 else sample.target.references[0]}

    return caption


def test_medians_of_ranks_are_compared_and_corpus_metrics_flip_nothing(
    cli: Cli, saved_run: SaveRun
) -> None:
    def ranked(shift: int) -> Callable[[int, Sample], Json]:
        def predict(number: int, sample: Sample) -> Json:
            texts = [[(number * k + shift) % 50, 1, 1] for k in range(sample.target.texts)]
            binding = [[1.0, 0.0]] * sample.target.foils
            return {"visual": [(number + shift) % 40, 1, 1], "texts": texts, "binding": binding}

        return predict

    a = saved_run("a", ranked(0), task="retrieval/toybox")
    b = saved_run("b", ranked(9), task="retrieval/toybox")
    (one,) = compared(cli, a, b)
    median = one["metrics"]["image-to-text median rank"]
    assert median["p"] is not None
    assert median["ci95"] is not None
    assert "binding" in one["metrics"]  # named by the samples of the data set
    assert one["notes"] == []


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"limit": 300}, "n: 600 | 300"),
        ({"split": "test-comp"}, "split: test | test-comp"),
        ({"dtype": "bfloat16"}, "dtype: float32 | bfloat16"),
        ({"task": "vqa/toybox-vcr"}, "dataset: toybox | toybox-vcr"),
    ],
    ids=lambda value: str(value),
)
def test_runs_of_other_data_or_signature_end_with_3_and_the_fields(
    cli: Cli, saved_run: SaveRun, wrong_at: Any, change: dict[str, Any], field: str
) -> None:
    a = saved_run("a", wrong_at(10, 0))
    vcr = change.get("task") == "vqa/toybox-vcr"
    predict = (lambda number, sample: {"answer": 0, "reason": 0}) if vcr else wrong_at(10, 0)
    said = lines_of(cli("compare", a, saved_run("b", predict, **change)), 3)
    assert f"harness: not comparable: {field}" in said


def test_another_checksum_ends_with_3(cli: Cli, saved_run: SaveRun, wrong_at: Any) -> None:
    a, b = saved_run("a", wrong_at(10, 0)), saved_run("b", wrong_at(10, 0))
    result = json.loads((b / "run.json").read_text())
    result["data"]["sha256"] = "0" * 64
    (b / "run.json").write_text(json.dumps(result))
    (line,) = lines_of(cli("compare", a, b), 3)
    assert line.startswith("harness: not comparable: data sha256: ")
    assert line.endswith("0" * 64)


def test_another_rule_ends_with_3_and_can_be_explained(cli: Cli, saved_run: SaveRun) -> None:
    def box(number: int, sample: Sample) -> Json:
        x1, y1, x2, y2 = sample.target.box
        half = (x1, y1, (x1 + x2) / 2, y2) if number % 4 == 0 else (x1, y1, x2, y2)
        return {"box": list(half)}

    task = "spatial-localization/toybox"
    a = saved_run("a", box, task=task)
    b = saved_run("b", box, task=task, rules={"at-half": "fails"})
    said = lines_of(cli("compare", a, b), 3)
    assert "accuracy variant: IoU>=.5,boxes=exclusive | IoU>.5,boxes=exclusive" in said[0]
    assert "--explain" in said[-1]
    done = cli("compare", a, b, "--explain", "--json")
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(done.stdout)["explanations"]
    assert one["gap"] == pytest.approx(-0.25, abs=0.03)
    found = {each["name"]: each for each in one["conventions"]}
    for name in ("default", "at-half=fails", "box-convention=mattnet"):
        assert found[name]["gap"] == 0  # the same boxes
        assert found[name]["accounts"] == pytest.approx(one["gap"])
    shown = cli("compare", a, b, "--explain").stdout
    assert "as reported" in shown
    assert "at-half=fails" in shown


def test_a_gap_in_answers_is_explained_by_how_they_are_normalised(
    cli: Cli, saved_run: SaveRun, right: Right
) -> None:
    a = saved_run("a", lambda number, sample: {"answer": right(sample)["answer"].title() + "."})
    b = saved_run("b", lambda number, sample: right(sample))
    done = cli("compare", a, b, "--explain", "--json")
    (one,) = json.loads(done.stdout)["explanations"]
    found = {each["metric"]: each for each in one["conventions"]}
    assert one["gap"] > 0.3
    assert found["accuracy-always-normalise"]["gap"] == pytest.approx(0)
    assert found["accuracy-always-normalise"]["accounts"] == pytest.approx(one["gap"])


def test_a_gap_of_a_scorer_that_gives_equal_scores_is_explained_by_the_rule_for_ties(
    cli: Cli, saved_run: SaveRun
) -> None:
    def ranked(tied: int) -> Callable[[int, Sample], Json]:
        def predict(number: int, sample: Sample) -> Json:
            of_texts = [[0, tied, 1]] * sample.target.texts
            return {"visual": [0, tied, 1], "texts": of_texts, "binding": [[1, 0]] * 5}

        return predict

    task = "retrieval/toybox"
    sharp = saved_run("sharp", ranked(1), task=task)
    coarse = saved_run("coarse", ranked(4), task=task, rules={"ties": "first"})
    said = lines_of(cli("compare", sharp, coarse), 3)
    assert any("expected over ties | right before ties" in line for line in said)
    done = cli("compare", sharp, coarse, "--explain", "--json")
    (one,) = json.loads(done.stdout)["explanations"]
    gaps = {each["name"]: each["gap"] for each in one["conventions"]}
    assert one["gap"] == 0
    assert gaps == pytest.approx({"default": -0.75, "ties=first": 0.0, "ties=last": -1.0})


def test_explaining_runs_of_other_samples_ends_with_3_and_incomplete_ones_with_4(
    cli: Cli, saved_run: SaveRun, wrong_at: Any
) -> None:
    a = saved_run("a", wrong_at(10, 0))
    other = saved_run("other", wrong_at(10, 0), limit=300)
    assert "n: 600 | 300" in lines_of(cli("compare", a, other, "--explain"), 3)[0]
    part = saved_run("part", lambda number, sample: None if number == 3 else {"answer": "yes"})
    assert "incomplete" in lines_of(cli("compare", a, part, "--explain"), 4)[0]


def test_what_no_scoring_can_change_is_named(cli: Cli, saved_run: SaveRun, wrong_at: Any) -> None:
    a = saved_run("a", wrong_at(10, 0))
    b = saved_run("b", wrong_at(10, 0), dtype="bfloat16")
    shown = cli("compare", a, b, "--explain").stdout
    assert "no scoring changes it: dtype: float32 | bfloat16" in shown


def test_an_incomplete_run_ends_with_4(cli: Cli, saved_run: SaveRun, wrong_at: Any) -> None:
    a = saved_run("a", wrong_at(10, 0))
    b = saved_run("b", lambda number, sample: None if number == 3 else {"answer": "yes"})
    c = saved_run("c", wrong_at(10, 0), status="started")
    for other in (b, c):
        (line,) = lines_of(cli("compare", a, other), 4)
        assert str(other) in line
        assert "incomplete" in line
        assert cli("compare", other, a).returncode == 4


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", None),
        ("run.json", b""),
        ("run.json", b"{}"),
        ("run.json", b"[]"),
        ("run.json", b"\xff"),
        ("run.json", b'{"schema": 99}'),
        ("rows.parquet", None),
        ("rows.parquet", b"PAR1"),
    ],
    ids=str,
)
def test_an_absent_or_unreadable_run_ends_with_2_and_its_file(
    cli: Cli, saved_run: SaveRun, wrong_at: Any, name: str, content: bytes | None
) -> None:
    a, b = saved_run("a", wrong_at(10, 0)), saved_run("b", wrong_at(10, 0))
    (b / name).unlink()
    if content is not None:
        (b / name).write_bytes(content)
    (line,) = lines_of(cli("compare", a, b), 2)
    assert str(b) in line
    (line,) = lines_of(cli("compare", b, a), 2)
    assert str(b) in line


def test_rows_of_fewer_samples_than_the_run_end_with_2(
    cli: Cli, saved_run: SaveRun, wrong_at: Any
) -> None:
    import shutil

    a, b = saved_run("a", wrong_at(10, 0)), saved_run("b", wrong_at(10, 0))
    few = saved_run("few", wrong_at(10, 0), limit=30)
    shutil.copy(few / "rows.parquet", b / "rows.parquet")
    (line,) = lines_of(cli("compare", a, b), 2)
    assert "holds 30 rows where run.json says 600 samples" in line


def test_wrong_usage_ends_with_2(cli: Cli, saved_run: SaveRun, wrong_at: Any) -> None:
    a = saved_run("a", wrong_at(10, 0), limit=20)
    assert "RUN_B" in lines_of(cli("compare", a), 2)[0]
    assert "gone" in lines_of(cli("compare", a, "gone"), 2)[0]
    assert "--explain" in lines_of(cli("compare", a, a, "--data-dir", "x"), 2)[0]
    saved_run("two/1", wrong_at(10, 0), limit=20)
    saved_run("two/2", wrong_at(10, 0), limit=20)
    assert "holds 2 runs of vqa/toybox test" in lines_of(cli("compare", a, a.parent / "two"), 2)[0]
    (a / "samples.jsonl").unlink()
    assert "samples.jsonl" in lines_of(cli("compare", a, a, "--explain"), 2)[0]


# ---------------------------------------------------------------- with the verbs that make runs


def test_runs_of_score_keep_their_rules_and_show_bounds(
    cli: Cli, saved_run: SaveRun, right: Right
) -> None:
    made = saved_run("made", lambda number, sample: right(sample))
    log = made / "samples.jsonl"
    lines = log.read_text().splitlines()
    log.write_text("\n".join(lines[60:]) + "\n")
    done = cli("score", log, "--task", "vqa", "--allow-missing", "--name", "part")
    assert done.returncode == 4
    (few,) = Path("runs").glob("*/part/*")
    entry = json.loads((few / "run.json").read_text())["metrics"]["accuracy"]
    worst, best = (f"{100 * bound:.1f}" for bound in entry["bounds"])
    assert best != worst
    assert (
        f"bounds     accuracy: {worst} if the rest is wrong, {best} if it is right" in done.stdout
    )
    assert "60 samples have no prediction" in lines_of(cli("compare", made, few), 4)[0]


def test_a_run_scored_by_a_rule_is_read_back_by_it(cli: Cli, saved_run: SaveRun) -> None:
    task = "spatial-localization/toybox"
    made = saved_run("made", lambda n, s: {"box": list(s.target.box)}, task=task)
    log = made / "samples.jsonl"
    for name in ("a", "b"):
        rule = ("--rule", "at-half=fails", "--name", name)
        assert cli("score", log, "--task", task, *rule).returncode == 0
    (a,), (b,) = (Path("runs").glob(f"*/{name}/*") for name in "ab")
    (one,) = compared(cli, a, b)
    assert one["metrics"]["accuracy"]["difference"] == 0
    assert cli("compare", made, a).returncode == 3
