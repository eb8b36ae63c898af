"""DiDeMo from tiny files, every fault of them, and the frequency prior on the official ones."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.metrics.moment import didemo_rows, didemo_statistic
from harness.tasks.datasets import didemo
from harness.tasks.datasets.didemo import CANDIDATES, CHUNKS, load, load_files, verify
from harness.tasks.targets import ChunkTarget
from harness.types import Dataset


@pytest.fixture
def data() -> Path:
    root = Path(os.environ.get("HARNESS_DATA", "absent"))
    if not (root / "didemo").is_dir():
        pytest.skip("HARNESS_DATA names no folder with didemo/")
    return root / "didemo"


def record(id: Any = 40975, video: Any = "a@N00_1.mpg", **changes: Any) -> dict[str, Any]:
    whole = {
        "annotation_id": id,
        "num_segments": 6,
        "description": "kitty first starts to climb",
        "dl_link": "https://www.flickr.com/",
        "times": [[0, 0], [0, 1], [0, 0], [5, 5]],
        "video": video,
    }
    return whole | changes


def opened(tmp_path: Path, content: object) -> Dataset:
    path = tmp_path / "val_data.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return load_files({"annotations": path}, "val")


def test_a_description_becomes_a_sample(tmp_path: Path) -> None:
    dataset = opened(tmp_path, [record(), record(7), record("x", "b.", num_segments=5)])
    first, second, third = dataset.samples
    assert (dataset.name, first.id, second.id, third.id) == ("didemo", "40975", "7", "x")
    assert first.target == ChunkTarget(((0, 0), (0, 1), (0, 0), (5, 5)))
    assert first.input.visual is second.input.visual
    assert first.group == first.input.visual.id == "didemo/a@N00_1.mpg"
    assert first.input.text == "kitty first starts to climb"
    assert (first.input.visual.duration, third.input.visual.duration) == (30.0, 25.0)


def test_the_candidates_are_the_21_runs_of_chunks_also_for_five_chunks(tmp_path: Path) -> None:
    dataset = opened(tmp_path, [record(), record(7, "b.avi", num_segments=5)])
    assert len(set(CHUNKS)) == len(set(CANDIDATES)) == 21
    assert CANDIDATES[CHUNKS.index((1, 3))] == (5.0, 20.0)
    assert all(sample.input.candidates == CANDIDATES for sample in dataset.samples)
    assert dataset.notes == (
        "1 of 2 descriptions kept with all 21 candidates though the video has fewer than 6 "
        "chunks: 7",
    )


@pytest.mark.parametrize("name", ["a.mpg", "a.mpg.mp4", "a.mp4", "a.avi", "a.mov"])
def test_a_video_is_found_with_its_extension_or_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(didemo, "_SAMPLES", {"val": 1})
    opened(tmp_path, [record(1, "a.mpg")])
    (line,) = verify(tmp_path)
    assert line == "videos/: there is no such folder; it holds 1 videos"
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / name).write_bytes(b"video")
    assert verify(tmp_path) == []


def test_verify_tells_everything_at_once(tmp_path: Path) -> None:
    opened(tmp_path, [record(1)])
    (tmp_path / "train_data.json").write_text(
        json.dumps([record(1, times=[]), record(1, num_segments=7), record(2, times=[[0, 0]])]),
        encoding="utf-8",
    )
    lines = verify(tmp_path)
    complaints = (
        "record 0 (annotation_id '1') has no list 'times' of three annotators or more (and 1 more)",
        "record 1 (annotation_id '1') has an annotation_id that is there twice",
        "record 1 (annotation_id '1') has no whole number 'num_segments'",
        "record 1 (annotation_id '1') has another 'num_segments' than before",
        "split 'val' has 1 samples, 4,180",
        "test_data.json: there is no such file",
        "videos/: there is no such folder; it holds 1 videos",
    )
    assert len(lines) == len(complaints)
    for complaint in complaints:
        assert any(complaint in line for line in lines), complaint


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"annotation_id": None}, "record 1 has no number or text 'annotation_id'"),
        ({"annotation_id": 1}, "record 1 (annotation_id '1') has an annotation_id that is"),
        ({"description": "  "}, "has no text 'description'"),
        ({"video": 3}, "has no text 'video'"),
        ({"num_segments": True}, "has no whole number 'num_segments'"),
        ({"times": [[0, 0]] * 2}, "has no list 'times' of three annotators"),
        ({"times": [[0, 6]] * 4}, "has 'times' that are not [first, last]"),
        ({"times": [[2, 1]] * 4}, "has 'times' that are not [first, last]"),
        ({"times": [[0, 1.0]] * 4}, "has 'times' that are not [first, last]"),
        ({"times": [[0]] * 4}, "has 'times' that are not [first, last]"),
    ],
)
def test_a_fault_is_named_with_its_record(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BadInput) as caught:
        opened(tmp_path, [record(1), record(2, "b.avi") | changes])
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[], {}, [3], 3])
def test_what_is_no_list_of_records_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(BadInput, match=r"val_data\.json"):
        opened(tmp_path, content)


def test_missing_things_are_refused(tmp_path: Path) -> None:
    for root, split, complaint in (
        (tmp_path, "dev", "train, val, test"),
        (None, "val", "--data-dir"),
        (tmp_path / "absent", "val", "no such folder"),
        (tmp_path, "train", r"train_data\.json: there is no such file"),
    ):
        with pytest.raises(BadInput, match=complaint):
            load(root, split)


def test_the_frequency_prior_scores_what_the_official_scorer_gives_it(data: Path) -> None:
    val, test = load(data, "val"), load(data, "test")
    assert (len(val.samples), len(test.samples)) == (4180, 4021)
    counts = Counter(time for sample in test.samples for time in sample.target.times)
    ranking = sorted(CHUNKS, key=lambda chunks: -counts[chunks])
    targets = [sample.target.times for sample in val.samples]
    sums = didemo_rows([ranking] * len(targets), targets).sum(axis=0)
    expected = {"rank@1": 0.186842, "rank@5": 0.697368, "mIoU": 0.252216}
    for name, value in expected.items():
        assert round(float(didemo_statistic(sums, name)), 6) == value
