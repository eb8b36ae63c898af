"""Checkpoints: whose they are, and which is whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.baselines.checkpoints import last_whole_checkpoint, prepare_checkpoints
from harness.errors import BadInput
from harness.types import Dataset, TrainRequest


def request(output: Path) -> TrainRequest:
    train = Dataset("toybox", "train", (), sha256="0" * 64)
    return TrainRequest("vqa", "toybox", train, None, output, "harness train ...")


def write_checkpoint(folder: Path, step: int, whole: bool = True) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "optimizer.pt").write_bytes(b"")
    if whole:
        (path / "trainer_state.json").write_text("{}")
    return path


def test_the_newest_whole_checkpoint_is_taken_and_torn_ones_go(tmp_path: Path) -> None:
    assert last_whole_checkpoint(tmp_path) is None
    write_checkpoint(tmp_path, 9)
    newest = write_checkpoint(tmp_path, 100)
    torn = write_checkpoint(tmp_path, 200, whole=False)
    assert last_whole_checkpoint(tmp_path) == str(newest)
    assert not torn.exists()


def test_the_same_training_finds_its_checkpoints(tmp_path: Path) -> None:
    asked = {"recipe": {"epochs": 3, "rate": 1e-3}}
    folder = prepare_checkpoints(request(tmp_path), asked)
    kept = write_checkpoint(folder, 1)
    assert prepare_checkpoints(request(tmp_path), asked) == folder
    assert kept.exists()


@pytest.mark.parametrize("change", [{"seed": 1}, {"task": "retrieval"}, {"dataset": "easy-vqa"}])
def test_those_of_another_training_are_refused_unless_it_starts_anew(
    change: dict[str, object], tmp_path: Path
) -> None:
    kept = write_checkpoint(prepare_checkpoints(request(tmp_path), {}), 1)
    other = replace(request(tmp_path), **change)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="--restart"):
        prepare_checkpoints(other, {})
    with pytest.raises(BadInput, match="--restart"):
        prepare_checkpoints(request(tmp_path), {"recipe": {"epochs": 4}})
    prepare_checkpoints(replace(other, resume=False), {})
    assert not kept.exists()


def test_a_training_that_ended_before_its_first_checkpoint_bars_no_other(tmp_path: Path) -> None:
    folder = prepare_checkpoints(request(tmp_path), {"recipe": {"epochs": 3}})
    assert prepare_checkpoints(request(tmp_path), {"recipe": {"epochs": 4}}) == folder
    write_checkpoint(folder, 1)
    with pytest.raises(BadInput, match="--restart"):
        prepare_checkpoints(request(tmp_path), {"recipe": {"epochs": 3}})
