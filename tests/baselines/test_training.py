"""What every training shares: its curve, its settings, and what it leaves in its folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from harness.baselines.training import (
    CurveTrainer,
    PlainProgress,
    at_the_end,
    finish,
    learn,
    training_arguments,
)
from harness.types import Dataset, Sample, TrainRequest


class Line(nn.Module):
    """A network of one weight, whose loss is least where x * weight = y."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"loss": ((x * self.weight - y) ** 2).mean()}


def part(count: int) -> Dataset:
    samples = [Sample(str(place), None, None, "one") for place in range(count)]
    return Dataset("lines", "train", samples, "0" * 64)


def request(output: Path, validation: Dataset | None) -> TrainRequest:
    return TrainRequest("vqa", "lines", part(4), validation, output, "harness train ...")


def trainer_of(
    asked: TrainRequest, network: Line, measure: Callable[[], dict[str, float]] | None
) -> CurveTrainer:
    arguments = training_arguments(
        asked,
        epochs=3,
        batch=2,
        learning_rate=0.1,
        weight_decay=0.0,
        warmup=1,
        label_names=["y"],
    )
    examples = [{"x": torch.tensor(1.0), "y": torch.tensor(2.0)}] * 4
    return CurveTrainer(
        measure, model=network, args=arguments, train_dataset=examples, callbacks=[PlainProgress()]
    )


def test_the_curve_is_what_is_measured_after_each_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = Line()
    modes: list[bool] = []

    def measure() -> dict[str, float]:
        modes.append(network.training)
        network.eval()
        return {"weight": network.weight.item(), "two": 2.0}

    trainer = trainer_of(request(tmp_path, part(1)), network, measure)
    curve = learn(trainer, tmp_path / "checkpoints")
    assert [entry["epoch"] for entry in curve] == [1.0, 2.0, 3.0]
    assert 0 < curve[0]["eval_weight"] < curve[1]["eval_weight"] < curve[2]["eval_weight"]
    assert modes == [True] * 3  # each evaluation hands the network back as it was
    assert network.training
    shown = [line for line in capsys.readouterr().out.splitlines() if "eval_two" in line]
    assert len(shown) == 3
    assert all("s of processor" in line for line in shown)


@pytest.mark.parametrize("validation", [None, part(0)])
def test_nothing_is_measured_without_a_validation_part(
    tmp_path: Path, validation: Dataset | None
) -> None:
    trainer = trainer_of(request(tmp_path, validation), Line(), None)
    assert learn(trainer, tmp_path / "checkpoints") == []


def test_a_training_goes_on_from_its_newest_whole_checkpoint(tmp_path: Path) -> None:
    measured: list[float] = []

    def measure() -> dict[str, float]:
        if len(measured) == 1:
            measured.append(0.0)
            raise KeyboardInterrupt
        measured.append(1.0)
        return {"one": 1.0}

    asked = request(tmp_path, part(1))
    with pytest.raises(KeyboardInterrupt):
        learn(trainer_of(asked, Line(), measure), tmp_path / "checkpoints")
    curve = learn(trainer_of(asked, Line(), measure), tmp_path / "checkpoints")
    assert measured == [1.0, 0.0, 1.0, 1.0]  # the first epoch was not trained again
    assert [entry["epoch"] for entry in curve] == [1.0, 2.0, 3.0]


def test_at_most_two_checkpoints_are_kept_and_none_at_the_end(tmp_path: Path) -> None:
    asked = request(tmp_path / "weights", part(1))
    curve = learn(trainer_of(asked, Line(), lambda: {"r1": 0.1234}), tmp_path / "checkpoints")
    assert len(list((tmp_path / "weights" / "checkpoints").glob("checkpoint-*"))) == 2
    finish(asked, curve, ["Trained.", "", f"- at the end: {at_the_end(curve)}"])
    assert {path.name for path in asked.output.iterdir()} == {"card.md", "curve.json"}
    assert json.loads((asked.output / "curve.json").read_text()) == curve
    card = (asked.output / "card.md").read_text()
    assert card == "# weights\n\nTrained.\n\n- at the end: r1 12.3\n"


def test_a_card_tells_the_last_evaluation_only() -> None:
    curve = [{"epoch": 1.0, "eval_r1": 0.1}, {"epoch": 2.0, "eval_r1": 0.25, "eval_r5": 0.5}]
    assert at_the_end(curve, " %") == "r1 25.0 %, r5 50.0 %"
    assert at_the_end([]) == "not measured"


def test_a_batch_is_never_split_over_devices(tmp_path: Path) -> None:
    trainer = trainer_of(replace(request(tmp_path, None), seed=7), Line(), None)
    assert trainer.args.n_gpu <= 1
    assert trainer.args.seed == 7
    assert trainer.args.label_names == ["y"]
