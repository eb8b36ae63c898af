"""Trains the dual encoder for any of its tasks, through transformers.Trainer, on any data set with
a training part. Writes a weights folder with its card. Knows no scoring but what its curve shows.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, replace
from typing import Any

from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from harness.errors import BadInput
from harness.types import Dataset, ModelDescription, ReasonedQuestion, TrainRequest

from .checkpoints import last_whole_checkpoint, prepare_checkpoints
from .nce import DualConfig, DualEncoder, Matching
from .nce_examples import (
    Collator,
    Example,
    examples_of,
    moment_lengths,
    texts_of,
    with_labels,
    with_roles,
)
from .nce_folder import NceConfig, save_folder
from .nce_frozen import Frozen, fingerprints
from .nce_inputs import MOST_TOKENS, draw_captions, pad_texts, rows_of_tags
from .nce_learning import WithObjective
from .nce_model import NceModel
from .nce_recipes import Recipe, recipe_for
from .nce_validation import validate
from .region_encoder import RegionConfig
from .visual_encoder import VisualConfig
from .vqa_examples import label_words_of
from .words import SPECIAL, Vocabulary, learn_vocabulary


class CurveTrainer(Trainer):
    """Trainer whose evaluation is what validate() measures of the model as users have it."""

    def __init__(self, model_of: Any, validation: Dataset | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_of, self.validation = model_of, validation

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        assert self.model is not None
        assert self.validation is not None
        measured = validate(self.model_of(), self.validation)
        metrics = {"epoch": self.state.epoch or 0.0}
        metrics |= {f"eval_{name}": value for name, value in measured.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        self.model.train()
        return metrics


class PlainProgress(TrainerCallback):
    """One line an epoch."""

    def __init__(self) -> None:
        self.start, self.cpu = time.monotonic(), time.process_time()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        shown = {k: round(v, 4) for k, v in (logs or {}).items() if isinstance(v, int | float)}
        seconds = f"{time.monotonic() - self.start:6.0f} s, {time.process_time() - self.cpu:.0f}"
        print(f"{seconds} s of processor  {shown}", flush=True)


def train_nce(request: TrainRequest) -> None:
    """Trains for the request's task and writes the folder."""
    recipe = recipe_for(f"{request.task}/{request.dataset}", dict(request.options))
    _check_installed(recipe)
    checkpoints = prepare_checkpoints(request, {"recipe": asdict(recipe)})
    set_seed(request.seed)
    start = time.monotonic()
    # made once: several passes go over them
    train = replace(request.train, samples=list(request.train.samples))
    vocabulary = (
        Vocabulary(list(SPECIAL)) if recipe.text == "minilm" else learn_vocabulary(texts_of(train))
    )
    config = _config(request, recipe, vocabulary)
    network = DualEncoder(config.encoder)
    frozen = Frozen(request.device, keep=True)
    examples, collator = _examples(train, config, recipe, vocabulary, frozen)
    kept = [example for example in examples if example.claims]
    print(
        f"{time.monotonic() - start:6.0f} s  {len(kept)} visuals read, {len(examples) - len(kept)} "
        "without a text to learn from",
        flush=True,
    )
    if not kept:
        raise BadInput(f"{request.task}/{request.dataset}: no training example has a text")
    captions = "captioning" in request.task
    bank = draw_captions(train, recipe.bank, request.seed) if captions else []
    trainer = CurveTrainer(
        lambda: NceModel(
            network, vocabulary, config, ModelDescription(), request.device, bank, frozen
        ),
        request.validation,
        model=WithObjective(
            network,
            recipe,
            rows_of_tags(vocabulary),
            pad_texts([vocabulary.encode(answer, MOST_TOKENS) for answer in config.answers]),
            collator.labels,
        ),
        args=_arguments(request, recipe, bool(request.validation)),
        train_dataset=kept,
        eval_dataset=kept[:1],
        data_collator=collator,
        callbacks=[PlainProgress()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last_whole_checkpoint(checkpoints))
    save_folder(request.output, network, vocabulary, config, bank)
    curve = [entry for entry in trainer.state.log_history if any("eval" in key for key in entry)]
    (request.output / "curve.json").write_text(json.dumps(curve, indent=1) + "\n")
    _write_card(request, recipe, config, network, curve, time.monotonic() - start)
    shutil.rmtree(checkpoints, ignore_errors=True)


def _check_installed(recipe: Recipe) -> None:
    """BadInput, before anything is read, where a frozen network is not installed."""
    try:
        fingerprints((recipe.eye, recipe.text))
    except BadInput as error:
        raise BadInput(f"{error}; or do without: --set eye=pictures --set text=words") from None


def _examples(
    train: Dataset, config: NceConfig, recipe: Recipe, vocabulary: Vocabulary, frozen: Frozen
) -> tuple[list[Example], Collator]:
    """Examples, those of questions with what is annotated of their regions, and what makes batches
    of them."""
    matching = config.encoder.matching
    examples = examples_of(train, config, recipe.hard_negatives == "foils", frozen)
    words = label_words_of(train) if recipe.naming and matching != "vectors" else {}
    if words:
        examples = with_labels(examples, train, words)
    grounded = bool(recipe.grounding and train.groundings and matching == "question")
    if grounded:
        examples = with_roles(examples, train)
    collator = Collator(
        vocabulary, config, recipe.texts, recipe.foils, len(words), grounded, frozen
    )
    return examples, collator


def _config(request: TrainRequest, recipe: Recipe, vocabulary: Vocabulary) -> NceConfig:
    visual = VisualConfig(
        side=recipe.side,
        channels=tuple(map(int, recipe.channels.split(","))),
        stem=recipe.stem,
        size=recipe.size,
        narrow=recipe.narrow,
        frames=recipe.frames,
    )
    eye: Any = recipe.eye
    objective: Any = recipe.objective
    regions: Any = recipe.regions
    text: Any = recipe.text
    encoder = DualConfig(
        vocab_size=len(vocabulary.words),
        eye=eye,
        objective=objective,
        visual=visual,
        word_size=recipe.word_size,
        text_hidden=recipe.text_hidden,
        region_size=recipe.region_size,
        region_layers=recipe.region_layers,
        tagged=isinstance(request.train.samples[0].input, ReasonedQuestion),
        size=recipe.size,
        matching=_matching(request),
        queries=recipe.queries,
        text=text,
        dropout=recipe.dropout,
    )
    moments = request.task == "temporal-localization"
    return NceConfig(
        encoder,
        RegionConfig(kind=regions, side=encoder.region_side),
        trained_on=f"{request.task}/{request.dataset}",
        answers=request.train.answers,
        moment_lengths=moment_lengths(request.train, recipe.frames) if moments else (),
        frozen=fingerprints((recipe.eye, recipe.text)),
    )


def _matching(request: TrainRequest) -> Matching:
    if request.task != "vqa":
        return "vectors"
    return "things" if isinstance(request.train.samples[0].input, ReasonedQuestion) else "question"


def _arguments(request: TrainRequest, recipe: Recipe, evaluates: bool) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(request.output / "checkpoints"),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup_steps=recipe.warmup,
        lr_scheduler_type="cosine",
        max_grad_norm=2.0,
        seed=request.seed,
        use_cpu=request.device == "cpu",
        eval_strategy="epoch" if evaluates else "no",
        save_strategy="epoch",
        save_total_limit=2,
        logging_strategy="epoch",
        remove_unused_columns=False,
        label_names=["owners"],
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    # one device: the rows of a batch refer to its visuals and are not to be split
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def _write_card(
    request: TrainRequest,
    recipe: Recipe,
    config: NceConfig,
    network: DualEncoder,
    curve: list[dict[str, float]],
    seconds: float,
) -> None:
    parameters = sum(p.numel() for p in network.parameters())
    measured = {name[5:]: v for name, v in (curve[-1] if curve else {}).items() if "eval_" in name}
    at_the_end = ", ".join(f"{name} {100 * value:.1f} %" for name, value in measured.items())
    lines = [
        f"# {request.output.name}",
        "",
        f"A dual encoder over {config.encoder.eye}, trained to tell real pairs from mismatches "
        f"(objective {config.encoder.objective}), on {config.trained_on}, "
        f"{request.train.split}: {len(request.train.samples):,} samples, data sha256 "
        f"`{request.train.sha256}`.",
        "",
        f"- command: `{request.command}`",
        f"- seed {request.seed}, device {request.device}, {seconds:.0f} s with the reading of "
        "pictures (of the last start, if it was resumed)",
        f"- {parameters:,} parameters, stored in fp16, computed in fp32",
        *(
            f"- on top of {name}, frozen, which is not stored here: sha256 `{sha256}`"
            for name, sha256 in config.frozen.items()
        ),
        f"- recipe: {recipe}",
        f"- validation at the end: {at_the_end or 'not measured'} (every epoch in curve.json)",
        "",
    ]
    (request.output / "card.md").write_text("\n".join(lines), encoding="utf-8")
