"""Toybox as data sets of captions and of retrieval."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from harness.errors import BadInput
from harness.tasks.datasets.toybox import VERSION, captions, drawing, retrieval
from harness.tasks.datasets.toybox.scenes import PICTURES, SPLITS, Scene, make_scene
from harness.tasks.targets import CaptionTarget, RetrievalTarget
from harness.types import CaptionedVisual, Uncaptioned

MODULES = (captions, retrieval)


@pytest.mark.parametrize("split", SPLITS)
def test_what_is_drawn_and_said_under_this_name_never_changes(
    split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # both draw the same pictures: once is enough
    monkeypatch.setattr("harness.tasks.datasets.toybox.drawing.draw", cache(drawing.draw))
    assert VERSION == "toybox-1"
    for module in MODULES:
        assert module.checksum(split) == module.SHA256[split]


def test_each_split_of_each_data_set_has_a_checksum_of_its_own() -> None:
    sums = [module.load(None, split).sha256 for module in MODULES for split in SPLITS]
    assert len(set(sums)) == 2 * len(SPLITS)


@pytest.mark.parametrize("module", MODULES)
def test_the_checksum_covers_pictures_and_texts(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PICTURES, "val", 3)
    before = module.checksum("val")
    with monkeypatch.context() as patch:
        patch.setattr(
            "harness.tasks.datasets.toybox.drawing.draw", lambda scene: np.zeros(3, dtype=np.uint8)
        )
        assert module.checksum("val") != before
    with monkeypatch.context() as patch:
        original = captions.captions_of
        patch.setattr(module, "captions_of", lambda scene: original(scene)[::-1])
        assert module.checksum("val") != before
    assert module.checksum("val") == before


def test_a_caption_sample_has_a_picture_and_five_references() -> None:
    dataset = captions.load(None, "test")
    sample = dataset.samples[7]
    assert (dataset.name, dataset.split, len(dataset.samples)) == ("toybox", "test", 1000)
    assert sample.id == "test-00007"
    assert sample.group == sample.input.visual.id == f"{VERSION}/test/7"
    assert isinstance(sample.input, Uncaptioned)
    assert sample.target == CaptionTarget(captions.captions_of(make_scene("test", 7)))
    assert sample.tags == {"things": str(len(make_scene("test", 7).things))}


def test_a_retrieval_sample_has_the_same_captions_and_their_foils() -> None:
    dataset = retrieval.load(None, "val")
    for index in range(0, 500, 50):
        sample = dataset.samples[index]
        assert isinstance(sample.input, CaptionedVisual)
        assert sample.input.texts == captions.captions_of(make_scene("val", index))
        assert len(sample.input.foils) == 5
        assert sample.target == RetrievalTarget(5, sum(text != "" for text in sample.input.foils))
        assert sample.id == f"val-{index:05d}"
        assert sample.tags["things"] in ("3", "4", "5", "6")


@pytest.mark.parametrize("module", MODULES)
def test_samples_are_the_same_in_any_order(module: ModuleType) -> None:
    forward = [module.load(None, "train").samples[index] for index in range(5)]
    samples = module.load(None, "train").samples
    backward = [samples[index] for index in (-1, 4, 3, 2, 1, 0)][:0:-1]
    for a, b in zip(forward, backward, strict=True):
        assert (a.id, a.target, a.input.visual.id) == (b.id, b.target, b.input.visual.id)
        assert getattr(a.input, "foils", ()) == getattr(b.input, "foils", ())


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_drawn_before_it_is_read(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(scene: Scene) -> None:
        raise AssertionError("drawn")

    monkeypatch.setattr("harness.tasks.datasets.toybox.drawing.draw", refuse)
    sample = module.load(None, "val").samples[0]
    with pytest.raises(AssertionError, match="drawn"):
        sample.input.visual.read()


@pytest.mark.parametrize("module", MODULES)
def test_an_unknown_split_is_refused(module: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="train, val, test, test-comp"):
        module.load(tmp_path, "tset")
