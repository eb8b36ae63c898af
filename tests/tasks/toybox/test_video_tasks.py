"""Toybox clips as data sets: captions, retrieval and moments."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from harness.errors import BadInput
from harness.tasks.datasets.toybox import (
    VERSION,
    filming,
    moments,
    narrating,
    video_captions,
    video_retrieval,
)
from harness.tasks.datasets.toybox.clips import CLIPS, ClipScene, make_clip_scene
from harness.tasks.datasets.toybox.scenes import SPLITS
from harness.tasks.targets import CaptionTarget, MomentTarget, RetrievalTarget
from harness.types import CaptionedVisual, Clip, MomentQuery, Uncaptioned

MODULES = [video_captions, video_retrieval, moments]
each_module = pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__.split(".")[-1])


@each_module
@pytest.mark.parametrize("split", SPLITS)
def test_what_is_filmed_and_told_under_this_name_never_changes(
    module: ModuleType, split: str
) -> None:
    assert VERSION == "toybox-1"
    assert module.checksum(split) == module.SHA256[split] == module.load(None, split).sha256


def test_every_checksum_is_another() -> None:
    assert len({value for module in MODULES for value in module.SHA256.values()}) == 12


@each_module
def test_the_checksum_covers_the_frames(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CLIPS, "val", 3)
    filming.frames_sha256.cache_clear()
    before = module.checksum("val")
    filming.frames_sha256.cache_clear()
    monkeypatch.setattr(filming, "film", lambda scene: np.zeros(3, dtype=np.uint8))
    assert module.checksum("val") != before
    filming.frames_sha256.cache_clear()


@pytest.mark.parametrize(
    ("module", "name", "other"),
    [
        (video_captions, "captions_of", lambda scene: narrating.captions_of(scene)[:4]),
        (video_retrieval, "captions_of", lambda scene: narrating.captions_of(scene)[::-1]),
        (video_retrieval, "foils_of", lambda scene, captions: ("",) * 5),
        (moments, "span_of", lambda event: (0.0, 1.0)),
        (moments, "event_query", lambda scene: (scene.events[0], "The red star grows.")),
    ],
)
def test_the_checksum_covers_what_is_told(
    module: ModuleType, name: str, other: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "frames_sha256", lambda split: "")
    monkeypatch.setitem(CLIPS, "val", 10)
    before = module.checksum("val")
    monkeypatch.setattr(module, name, other)
    assert module.checksum("val") != before


@each_module
def test_a_sample_a_clip_in_every_split(module: ModuleType) -> None:
    for split, count in CLIPS.items():
        dataset = module.load(None, split)
        assert (dataset.name, dataset.split) == ("toybox", split)
        assert len(dataset.samples) == count
        assert dataset.samples[-1].id == f"{split}-{count - 1:05d}"
    samples = module.load(None, "val").samples
    assert len({sample.id for sample in samples}) == len(samples) == 500


@each_module
def test_a_sample_shows_the_clip_of_its_scene(module: ModuleType) -> None:
    for index in (0, 7, 999):
        sample = module.load(None, "test").samples[index]
        clip, scene = sample.input.visual, make_clip_scene("test", index)
        assert isinstance(clip, Clip)
        assert clip.scene == scene
        assert sample.group == clip.id == f"toybox-1/clips/test/{index}"
        np.testing.assert_array_equal(clip.read(32), filming.film(scene))


@each_module
def test_nothing_is_filmed_before_it_is_read(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(scene: ClipScene, wanted: object = None) -> None:
        raise AssertionError("filmed")

    monkeypatch.setattr(filming, "film", refuse)
    sample = module.load(None, "val").samples[0]
    with pytest.raises(AssertionError, match="filmed"):
        sample.input.visual.read(4)


@each_module
def test_the_folder_of_files_does_not_matter(module: ModuleType, tmp_path: Path) -> None:
    a, b = (module.load(root, "val").samples[3] for root in (tmp_path, None))
    assert (a.id, a.target, a.tags) == (b.id, b.target, b.tags)


@each_module
@pytest.mark.parametrize("split", ["", "tset", "Train"])
def test_an_unknown_split_is_refused(module: ModuleType, split: str) -> None:
    with pytest.raises(BadInput, match="train, val, test, test-comp"):
        module.load(None, split)


def test_a_clip_to_caption_has_five_references_and_says_how_much_happens() -> None:
    for sample in video_captions.load(None, "test").samples[:100]:
        assert isinstance(sample.input, Uncaptioned)
        assert isinstance(sample.target, CaptionTarget)
        assert len(sample.target.references) == 5
        scene = sample.input.visual.scene
        assert isinstance(scene, ClipScene)
        assert sample.tags == {"events": str(len(scene.events))}


def test_retrieval_has_the_five_captions_and_counts_the_foils() -> None:
    captioned = video_captions.load(None, "test").samples
    for index, sample in enumerate(video_retrieval.load(None, "test").samples[:100]):
        assert isinstance(sample.input, CaptionedVisual)
        assert sample.input.texts == captioned[index].target.references
        assert len(sample.input.foils) == 5
        foils = sum(foil != "" for foil in sample.input.foils)
        assert sample.target == RetrievalTarget(texts=5, foils=foils)
        assert sample.tags == {}


def test_a_moment_is_the_one_that_its_sentence_tells_of() -> None:
    for sample in moments.load(None, "test").samples[:200]:
        assert isinstance(sample.input, MomentQuery)
        assert isinstance(sample.target, MomentTarget)
        ((start, end),) = sample.target.moments
        scene = sample.input.visual.scene
        assert isinstance(scene, ClipScene)
        assert 0 < start < end < sample.input.visual.duration
        assert narrating.find_event(sample.input.text, scene) == (start, end)
        (event,) = (e for e in scene.events if narrating.span_of(e) == (start, end))
        assert sample.tags == {"event": event.kind}


def test_no_one_window_is_a_good_answer_to_all_sentences() -> None:
    spans = np.array(
        [sample.target.moments[0] for sample in moments.load(None, "test").samples[:500]]
    )

    def hits(start: float, end: float) -> float:
        both = np.minimum(end, spans[:, 1]) - np.maximum(start, spans[:, 0])
        either = np.maximum(end, spans[:, 1]) - np.minimum(start, spans[:, 0])
        return float((both / either >= 0.5).mean())

    windows = [(a / 4, b / 4) for a in range(32) for b in range(a + 1, 33)]
    assert max(hits(start, end) for start, end in windows) < 0.3
