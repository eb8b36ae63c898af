"""TACoS from tiny files that count in frames."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.tasks.datasets import tacos
from harness.tasks.datasets.tacos import load, load_files, verify


@pytest.fixture
def data() -> Path:
    root = Path(os.environ.get("HARNESS_DATA", "absent"))
    if not (root / "tacos").is_dir():
        pytest.skip("HARNESS_DATA names no folder with tacos/")
    return root / "tacos"


def record(**changes: Any) -> dict[str, Any]:
    whole = {
        "timestamps": [[30, 45], [60, 130]],
        "sentences": ["He washes a knife.", "He cuts."],
        "fps": 30.0,
        "num_frames": 120,
    }
    return whole | changes


def write(root: Path, split: str, content: object) -> Path:
    path = root / f"{split}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_frames_become_seconds(tmp_path: Path) -> None:
    path = write(tmp_path, "test", {"s30-d52.avi": record()})
    dataset = load_files({"annotations": path}, "test")
    first, second = dataset.samples
    assert (dataset.name, first.id, second.id) == ("tacos", "s30-d52-0", "s30-d52-1")
    assert first.group == first.input.visual.id == "tacos/s30-d52"
    assert first.input.visual.duration == 4.0
    assert first.target.moments == ((1.0, 1.5),)
    assert second.target.moments == ((2.0, 4.0),)
    assert dataset.notes == (
        "1 of 2 sentences changed: the moment ends after the video; clipped to the video's end: "
        "s30-d52-1",
    )


@pytest.mark.parametrize("key", ["fps", "num_frames"])
@pytest.mark.parametrize("wrong", [0, -1, None, "30", True])
def test_a_video_needs_its_frame_rate_and_number_of_frames(
    tmp_path: Path, key: str, wrong: object
) -> None:
    path = write(tmp_path, "test", {"s1.avi": record(**{key: wrong})})
    with pytest.raises(BadInput, match=f"video 's1.avi' has no positive number '{key}'"):
        load_files({"annotations": path}, "test")


def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="train, val, test"):
        load(tmp_path, "dev")
    with pytest.raises(BadInput, match=r"val\.json: there is no such file"):
        load(tmp_path, "val")
    monkeypatch.setattr(tacos, "_SAMPLES", {"train": 2, "val": 2})
    write(tmp_path, "train", {"s1.avi": record()})
    write(tmp_path, "val", {"s2.avi": record()})
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "s1.avi").write_bytes(b"video")
    (line,) = verify(tmp_path)
    assert line == "videos/s2.avi: missing; fetch it again"
    (tmp_path / "videos" / "s2.avi").write_bytes(b"video")
    assert verify(tmp_path) == []


def test_the_official_files_load_whole(data: Path) -> None:
    for split, counts in {"train": (9790, 75), "val": (4436, 27), "test": (4001, 25)}.items():
        samples = load(data, split).samples
        assert (len(samples), len({sample.group for sample in samples})) == counts
