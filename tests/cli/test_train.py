"""`harness train`: files whose split for validation is not there, or is broken; a folder in which a
training finished, is to be measured yet, or was of another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from harness.cli.train import _named

Cli = Callable[..., CompletedProcess[str]]
Train = Callable[..., CompletedProcess[str]]
NAMES = [f"{number}.png" for number in range(6)]
TINY = ("epochs=1", "batch=4", "size=8", "eye=pictures", "text=words", "side=32", "channels=4,8")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Six pictures, four of them to train on; no file says which are for validation."""
    root = tmp_path / "flickr8k"
    (root / "images").mkdir(parents=True)
    for name in NAMES:
        Image.fromarray(np.zeros((40, 40, 3), dtype=np.uint8)).save(root / "images" / name)
    lines = [f"{name}#{i}\tA dog runs {i} times ." for name in NAMES for i in range(5)]
    (root / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    (root / "Flickr_8k.trainImages.txt").write_text("\n".join(NAMES[:4]) + "\n")
    (root / "Flickr_8k.testImages.txt").write_text("\n".join(NAMES[4:]) + "\n")
    return root


@pytest.fixture
def train(cli: Cli, photographs: Path, tmp_path: Path) -> Train:
    changes = [word for change in TINY for word in ("--set", change)]
    return lambda *more: cli(
        *("train", "--task", "retrieval/flickr8k", "--model", "nce", "--data-dir", photographs),
        *("-o", tmp_path / "weights", *changes, *(more or ("--no-eval",))),
    )


def test_without_a_validation_part_training_goes_on_and_says_so(
    train: Train, tmp_path: Path
) -> None:
    done = train()
    assert done.returncode == 0
    assert "Flickr_8k.devImages.txt" in done.stderr
    assert "validation at the end: not measured" in (tmp_path / "weights" / "card.md").read_text()
    assert (tmp_path / "weights" / "model.safetensors").is_file()


def test_a_broken_validation_part_stops_training(
    train: Train, photographs: Path, tmp_path: Path
) -> None:
    (photographs / "Flickr_8k.devImages.txt").write_text(f"{NAMES[0]}\n{NAMES[0]}\n")
    done = train()
    assert done.returncode == 2
    assert "Flickr_8k.devImages.txt" in done.stderr
    assert not (tmp_path / "weights" / "model.safetensors").exists()


def test_a_finished_training_is_not_done_again_but_measured(train: Train, tmp_path: Path) -> None:
    card = tmp_path / "weights" / "card.md"
    assert train().returncode == 0
    trained = (tmp_path / "weights" / "model.safetensors").stat().st_mtime_ns
    assert "## Measured" not in card.read_text()
    measured = train("--seed", "0")
    assert measured.returncode == 0, measured.stderr
    assert "trained before; --restart trains anew" in measured.stdout
    assert "text-to-image R@1" in measured.stdout
    assert "## Measured" in card.read_text()
    again = train("--seed", "0")
    assert "R@1" not in again.stdout  # all is done
    assert (tmp_path / "weights" / "model.safetensors").stat().st_mtime_ns == trained
    assert "trained before" not in train("--restart", "--no-eval").stdout
    assert (tmp_path / "weights" / "model.safetensors").stat().st_mtime_ns > trained


def test_weights_of_another_training_are_not_written_over_unasked(
    train: Train, tmp_path: Path
) -> None:
    assert train().returncode == 0
    before = (tmp_path / "weights" / "model.safetensors").read_bytes()
    other = train("--no-eval", "--seed", "7")
    assert other.returncode == 2
    assert "holds what another training finished; give another folder with -o" in other.stderr
    assert (tmp_path / "weights" / "model.safetensors").read_bytes() == before
    assert train("--no-eval", "--seed", "7", "--restart").returncode == 0
    assert (tmp_path / "weights" / "model.safetensors").read_bytes() != before


def test_a_file_where_the_folder_is_to_be_is_told(train: Train, tmp_path: Path) -> None:
    (tmp_path / "weights").touch()
    done = train()
    assert done.returncode == 2
    assert "cannot be made (File exists); give another folder with -o" in done.stderr


def test_weights_of_several_tasks_have_a_folder_of_their_own() -> None:
    assert _named(["vqa/toybox"]) == "vqa--toybox"
    assert _named(["vqa/toybox", "retrieval/toybox"]) == "toybox"
    assert _named(["vqa/toybox", "vqa/toybox-vcr"]) == "toybox+toybox-vcr"
