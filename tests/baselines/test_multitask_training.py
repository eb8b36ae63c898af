"""Training VL-BERT and ViLBERT for several tasks: what batches hold, going on after a stop, and
what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, cast

import numpy as np
import pytest
import torch

from harness.baselines.multitask_examples import (
    Collator,
    Example,
    Kind,
    OneKindBatches,
    Reader,
    kind_of,
    of_other_pictures,
    pad_choices,
    texts_of,
)
from harness.baselines.multitask_folder import read_folder
from harness.baselines.multitask_recipes import recipe_for
from harness.baselines.multitask_vision import VisionConfig, frames_as_regions, moments_of
from harness.baselines.nce_inputs import rows_of_tags
from harness.baselines.region_encoder import RegionConfig
from harness.baselines.train_multitask import train_vilbert, train_vlbert, train_vlbert_blind
from harness.baselines.training import CurveTrainer
from harness.baselines.visual_encoder import VisualConfig
from harness.baselines.words import Vocabulary, learn_vocabulary
from harness.errors import BadInput
from harness.tasks.targets import (
    BoxTarget,
    MomentTarget,
    RetrievalTarget,
    VcrTarget,
    VqaTarget,
)
from harness.types import (
    CaptionedVisual,
    Dataset,
    Expression,
    NamedBox,
    Picture,
    ReasonedQuestion,
    RegionAnnotation,
    Sample,
    TrainPart,
    TrainRequest,
)

TINY = {
    "epochs": "2",
    "hidden_size": "16",
    "heads": "2",
    "layers": "2",
    "image_layers": "1",
    "intermediate_size": "16",
    "channels": "4,8",
    "narrow": "4",
    "side": "16",
    "frames": "8",
    "frame_size": "8",
    "warmup": "2",
    "answers_batch": "2",
    "regions_batch": "3",
    "choices_batch": "3",
    "pairs_batch": "3",
    "moments_batch": "3",
}
MODULES = {
    "vqa/toybox": "vqa",
    "vqa/toybox-vcr": "vcr",
    "spatial-localization/toybox": "expressions",
    "retrieval/toybox": "retrieval",
    "temporal-localization/toybox": "moments",
    "video-retrieval/toybox": "video_retrieval",
}
TRAIN: dict[str, Callable[[TrainRequest], None]] = {
    "vlbert": train_vlbert,
    "vilbert": train_vilbert,
    "vlbert-blind": train_vlbert_blind,
}


def part(task: str, split: str, count: int) -> Dataset:
    module = import_module(f"harness.tasks.datasets.toybox.{MODULES[task]}")
    dataset: Dataset = module.load(None, split)
    return replace(dataset, samples=dataset.samples[:count])


def request(output: Path, *tasks: str, validated: int = 2, **changes: str) -> TrainRequest:
    parts = [
        TrainPart(
            *task.split("/"),
            part(task, "train", 8),
            part(task, "val", validated) if validated else None,
        )
        for task in tasks
    ]
    return TrainRequest(
        **vars(parts[0]),
        also=tuple(parts[1:]),
        output=output,
        command="harness train ...",
        options={**TINY, **changes},
    )


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_folder(folder)[0].state_dict()
    return state


# ---------------------------------------------------------------- batches of one kind


KINDS: list[Kind] = ["answers"] * 7 + ["pairs"] * 5 + ["answers"] * 2 + ["moments"]
SIZES: dict[Kind, int] = {"answers": 4, "pairs": 2, "moments": 8}


def epoch_of(seed: int, epoch: int, batches: OneKindBatches | None = None) -> list[list[int]]:
    batches = batches or OneKindBatches(KINDS, SIZES, seed)
    batches.set_epoch(epoch)
    return list(batches)


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
    return VisionConfig(RegionConfig(side=16), visual, 8, moment_lengths=(2, 3, 5))


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
    assert frames_as_regions(with_clips()).tolist() == [[i, i + 1] for i in range(8)]


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


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("name", ["vlbert", "vilbert"])
def test_one_set_of_weights_is_trained_for_every_task(name: str, tmp_path: Path) -> None:
    TRAIN[name](request(tmp_path, *MODULES, epochs="1", pairs_draw="2"))
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"card.md", "config.json", "curve.json", "model.safetensors", "vocab.txt"}
    (measured,) = json.loads((tmp_path / "curve.json").read_text())
    for task, measure in {
        "vqa/toybox": "soft_score",
        "vqa/toybox-vcr": "reasons",
        "spatial-localization/toybox": "accuracy",
        "retrieval/toybox": "binding",
        "temporal-localization/toybox": "mean_iou",
        "video-retrieval/toybox": "text_to_visual_r1",
    }.items():
        assert 0 <= measured[f"eval_{task} {measure}"] <= 1
        assert f"{task}, train: 8 samples" in (tmp_path / "card.md").read_text()
    seer, _, config = read_folder(tmp_path)
    assert config.trained_on == tuple(MODULES)
    assert all(value.isfinite().all() for value in seer.state_dict().values())


@pytest.mark.parametrize("name", ["vlbert", "vilbert"])
def test_a_training_that_was_stopped_ends_as_one_that_was_not(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = ("vqa/toybox", "retrieval/toybox", "spatial-localization/toybox")
    asked = {"answers_draw": "1", "dropout": "0.1"}  # drawn by chance, so chance must go on too
    TRAIN[name](request(tmp_path / "straight", *tasks, **asked))
    with monkeypatch.context() as patch:
        evaluate = CurveTrainer.evaluate

        def stop_in_the_second_epoch(self: Any, *args: Any, **kwargs: Any) -> Any:
            if self.state.epoch > 1:
                raise KeyboardInterrupt
            return evaluate(self, *args, **kwargs)

        patch.setattr(CurveTrainer, "evaluate", stop_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            TRAIN[name](request(tmp_path / "stopped", *tasks, **asked))
    TRAIN[name](request(tmp_path / "stopped", *tasks, **asked))
    straight, stopped = weights_of(tmp_path / "straight"), weights_of(tmp_path / "stopped")
    assert straight.keys() == stopped.keys()
    for place, value in straight.items():
        assert torch.equal(value, stopped[place]), place
    curves = [
        json.loads((tmp_path / folder / "curve.json").read_text())
        for folder in ("straight", "stopped")
    ]
    assert curves[0] == curves[1]
    assert [entry["epoch"] for entry in curves[0]] == [1.0, 2.0]


def test_the_blind_are_trained_without_a_picture(tmp_path: Path) -> None:
    def refuse() -> Any:
        raise AssertionError("a picture was read")

    asked = request(tmp_path, "vqa/toybox", validated=0, epochs="1")
    hidden = [
        replace(s, input=replace(s.input, visual=replace(s.input.visual, read=refuse)))
        for s in asked.train.samples
    ]
    train_vlbert_blind(replace(asked, train=replace(asked.train, samples=hidden)))
    seer, _, config = read_folder(tmp_path)
    assert config.vision.blind
    assert not any(name.startswith("vision.") for name in seer.state_dict())


# ---------------------------------------------------------------- refusals

Cli = Callable[..., CompletedProcess[str]]


def refused(cli: Cli, *arguments: str) -> str:
    done = cli("train", *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    return cast(str, done.stderr)


def test_models_of_one_task_are_not_trained_for_two(cli: Cli) -> None:
    said = refused(cli, "--task", "vqa", "--task", "retrieval", "--model", "nce")
    assert "nce is trained for one task at a time" in said


def test_a_task_is_not_given_twice(cli: Cli) -> None:
    said = refused(cli, "--task", "vqa", "--task", "vqa/toybox", "--model", "vlbert")
    assert "given twice" in said


def test_a_model_is_not_trained_for_what_it_cannot_do(cli: Cli) -> None:
    said = refused(cli, "--task", "vqa", "--task", "captioning", "--model", "vilbert")
    assert "vilbert cannot be trained for captioning" in said


def test_the_blind_are_not_trained_on_clips(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not trained on clips"):
        train_vlbert_blind(request(tmp_path, "temporal-localization/toybox"))


def test_questions_without_an_answer_vocabulary_are_refused(tmp_path: Path) -> None:
    asked = request(tmp_path, "vqa/toybox")
    with pytest.raises(BadInput, match="vqa/toybox: its training part has no answer vocabulary"):
        train_vlbert(replace(asked, train=replace(asked.train, answers=())))


@pytest.mark.parametrize(
    "option",
    [
        "sizes=3",
        "epochs=many",
        "answers_batch=0",
        "regions=segmentz",
        "hidden_size=12",
        "image_layers=4",
        "channels=a,b",
        "channels=",
        "dropout=1",
    ],
)
def test_an_option_that_makes_no_sense_is_named(option: str) -> None:
    name, _, value = option.partition("=")
    with pytest.raises(BadInput, match=f"--set {name}"):
        recipe_for("vilbert", {name: value})
