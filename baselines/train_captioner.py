"""Trains the attention captioners for any of their tasks, through transformers.Trainer, on any data
set with a training part. Writes a weights folder with its card. Knows no scoring but what its curve
shows.
"""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from transformers import TrainingArguments, set_seed

from harness.errors import BadInput
from harness.types import ModelDescription, TrainRequest

from .attention_decoder import AttentionDecoderConfig
from .captioner import CaptioningModel
from .captioner_examples import Collator, examples_of, labels_of, texts_of
from .captioner_losses import WithLosses
from .captioner_network import (
    BUNDLED,
    CaptionerConfig,
    CaptionerNetwork,
    CaptionWords,
    learn_words,
    read_folder,
    save_folder,
)
from .captioner_recipes import OF_PICTURES, TASKS, Recipe, recipe_for
from .captioner_vision import VisionConfig, remembering
from .checkpoints import prepare_checkpoints
from .frozen_networks import fingerprints
from .moment_windows import usual_lengths
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

_SEARCHED = 50  # visuals among which retrieval is measured

# ---------------------------------------------------------------- learning


def train_show_attend_tell(request: TrainRequest) -> None:
    """Trains on pictures and writes the folder."""
    _check_task(request, pictures=True)
    _train(request)


def train_temporal_attention(request: TrainRequest) -> None:
    """Trains on clips and writes the folder."""
    _check_task(request, pictures=False)
    _train(request)


def _check_task(request: TrainRequest, pictures: bool) -> None:
    if (request.task in OF_PICTURES) != pictures:
        tasks = [task for task in TASKS if (task in OF_PICTURES) == pictures]
        raise BadInput(f"this model is trained for {', '.join(tasks)}, not for {request.task}")


def _train(request: TrainRequest) -> None:
    recipe = recipe_for(f"{request.task}/{request.dataset}", dict(request.options))
    checkpoints = prepare_checkpoints(request, {"recipe": asdict(recipe)})
    set_seed(request.seed)
    start = time.monotonic()
    network, words, config = _start(request, recipe)
    reference = copy.deepcopy(network) if recipe.objective == "nce" else None
    labels = (
        labels_of(request.train) if recipe.region_loss and config.vision.kind == "pictures" else {}
    )
    examples = examples_of(request.train, words, network.to(request.device), labels, request.device)
    print(f"{time.monotonic() - start:6.0f} s  {len(examples)} visuals read", flush=True)
    validation = request.validation and replace(
        request.validation, samples=request.validation.samples[: recipe.validated]
    )
    read = remembering()

    def measure() -> dict[str, float]:
        assert validation is not None
        # made anew each time: it puts the network in its eval mode and keeps no states of before
        model = CaptioningModel(network, words, config, ModelDescription(), request.device, read)
        return validate(model, validation, _SEARCHED)

    trainer = CurveTrainer(
        measure,
        model=WithLosses(network, recipe, len(labels), reference),
        args=_arguments(request, recipe),
        train_dataset=examples,
        data_collator=Collator(config, len(labels), recipe.texts, recipe.windows),
        callbacks=[PlainProgress()],
    )
    curve = learn(trainer, checkpoints)
    save_folder(request.output, network, words, config)
    seconds = time.monotonic() - start
    finish(request, curve, _card(request, recipe, config, network, curve, seconds))


def _start(
    request: TrainRequest, recipe: Recipe
) -> tuple[CaptionerNetwork, CaptionWords, CaptionerConfig]:
    """A new network, or the reference's, whose sizes and words stay."""
    if recipe.reference:
        network, words, config = read_folder(Path(recipe.reference))
        return network, words, _searching(config, request, recipe)
    words = learn_words(texts_of(request.train), recipe.at_least)
    config = _searching(_config(request, recipe, len(words)), request, recipe)
    network = CaptionerNetwork(config)
    if recipe.vision == "frames":
        seeing, _, source = read_folder(_seeing(recipe))
        _take_cnn(network, seeing, source, recipe)
    return network, words, config


def _seeing(recipe: Recipe) -> Path:
    """The weights whose CNN sees the frames of clips."""
    return Path(recipe.frames_by or BUNDLED / "show-attend-tell--captioning--toybox")


