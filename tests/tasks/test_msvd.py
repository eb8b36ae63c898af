"""MSVD from tiny files in the official format, and the ways in which they can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.tasks.datasets import msvd
from harness.tasks.targets import CaptionTarget, RetrievalTarget
from harness.types import Dataset

DESCRIPTIONS = """# comments
# come first

-4wsuPCjDBc_5_15 a squirrel eats a peanut in it's shell
-4wsuPCjDBc_5_15 a chipmunk is eating
b_c_0_12 a man  runs
last_100_103 a dog #1
"""
MAPPING = "-4wsuPCjDBc_5_15 vid1301\nb_c_0_12 vid1200\nlast_100_103 vid1970\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "AllVideoDescriptions.txt").write_text(DESCRIPTIONS)
    (tmp_path / "youtube_mapping.txt").write_text(MAPPING)
    return tmp_path


def ids(dataset: Dataset) -> list[str]:
    return [sample.id for sample in dataset.samples]


def message(load: Callable[..., Dataset], *arguments: Any) -> str:
    with pytest.raises(BadInput) as caught:
        load(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_videos_have_their_descriptions_as_they_stand(root: Path) -> None:
    dataset = msvd.load_captioning(root, "all")
    assert (dataset.name, dataset.notes) == ("msvd", ())
    assert ids(dataset) == ["-4wsuPCjDBc_5_15", "b_c_0_12", "last_100_103"]
    first, second, third = dataset.samples
    assert first.target == CaptionTarget(
        ("a squirrel eats a peanut in it's shell", "a chipmunk is eating")
    )
    assert first.group == first.input.visual.id == "msvd/-4wsuPCjDBc_5_15"
    assert (second.target, third.target) == (
        CaptionTarget(("a man  runs",)),
        CaptionTarget(("a dog #1",)),
    )


def test_a_clip_lasts_from_the_start_to_the_end_in_its_id(root: Path) -> None:
    durations = [s.input.visual.duration for s in msvd.load_captioning(root, "all").samples]
    assert durations == [10.0, 12.0, 3.0]


def test_splits_go_by_the_numbers_of_the_mapping(root: Path) -> None:
    assert ids(msvd.load_captioning(root, "train")) == ["b_c_0_12"]
    assert ids(msvd.load_captioning(root, "test")) == ["-4wsuPCjDBc_5_15", "last_100_103"]
    (root / "youtube_mapping.txt").write_text(MAPPING.replace("vid1970", "vid1300"))
    assert ids(msvd.load_captioning(root, "val")) == ["last_100_103"]


def test_samples_stand_in_the_order_of_the_numbers(root: Path) -> None:
    swapped = "last_100_103 vid1400\n-4wsuPCjDBc_5_15 vid1970\nb_c_0_12 vid1401\n"
    (root / "youtube_mapping.txt").write_text(swapped)
    assert ids(msvd.load_captioning(root, "test")) == [
        "last_100_103",
        "b_c_0_12",
        "-4wsuPCjDBc_5_15",
    ]


def test_retrieval_searches_all_descriptions(root: Path) -> None:
    sample = msvd.load_retrieval(root, "test").samples[0]
    assert sample.target == RetrievalTarget(2)
    assert sample.input.texts[1] == "a chipmunk is eating"


def test_mapped_videos_without_descriptions_and_the_reverse_are_counted(root: Path) -> None:
    (root / "youtube_mapping.txt").write_text("-4wsuPCjDBc_5_15 vid1301\nnone_1_2 vid1302\n")
    dataset = msvd.load_captioning(root, "test")
    assert ids(dataset) == ["-4wsuPCjDBc_5_15"]
    assert "2 of 3 videos are in no split" in dataset.notes[0]
    assert dataset.notes[1].startswith("1 of 2 entries dropped: they have no caption")


def test_without_the_mapping_there_is_only_all(root: Path) -> None:
    (root / "youtube_mapping.txt").unlink()
    assert len(msvd.load_captioning(root, "all").samples) == 3
    assert "use --split all" in message(msvd.load_captioning, root, "test")


def test_the_checksum_covers_the_mapping_where_it_decides(root: Path) -> None:
    test, whole = (msvd.load_captioning(root, split).sha256 for split in ("test", "all"))
    (root / "youtube_mapping.txt").write_text(MAPPING + "new_1_2 vid9\n")
    assert msvd.load_captioning(root, "test").sha256 != test
    assert msvd.load_captioning(root, "all").sha256 == whole


def test_videos_are_found_by_name_in_either_folder(root: Path) -> None:
    def complaint(place: int) -> str:
        clip = msvd.load_captioning(root, "all").samples[place].input.visual
        with pytest.raises(BadInput) as caught:
            clip.read(2)
        return str(caught.value)

    pytest.importorskip("av", reason="PyAV is not installed")
    assert str(root / "YouTubeClips" / "b_c_0_12.avi") in complaint(1)
    (root / "videos").mkdir()
    (root / "videos" / "b_c_0_12.webm").write_text("no video")
    assert str(root / "videos" / "b_c_0_12.webm") in complaint(1)


def test_files_alone_give_the_same_samples_without_videos(root: Path) -> None:
    files = {
        "annotations": root / "AllVideoDescriptions.txt",
        "mapping": root / "youtube_mapping.txt",
    }
    for load, load_files in (
        (msvd.load_captioning, msvd.load_captioning_files),
        (msvd.load_retrieval, msvd.load_retrieval_files),
    ):
        for split in ("all", "test"):
            whole, alone = load(root, split), load_files(files, split)
            assert [s.target for s in whole.samples] == [s.target for s in alone.samples]
            assert whole.sha256 == alone.sha256
            with pytest.raises(BadInput, match="no folder of videos was given; add --data-dir"):
                alone.samples[0].input.visual.read(2)
    del files["mapping"]
    assert len(msvd.load_captioning_files(files, "all").samples) == 3
    assert "--mapping" in message(msvd.load_captioning_files, files, "test")


@pytest.mark.parametrize("id", ["nothing", "a_5", "a_5_x", "a_9_9", "a_9_3"])
def test_an_id_without_a_span_is_refused(root: Path, id: str) -> None:
    (root / "AllVideoDescriptions.txt").write_text(f"{id} a man\n")
    assert f"{id!r} does not end in _start_end" in message(msvd.load_captioning, root, "all")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("a_1_2 vid1\nb_1_2\n", "line 2 is not 'VIDEO vidN'"),
        ("a_1_2 vid1\na_1_2 vid2\n", "video 'a_1_2' is there twice"),
        ("a_1_2 vid1\nb_1_2 vid1\n", "number 'vid1' is there twice"),
    ],
)
def test_a_wrong_mapping_is_named(root: Path, content: str, complaint: str) -> None:
    (root / "youtube_mapping.txt").write_text(content)
    said = message(msvd.load_captioning, root, "train")
    assert str(root / "youtube_mapping.txt") in said
    assert complaint in said


def test_missing_and_empty_files_are_refused(root: Path) -> None:
    path = root / "AllVideoDescriptions.txt"
    path.write_text("# nothing but this\n")
    assert "there is no line 'VIDEO description'" in message(msvd.load_captioning, root, "all")
    path.unlink()
    assert f"{path}: there is no such file" in message(msvd.load_captioning, root, "all")
    assert "use one of: train, val, test, all" in message(msvd.load_captioning, root, "dev")
    assert "--data-dir" in message(msvd.load_captioning, None, "all")


def test_verify_tells_everything_at_once(root: Path) -> None:
    (root / "YouTubeClips").mkdir()
    names = ["-4wsuPCjDBc_5_15", "b_c_0_12", "last_100_103"]
    for name in names:
        (root / "YouTubeClips" / f"{name}.avi").write_text("some bytes")
    (root / "youtube_mapping.txt").write_text(MAPPING + "none_1_2 vid1201\n")
    assert len(msvd.verify(root)) == 1  # the new video, described nowhere, is missing
    (root / "youtube_mapping.txt").unlink()
    (root / "YouTubeClips" / "b_c_0_12.avi").unlink()
    assert msvd.verify(root) == [
        "youtube_mapping.txt: missing; without it there is only the split 'all'",
        "YouTubeClips/b_c_0_12.avi: missing; fetch it again",
    ]
