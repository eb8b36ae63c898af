"""A training of VL-BERT or ViLBERT from start to end: a folder that evaluates, weights that no
annotation reaches, the same again from the same seed, and what other trainings left. Batches and
refusals are in test_multitask_training.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.baselines.grounding import naming_words
from harness.baselines.multitask_batches import Collator
from harness.baselines.multitask_examples import Reader
from harness.baselines.multitask_folder import build, read_folder
from harness.baselines.multitask_learning import WithLosses
from harness.baselines.multitask_recipes import Recipe
from harness.baselines.region_labels import label_words_of
from harness.baselines.text_inputs import rows_of_tags
from harness.baselines.train_multitask import train_vilbert, train_vlbert
from harness.baselines.training import CurveTrainer
from harness.errors import BadInput
from harness.evaluate import EvalRequest, evaluate
from harness.types import Dataset, TrainPart, TrainRequest

TINY = {
    "epochs": "1",
    "hidden_size": "16",
    "heads": "2",
    "layers": "2",
    "image_layers": "1",
    "intermediate_size": "16",
    "warmup": "2",
    "answers_batch": "2",
}
MODULES = {
    "vqa/toybox": "vqa",
    "vqa/toybox-vcr": "vcr",
    "spatial-localization/toybox": "expressions",
}
TRAIN: dict[str, Callable[[TrainRequest], None]] = {
    "vlbert": train_vlbert,
    "vilbert": train_vilbert,
}


def part(task: str, split: str, count: int) -> Dataset:
    module = import_module(f"harness.tasks.datasets.toybox.{MODULES[task]}")
    dataset: Dataset = module.load(None, split)
    return replace(dataset, samples=dataset.samples[:count])


def request(
    output: Path, *tasks: str, count: int = 20, validated: int = 0, **changes: str
) -> TrainRequest:
    parts = []
    for name in tasks or ("vqa/toybox",):
        task, _, data = name.partition("/")
        validation = part(name, "val", validated) if validated else None
        parts.append(TrainPart(task, data, part(name, "train", count), validation))
    return TrainRequest(
        **vars(parts[0]),
        also=tuple(parts[1:]),
        output=output,
        command="harness train ...",
        options={**TINY, **changes},
    )


def weights_of(folder: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = read_folder(folder)[0].state_dict()
    return state


# ---------------------------------------------------------------- what comes out


@pytest.mark.parametrize("name", TRAIN)
@pytest.mark.usefixtures("small_toybox")
def test_training_writes_a_folder_that_evaluates(name: str, tmp_path: Path) -> None:
    tasks = ("vqa/toybox", "spatial-localization/toybox")
    TRAIN[name](request(tmp_path / "weights", *tasks, validated=2))
    card = (tmp_path / "weights" / "card.md").read_text()
    assert "harness train ..." in card
    for task in tasks:
        assert part(task, "train", 1).sha256 in card
        asked = EvalRequest(
            task,
            name,
            weights=tmp_path / "weights",
            limit=10,
            device="cpu",
            controls="none",
            output=tmp_path / "runs",
        )
        assert evaluate(asked).result["coverage"]["scored"] == 10


@pytest.mark.parametrize("name", TRAIN)
def test_no_annotation_reaches_the_network_that_is_kept(name: str, tmp_path: Path) -> None:
    """What is told of regions has layers of its own; what is saved is the network alone."""
    TRAIN[name](request(tmp_path))
    seer, vocabulary, config = read_folder(tmp_path)
    assert seer.state_dict().keys() == build(config, vocabulary).state_dict().keys()
    for layers in ("naming", "placing", "mentions", "roles", "told", "shared"):
        assert not any(layers in name for name in seer.state_dict())


def _flipped(name: str, value: Tensor) -> Tensor:
    return (value + 1) % 4 if name == "right" else 1 - value


@pytest.mark.parametrize("name", TRAIN)
@pytest.mark.parametrize(
    ("task", "method", "target"),
    [
        ("vqa/toybox", "answer_logits", "targets"),
        ("vqa/toybox-vcr", "choice_logits", "right"),
        ("spatial-localization/toybox", "region_logits", "overlaps"),
    ],
)
def test_logits_do_not_depend_on_labels_and_targets(
    name: str,
    task: str,
    method: str,
    target: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They change losses only."""
    TRAIN[name](request(tmp_path, task, count=6))
    seer, vocabulary, config = read_folder(tmp_path)
    dataset = part(task, "train", 6)
    words = label_words_of(part("vqa/toybox", "train", 6))
    answers = {answer: place for place, answer in enumerate(config.answers)}
    examples = Reader(vocabulary, config.vision, answers, words).examples_of(dataset)
    draws: Any = {examples[0].kind: 2}
    batch = Collator(config.vision, draws, rows_of_tags(vocabulary), len(answers), len(words))(
        examples
    )
    naming = naming_words(vocabulary.words, words)
    # small weights, so that no loss drowns in another's
    recipe = Recipe(hidden_size=config.network.hidden_size, region_loss=1e-3, grounding=1e-3)
    learner = WithLosses(seer, recipe, naming).eval()
    seen: list[Tensor] = []
    compute = getattr(seer.network, method)

    def note(*given: Any) -> Tensor:
        seen.append(compute(*given))
        return seen[-1]

    monkeypatch.setattr(seer.network, method, note)
    with torch.no_grad():
        losses = [learner(**batch)["loss"]]
        for changed in (target, "labels", "roles"):
            losses.append(learner(**batch | {changed: _flipped(changed, batch[changed])})["loss"])
    assert all(torch.equal(seen[0], other) for other in seen[1:])
    assert all(losses[0] != other for other in losses[1:])
    torch.manual_seed(0)
    telling = WithLosses(seer, replace(recipe, telling=1e3), naming).eval()
    telling.load_state_dict(learner.state_dict(), strict=False)
    with torch.no_grad():
        more = telling(**batch)["loss"] - losses[0]
    # only a single stream has a word that looks at regions as they do at it
    assert more > 0.1 if name == "vlbert" else more == 0