def _take_cnn(
    network: CaptionerNetwork, seeing: CaptionerNetwork, source: CaptionerConfig, recipe: Recipe
) -> None:
    """Gives a network of clips the CNN of one of pictures. BadInput where sizes differ."""
    if (source.vision.kind, source.vision.visual.channels, source.vision.deeper) != (
        "pictures",
        network.config.vision.visual.channels,
        recipe.deeper,
    ):
        channels = ",".join(map(str, source.vision.visual.channels))
        raise BadInput(
            f"{_seeing(recipe)}: its CNN is of the kind {source.vision.kind}, with channels "
            f"{channels} and deeper {source.vision.deeper}: give --set channels and deeper alike"
        )
    own = network.vision.see.state_dict()
    for name, value in seeing.vision.see.state_dict().items():
        if f"map.{name}" in own and own[f"map.{name}"].shape == value.shape:
            own[f"map.{name}"].copy_(value)


def _searching(config: CaptionerConfig, request: TrainRequest, recipe: Recipe) -> CaptionerConfig:
    """With the options that move no weight."""
    locate_by: Any = recipe.locate_by
    return replace(
        config,
        trained_on=f"{request.task}/{request.dataset}",
        beam=recipe.beam,
        by_length=recipe.by_length == "yes",
        calibrated=recipe.calibrated == "yes",
        margin=recipe.margin,
        locate_by=locate_by,
        most_words=recipe.most_words,
        says_unknown=recipe.says_unknown == "yes",
    )


def _config(request: TrainRequest, recipe: Recipe, words: int) -> CaptionerConfig:
    kind: Any = recipe.vision
    dropout: Any = recipe.dropout
    visual = VisualConfig(
        side=recipe.side,
        channels=tuple(map(int, recipe.channels.split(","))),
        size=recipe.frame_size,
        narrow=recipe.narrow,
        frames=recipe.frames,
    )
    decoder = AttentionDecoderConfig(
        n_words=words,
        dim_word=recipe.dim_word,
        ctx_dim=recipe.size,
        dim=recipe.dim,
        n_layers_att=recipe.layers_att,
        n_layers_init=1,
        dropout=dropout,
        dropout_rate=recipe.dropout_rate,
        mask_padding=recipe.mask_padding == "yes",
    )
    moments = request.task == "temporal-localization"
    return CaptionerConfig(
        VisionConfig(
            kind,
            visual,
            recipe.deeper,
            recipe.size,
            recipe.roots == "yes",
            recipe.feature_dropout,
        ),
        decoder,
        hard=recipe.objective == "hard",
        moment_lengths=usual_lengths(request.train, recipe.frames) if moments else (),
        frozen=fingerprints((recipe.vision,)),
    )


def _arguments(request: TrainRequest, recipe: Recipe) -> TrainingArguments:
    return training_arguments(
        request,
        epochs=recipe.epochs,
        batch=recipe.batch,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup=100,
        label_names=["owners"],
        max_grad_norm=5.0,
    )


def _card(
    request: TrainRequest,
    recipe: Recipe,
    config: CaptionerConfig,
    network: CaptionerNetwork,
    curve: Curve,
    seconds: float,
) -> list[str]:
    parameters = sum(p.numel() for p in network.parameters())
    samples = min(recipe.validated, len(request.validation.samples)) if request.validation else 0
    return [
        f"An LSTM that attends to {config.vision.locations} annotation vectors of "
        f"{config.vision.size} ({config.vision.kind}; objective {recipe.objective}), trained on "
        f"{config.trained_on}, {request.train.split}: {len(request.train.samples):,} samples, data "
        f"sha256 `{request.train.sha256}`.",
        "",
        f"- command: `{request.command}`",
        f"- seed {request.seed}, device {request.device}, {seconds:.0f} s with the reading of "
        "visuals (of the last start, if it was resumed)",
        *(
            f"- on top of {name}, frozen, which is not stored here: sha256 `{sha256}`"
            for name, sha256 in config.frozen.items()
        ),
        f"- {parameters:,} parameters, stored in fp16, computed in fp32",
        f"- recipe: {recipe}",
        f"- validation at the end, on {samples} samples, x 100: "
        f"{at_the_end(curve)} (every epoch in curve.json)",
    ]
