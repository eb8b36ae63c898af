"""`harness train` on files whose split for validation is not there, or is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

Cli = Callable[..., CompletedProcess[str]]
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
def train(cli: Cli, photographs: Path, tmp_path: Path) -> Callable[[], CompletedProcess[str]]:
    changes = [word for change in TINY for word in ("--set", change)]
    return lambda: cli(
        *("train", "--task", "retrieval/flickr8k", "--model", "nce", "--data-dir", photographs),
        *("-o", tmp_path / "weights", "--no-eval", *changes),
    )


def test_without_a_validation_part_training_goes_on_and_says_so(
    train: Callable[[], CompletedProcess[str]], tmp_path: Path
) -> None:
    done = train()
    assert done.returncode == 0
    assert "Flickr_8k.devImages.txt" in done.stderr
    assert "validation at the end: not measured" in (tmp_path / "weights" / "card.md").read_text()
    assert (tmp_path / "weights" / "model.safetensors").is_file()


def test_a_broken_validation_part_stops_training(
    train: Callable[[], CompletedProcess[str]], photographs: Path, tmp_path: Path
) -> None:
    (photographs / "Flickr_8k.devImages.txt").write_text(f"{NAMES[0]}\n{NAMES[0]}\n")
    done = train()
    assert done.returncode == 2
    assert "Flickr_8k.devImages.txt" in done.stderr
    assert not (tmp_path / "weights" / "model.safetensors").exists()
