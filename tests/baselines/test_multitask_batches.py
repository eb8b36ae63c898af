"""What batches of VL-BERT's and ViLBERT's training hold: each of one kind, every example once an
epoch, and what a text leads to beside the right regions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from harness.baselines.multitask_batches import (
    Collator,
    OneKindBatches,
    of_other_pictures,
    pad_choices,
)
from harness.baselines.multitask_examples import Example, Kind, Reader, kind_of, texts_of
from harness.baselines.multitask_vision import (
    VisionConfig,
    cut_up_frames,
    frame_batch,
    moments_of,
)
from harness.baselines.region_encoder import RegionConfig
from harness.baselines.text_inputs import rows_of_tags
from harness.baselines.visual_encoder import VisualConfig
from harness.baselines.words import Vocabulary, learn_vocabulary
from harness.tasks.targets import (
    BoxTarget,
    MomentTarget,
    RetrievalTarget,
    VcrTarget,
    VqaTarget,
)
from harness.types import (
    CaptionedVisual,
    Clip,
    Dataset,
    Expression,
    NamedBox,
    Picture,
    ReasonedQuestion,
    RegionAnnotation,
    Sample,
)

MODULES = {
    "vqa/toybox": "vqa",
    "vqa/toybox-vcr": "vcr",
    "spatial-localization/toybox": "expressions",
    "temporal-localization/toybox": "moments",
}


def part(task: str, split: str, count: int) -> Dataset:
    module = import_module(f"harness.tasks.datasets.toybox.{MODULES[task]}")
    dataset: Dataset = module.load(None, split)
    return replace(dataset, samples=dataset.samples[:count])


# ---------------------------------------------------------------- batches of one kind


ANSWERS: list[Kind] = ["answers"]
PAIRS: list[Kind] = ["pairs"]
MOMENTS: list[Kind] = ["moments"]
KINDS = 7 * ANSWERS + 5 * PAIRS + 2 * ANSWERS + MOMENTS
SIZES: dict[Kind, int] = {"answers": 4, "pairs": 2, "moments": 8}


def epoch_of(seed: int, epoch: int, batches: OneKindBatches | None = None) -> list[list[int]]:
    batches = batches or OneKindBatches(KINDS, SIZES, seed)
    batches.set_epoch(epoch)
    return list(batches)


def test_a_kind_with_passes_comes_so_often_an_epoch() -> None:
    batches = OneKindBatches(KINDS, SIZES, 0, passes={"answers": 2})
    found = list(batches)
    assert len(found) == len(batches)
    times = Counter(place for batch in found for place in batch)
    assert all(times[place] == (2 if kind == "answers" else 1) for place, kind in enumerate(KINDS))


def test_a_part_of_a_pass_takes_other_examples_each_epoch() -> None:
    batches = OneKindBatches(KINDS, SIZES, 0, passes={"answers": 1.5, "pairs": 0.5})
    answers, pairs = (
        [place for place, kind in enumerate(KINDS) if kind == wanted]
        for wanted in ("answers", "pairs")
    )
    seen: set[int] = set()
    for epoch in range(8):
        found = epoch_of(0, epoch, batches)
        assert len(found) == len(batches) == 4 + 2 + 1  # of 3, 3 and 1 batches in a pass
        times = Counter(place for batch in found for place in batch)
        assert all(1 <= times[place] <= 2 for place in answers)
        assert all(times[place] <= 1 for place in pairs)
        seen |= times.keys()
    assert seen >= set(pairs)


def test_each_batch_is_of_one_kind_and_every_example_comes_once_an_epoch() -> None:
    found = epoch_of(0, 0)
    assert sorted(place for batch in found for place in batch) == list(range(len(KINDS)))
    assert len(found) == len(OneKindBatches(KINDS, SIZES, 0)) == 3 + 3 + 1
    for batch in found:
        (kind,) = {KINDS[place] for place in batch}
        assert len(batch) <= SIZES[kind]


def test_the_order_depends_on_the_seed_and_the_epoch_alone() -> None:
    straight = OneKindBatches(KINDS, SIZES, 3)
    torch.manual_seed(0)
    epochs = [epoch_of(3, epoch, straight) for epoch in range(3)]
    torch.manual_seed(1)
    assert epoch_of(3, 2) == epochs[2]  # as a training that goes on there
    assert epochs[0] != epochs[1] != epochs[2]
    assert epoch_of(4, 0) != epochs[0]


# ---------------------------------------------------------------- what batches hold

RED, BLUE = (5, 5, 25, 25), (40, 10, 60, 20)  # the larger one is region 1


def picture(name: str, blue: bool = True) -> Picture:
    pixels = np.full((50, 70, 3), 90, dtype=np.uint8)
    for (x1, y1, x2, y2), colour in ((RED, (250, 20, 20)), (BLUE, (20, 20, 250)))[: 1 + blue]:
        pixels[y1:y2, x1:x2] = colour
    return Picture(name, lambda: pixels)


def dataset_of(inputs: Sequence[Any], targets: Sequence[Any], **changes: Any) -> Dataset:
    samples = [
        Sample(str(place), asked, target, asked.visual.id)
        for place, (asked, target) in enumerate(zip(inputs, targets, strict=True))
    ]
    return Dataset("made-up", "train", samples, "0" * 64, **changes)


def with_clips() -> VisionConfig:
    visual = VisualConfig(side=16, channels=(4, 8), stem=4, size=8, narrow=4, frames=8)
    return VisionConfig(RegionConfig(side=16), visual, 8, moment_lengths=(2, 3, 5), frames=2)


def batch_of(
    dataset: Dataset, labels: dict[str, int] | None = None, draw: int = 1
) -> tuple[dict[str, Any], Vocabulary, list[Example]]:
    vocabulary = learn_vocabulary(texts_of(dataset))
    answers = {answer: place for place, answer in enumerate(dataset.answers)}
    examples = Reader(vocabulary, with_clips(), answers, labels or {}).examples_of(dataset)
    collate = Collator(
        with_clips(),
        {kind_of(dataset): draw},
        rows_of_tags(vocabulary),
        len(answers),
        len(labels or {}),
    )
    torch.manual_seed(0)
    return collate(examples), vocabulary, examples


def annotations_of(shown: Picture) -> list[RegionAnnotation]:
    found = [RegionAnnotation(RED, ("red", "square"))]
    return [*found, RegionAnnotation(BLUE, ("blue",))] if shown.id == "both" else found


def test_overlaps_and_labels_stand_on_the_right_regions() -> None:
    asked = [
        Expression(picture("one", blue=False), "the red thing"),
        Expression(picture("both"), "the blue thing"),
        Expression(picture("both"), "the red one"),
    ]
    targets = [BoxTarget(box) for box in ((5.0, 5.0, 25.0, 25.0), BLUE, RED)]
    labels = {"blue": 0, "red": 1, "square": 2}
    dataset = dataset_of(asked, targets, region_annotations=annotations_of)
    batch, vocabulary, _ = batch_of(dataset, labels, draw=2)
    assert batch["kind"] == "regions"
    assert batch["rows"].tolist() == [0, 1, 1]
    assert batch["mask"].tolist() == [[True, True, False], [True, True, True]]
    assert batch["boxes"][1].tolist() == [[0, 0, 70, 50], [*map(float, RED)], [*map(float, BLUE)]]
    assert not batch["tags"].any()
    word = vocabulary.words.index("blue")
    for text, overlaps in zip(batch["texts"].tolist(), batch["overlaps"].tolist(), strict=True):
        meant = 2 if word in text else 1
        assert overlaps[meant] == 1.0
        assert overlaps[0] == pytest.approx((200 if meant == 2 else 400) / 3500)
        assert sum(overlaps) == pytest.approx(1 + overlaps[0])
    assert batch["labels"][0].tolist() == [[0, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert batch["labels"][1].tolist() == [[0, 0, 0], [0, 1, 1], [1, 0, 0]]


def test_foils_are_the_same_words_or_another_pictures_text() -> None:
    asked = [
        CaptionedVisual(picture("a"), ("red left of blue", "two things"), ("blue left of red", "")),
        CaptionedVisual(picture("b"), ("one red thing", "red alone"), ("", "")),
        CaptionedVisual(picture("c"), ("nothing",), ()),
    ]
    dataset = dataset_of(asked, [RetrievalTarget(2)] * 3)
    batch, vocabulary, examples = batch_of(dataset, draw=2)
    own = [{text.ids for text in example.texts} for example in examples]
    rows, others = batch["rows"], batch["others"]
    assert batch["kind"] == "pairs"
    assert len(rows) == 5
    assert (rows[others] == (rows + 1) % 3).all()
    said = [tuple(ids[ids > 0].tolist()) for ids in batch["texts"]]
    foils = [tuple(ids[ids > 0].tolist()) for ids in batch["foils"]]
    turned = {
        tuple(vocabulary.encode(text, 48)): tuple(vocabulary.encode(foil, 48))
        for text, foil in [("red left of blue", "blue left of red")]
    }
    for place, (text, foil) in enumerate(zip(said, foils, strict=True)):
        assert foil not in own[int(rows[place])]
        assert foil == turned.get(text, said[int(others[place])])


def test_texts_of_other_pictures_are_never_of_the_same() -> None:
    rows = torch.tensor([0, 0, 0, 1, 2, 2])
    assert of_other_pictures(rows).tolist() == [3, 3, 3, 4, 0, 1]
    assert of_other_pictures(torch.tensor([0, 1, 2])).tolist() == [1, 2, 0]
    assert of_other_pictures(torch.tensor([0])).tolist() == [0]


def test_tags_number_the_named_things_and_words_name_their_regions() -> None:
    things = (NamedBox(BLUE, "square"), NamedBox(RED, "square"))
    asked = [
        ReasonedQuestion(
            picture("both"), "is [1] red?", ("[0,1] are", "no"), ("so", "[0]"), things, "no"
        ),
        ReasonedQuestion(picture("one"), "is [0]?", ("a", "b"), ("c", "d"), things[:1], "a"),
    ]
    batch, vocabulary, _ = batch_of(dataset_of(asked, [VcrTarget(1, 0), VcrTarget(0, 1)]), draw=2)
    assert batch["tags"].tolist() == [[0, 1, 2], [0, 1, 0]]
    assert batch["boxes"][0].tolist()[1:] == [[*map(float, BLUE)], [*map(float, RED)]]
    assert batch["choices"].shape[:2] == (4, 2)
    assert sorted(batch["right"].tolist()) == [0, 0, 1, 1]
    named = batch["named"]
    assert named[vocabulary.words.index("tag0")] == 1
    assert named[vocabulary.words.index("tag1")] == 2
    assert named.sum() == 3


def test_unequal_numbers_of_choices_are_filled_with_empty_ones() -> None:
    found = pad_choices([[[1, 2], [3]], [[4], [5], [6, 7, 8]]])
    assert found.tolist() == [
        [[1, 2, 0], [3, 0, 0], [0, 0, 0]],
        [[4, 0, 0], [5, 0, 0], [6, 7, 8]],
    ]


def test_windows_overlap_the_nearest_right_moment() -> None:
    dataset = part("temporal-localization/toybox", "train", 1)
    sample = dataset.samples[0]
    second = sample.input.visual.duration / 8  # a frame
    moments = ((0.0, 2 * second), (5 * second, 8 * second))
    changed = replace(dataset, samples=[replace(sample, target=MomentTarget(moments))])
    batch, _, _ = batch_of(changed)
    windows = moments_of(with_clips()).tolist()
    overlaps = batch["overlaps"][0].tolist()
    assert len(overlaps) == 1 + len(windows)
    found = dict(zip(map(tuple, windows), overlaps[1:], strict=True))
    assert overlaps[0] == 0  # the whole clip is no moment
    assert found[0, 2] == found[5, 8] == 1.0
    assert found[0, 3] == pytest.approx(2 / 3)
    assert found[3, 5] == 0.0
    assert batch["windows"].tolist() == windows


def _changed(target: Any) -> Any:
    if isinstance(target, VqaTarget):
        return VqaTarget(("no",) if target.answers[0] != "no" else ("yes",))
    if isinstance(target, VcrTarget):
        return VcrTarget((target.answer + 1) % 4, (target.reason + 1) % 4)
    if isinstance(target, BoxTarget):
        return BoxTarget((0.0, 0.0, 95.0, 95.0))
    return MomentTarget(((0.0, 1.0),))


@pytest.mark.parametrize(
    ("task", "led_to"),
    [
        ("vqa/toybox", "targets"),
        ("vqa/toybox-vcr", "right"),
        ("spatial-localization/toybox", "overlaps"),
        ("temporal-localization/toybox", "overlaps"),
    ],
)
def test_no_target_is_read_into_an_input(task: str, led_to: str) -> None:
    dataset = part(task, "train", 6)
    samples = [replace(sample, target=_changed(sample.target)) for sample in dataset.samples]
    other = batch_of(replace(dataset, samples=samples), draw=3)[0]
    batch = batch_of(dataset, draw=3)[0]
    assert batch.keys() == other.keys()
    for name, value in batch.items():
        same = value == other[name] if name == "kind" else torch.equal(value, other[name])
        assert same is (name != led_to), name


# ---------------------------------------------------------------- clips as the regions of frames


def test_each_region_of_a_clip_knows_its_frame() -> None:
    frames = np.zeros((2, 32, 32, 3), dtype=np.uint8)
    frames[0, 4:12, 4:12] = (255, 0, 0)
    frames[1, 20:28, 16:24] = (255, 0, 0)
    clip = Clip("c", lambda count: frames[:count], duration=2.0)
    seen = cut_up_frames(clip, with_clips())
    assert seen.frames.tolist() == [0, 1, 1, 2, 2]
    whole, thing, moved = [0, 0, 32, 32], [4, 4, 12, 12], [16, 20, 24, 28]
    assert seen.regions.boxes.tolist() == [whole, whole, thing, whole, moved]
    still = Clip("d", lambda count: frames[:1].repeat(count, axis=0) * 0, duration=2.0)
    batch, when = frame_batch([seen, cut_up_frames(still, with_clips())])
    assert when.tolist() == [[0, 1, 1, 2, 2], [0, 1, 2, 0, 0]]
    assert batch.mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
