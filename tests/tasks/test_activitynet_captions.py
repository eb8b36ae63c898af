"""ActivityNet Captions from tiny files, what is dropped and changed, and every fault at once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInput
from harness.tasks.datasets import activitynet_captions
from harness.tasks.datasets.activitynet_captions import load, load_files, verify
from harness.tasks.datasets.moment_files import Changes
from harness.tasks.targets import MomentTarget
from harness.types import Dataset


@pytest.fixture
def data() -> Path:
    root = Path(os.environ.get("HARNESS_DATA", "absent"))
    if not (root / "activitynet-captions").is_dir():
        pytest.skip("HARNESS_DATA names no folder with activitynet-captions/")
    return root / "activitynet-captions"


def record(duration: Any = 50.0, *moments: Any) -> dict[str, Any]:
    moments = moments or ([1.0, 20.5], [10, 50.0])
    return {
        "duration": duration,
        "timestamps": list(moments),
        "sentences": [f"Scene {place}." for place in range(len(moments))],
    }


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def opened(tmp_path: Path, content: object) -> Dataset:
    return load_files({"annotations": write(tmp_path / "a.json", content)}, "val")


def message_of(tmp_path: Path, content: object) -> str:
    with pytest.raises(BadInput) as caught:
        opened(tmp_path, content)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "a.json") in str(caught.value)
    return str(caught.value)


def test_a_sample_a_sentence_with_its_moment_in_seconds(tmp_path: Path) -> None:
    dataset = opened(tmp_path, {"v_b": record(), "v_a": record(9.5, [0, 4])})
    assert (dataset.name, dataset.split) == ("activitynet-captions", "val")
    assert [sample.id for sample in dataset.samples] == ["v_b-0", "v_b-1", "v_a-0"]
    first, second, third = dataset.samples
    assert first.target == MomentTarget(((1.0, 20.5),))
    assert second.input.text == "Scene 1."
    assert first.input.visual is second.input.visual
    assert first.group == second.group == first.input.visual.id == "activitynet-captions/v_b"
    assert (third.input.visual.duration, third.input.candidates) == (9.5, ())
    assert dataset.notes == ()


def test_moments_are_clipped_or_dropped_and_told_with_their_ids(tmp_path: Path) -> None:
    moments = [[5, 5], [7, 6], [40, 51], [60, 70], [-2, 4], [1, 2]]
    dataset = opened(tmp_path, {"v_a": record(50.0, *moments)})
    assert [sample.id for sample in dataset.samples] == ["v_a-2", "v_a-4", "v_a-5"]
    assert [sample.target.moments[0] for sample in dataset.samples] == [(40, 50), (0, 4), (1, 2)]
    assert dataset.notes == (
        "1 of 6 sentences dropped: the moment lies outside the video: v_a-3",
        "2 of 6 sentences dropped: the moment ends where it starts, or before: v_a-0, v_a-1",
        "1 of 6 sentences changed: the moment starts before 0; clipped to 0: v_a-4",
        "1 of 6 sentences changed: the moment ends after the video; clipped to the video's end: "
        "v_a-2",
    )


def test_notes_name_the_first_ten_places_only(tmp_path: Path) -> None:
    (note,) = opened(tmp_path, {"v": record(9, *[[1, 1]] * 11, [1, 2])}).notes
    assert note.startswith("11 of 12 sentences dropped")
    assert note.endswith("v-8, v-9, ...")


def test_sentences_lose_stray_white_space(tmp_path: Path) -> None:
    content = {"v": record(9, [1, 2], [1, 2]) | {"sentences": ["Good.", "  He  runs\nfast. "]}}
    dataset = opened(tmp_path, content)
    assert dataset.samples[1].input.text == "He runs fast."
    assert dataset.notes[0].startswith("1 of 2 sentences changed: spaces")


@given(start=st.floats(-100, 200), end=st.floats(-100, 200), duration=st.floats(0.1, 150))
def test_a_fitted_moment_lies_in_the_video_and_each_change_is_told(
    start: float, end: float, duration: float
) -> None:
    changes = Changes("lines", total=1)
    moment = changes.fit("7", start, end, duration)
    if moment is None:
        assert any("dropped" in note for note in changes.notes())
    else:
        assert 0 <= moment[0] < moment[1] <= duration
        assert (moment == (start, end)) == (not changes.notes())


@pytest.mark.parametrize(
    ("split", "name"),
    [("train", "train"), ("val", "val"), ("val", "val_1"), ("test", "val_2"), ("test", "test")],
)
def test_files_have_their_official_or_their_split_name(
    tmp_path: Path, split: str, name: str
) -> None:
    write(tmp_path / f"{name}.json", {"v_a": record()})
    assert len(load(tmp_path, split).samples) == 2


def test_a_missing_video_and_missing_folders_show_when_frames_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "train.json", {"v_a": record()})
    with pytest.raises(BadInput, match=r"videos/v_a\.mp4: there is no such video; put it there"):
        load(tmp_path, "train").samples[0].input.visual.read(3)
    dataset = load_files({"annotations": path}, "train")
    with pytest.raises(BadInput, match=r"no folder of videos was given; add --data-dir"):
        dataset.samples[0].input.visual.read(3)


def test_the_checksum_is_of_the_annotations(tmp_path: Path) -> None:
    first = opened(tmp_path, {"v_a": record()}).sha256
    assert opened(tmp_path, {"v_a": record()}).sha256 == first
    assert opened(tmp_path, {"v_a": record(51.0)}).sha256 != first


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([], "no JSON object of videos"),
        ({}, "no JSON object of videos"),
        ({"v": 3}, "video 'v' is not an object"),
        ({"v": record(0)}, "video 'v' has no positive number 'duration'"),
        ({"v": record("9")}, "video 'v' has no positive number 'duration'"),
        ({"v": record(float("nan"))}, "video 'v' has no positive number 'duration'"),
        ({"v": {"duration": 3}}, "video 'v' has no lists"),
        ({"v": record() | {"sentences": ["one"]}}, "video 'v' has not as many timestamps"),
        ({"v": record(9, [1])}, "video 'v' has a timestamp that is no pair"),
        ({"v": record(9, [1, None])}, "video 'v' has a timestamp that is no pair"),
        ({"v": record(9, [1, True])}, "video 'v' has a timestamp that is no pair"),
        ({"v": record() | {"sentences": ["one", " "]}}, "sentence v-1 is no text"),
    ],
)
def test_a_fault_is_named_with_its_place(tmp_path: Path, content: object, complaint: str) -> None:
    assert complaint in message_of(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b'{"v": }', "line 1 column 7"), (b"[" * 100_000, "JSON"), (b'{"v": 1, "v": 2}', "'v' is")],
)
def test_broken_json_and_doubled_videos_are_refused(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(BadInput, match=complaint):
        load_files({"annotations": tmp_path / "a.json"}, "val")


def test_no_folder_and_unknown_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="train, val, test"):
        load(tmp_path, "dev")
    with pytest.raises(BadInput, match="--data-dir"):
        load(None, "val")
    with pytest.raises(BadInput, match="no such folder"):
        load(tmp_path / "absent", "val")
    with pytest.raises(BadInput, match=r"val_1\.json: there is no such file"):
        load(tmp_path, "val")


# ---------------------------------------------------------------- verify


def test_verify_is_silent_if_all_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activitynet_captions, "_SAMPLES", {"train": 2, "val": 2})
    for name in ("train", "val_1"):
        write(tmp_path / f"{name}.json", {f"v_{name}": record()})
        (tmp_path / "v1-2").mkdir(exist_ok=True)
        (tmp_path / "v1-2" / f"v_{name}.mkv").write_bytes(b"video")
    assert verify(tmp_path) == []


def test_verify_tells_every_fault_at_once_a_line_a_kind(tmp_path: Path) -> None:
    bad = {"v_a": record("9", [1, 2], [3]), "v_b": record(None), "v_c": record()}
    write(tmp_path / "train.json", bad)
    write(tmp_path / "val.json", {"v_d": record(), "v_e": record(), "v_f": record()})
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "v_d.mp4").write_bytes(b"")
    lines = verify(tmp_path)
    complaints = (
        "train.json: video 'v_a' has no positive number 'duration' (and 1 more)",
        "train.json: video 'v_a' has a timestamp that is no pair of numbers;",
        "split 'val' has 6 samples, 17,505 in the official files",
        "val_2.json: there is no such file",
        "videos/v_e.mp4: missing; fetch it again",
        "videos/v_f.mp4: missing; fetch it again",
        "videos/v_d.mp4: empty; fetch it again",
    )
    assert len(lines) == len(complaints)
    for line, complaint in zip(lines, complaints, strict=True):
        assert complaint in line
    assert verify(tmp_path / "absent") != []


def test_the_official_files_load_whole(data: Path) -> None:
    counts = {"train": (37_417, 10_009), "val": (17_505, 4_917), "test": (17_031, 4_885)}
    datasets = {split: load(data, split) for split in counts}
    for split, dataset in datasets.items():
        groups = {sample.group for sample in dataset.samples}
        assert (len(dataset.samples), len(groups)) == counts[split]
    assert datasets["train"].notes[0].startswith("4 of 37,421 sentences dropped")
    groups = {sample.group for sample in datasets["test"].samples}
    assert groups < {sample.group for sample in datasets["val"].samples}
