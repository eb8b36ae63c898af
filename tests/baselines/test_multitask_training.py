"""Training VL-BERT and ViLBERT for several tasks: one set of weights, going on after a stop, and
what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch

from harness.baselines.multitask_batches import OneKindBatches
from harness.baselines.multitask_folder import read_folder
from harness.baselines.multitask_recipes import recipe_for
from harness.baselines.train_multitask import (
    _passes_of,
    train_vilbert,
    train_vlbert,
    train_vlbert_blind,
)
from harness.baselines.training import CurveTrainer
from harness.errors import BadInput
from harness.types import (
    Dataset,
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


def _names(task: str) -> tuple[str, str]:
    name, _, dataset = task.partition("/")
    return name, dataset


def request(output: Path, *tasks: str, **changes: str) -> TrainRequest:
    parts = [
        TrainPart(
            *_names(task),
            part(task, "train", 8),
            part(task, "val", 2),
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
    epochs: list[int] = []
    batches_of = OneKindBatches.__iter__

    def noting_the_epoch(self: OneKindBatches) -> Iterator[list[int]]:
        epochs.append(self.epoch)
        return batches_of(self)

    monkeypatch.setattr(OneKindBatches, "__iter__", noting_the_epoch)
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
    assert epochs == [0, 1, 0, 1, 1]  # straight, stopped, gone on
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

    asked = replace(request(tmp_path, "vqa/toybox", epochs="1"), validation=None)
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
    return done.stderr


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
        "pairs_passes=0",
        "clip_pairs_passes=101",
        "choices_passes=inf",
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


def test_each_kind_has_its_own_passes() -> None:
    passes = {"answers": 3, "choices": 0.5, "pairs": 0.75, "clip-pairs": 0.25, "moments": 2}
    options = {f"{kind.replace('-', '_')}_passes": str(times) for kind, times in passes.items()}
    assert _passes_of(recipe_for("vilbert", options)) == passes
