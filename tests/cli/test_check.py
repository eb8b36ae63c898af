"""`harness check` through the command line: a planted regression caught, noise passed, every exit
code, the files it writes, references made."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from xml.etree import ElementTree

import pytest

from harness.types import Json, Sample

Cli = Callable[..., CompletedProcess[str]]
SaveRun = Callable[..., Path]
Right = Callable[[Sample], Json]
WRONG = {"answer": "nothing of the kind"}


@pytest.fixture
def reference(cli: Cli, saved_run: SaveRun, right: Right) -> Path:
    """The run of a model that is wrong in every tenth question, and the reference made of it."""
    run = saved_run("first", lambda n, sample: WRONG if n % 10 == 0 else right(sample))
    assert cli("check", run, "--against", "reference", "--update").returncode == 0
    return run


def checked(cli: Cli, *arguments: object, code: int) -> dict[str, Any]:
    """The only check's entry in what --json prints."""
    done = cli("check", *arguments, "--against", "reference", "--json")
    assert done.returncode == code, (done.stdout, done.stderr)
    content: dict[str, Any] = json.loads(done.stdout)
    assert content["exit_code"] == code
    (one,) = content["checks"]
    return {**one, "warnings": content["warnings"]}


def line_of(done: CompletedProcess[str]) -> str:
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


# ---------------------------------------------------------------- regressions and noise


@pytest.mark.usefixtures("reference")
def test_a_shuffled_answer_vocabulary_is_caught(cli: Cli, saved_run: SaveRun, right: Right) -> None:
    def shuffled(number: int, sample: Sample) -> Json:
        answer = right(sample)["answer"]
        words = ["yes", "no", "red", "blue", "circle"]
        dealt = dict(zip(words, random.Random(1).sample(words, len(words)), strict=True))
        return {"answer": dealt.get(answer, answer)}

    one = checked(cli, saved_run("new", shuffled), code=1)
    assert one["verdict"] == "dropped"
    assert one["p_holm"] < 0.001
    assert one["worse"] > 100
    assert "really dropped" in one["reasons"][0]


@pytest.mark.usefixtures("reference")
def test_as_many_samples_flipped_equally_both_ways_pass(
    cli: Cli, saved_run: SaveRun, right: Right
) -> None:
    noisy = saved_run("new", lambda n, sample: WRONG if n % 10 == 5 else right(sample))
    one = checked(cli, noisy, code=0)
    assert one["verdict"] == "passed"
    assert (one["better"], one["worse"]) == (60, 60)
    assert one["p"] > 0.2


@pytest.mark.usefixtures("reference")
def test_a_gain_passes(cli: Cli, saved_run: SaveRun, right: Right) -> None:
    one = checked(cli, saved_run("new", lambda n, sample: right(sample)), code=0)
    assert one["difference"] > 0
    assert one["p"] == 1


@pytest.mark.usefixtures("reference")
def test_a_small_drop_fails_by_the_absolute_bound_alone(
    cli: Cli, saved_run: SaveRun, right: Right
) -> None:
    def slightly(number: int, sample: Sample) -> Json:
        return WRONG if number % 10 == 0 or number in (1, 2) else right(sample)

    new = saved_run("new", slightly)
    assert checked(cli, new, code=0)["p"] > 0.05
    assert checked(cli, new, "--max-drop", "2", code=0)["verdict"] == "passed"
    one = checked(cli, new, "--max-drop", "0.1", code=1)
    assert "more than 0.1" in one["reasons"][0]
    assert "--max-drop" in line_of(cli("check", new, "--max-drop", "-1"))


def test_a_drop_is_corrected_over_all_checks(
    cli: Cli, saved_run: SaveRun, right: Right, tmp_path: Path
) -> None:
    """p of about .03 fails alone and passes among five."""
    names = ("a", "b", "c", "d", "e")
    for name in names:
        saved_run(f"old/{name}", lambda n, sample: right(sample), model=name)
        drops = range(0, 25, 5) if name == "a" else ()
        saved_run(
            f"new/{name}",
            lambda n, sample, drops=drops: WRONG if n in drops else right(sample),
            model=name,
        )
    assert cli("check", "old", "--against", "reference", "--update").returncode == 0
    assert checked(cli, tmp_path / "new/a", code=1)["p"] < 0.05
    done = cli("check", "new", "--against", "reference", "--json")
    assert done.returncode == 0, done.stdout
    first = json.loads(done.stdout)["checks"][0]
    assert first["p_holm"] == pytest.approx(5 * first["p"])


