"""What every training of a baseline shares: transformers.Trainer with the same settings, a curve
that is measured of the model as users have it, and what is written at the end. Knows no network, no
task and no recipe.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from harness.types import TrainRequest

from .checkpoints import last_whole_checkpoint

Curve = list[dict[str, float]]


class CurveTrainer(Trainer):
    """Trainer whose evaluation is `measure`: name -> value, of the model as users have it on the
    validation part; None where there is no such part."""

    def __init__(self, measure: Callable[[], dict[str, float]] | None, **kwargs: Any) -> None:
        # Trainer does not evaluate without a data set; measure() brings its own
        kwargs.setdefault("eval_dataset", [])
        super().__init__(**kwargs)
        self.measure = measure

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        assert self.model is not None
        assert self.measure is not None
        metrics = {"epoch": self.state.epoch or 0.0}
        metrics |= {f"eval_{name}": value for name, value in self.measure().items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        self.model.train()
        return metrics


class PlainProgress(TrainerCallback):
    """A line for each thing that is logged: seconds, seconds of processor, values."""

    def __init__(self) -> None:
        self.start, self.cpu = time.monotonic(), time.process_time()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        shown = {k: round(v, 4) for k, v in (logs or {}).items() if isinstance(v, int | float)}
        elapsed, worked = time.monotonic() - self.start, time.process_time() - self.cpu
        print(f"{elapsed:6.0f} s, {worked:.0f} s of processor  {shown}", flush=True)


def training_arguments(
    request: TrainRequest,
    *,
    epochs: float,
    batch: int,
    learning_rate: float,
    weight_decay: float,
    warmup: int,
    label_names: Sequence[str],
    max_grad_norm: float = 1.0,
) -> TrainingArguments:
    """`batch`: visuals, for each of which an example holds some texts. `warmup`: steps until the
    learning rate is reached, from where it falls with the cosine. Evaluates and saves after each
    epoch; `label_names` are the inputs that Trainer is to take for targets."""
    arguments = TrainingArguments(
        output_dir=str(request.output / "checkpoints"),
        num_train_epochs=epochs,
        per_device_train_batch_size=batch,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        warmup_steps=warmup,
        lr_scheduler_type="cosine",
        max_grad_norm=max_grad_norm,
        seed=request.seed,
        use_cpu=request.device == "cpu",
        eval_strategy="epoch" if request.validation and len(request.validation.samples) else "no",
        save_strategy="epoch",
        save_total_limit=2,
        logging_strategy="epoch",
        remove_unused_columns=False,
        label_names=list(label_names),
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    # one device: the rows of a batch refer to its visuals and are not to be split
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def learn(trainer: Trainer, checkpoints: Path) -> Curve:
    """Trains, from the newest whole checkpoint on if there is one. Gives the curve: what each
    evaluation logged."""
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last_whole_checkpoint(checkpoints))
    return [entry for entry in trainer.state.log_history if any("eval" in key for key in entry)]


def write_curve(folder: Path, curve: Curve) -> None:
    """curve.json: one object for each evaluation."""
    (folder / "curve.json").write_text(json.dumps(curve, indent=1) + "\n", encoding="utf-8")


def finish(request: TrainRequest, curve: Curve, card: Sequence[str]) -> None:
    """Beside the weights in the request's output: curve.json, and card.md of these lines under the
    folder's name. Then the checkpoints go, which only a training that was stopped needs."""
    write_curve(request.output, curve)
    text = "\n".join([f"# {request.output.name}", "", *card, ""])
    (request.output / "card.md").write_text(text, encoding="utf-8")
    shutil.rmtree(request.output / "checkpoints", ignore_errors=True)


def at_the_end(curve: Curve, unit: str = "") -> str:
    """What the last evaluation measured, x 100, for a card: "text_to_visual_r1 61.2 %, ..."; the
    unit stands behind each number."""
    last = curve[-1] if curve else {}
    measured = [
        f"{name[5:]} {100 * value:.1f}{unit}" for name, value in last.items() if "eval_" in name
    ]
    return ", ".join(measured) or "not measured"
