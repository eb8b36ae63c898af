"""Trains VL-BERT to answer questions, through transformers.Trainer, on any data set with a training
part. Writes a weights folder with its card. Knows no scoring but the soft score of its loss.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass, fields, replace
from statistics import fmean
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from harness.errors import BadInput
from harness.types import TrainRequest

from .checkpoints import last_whole_checkpoint, prepare_checkpoints
from .region_encoder import RegionConfig
from .region_losses import WithLosses
from .vlbert import VLBertConfig
from .vlbert_vqa import (
    AnswererConfig,
    VLBertOverCrops,
    save_folder,
)
from .vqa_examples import Collator, examples_of, label_words_of
from .words import Vocabulary, learn_vocabulary


@dataclass(frozen=True)
class Recipe:
    """How long and how hard to train, and how large a model. Every field is an option of
    `harness train --set name=value`."""

    epochs: int = 8
    pictures_a_batch: int = 8
    learning_rate: float = 7e-4
    weight_decay: float = 1e-4
    region_loss: float = 1.0  # weight of the loss that names what is in a region, where annotated
    hidden_size: int = 128
    layers: int = 4
    heads: int = 8  # a phrase, a relation and a count each want heads of their own
    intermediate_size: int = 256
    dropout: float = 0.0
    initializer_range: float = 0.06  # BERT's 0.02 suits 768 wide; a narrow model stalls with it
    visual_scale_object_init: float = 1.0  # without pretraining, regions must be seen from step 1
    regions: str = "segments"
    rows: int = 4
    columns: int = 4


RECIPES = {
    "vqa/toybox": Recipe(),
    "vqa/easy-vqa": Recipe(hidden_size=64, layers=2, intermediate_size=128),
}
_OTHERWISE = Recipe(regions="grid")


def train_vlbert(request: TrainRequest) -> None:
    """Trains with pictures."""
    _train(request, blind=False)


def train_vlbert_blind(request: TrainRequest) -> None:
    """Trains the same model without pictures: the honest question-only control."""
    _train(request, blind=True)


def recipe_for(name: str, options: dict[str, str]) -> Recipe:
    """The recipe of a "task/dataset", changed by --set options. BadInput for unknown ones."""
    recipe = RECIPES.get(name, _OTHERWISE)
    known = {field.name: field for field in fields(Recipe)}
    changes: dict[str, Any] = {}
    for option, value in options.items():
        if option not in known:
            raise BadInput(f"--set {option}: unknown; choose from {', '.join(known)}")
        kind = type(getattr(recipe, option))
        try:
            changes[option] = kind(value)
        except ValueError:
            raise BadInput(f"--set {option}={value}: not a value of type {kind.__name__}") from None
    recipe = replace(recipe, **changes)
    _check_recipe(recipe)
    return recipe


def _check_recipe(recipe: Recipe) -> None:
    if recipe.regions not in ("segments", "grid"):
        raise BadInput(f"--set regions={recipe.regions}: must be segments or grid")
    for name in ("epochs", "pictures_a_batch", "hidden_size", "layers", "heads", "rows", "columns"):
        if getattr(recipe, name) < 1:
            raise BadInput(f"--set {name}={getattr(recipe, name)}: must be 1 or more")
    if recipe.hidden_size % recipe.heads:
        raise BadInput(
            f"--set hidden_size={recipe.hidden_size}: must be a multiple of heads={recipe.heads}"
        )


# ---------------------------------------------------------------- learning


class SoftScoreTrainer(Trainer):
    """Trainer whose evaluation is the mean soft score of the best answer over the validation
    questions, and over those of each type: the official accuracy up to normalisation."""

    @torch.inference_mode()
    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        model = self.model
        assert model is not None
        model.eval()
        scores: list[float] = []
        for batch in self.get_eval_dataloader():
            inputs = self._prepare_inputs(batch)
            logits = model(**inputs)["logits"]
            best = inputs["targets"].gather(1, logits.argmax(dim=1, keepdim=True))
            scores += best[:, 0].tolist()
        metrics = {"epoch": self.state.epoch or 0.0, "eval_soft_score": fmean(scores)}
        by_kind: dict[str, list[float]] = {}
        kinds = [kind for example in self.eval_dataset for kind in example.kinds]  # type: ignore[union-attr]
        for kind, score in zip(kinds, scores, strict=True):
            by_kind.setdefault(kind, []).append(score)
        metrics |= {f"eval_{kind}": fmean(by_kind[kind]) for kind in sorted(by_kind)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        model.train()
        return metrics


class PlainProgress(TrainerCallback):
    """One line an epoch."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and ("eval_soft_score" in logs or "loss" in logs):
            shown = {k: round(v, 4) for k, v in logs.items() if isinstance(v, int | float)}
            print(f"{time.monotonic() - self.start:6.0f} s  {shown}", flush=True)