@pytest.mark.parametrize("name", TRAIN)
def test_the_same_seed_trains_the_same_weights(name: str, tmp_path: Path) -> None:
    for folder, seed in (("first", 0), ("second", 0), ("third", 1)):
        asked = request(tmp_path / folder, dropout="0.1", answers_draw="1")  # drawn by chance
        TRAIN[name](replace(asked, seed=seed))
    first, second, third = (weights_of(tmp_path / name) for name in ("first", "second", "third"))
    assert first.keys() == second.keys() == third.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)


def test_few_samples_with_words_that_others_lack_can_be_trained_on(tmp_path: Path) -> None:
    train_vlbert(request(tmp_path, count=5))
    assert all(value.isfinite().all() for value in weights_of(tmp_path).values())


# ---------------------------------------------------------------- what other trainings left


def test_checkpoints_of_another_training_are_refused_unless_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.epoch == 2:  # that of the first epoch has its checkpoint
            raise KeyboardInterrupt
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(CurveTrainer, "evaluate", stop)
        with pytest.raises(KeyboardInterrupt):
            train_vlbert(request(tmp_path, validated=2, epochs="2"))
    others = [
        replace(request(tmp_path, epochs="2"), seed=1),
        request(tmp_path, epochs="2", hidden_size="32"),
        request(tmp_path, "vqa/toybox", "spatial-localization/toybox", epochs="2"),
    ]
    for other in others:
        with pytest.raises(BadInput, match="--restart"):
            train_vlbert(other)
    train_vlbert(replace(others[0], resume=False))
    assert "seed 1" in (tmp_path / "card.md").read_text()
    assert not (tmp_path / "checkpoints").exists()


def test_a_checkpoint_torn_by_a_kill_is_passed_over(tmp_path: Path) -> None:
    train_vlbert(request(tmp_path / "straight", validated=4))
    torn = tmp_path / "torn" / "checkpoints" / "checkpoint-999"
    torn.mkdir(parents=True)
    (torn / "model.safetensors").write_bytes(b"half")
    train_vlbert(request(tmp_path / "torn", validated=4))
    curves = [(tmp_path / name / "curve.json").read_text() for name in ("straight", "torn")]
    assert curves[0] == curves[1]
    straight, torn_one = weights_of(tmp_path / "straight"), weights_of(tmp_path / "torn")
    assert all(torch.equal(straight[name], torn_one[name]) for name in straight)


@pytest.mark.parametrize("name", TRAIN)
def test_an_unknown_option_is_named_before_anything_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--set sizes"):
        TRAIN[name](request(tmp_path, sizes="3"))
    assert not list(tmp_path.iterdir())
