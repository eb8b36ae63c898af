"""Trains the dual encoder for any of its tasks, through transformers.Trainer, on any data set with
a training part. Writes a weights folder with its card. Knows no scoring but what its curve shows.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

from transformers import TrainingArguments, set_seed

from harness.errors import BadInput
from harness.types import Dataset, ModelDescription, ReasonedQuestion, TrainRequest

from .checkpoints import prepare_checkpoints
from .frozen_networks import Frozen, fingerprints
from .moment_windows import usual_lengths
from .nce import DualConfig, DualEncoder, Matching
from .nce_examples import (
    Collator,
    Example,
    examples_of,
    texts_of,
    with_labels,
    with_roles,
)
from .nce_folder import NceConfig, save_folder
from .nce_learning import WithObjective
from .nce_model import NceModel
from .nce_recipes import Recipe, recipe_for
from .region_encoder import RegionConfig
from .region_labels import label_words_of
from .text_inputs import MOST_TOKENS, draw_captions, pad_texts, rows_of_tags
from .training import (
    Curve,
    CurveTrainer,
    PlainProgress,
    at_the_end,
    finish,
    learn,
    training_arguments,
)
from .validation import validate
from .visual_encoder import VisualConfig
from .words import SPECIAL, Vocabulary, learn_vocabulary


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

    def measure() -> dict[str, float]:
        assert request.validation is not None
        model = NceModel(
            network, vocabulary, config, ModelDescription(), request.device, bank, frozen
        )
        return validate(model, request.validation, searched=len(request.validation.samples))

    trainer = CurveTrainer(
        measure,
        model=WithObjective(
            network,
            recipe,
            rows_of_tags(vocabulary),
            pad_texts([vocabulary.encode(answer, MOST_TOKENS) for answer in config.answers]),
            collator.labels,
        ),
        args=_arguments(request, recipe),
        train_dataset=kept,
        data_collator=collator,
        callbacks=[PlainProgress()],
    )
    curve = learn(trainer, checkpoints)
    save_folder(request.output, network, vocabulary, config, bank)
    seconds = time.monotonic() - start
    finish(request, curve, _card(request, recipe, config, network, curve, seconds))


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
        moment_lengths=usual_lengths(request.train, recipe.frames) if moments else (),
        frozen=fingerprints((recipe.eye, recipe.text)),
    )


def _matching(request: TrainRequest) -> Matching:
    if request.task != "vqa":
        return "vectors"
    return "things" if isinstance(request.train.samples[0].input, ReasonedQuestion) else "question"


def _arguments(request: TrainRequest, recipe: Recipe) -> TrainingArguments:
    return training_arguments(
        request,
        epochs=recipe.epochs,
        batch=recipe.batch,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup=recipe.warmup,
        label_names=["owners"],
        max_grad_norm=2.0,
    )


def _card(
    request: TrainRequest,
    recipe: Recipe,
    config: NceConfig,
    network: DualEncoder,
    curve: Curve,
    seconds: float,
) -> list[str]:
    parameters = sum(p.numel() for p in network.parameters())
    return [
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
        f"- validation at the end: {at_the_end(curve, ' %')} (every epoch in curve.json)",
    ]
