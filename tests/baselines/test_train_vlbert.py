"""Training: a folder that evaluates, a curve, a card, and going on after a stop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.baselines.region_losses import WithLosses
from harness.baselines.train_vlbert import (
    recipe_for,
    train_vlbert,
    train_vlbert_blind,
)
from harness.baselines.training import CurveTrainer
from harness.baselines.vlbert_vqa import VLBertOverCrops, read_folder
from harness.baselines.vqa_examples import Collator, examples_of, label_words_of
from harness.errors import BadInput
from harness.evaluate import EvalRequest, evaluate
from harness.tasks.datasets.toybox.vqa import load
from harness.types import Dataset, TrainRequest

TINY = {
    "epochs": "2",
    "hidden_size": "16",
    "heads": "2",
    "layers": "3",
    "intermediate_size": "16",
}


def part(split: str, count: int) -> Dataset:
    dataset = load(None, split)
    return replace(dataset, samples=dataset.samples[:count])


def request(output: Path, **changes: str) -> TrainRequest:
    return TrainRequest(
        task="vqa",
        dataset="toybox",
        train=part("train", 160),
        validation=part("val", 40),
        output=output,
        command="harness train ...",
        options={**TINY, **changes},
    )


def test_training_writes_a_folder_that_evaluates(tmp_path: Path) -> None:
    train_vlbert(request(tmp_path / "weights"))
    written = {path.name for path in (tmp_path / "weights").iterdir()}
    assert written == {"card.md", "config.json", "curve.json", "model.safetensors", "vocab.txt"}
    curve = json.loads((tmp_path / "weights" / "curve.json").read_text())
    assert [entry["epoch"] for entry in curve] == [1.0, 2.0]
    assert {"eval_soft_score", "eval_count", "eval_spatial"} <= curve[0].keys()
    card = (tmp_path / "weights" / "card.md").read_text()
    assert "harness train ..." in card
    assert load(None, "train").sha256 in card
    done = evaluate(
        EvalRequest(
            "vqa/toybox",
            "vlbert",
            weights=tmp_path / "weights",
            limit=20,
            device="cpu",
            output=tmp_path / "runs",
        )
    )
    assert done.result["coverage"]["scored"] == 20


def test_the_same_seed_trains_the_same_weights(tmp_path: Path) -> None:
    for name in ("first", "second"):
        train_vlbert(request(tmp_path / name, epochs="1"))
    first, second = (read_folder(tmp_path / name)[0].state_dict() for name in ("first", "second"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_stopped_training_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_vlbert(request(tmp_path / "straight"))
    seen: list[float] = []
    evaluate_epoch = CurveTrainer.evaluate

    def stop_in_the_second_epoch(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(float(self.state.epoch))
        if seen == [1.0, 2.0]:
            raise KeyboardInterrupt
        return evaluate_epoch(self, *args, **kwargs)

    monkeypatch.setattr(CurveTrainer, "evaluate", stop_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        train_vlbert(request(tmp_path / "stopped"))
    train_vlbert(request(tmp_path / "stopped"))
    assert seen == [1.0, 2.0, 2.0]  # the second start did not train the first epoch again
    assert not (tmp_path / "stopped" / "checkpoints").exists()
    straight, stopped = (
        read_folder(tmp_path / name)[0].state_dict() for name in ("straight", "stopped")
    )
    assert all(torch.allclose(straight[name], stopped[name], atol=1e-3) for name in straight)


def test_the_blind_model_never_decodes_a_picture(tmp_path: Path) -> None:
    def refuse() -> Any:
        raise AssertionError("a picture was read")

    asked = request(tmp_path / "blind", epochs="1")
    unreadable = [
        replace(
            sample,
            input=replace(sample.input, visual=replace(sample.input.visual, read=refuse)),
        )
        for sample in asked.train.samples
    ]
    blind = replace(asked, train=replace(asked.train, samples=unreadable), validation=None)
    train_vlbert_blind(blind)
    assert read_folder(tmp_path / "blind")[2].regions.kind == "none"


def test_no_annotation_reaches_the_network_that_is_kept(tmp_path: Path) -> None:
    """The region losses have layers of their own; what is saved is the answering network alone."""
    train_vlbert(request(tmp_path / "weights", epochs="1"))
    network, vocabulary, config = read_folder(tmp_path / "weights")
    assert network.state_dict().keys() == VLBertOverCrops(config, vocabulary).state_dict().keys()
    assert not any("naming" in name or "roles" in name for name in network.state_dict())


def test_logits_do_not_depend_on_labels_and_targets(tmp_path: Path) -> None:
    """Targets and annotations change losses only."""
    train_vlbert(request(tmp_path / "weights", epochs="1"))
    network, vocabulary, config = read_folder(tmp_path / "weights")
    train = part("train", 30)
    answers = {answer: index for index, answer in enumerate(config.answers)}
    words = label_words_of(train)
    examples = examples_of(train, vocabulary, answers, config.regions, words)
    batch = Collator(len(answers), len(words))(examples)
    learner = WithLosses(network, len(words), 1.0).eval()
    with torch.no_grad():
        plain = learner(**batch)
        changed = {
            name: torch.zeros_like(value)
            if name in ("targets", "labels", "labelled", "roles", "mentions")
            else value
            for name, value in batch.items()
        }
        other = learner(**changed)
    assert torch.equal(plain["logits"], other["logits"])
    assert plain["loss"] != other["loss"]


def test_checkpoints_of_another_training_are_refused_unless_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CurveTrainer, "evaluate", stop)
        with pytest.raises(KeyboardInterrupt):
            train_vlbert(request(tmp_path / "weights"))
    other = replace(request(tmp_path / "weights"), seed=1)
    with pytest.raises(BadInput, match="--restart"):
        train_vlbert(other)
    train_vlbert(replace(other, resume=False))
    assert "seed 1" in (tmp_path / "weights" / "card.md").read_text()


def test_a_checkpoint_torn_by_a_kill_is_passed_over(tmp_path: Path) -> None:
    train_vlbert(request(tmp_path / "straight"))
    torn = tmp_path / "torn" / "checkpoints" / "checkpoint-999"
    torn.mkdir(parents=True)
    (torn / "model.safetensors").write_bytes(b"half")
    train_vlbert(request(tmp_path / "torn"))
    curves = [(tmp_path / name / "curve.json").read_text() for name in ("straight", "torn")]
    assert curves[0] == curves[1]


def test_few_samples_with_words_that_others_lack_can_be_trained_on(tmp_path: Path) -> None:
    asked = request(tmp_path / "weights", epochs="1")
    train_vlbert(replace(asked, train=replace(asked.train, samples=asked.train.samples[:5])))
    assert (tmp_path / "weights" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "option", ["sizes=3", "epochs=many", "epochs=0", "regions=segmentz", "hidden_size=12"]
)
def test_an_unknown_or_unreadable_option_is_named(option: str) -> None:
    name, _, value = option.partition("=")
    with pytest.raises(BadInput, match=f"--set {name}"):
        recipe_for("vqa/toybox", {name: value})