def _train(request: TrainRequest, blind: bool) -> None:
    name = f"{request.task}/{request.dataset}"
    recipe = recipe_for(name, dict(request.options))
    if not request.train.answers:
        raise BadInput(f"{name}: its training part has no answer vocabulary, VL-BERT needs one")
    checkpoints = prepare_checkpoints(request, {"recipe": asdict(recipe), "blind": blind})
    set_seed(request.seed)
    start = time.monotonic()
    vocabulary = learn_vocabulary(sample.input.text for sample in request.train.samples)
    config = _config(request, recipe, vocabulary, blind)
    answers = {answer: index for index, answer in enumerate(config.answers)}
    words = label_words_of(request.train)
    network = WithLosses(VLBertOverCrops(config, vocabulary), len(words), recipe.region_loss)
    train = examples_of(request.train, vocabulary, answers, config.regions, words)
    print(f"{time.monotonic() - start:6.0f} s  {len(train)} pictures cut up", flush=True)
    validation = request.validation and examples_of(
        request.validation, vocabulary, answers, config.regions, words
    )
    trainer = SoftScoreTrainer(
        model=network,
        args=_arguments(request, recipe, bool(validation)),
        train_dataset=train,
        eval_dataset=validation,
        data_collator=Collator(len(answers), len(words)),
        callbacks=[PlainProgress()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last_whole_checkpoint(checkpoints))
    save_folder(request.output, network.network, vocabulary, config)
    curve = [entry for entry in trainer.state.log_history if "eval_soft_score" in entry]
    (request.output / "curve.json").write_text(json.dumps(curve, indent=1) + "\n")
    _write_card(request, recipe, config, network.network, curve, time.monotonic() - start)
    shutil.rmtree(checkpoints, ignore_errors=True)


def _config(
    request: TrainRequest, recipe: Recipe, vocabulary: Vocabulary, blind: bool
) -> AnswererConfig:
    architecture = VLBertConfig(
        vocab_size=len(vocabulary.words),
        hidden_size=recipe.hidden_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        intermediate_size=recipe.intermediate_size,
        max_position_embeddings=64,
        appearance_size=recipe.hidden_size,
        geometry_size=128,
        dropout=recipe.dropout,
        initializer_range=recipe.initializer_range,
        visual_scale_object_init=recipe.visual_scale_object_init,
        answers=len(request.train.answers),
    )
    kind: Any = "none" if blind else recipe.regions
    return AnswererConfig(
        architecture,
        RegionConfig(kind=kind, rows=recipe.rows, columns=recipe.columns),
        request.train.answers,
        trained_on=f"{request.task}/{request.dataset}",
    )


def _arguments(request: TrainRequest, recipe: Recipe, evaluates: bool) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(request.output / "checkpoints"),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.pictures_a_batch,
        per_device_eval_batch_size=recipe.pictures_a_batch,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup_steps=200,
        lr_scheduler_type="cosine",
        max_grad_norm=1.0,
        seed=request.seed,
        use_cpu=request.device == "cpu",
        eval_strategy="epoch" if evaluates else "no",
        save_strategy="epoch",
        save_total_limit=2,
        logging_strategy="epoch",
        remove_unused_columns=False,
        label_names=["targets"],
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    # one device: the rows of a batch refer to its pictures and are not to be split
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def _write_card(
    request: TrainRequest,
    recipe: Recipe,
    config: AnswererConfig,
    network: VLBertOverCrops,
    curve: list[dict[str, float]],
    seconds: float,
) -> None:
    parameters = sum(p.numel() for p in network.parameters())
    best = f"{100 * curve[-1]['eval_soft_score']:.1f}" if curve else "not measured"
    lines = [
        f"# {request.output.name}",
        "",
        f"Trained on {config.trained_on}, {request.train.split}: "
        f"{len(request.train.samples):,} questions, data sha256 `{request.train.sha256}`.",
        "",
        f"- command: `{request.command}`",
        f"- seed {request.seed}, device {request.device}, {seconds:.0f} s with the cutting up of "
        "pictures (of the last start, if it was resumed)",
        f"- {parameters:,} parameters, stored in fp16, computed in fp32",
        f"- regions: {config.regions.kind}",
        f"- recipe: {recipe}",
        f"- validation soft score at the end: {best} % (every epoch in curve.json)",
        "",
    ]
    (request.output / "card.md").write_text("\n".join(lines), encoding="utf-8")
