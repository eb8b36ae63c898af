"""`harness eval --task all`: every embedded task in one table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from harness.registry import embedded_tasks, find_task

Cli = Callable[..., CompletedProcess[str]]
FORMS = [
    "captioning/toybox",
    "retrieval/toybox",
    "spatial-localization/toybox",
    "temporal-localization/toybox",
    "video-captioning/toybox",
    "video-retrieval/toybox",
    "vqa/toybox",
    "vqa/toybox-vcr",
]


@pytest.fixture(autouse=True)
def few_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toybox with few pictures and clips, and no METEOR, whose program takes seconds to start."""
    from harness.tasks.datasets.toybox.clips import CLIPS
    from harness.tasks.datasets.toybox.scenes import PICTURES

    for sizes in (PICTURES, CLIPS):
        for split, size in {"train": 60, "val": 10, "test": 30, "test-comp": 10}.items():
            monkeypatch.setitem(sizes, split, size)
    monkeypatch.setattr("harness.tasks.captioning.meteor_reason", lambda: "not in this test")


def evaluate_all(cli: Cli, model: str, *more: object, code: int = 0) -> Any:
    done = cli("eval", "--task", "all", "--model", model, *more, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_the_eight_forms_are_embedded() -> None:
    assert sorted(embedded_tasks()) == FORMS


@pytest.mark.parametrize("model", ["chance", "prior"])
def test_every_embedded_task_is_a_line_of_one_table(cli: Cli, model: str) -> None:
    done = cli("eval", "--task", "all", "--model", model)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    headings = next(place for place, line in enumerate(lines) if "95% interval" in line)
    assert lines[headings].split()[:2] == [model, "metric"]
    rows = lines[headings + 1 : headings + 1 + len(FORMS)]
    for form, row in zip(FORMS, rows, strict=True):
        assert row.split()[0] == form
        assert find_task(form)[0].metrics[0] in row
    runs = [line.split()[1] for line in lines if line.startswith("  run  ")]
    assert len(runs) == len(FORMS)
    assert all(Path(run, "run.json").is_file() for run in runs)


def test_the_oracle_is_at_the_ceiling_of_every_task_that_has_one(cli: Cli) -> None:
    for run in evaluate_all(cli, "oracle")["runs"]:
        value = run["metrics"][run["primary"]]
        best = value["range"][1] if run["primary"] != "CIDEr" else None
        assert best is None or value["value"] == pytest.approx(best), run["task"]
        assert run["coverage"]["scored"] == run["coverage"]["samples"] == run["data"]["n"]


def test_json_holds_every_run_and_its_folder(cli: Cli) -> None:
    content = evaluate_all(cli, "chance", "--limit", 8)
    assert content["reasons"] == {}
    found = [f"{run['task']}/{run['data']['dataset']}" for run in content["runs"]]
    assert found == FORMS
    for run in content["runs"]:
        assert run["data"]["n"] == 8
        written = json.loads(Path(run["run"], "run.json").read_text())
        assert written == {key: value for key, value in run.items() if key != "run"}


def test_what_a_model_cannot_do_is_named(cli: Cli, answerer_plugin: Callable[[str], None]) -> None:
    answerer_plugin("return [Answer('yes') for _ in questions]")
    arguments = ("--limit", 5, "--controls", "none")
    content = evaluate_all(cli, "fake", *arguments)
    assert [f"{run['task']}/{run['data']['dataset']}" for run in content["runs"]] == ["vqa/toybox"]
    assert content["cannot"] == [f for f in FORMS if f != "vqa/toybox"]
    table = cli("eval", "--task", "all", "--model", "fake", *arguments).stdout
    assert "cannot do: captioning/toybox, retrieval/toybox" in table


def test_controls_that_are_not_beaten_and_samples_not_scored_are_named_there(
    cli: Cli, answerer_plugin: Callable[[str], None]
) -> None:
    answerer_plugin("return [Answer(q.text and 'yes') for q in questions]")
    arguments = ("eval", "--task", "all", "--model", "fake", "--limit", 20, "--no-floors")
    shown = cli(*arguments, "--device", "cpu").stdout
    for control in ("shuffled", "blind"):
        line = f"vqa/toybox: warning: the model does not beat {control}"
        assert line in shown
    assert "count as wrong" not in shown


def test_a_task_that_fails_is_named_and_the_others_stand(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.errors import BadInput

    def fail(root: Path | None, split: str) -> None:
        raise BadInput("no captions today; come back")

    monkeypatch.setattr("harness.tasks.datasets.toybox.captions.load", fail)
    done = cli("eval", "--task", "all", "--model", "chance", "--limit", 5)
    assert "captioning/toybox: no captions today; come back" in done.stdout
    assert sum(line.startswith("  run  ") for line in done.stdout.splitlines()) == len(FORMS) - 1


def test_a_task_that_fails_is_seen_in_the_exit_code(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.errors import BadInput

    def fail(root: Path | None, split: str) -> None:
        raise BadInput("no captions today; come back")

    monkeypatch.setattr("harness.tasks.datasets.toybox.captions.load", fail)
    assert cli("eval", "--task", "all", "--model", "chance", "--limit", 5).returncode != 0


def test_a_split_that_no_task_has_is_seen_in_the_exit_code(cli: Cli) -> None:
    done = cli("eval", "--task", "all", "--model", "chance", "--split", "tset")
    assert "test-comp" in done.stdout + done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "chance", "--data-dir", "."), "name one for that option"),
        (("--model", "chance", "--prior-from", "x.json"), "name one for that option"),
        (("--model", "chance", "--rule", "moments=tall"), "name one for that option"),
        (("--model", "chance", "--tokenizer", "java"), "name one for that option"),
        (("--model", "chanse"), "did you mean chance?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options_that_fit_no_task_get_one_line(
    cli: Cli, options: tuple[str, ...], said: str
) -> None:
    done = cli("eval", "--task", "all", *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr


def test_a_model_that_can_do_no_embedded_task_gets_one_line(
    cli: Cli, plugin: Callable[..., None]
) -> None:
    plugin(
        "taggers",
        "from harness.specs import ModelSpec\nSPEC = ModelSpec('tagger', 'tags', ('tag',), 'x:y')",
        {"harness.models": {"tagger": "taggers:SPEC"}},
    )
    done = cli("eval", "--task", "all", "--model", "tagger")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "tagger can do no embedded task" in done.stderr
