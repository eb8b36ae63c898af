"""`harness reproduce` through the command line: the same result, another one, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from harness.reproduce import _uncommitted, same_result
from harness.types import Json, Sample

Cli = Callable[..., CompletedProcess[str]]
pytestmark = pytest.mark.usefixtures("small_toybox")


def evaluated(cli: Cli, *more: object, task: str = "vqa", model: str = "oracle") -> Path:
    done = cli("eval", "--task", task, "--model", model, "--limit", "40", "--json", *more)
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["run"])


def reproduced(cli: Cli, run: Path, *more: object, code: int = 0) -> Any:
    done = cli("reproduce", run, "--json", *more)
    assert done.returncode == code, (done.stdout, done.stderr)
    return json.loads(done.stdout)


@pytest.mark.parametrize("task", ["vqa", "spatial-localization"])
def test_the_same_request_gives_the_same_result_in_another_folder(cli: Cli, task: str) -> None:
    run = evaluated(cli, task=task)
    found = reproduced(cli, run, "-o", "elsewhere")
    assert found["same"]
    assert (found["differing"], found["changed"]) == ([], [])
    assert Path(found["again"]).parts[0] == "elsewhere"
    assert "the same result: 40 predictions" in cli("reproduce", run).stdout


def test_other_predictions_end_with_1_and_name_what_changed(cli: Cli) -> None:
    run = evaluated(cli)
    log = run / "samples.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    lines[3]["prediction"] = {"answer": "nothing of the kind"}
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = json.loads((run / "run.json").read_text())
    result["packages"]["numpy"] = "0.1"
    (run / "run.json").write_text(json.dumps(result))
    found = reproduced(cli, run, code=1)
    assert found["differing"] == [lines[3]["id"]]
    line, *rest = found["changed"]
    assert line.startswith("package numpy: 0.1 | ")
    assert all("uncommitted changes" in one for one in rest)  # of this very checkout
    shown = cli("reproduce", run).stdout
    assert f"other predictions: 1 of 40: {lines[3]['id']}" in shown
    assert line in shown


def test_a_model_that_is_not_deterministic_is_called_so(
    cli: Cli, answerer_plugin: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    answerer_plugin("import os\nreturn [Answer(os.urandom(8).hex()) for question in questions]")
    run = evaluated(cli, "--controls", "none", "--device", "cpu", model="fake")
    monkeypatch.setattr("harness.reproduce._uncommitted", lambda *given: [])
    done = cli("reproduce", run)
    assert done.returncode == 1
    assert "no field of the manifest" in done.stdout


@pytest.mark.parametrize(
    ("dirty", "said"),
    [
        ((False, False), []),
        ((True, True), ["both runs"]),
        ((True, False), ["the first"]),
        ((None, True), ["the second"]),
    ],
)
def test_uncommitted_changes_are_named_for_no_field_tells_them_apart(
    dirty: tuple[bool | None, bool], said: list[str]
) -> None:
    lines = _uncommitted(*({"code": {"dirty": one}} for one in dirty))
    assert [one in line for one, line in zip(said, lines, strict=True)] == [True] * len(said)


def test_other_weights_in_the_same_folder_are_named(
    cli: Cli, tiny_weights: Callable[..., Path]
) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tiny_weights()
    run = evaluated(cli, "--weights", folder, "--controls", "none", model="vlbert")
    assert reproduced(cli, run)["same"]
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file({name: -tensor for name, tensor in tensors.items()}, file)
    changed = reproduced(cli, run, code=1)["changed"]
    assert any(line.startswith("weights_sha256: ") for line in changed), changed


def test_other_data_ends_with_3(cli: Cli) -> None:
    run = evaluated(cli)
    result = json.loads((run / "run.json").read_text())
    result["data"]["sha256"] = "0" * 64
    (run / "run.json").write_text(json.dumps(result))
    done = cli("reproduce", run)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("harness: not comparable: data sha256: 0000")


def test_scored_predictions_cannot_be_run_again_and_end_with_3(
    cli: Cli, saved_run: Callable[..., Path], right: Callable[[Sample], Json]
) -> None:
    run = saved_run("scored", lambda number, sample: right(sample), limit=20)
    done = cli("reproduce", run)
    assert done.returncode == 3
    assert "there is nothing to run" in done.stderr


def test_absent_and_incomplete_runs_end_with_2_and_4(cli: Cli) -> None:
    assert cli("reproduce", "gone").returncode == 2
    run = evaluated(cli)
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(text.replace('"complete"', '"started"', 1))
    assert cli("reproduce", run).returncode == 4
    (run / "run.json").write_text(text)
    (run / "samples.jsonl").unlink()
    assert "samples.jsonl" in cli("reproduce", run).stderr


@pytest.mark.parametrize(
    ("first", "again", "same"),
    [
        ({"answer": "yes"}, {"answer": "yes"}, True),
        ({"answer": "yes"}, {"answer": "Yes"}, False),
        ({"box": [1.0, 2.0]}, {"box": [1.000009, 2.0]}, True),
        ({"box": [1.0, 2.0]}, {"box": [1.00002, 2.0]}, False),
        ({"s": 1e6}, {"s": 1e6 + 0.9}, True),
        ({"s": 1.0}, {"s": 1}, True),
        ({"s": float("nan")}, {"s": float("nan")}, False),
        ({"rank": 3}, {"rank": 4}, False),
        ({"uniform": True}, {"uniform": 1}, False),
        ({"moments": [[1.0, 2.0]]}, {"moments": []}, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        (None, None, True),
        (None, {}, False),
    ],
)
def test_what_counts_as_the_same(first: Any, again: Any, same: bool) -> None:
    assert same_result(first, again) is same


def test_ranks_that_differ_among_scores_that_agree_are_the_same_and_counted(cli: Cli) -> None:
    run = evaluated(cli, task="retrieval", model="prior")
    assert (run / "scores.npy").is_file()
    log = run / "samples.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    lines[3]["prediction"]["visual"][0] += 1
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = reproduced(cli, run)
    assert found["same"]
    assert (found["differing"], found["by_ties"]) == ([], 1)
    scores = np.load(run / "scores.npy")
    np.save(run / "scores.npy", scores + 0.001)
    assert reproduced(cli, run, code=1)["differing"] == [lines[3]["id"]]
