"""Trains VL-BERT to answer questions, through transformers.Trainer, on any data set with a training
part. Writes a weights folder with its card. Knows no scoring but the soft score of its loss.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint

from harness.errors import BadInput
from harness.types import Dataset, RegionAnnotation, Sample, TrainRequest

from .region_encoder import PictureRegions, RegionBatch, RegionConfig, find_regions, pad_regions
from .vlbert import VLBertConfig, soft_targets, vqa_loss
from .vlbert_vqa import (
    MOST_QUESTION_TOKENS,
    AnswererConfig,
    VLBertOverCrops,
    pad_questions,
    save_folder,
)
from .words import Vocabulary, learn_vocabulary


@dataclass(frozen=True)
class Recipe:
    """How long and how hard to train, and how large a model. Every field is an option of
    `harness train --set name=value`."""

    epochs: int = 10
    pictures_a_batch: int = 48
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    region_loss: float = 1.0  # weight of the loss that names what is in a region, where annotated
    hidden_size: int = 128
    layers: int = 3
    heads: int = 4
    dropout: float = 0.1
    visual_scale_init: float = 0.1
    regions: str = "segments"
    rows: int = 4
    columns: int = 4


RECIPES = {
    "vqa/toybox": Recipe(epochs=12),
    "vqa/easy-vqa": Recipe(hidden_size=64, layers=2, regions="grid", epochs=12),
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
    return replace(recipe, **changes)


# ---------------------------------------------------------------- examples


@dataclass(frozen=True)
class Example:
    """A picture with all its questions; training shuffles pictures, so that one pass through the
    CNN serves several questions."""

    regions: PictureRegions
    questions: list[list[int]]
    targets: list[dict[int, float]]
    labels: list[list[int]]  # of each region, indices into the label words; empty if not annotated


def examples_of(
    dataset: Dataset,
    vocabulary: Vocabulary,
    answers: dict[str, int],
    regions: RegionConfig,
    label_words: dict[str, int],
) -> list[Example]:
    by_picture: dict[str, list[Sample]] = {}
    for sample in dataset.samples:
        by_picture.setdefault(sample.input.visual.id, []).append(sample)
    examples = []
    for samples in by_picture.values():
        picture = samples[0].input.visual
        found = find_regions(picture, regions)
        annotations = dataset.region_annotations(picture) if dataset.region_annotations else ()
        examples.append(
            Example(
                found,
                [vocabulary.encode(s.input.text, MOST_QUESTION_TOKENS) for s in samples],
                [soft_targets(s.target.answers, answers) for s in samples],
                _labels(found, annotations, label_words),
            )
        )
    return examples


def _labels(
    regions: PictureRegions,
    annotations: Sequence[RegionAnnotation],
    label_words: dict[str, int],
) -> list[list[int]]:
    """For each region but the whole picture, the labels of the annotation that overlaps it most, if
    by at least half: how detectors assign their targets."""
    labels: list[list[int]] = [[] for _ in regions.boxes]
    for row, box in enumerate(regions.boxes.tolist()[1:], start=1):
        best = max(annotations, key=lambda a: _overlap(a.box, box), default=None)
        if best is not None and _overlap(best.box, box) >= 0.5:
            labels[row] = [label_words[word] for word in best.labels]
    return labels


def _overlap(a: Sequence[int], b: Sequence[int]) -> float:
    """Intersection over union of two boxes with exclusive far ends."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (areas - width * height)


@dataclass(frozen=True)
class Collator:
    """Pictures with their questions -> one padded batch."""

    answers: int
    labels: int

    def __call__(self, examples: list[Example]) -> dict[str, Any]:
        batch = pad_regions([example.regions for example in examples])
        questions = [ids for example in examples for ids in example.questions]
        picture_of = [row for row, e in enumerate(examples) for _ in e.questions]
        targets = torch.zeros(len(questions), self.answers)
        for row, scores in enumerate(s for example in examples for s in example.targets):
            for index, score in scores.items():
                targets[row, index] = score
        labels = torch.zeros(*batch.mask.shape, self.labels)
        labelled = torch.zeros(batch.mask.shape, dtype=torch.bool)
        for row, example in enumerate(examples):
            for region, words in enumerate(example.labels):
                labels[row, region, words] = 1.0
                labelled[row, region] = bool(words)
        return {
            "question": pad_questions(questions),
            "picture_of": torch.tensor(picture_of),
            "targets": targets,
            "crops": batch.crops,
            "boxes": batch.boxes,
            "mask": batch.mask,
            "size": batch.size,
            "labels": labels,
            "labelled": labelled,
        }


# ---------------------------------------------------------------- learning


