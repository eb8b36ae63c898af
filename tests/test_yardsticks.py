"""Floors, ceilings and controls that cannot be had are named with a reason, never shown as a low
score; and a floor is never fitted on what it is scored on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from harness.score import value_of
from harness.tasks.datasets.toybox.vqa import load
from harness.tasks.vqa import TASK

Cli = Callable[..., CompletedProcess[str]]
OPTIONS = ("--device", "cpu", "--json")


def result_of(done: CompletedProcess[str]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_control_whose_samples_fail_has_a_reason_and_no_gain(
    cli: Cli, small_toybox: None, answerer_plugin: Callable[[str], None]
) -> None:
    """Failed samples count as wrong, which would pass for a model that needs its pictures."""
    answerer_plugin(
        "if any(q.visual.id.startswith('mean') for q in questions):\n"
        "    raise ValueError('no such picture')\n"
        "return [Answer('yes') for question in questions]"
    )
    command = ("eval", "--task", "vqa", "--model", "fake", "--limit", "50", *OPTIONS)
    done = cli(*command, "--keep-going")
    blind = result_of(done)["controls"]["blind"]
    assert "50 of its 50 samples failed" in blind["reason"]
    assert "accuracy" not in blind
    table = cli(*command[:-1], "--keep-going").stdout
    assert "blind: not computed: 50 of its 50 samples failed" in " ".join(table.split())


def test_the_control_says_which_part_its_mean_picture_is_of(
    cli: Cli, small_toybox: None, answerer_plugin: Callable[[str], None]
) -> None:
    answerer_plugin("return [Answer('yes') for question in questions]")
    done = cli("eval", "--task", "vqa", "--model", "fake", "--limit", "50", *OPTIONS)
    assert result_of(done)["controls"]["blind"]["mean_picture"] == "mean/toybox/train"


def test_prior_is_not_fitted_on_what_it_is_scored_on(cli: Cli, small_toybox: None) -> None:
    done = cli("eval", "--task", "vqa", "--model", "prior", "--split", "train", *OPTIONS)
    assert done.returncode == 2
    assert "the very samples of this evaluation" in done.stderr


def test_prior_of_easy_vqa_sees_validation_questions_only_for_the_test_part(cli: Cli) -> None:
    pytest.importorskip("easy_vqa", reason="the data set is in the package easy-vqa")
    for split, part in (("test", "trainval"), ("val", "train")):
        done = cli("eval", "--task", "vqa/easy-vqa", "--model", "prior", "--split", split, *OPTIONS)
        assert result_of(done)["model"]["options"]["fitted_on"] == f"easy-vqa/{part}"


def test_saved_predictions_stand_beside_the_floors_too(cli: Cli, small_toybox: None) -> None:
    made = result_of(cli("eval", "--task", "vqa", "--model", "oracle", *OPTIONS))
    log = Path(made["run"]) / "samples.jsonl"
    result = result_of(cli("score", log, "--task", "vqa", "--name", "theirs", "--json"))
    assert set(result["floors"]) == {"chance", "prior"}
    assert result["metrics"]["accuracy"]["value"] == made["metrics"]["accuracy"]["value"]


def test_weights_for_a_floor_are_refused(cli: Cli) -> None:
    done = cli("eval", "--task", "vqa", "--model", "chance", "--weights", "somewhere", *OPTIONS)
    assert done.returncode == 2
    assert "chance has no weights" in done.stderr


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_samples_that_are_all_alike_still_have_an_interval(value: float) -> None:
    """Resampling 20 pictures that are all right shows no spread; Wilson's interval for 20 of 20
    begins at 20 / (20 + 1.96**2)."""
    dataset = load(None, "test")
    samples = dataset.samples[:100]
    metric = TASK.metrics(dataset, {})[0]
    rows = np.tile([value, 1.0], (100, 1))
    low, high = value_of(metric, rows, samples, seed=0).ci95 or (np.nan, np.nan)
    edge = 20 / (20 + 1.959964**2)
    assert (low, high) == pytest.approx((edge, 1.0) if value else (0.0, 1 - edge))


def test_a_run_that_is_killed_outright_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    """SIGKILL, with no chance to tidy up, among the samples or among a control's."""
    command = [
        *(sys.executable, "-m", "harness", "eval", "--task", "vqa/toybox", "--model", "vlbert"),
        *("--limit", "400", "--batch-size", "4", "--device", "cpu", "--json", "-o"),
    ]
    whole = subprocess.run([*command, "whole"], cwd=tmp_path, capture_output=True, check=True)
    for wait_for in ("samples.jsonl", "shuffled-400.jsonl"):
        process = subprocess.Popen(
            [*command, "killed"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            logs = list((tmp_path / "killed").rglob(wait_for))
            if logs and logs[0].stat().st_size > 2000:
                break
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run([*command, "killed"], cwd=tmp_path, capture_output=True, check=True)
    results = [json.loads(run.stdout) for run in (whole, done)]
    for name in ("samples.jsonl", "controls/shuffled-400.jsonl", "controls/blind-400.jsonl"):
        first, second = ((tmp_path / result["run"] / name).read_bytes() for result in results)
        assert first == second, name
    assert results[0]["metrics"] == results[1]["metrics"]
    assert len(list((tmp_path / "killed").rglob("run.json"))) == 1
