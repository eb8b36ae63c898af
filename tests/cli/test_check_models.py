"""`harness check` on bundled models: a real regression is caught, harmless noise passes."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from harness.types import Json

Cli = Callable[..., CompletedProcess[str]]
WEIGHTS = Path(__file__).parents[2] / "baselines" / "weights"
BARE = ("--task", "vqa", "--controls", "none", "--no-floors", "--json", "--device", "cpu")

pytestmark = pytest.mark.usefixtures("small_toybox")


@pytest.fixture
def evaluated(cli: Cli) -> Callable[..., Path]:
    """(model, options ...) -> the folder of its run on 600 questions about 120 pictures."""

    def run(model: str, *options: object) -> Path:
        done = cli("eval", "--model", model, *BARE, *options)
        assert done.returncode == 0, done.stderr
        return Path(json.loads(done.stdout)["run"])

    return run


def held_against(cli: Cli, first: Path, new: Path) -> tuple[int, Json]:
    """The exit code and the only entry of checking a run against an earlier one."""
    assert cli("check", first, "--against", "reference", "--update").returncode == 0
    done = cli("check", new, "--against", "reference", "--json")
    (one,) = json.loads(done.stdout)["checks"]
    return done.returncode, one


def changed_weights(
    name: str, folder: Path, change: Callable[[Json, dict[str, Any]], None]
) -> Path:
    """A copy of bundled weights after `change` of their config and tensors."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(WEIGHTS / name, folder)
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    change(config, tensors)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    return folder


def shuffle_answers(config: Json, tensors: dict[str, Any]) -> None:
    random.Random(0).shuffle(config["answers"])


def drop_a_layer(config: Json, tensors: dict[str, Any]) -> None:
    """The first of a transformer's layers: those above take its place."""
    config["network"]["num_hidden_layers"] -= 1
    for name in sorted(tensors):
        found = re.search(r"\.layer\.(\d+)\.", name)
        if found is not None:
            tensor, number = tensors.pop(name), int(found[1])
            if number > 0:
                tensors[name.replace(found[0], f".layer.{number - 1}.")] = tensor


@pytest.mark.parametrize("change", [shuffle_answers, drop_a_layer])
def test_a_real_regression_of_a_bundled_model_is_caught(
    cli: Cli,
    evaluated: Callable[..., Path],
    tmp_path: Path,
    change: Callable[[Json, dict[str, Any]], None],
) -> None:
    broken = changed_weights("vlbert--toybox", tmp_path / "broken", change)
    first = evaluated("vlbert", "--limit", 150)
    code, one = held_against(cli, first, evaluated("vlbert", "--limit", 150, "--weights", broken))
    assert (code, one["verdict"]) == (1, "dropped")
    assert one["p_holm"] < 0.001
    assert one["worse"] > one["better"]


def test_the_same_weights_in_another_folder_pass(
    cli: Cli, evaluated: Callable[..., Path], tmp_path: Path
) -> None:
    """So that it is the change that is caught, not the folder."""
    copied = changed_weights("vlbert--toybox", tmp_path / "copied", lambda config, tensors: None)
    first = evaluated("vlbert", "--limit", 150)
    code, one = held_against(cli, first, evaluated("vlbert", "--limit", 150, "--weights", copied))
    assert (code, one["verdict"], one["worse"], one["better"]) == (0, "passed", 0, 0)


def test_as_many_answers_of_a_bundled_model_flipped_both_ways_pass(
    cli: Cli, evaluated: Callable[..., Path]
) -> None:
    """As many right answers become wrong as wrong ones become right, spread over the pictures."""
    first = evaluated("nce")
    noisy = flip(first, Path("noisy"), each=12)
    done = cli("score", noisy / "samples.jsonl", "--task", "vqa", "--name", "nce", "--json")
    assert done.returncode == 0, done.stderr
    code, one = held_against(cli, first, Path(json.loads(done.stdout)["run"]))
    assert (code, one["verdict"]) == (0, "passed")
    assert (one["better"], one["worse"]) == (12, 12)
    assert one["p"] > 0.2


def flip(run: Path, folder: Path, each: int) -> Path:
    """A copy of a run's log with `each` answers flipped each way."""
    from harness.registry import find_task, load_attribute

    _, spec = find_task("vqa/toybox")
    targets = {s.id: s.target for s in load_attribute(spec.load)(None, "test").samples}
    lines = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    order = np.random.default_rng(0).permutation(len(lines)).tolist()
    left = {True: each, False: each}
    for line in (lines[place] for place in order):
        answers = targets[line["id"]].answers
        agreed = max(sorted(set(answers)), key=answers.count)
        said = line["prediction"]["answer"]
        was_right = said == agreed
        if left[was_right] == 0 or (not was_right and said in answers):
            continue
        left[was_right] -= 1
        line["prediction"]["answer"] = "nothing of the kind" if was_right else agreed
    assert left == {True: 0, False: 0}
    shutil.copytree(run, folder)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "samples.jsonl").write_text(text)
    return folder