class WithLosses(nn.Module):
    """The network, its answer loss and, where regions are annotated, a loss on naming them.

    The second is what masked RoI classification does for the original (section 3.4): it teaches
    the region features what is in a region. Its layer is not kept after training.
    """

    def __init__(self, network: VLBertOverCrops, labels: int, region_loss: float) -> None:
        super().__init__()
        self.network = network
        hidden = network.model.config.hidden_size
        use = labels > 0 and region_loss > 0 and network.sees_pictures
        self.region_classifier = nn.Linear(hidden, labels) if use else None
        self.region_loss = region_loss

    def forward(
        self,
        question: Tensor,
        picture_of: Tensor,
        targets: Tensor,
        crops: Tensor,
        boxes: Tensor,
        mask: Tensor,
        size: Tensor,
        labels: Tensor,
        labelled: Tensor,
    ) -> dict[str, Tensor]:
        visuals = self.network.region_visuals(RegionBatch(crops, boxes, mask, size))
        logits = self.network(question, picture_of, visuals, mask)
        loss = vqa_loss(logits, targets)
        if self.region_classifier is not None and bool(labelled.any()):
            named = self.region_classifier(visuals[labelled])
            loss = loss + self.region_loss * labels.shape[-1] * (
                F.binary_cross_entropy_with_logits(named, labels[labelled])
            )
        return {"loss": loss, "logits": logits}


class SoftScoreTrainer(Trainer):
    """Trainer whose evaluation is the mean soft score of the best answer over the validation
    questions: the official accuracy up to normalisation."""

    @torch.inference_mode()
    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        model = self.model
        assert model is not None
        model.eval()
        total, count = 0.0, 0
        for batch in self.get_eval_dataloader():
            inputs = self._prepare_inputs(batch)
            logits = model(**inputs)["logits"]
            scores = inputs["targets"].gather(1, logits.argmax(dim=1, keepdim=True))
            total, count = total + float(scores.sum()), count + len(scores)
        metrics = {"eval_soft_score": total / count, "epoch": self.state.epoch or 0.0}
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
    set_seed(request.seed)
    start = time.monotonic()
    vocabulary = learn_vocabulary(sample.input.text for sample in request.train.samples)
    config = _config(request, recipe, vocabulary, blind)
    answers = {answer: index for index, answer in enumerate(config.answers)}
    words = _label_words(request.train)
    train = examples_of(request.train, vocabulary, answers, config.regions, words)
    print(f"{time.monotonic() - start:6.0f} s  {len(train)} pictures cut up", flush=True)
    validation = request.validation and examples_of(
        request.validation, vocabulary, answers, config.regions, words
    )
    network = WithLosses(VLBertOverCrops(config, vocabulary), len(words), recipe.region_loss)
    trainer = SoftScoreTrainer(
        model=network,
        args=_arguments(request, recipe, bool(validation)),
        train_dataset=train,
        eval_dataset=validation,
        data_collator=Collator(len(answers), len(words)),
        callbacks=[PlainProgress()],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoints = request.output / "checkpoints"
    find_last: Callable[[str], str | None] = get_last_checkpoint
    last = find_last(str(checkpoints)) if checkpoints.is_dir() else None
    trainer.train(resume_from_checkpoint=last if request.resume else None)
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
        intermediate_size=4 * recipe.hidden_size,
        max_position_embeddings=64,
        appearance_size=recipe.hidden_size,
        geometry_size=128,
        dropout=recipe.dropout,
        visual_scale_init=recipe.visual_scale_init,
        answers=len(request.train.answers),
    )
    kind: Any = "none" if blind else recipe.regions
    return AnswererConfig(
        architecture,
        RegionConfig(kind=kind, rows=recipe.rows, columns=recipe.columns),
        request.train.answers,
        trained_on=f"{request.task}/{request.dataset}",
    )


def _label_words(dataset: Dataset) -> dict[str, int]:
    """Every word that annotates a region of the first thousand samples -> its index."""
    if dataset.region_annotations is None:
        return {}
    words = {
        word
        for sample in dataset.samples[:1000]
        for annotation in dataset.region_annotations(sample.input.visual)
        for word in annotation.labels
    }
    return {word: index for index, word in enumerate(sorted(words))}


def _arguments(request: TrainRequest, recipe: Recipe, evaluates: bool) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(request.output / "checkpoints"),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.pictures_a_batch,
        per_device_eval_batch_size=recipe.pictures_a_batch,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup_steps=200,
        lr_scheduler_type="linear",
        max_grad_norm=1.0,
        seed=request.seed,
        use_cpu=request.device == "cpu",
        eval_strategy="epoch" if evaluates else "no",
        save_strategy="epoch",
        save_total_limit=1,
        logging_strategy="epoch",
        remove_unused_columns=False,
        label_names=["targets"],
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


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