@pytest.mark.usefixtures("reference")
def test_the_order_of_samples_changes_nothing(cli: Cli, saved_run: SaveRun, right: Right) -> None:
    def predict(number: int, sample: Sample) -> Json:
        return WRONG if number % 9 == 0 else right(sample)

    one = checked(cli, saved_run("new", predict), code=0)
    other = checked(cli, saved_run("back", predict, backwards=True), code=0)
    assert {**one, "run": ""} == {**other, "run": ""}


@pytest.mark.usefixtures("reference")
def test_invalid_answers_count_as_wrong(cli: Cli, saved_run: SaveRun, right: Right) -> None:
    """The worst case: a run below full coverage is no better for what it left out."""
    new = saved_run("new", lambda n, s: {"answer": 7} if n % 10 in (0, 1) else right(s))
    entry = json.loads((new / "run.json").read_text())["metrics"]["accuracy"]
    assert entry["bounds"][0] == entry["value"]
    assert entry["bounds"][1] > entry["value"] + 0.15
    one = checked(cli, new, code=1)
    assert one["after"] == entry["bounds"][0]


# ---------------------------------------------------------------- checks that cannot be made


@pytest.mark.usefixtures("reference")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"limit": 300}, "n: 600 | 300"),
        ({"split": "test-comp"}, "split: test | test-comp"),
        ({"dtype": "float16"}, "dtype: float32 | float16"),
    ],
    ids=str,
)
def test_a_run_of_other_samples_or_signature_ends_with_3(
    cli: Cli, saved_run: SaveRun, right: Right, change: dict[str, Any], field: str
) -> None:
    new = saved_run("new", lambda n, sample: right(sample), **change)
    one = checked(cli, new, code=3)
    assert one["verdict"] == "not comparable"
    assert field in one["reasons"]
    assert field in cli("check", new, "--against", "reference").stdout


@pytest.mark.usefixtures("reference")
def test_an_incomplete_run_ends_with_4_however_good(
    cli: Cli, saved_run: SaveRun, right: Right
) -> None:
    new = saved_run("new", lambda n, sample: None if n == 0 else right(sample))
    one = checked(cli, new, code=4)
    assert one["verdict"] == "incomplete"
    assert one["difference"] > 0
    started = saved_run("started", lambda n, sample: right(sample), status="started")
    (started / "rows.parquet").unlink()
    assert checked(cli, started, code=4)["metric"] is None


@pytest.mark.usefixtures("reference")
def test_a_run_without_a_reference_ends_with_2(cli: Cli, saved_run: SaveRun, right: Right) -> None:
    new = saved_run("new", lambda n, sample: right(sample), model="another")
    one = checked(cli, new, code=2)
    assert one["verdict"] == "no reference"
    assert "no reference of vqa/toybox another" in one["reasons"][0]


def test_a_reference_without_a_run_is_a_warning_and_fails_with_all(
    cli: Cli, reference: Path, saved_run: SaveRun, right: Right
) -> None:
    other = saved_run("other", lambda n, sample: right(sample), model="another")
    assert cli("check", other, "--against", "reference", "--update").returncode == 0
    one = checked(cli, reference, code=0)
    assert any(
        "no run for the reference reference/vqa--toybox/another" in w for w in one["warnings"]
    )
    assert "warning: no run for" in cli("check", reference, "--against", "reference").stdout
    checked(cli, reference, "--all", "--junit", "j.xml", code=1)
    assert "there is no run for this reference" in Path("j.xml").read_text()


def test_an_absent_or_empty_baseline_ends_with_2(cli: Cli, reference: Path) -> None:
    assert "gone" in line_of(cli("check", reference, "--against", "gone"))
    assert "reports/reference" in line_of(cli("check", reference))
    Path("empty").mkdir()
    assert "holds no reference" in line_of(cli("check", reference, "--against", "empty"))


@pytest.mark.parametrize("name", ["run.json", "rows.parquet"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff"], ids=str)
def test_an_unreadable_baseline_ends_with_2(
    cli: Cli, reference: Path, name: str, content: bytes | None
) -> None:
    file = Path("reference/vqa--toybox/fake/test") / name
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert "reference" in line_of(cli("check", reference, "--against", "reference"))


def test_an_incomplete_baseline_and_two_of_one_model_end_with_2(
    cli: Cli, reference: Path, saved_run: SaveRun
) -> None:
    import shutil

    folder = Path("reference/vqa--toybox/fake")
    shutil.copytree(folder / "test", folder / "again")
    assert "are both references" in line_of(cli("check", reference, "--against", "reference"))
    shutil.rmtree(folder / "again")
    file = folder / "test" / "run.json"
    file.write_text(file.read_text().replace('"complete"', '"failed"', 1))
    assert "is incomplete" in line_of(cli("check", reference, "--against", "reference"))


def test_absent_and_empty_runs_end_with_2(cli: Cli, reference: Path) -> None:
    Path("empty").mkdir()
    assert "gone" in line_of(cli("check", "gone", "--against", "reference"))
    assert "no run in this folder" in line_of(cli("check", "empty", "--against", "reference"))
    assert "RUNS" in line_of(cli("check"))


# ---------------------------------------------------------------- what it writes


def test_junit_summary_and_flipped_samples_are_written(
    cli: Cli,
    reference: Path,
    saved_run: SaveRun,
    right: Right,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    (tmp_path / "step.md").write_text("before\n")
    saved_run("new/bad", lambda n, s: WRONG if n % 10 in (0, 1) else right(s))
    saved_run("new/odd", lambda n, sample: right(sample), model="odd|<one>")
    files = ("--junit", "out/j.xml", "--summary", "out/s.md", "--flipped", "out/f.jsonl")
    assert cli("check", "new", "--against", "reference", *files).returncode == 1
    suite = ElementTree.parse("out/j.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "1")
    assert suite.find("testcase/failure") is not None
    summary = Path("out/s.md").read_text()
    assert "harness check: not passed" in summary
    assert "| vqa/toybox test | fake | dropped | accuracy " in summary
    assert r"odd\|&lt;one>" in summary
    assert Path("step.md").read_text() == "before\n" + summary
    lines = [json.loads(line) for line in Path("out/f.jsonl").read_text().splitlines()]
    assert len(lines) == 60
    assert {line["change"] for line in lines} == {"worse"}


def test_the_newest_of_several_runs_is_checked_and_the_rest_named(
    cli: Cli, reference: Path, saved_run: SaveRun, right: Right
) -> None:
    saved_run("new/1", lambda n, sample: WRONG)
    late = {"started_at": "2025-01-01T00:00:00Z"}
    saved_run("new/0", lambda n, sample: right(sample), **late)
    one = checked(cli, "new", code=0)
    assert one["run"] == "new/0"
    assert one["warnings"] == ["new/1: left out, new/0 is newer"]


def test_update_shows_the_change_and_then_makes_it_the_reference(
    cli: Cli, reference: Path, saved_run: SaveRun, right: Right
) -> None:
    new = saved_run("new", lambda n, s: WRONG if n % 10 in (0, 1) else right(s))
    assert checked(cli, new, code=1)["verdict"] == "dropped"
    done = cli("check", new, "--against", "reference", "--update")
    assert done.returncode == 0
    assert "dropped" in done.stdout
    assert "wrote 1 reference to reference" in done.stdout
    assert checked(cli, new, code=0)["difference"] == 0


def test_update_leaves_incomplete_runs_out(
    cli: Cli, reference: Path, saved_run: SaveRun, right: Right
) -> None:
    before = Path("reference/vqa--toybox/fake/test/run.json").read_text()
    new = saved_run("new", lambda n, sample: None if n == 0 else right(sample))
    done = cli("check", new, "--against", "reference", "--update")
    assert done.returncode == 4
    assert "left out" in done.stderr
    assert Path("reference/vqa--toybox/fake/test/run.json").read_text() == before


def test_a_reference_names_no_path_of_the_machine_it_was_made_on(
    cli: Cli, reference: Path, tmp_path: Path
) -> None:
    assert str(tmp_path) in (reference / "run.json").read_text()
    assert str(tmp_path) not in Path("reference/vqa--toybox/fake/test/run.json").read_text()


@pytest.mark.usefixtures("reference")
@pytest.mark.parametrize("name", ["run.json", "rows.parquet"])
def test_an_unreadable_run_ends_with_2(
    cli: Cli, saved_run: SaveRun, right: Right, name: str
) -> None:
    new = saved_run("new", lambda n, sample: right(sample))
    (new / name).write_bytes(b"{")
    assert str(new / name) in line_of(cli("check", new, "--against", "reference"))
    if name == "rows.parquet":
        assert "rows.parquet" in line_of(cli("check", new, "--against", "r", "--update"))


# ---------------------------------------------------------------- reports of checks not made

FILES = ("--junit", "out/j.xml", "--summary", "out/s.md", "--flipped", "out/f.jsonl")


@pytest.fixture
def stale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Reports of an earlier check that passed, where the next will write its own."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "j.xml").write_text('<testsuite tests="1" failures="0" errors="0"/>')
    (folder / "s.md").write_text("passed")
    (folder / "f.jsonl").write_text("{}\n")


def reported_error() -> str:
    """The message of the only test case of the JUnit file, an error; the other reports agree."""
    suite = ElementTree.parse("out/j.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "0", "1")
    message = suite.find("testcase/error").get("message")  # type: ignore[union-attr]
    assert message
    assert message in Path("out/s.md").read_text()
    assert "passed" not in Path("out/s.md").read_text()
    assert Path("out/f.jsonl").read_text() == ""
    return message


@pytest.mark.usefixtures("stale")
def test_an_absent_or_empty_baseline_is_reported_too(cli: Cli, reference: Path) -> None:
    Path("empty").mkdir()
    for folder, said in (("gone", "no such folder"), ("empty", "holds no reference")):
        line_of(cli("check", reference, "--against", folder, *FILES))
        assert said in reported_error()
        assert said in Path("step.md").read_text()
    done = cli("check", reference, "--against", "gone", *FILES, "--json")
    content = json.loads(done.stdout)
    assert done.returncode == content["exit_code"] == 2
    assert content["checks"] == []
    assert "no such folder" in content["error"]


@pytest.mark.usefixtures("stale")
@pytest.mark.parametrize("name", ["run.json", "rows.parquet"])
@pytest.mark.parametrize("which", ["reference/vqa--toybox/fake/test", "first"])
def test_an_unreadable_baseline_or_run_is_reported_too(
    cli: Cli, reference: Path, which: str, name: str
) -> None:
    file = Path(which) / name
    file.write_bytes(b"\xff")
    line_of(cli("check", reference, "--against", "reference", *FILES))
    assert str(file) in reported_error()


@pytest.mark.usefixtures("stale")
def test_an_absent_run_is_reported_too(cli: Cli, reference: Path) -> None:
    line_of(cli("check", "no-run", "--against", "reference", *FILES))
    assert "no-run" in reported_error()


@pytest.mark.usefixtures("stale")
@pytest.mark.parametrize("end", [KeyboardInterrupt, ZeroDivisionError])
def test_a_check_that_is_stopped_leaves_no_reports_of_another(
    cli: Cli, reference: Path, monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
) -> None:
    def stopped(*given: object, **named: object) -> None:
        raise end

    monkeypatch.setattr("harness.check.check", stopped)
    assert cli("check", reference, "--against", "reference", *FILES).returncode not in (0, 1)
    assert "stopped before it ended" in reported_error()


def test_reports_that_cannot_be_written_end_with_2(cli: Cli, reference: Path) -> None:
    Path("file").write_text("")
    for option in ("--junit", "--summary", "--flipped"):
        done = cli("check", reference, "--against", "reference", option, "file/below")
        assert "file/below: cannot be written" in line_of(done)
