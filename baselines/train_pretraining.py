"""Pretrains VL-BERT or ViLBERT: masked words, masked regions and, for ViLBERT, alignment, through
transformers.Trainer. Writes a weights folder that fine-tuning starts from, with a card of what was
learned. Knows no task."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from transformers import set_seed

from harness.errors import BadInput
from harness.types import Dataset, TrainPart, TrainRequest

from .checkpoints import prepare_checkpoints
from .multitask_examples import Reader, kind_of, texts_of
from .multitask_folder import ModelName, MultitaskConfig, build, save_folder
from .multitask_vision import VisionConfig
from .pretraining_batches import Pair, PretrainingCollator
from .pretraining_learning import Pretraining, pretraining_of
from .pretraining_measures import Share, lines, measure
from .pretraining_recipes import PretrainingRecipe, pretraining_recipe_for, sizes_of
from .region_classes import (
    AnnotatedRegions,
    classes_of,
    count_right,
    fit_region_classes,
    soft_classes,
)
from .region_encoder import PictureRegions, RegionCNN
from .region_labels import label_words_of
from .text_inputs import MOST_TOKENS
from .train_multitask import name_of, network_config, parts_of, vision_config
from .training import CurveTrainer, PlainProgress, finish, learn, training_arguments
from .words import Vocabulary, learn_vocabulary

_NAMES = {"vlbert": "VL-BERT", "vilbert": "ViLBERT"}


def pretrain_vlbert(request: TrainRequest) -> None:
    """VL-BERT: captions with pictures, and the texts of all tasks without."""
    _pretrain(request, "vlbert")


def pretrain_vilbert(request: TrainRequest) -> None:
    """ViLBERT: captions with pictures."""
    _pretrain(request, "vilbert")


def _pretrain(request: TrainRequest, model: ModelName) -> None:
    recipe = pretraining_recipe_for(model, dict(request.options), request.dataset)
    _check_parts(request)
    parts = parts_of(request)
    checkpoints = prepare_checkpoints(
        request,
        {"pretraining": asdict(recipe), "model": model, "also": [name_of(p) for p in parts[1:]]},
    )
    set_seed(request.seed)
    start = time.monotonic()
    texts = [text for part in parts for text in texts_of(part.train)]
    vocabulary = learn_vocabulary(texts)
    config = _plan(model, recipe, parts, vocabulary, request.dataset)
    seer = build(config, vocabulary)
    material = _material(parts, vocabulary, config.vision, recipe, request)
    # the original's CNN is a detector's from the first step, too
    seer.vision.crops.load_state_dict(material.cnn.state_dict())
    network = pretraining_of(seer, material.classes)
    alone = _distinct(texts, vocabulary) if model == "vlbert" else ()
    print(
        f"{time.monotonic() - start:6.0f} s  {len(material.train)} pictures and {len(alone)} texts "
        f"read; regions in {material.classes} classes",
        flush=True,
    )
    trainer = CurveTrainer(
        lambda: _values(measure(network, material.validation, vocabulary, request.device)),
        model=network,
        args=training_arguments(
            request,
            epochs=recipe.epochs,
            batch=recipe.batch,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            warmup=recipe.warmup,
            label_names=["batch"],
        ),
        train_dataset=material.train,
        data_collator=PretrainingCollator(vocabulary, alone, swaps=model == "vilbert"),
        callbacks=[PlainProgress()],
    )
    curve = learn(trainer, checkpoints)
    network.hand_over()
    save_folder(request.output, seer, vocabulary, config)
    measured = measure(network, material.validation, vocabulary, request.device)
    seconds = time.monotonic() - start
    finish(request, curve, _card(request, recipe, parts, network, material, measured, seconds))


# ---------------------------------------------------------------- what is learned from


@dataclass(frozen=True)
class _Material:
    """Pictures with captions and the soft classes of their regions, by the small CNN `cnn`. `told`:
    of how many annotated regions of the validation part the most probable class is the
    annotation's."""

    train: list[Pair]
    validation: list[Pair]
    classes: int
    cnn: RegionCNN
    told: Share


def _check_parts(request: TrainRequest) -> None:
    """BadInput unless there are pictures with captions whose regions are annotated."""
    first = TrainPart(request.task, request.dataset, request.train, request.validation)
    parts = [first, *request.also]
    captioned = [part for part in parts if kind_of(part.train) == "pairs"]
    if not captioned:
        raise BadInput(
            f"pretraining needs captions of pictures, which {', '.join(map(name_of, parts))} "
            f"{'lack' if len(parts) > 1 else 'lacks'}; add --task retrieval or --task captioning"
        )
    for part in captioned:
        if part.train.region_annotations is None:
            raise BadInput(
                f"{name_of(part)}: no annotations of what is in its regions, which pretraining "
                "tells masked ones by; take a data set that has them, such as toybox"
            )


def _plan(
    model: ModelName,
    recipe: PretrainingRecipe,
    parts: Sequence[TrainPart],
    vocabulary: Vocabulary,
    dataset: str,
) -> MultitaskConfig:
    sizes = sizes_of(model, recipe, dataset)
    datasets = dict.fromkeys(part.dataset for part in parts)
    return MultitaskConfig(
        model,
        network_config(model, sizes, len(vocabulary.words), 1),
        vision_config(sizes, {}, blind=False),
        (),
        tuple(f"pretraining/{name}" for name in datasets),
    )


def _material(
    parts: Sequence[TrainPart],
    vocabulary: Vocabulary,
    vision: VisionConfig,
    recipe: PretrainingRecipe,
    request: TrainRequest,
) -> _Material:
    captioned = [part for part in parts if kind_of(part.train) == "pairs"]
    words = {word for part in captioned for word in label_words_of(_few(part.train, recipe))}
    numbers = {word: place for place, word in enumerate(sorted(words))}
    reader = Reader(vocabulary, vision, {}, numbers)
    train = [pair for part in captioned for pair in _read(reader, part.train)]
    validation = [
        pair
        for part in captioned
        if part.validation is not None and len(part.validation.samples)
        for pair in _read(reader, part.validation)
    ]
    annotated = [regions for regions, _ in train]
    some = annotated[: recipe.class_pictures]
    classes = classes_of(some)
    if not classes:
        raise BadInput(f"{name_of(captioned[0])}: none of its regions is annotated")
    classifier = fit_region_classes(
        some, vision.regions, classes, vision.appearance_size, request.seed, request.device
    )
    held_out = [regions for regions, _ in validation]
    told = Share(*count_right(classifier, held_out, classes, request.device))

    def pairs(read: Sequence[tuple[AnnotatedRegions, tuple[tuple[int, ...], ...]]]) -> list[Pair]:
        soft = soft_classes(classifier, [regions for regions, _ in read], request.device)
        return [
            Pair(one.regions, targets, captions)
            for (one, captions), targets in zip(read, soft, strict=True)
        ]

    return _Material(pairs(train), pairs(validation), len(classes), classifier.cnn, told)


def _few(dataset: Dataset, recipe: PretrainingRecipe) -> Dataset:
    return replace(dataset, samples=dataset.samples[: recipe.class_pictures])


def _read(
    reader: Reader, dataset: Dataset
) -> list[tuple[AnnotatedRegions, tuple[tuple[int, ...], ...]]]:
    """Each picture's regions and the ids of its captions."""
    read = []
    for example in reader.examples_of(dataset):
        assert isinstance(example.visual, PictureRegions)
        captions = tuple(text.ids for text in example.texts if text.ids)
        if captions:
            labels = example.labels or ((),) * len(example.visual.boxes)
            read.append((AnnotatedRegions(example.visual, labels), captions))
    return read


def _distinct(texts: Sequence[str], vocabulary: Vocabulary) -> list[tuple[int, ...]]:
    """The ids of each text once."""
    encoded = (tuple(vocabulary.encode(text, MOST_TOKENS)) for text in dict.fromkeys(texts))
    return [ids for ids in encoded if ids]


# ---------------------------------------------------------------- what is shown


def _values(measured: dict[str, Share]) -> dict[str, float]:
    return {name: share.value for name, share in measured.items()}


def _card(
    request: TrainRequest,
    recipe: PretrainingRecipe,
    parts: Sequence[TrainPart],
    network: Pretraining,
    material: _Material,
    measured: dict[str, Share],
    seconds: float,
) -> list[str]:
    model = "vlbert" if hasattr(network.network, "vlbert") else "vilbert"
    parameters = sum(p.numel() for p in network.seer.parameters())
    fitted = min(recipe.class_pictures, len(material.train))
    return [
        f"{_NAMES[model]}, pretrained: a start for `harness train --model {model} --set "
        "start=DIR`, no model that answers. Learned from:",
        "",
        *(
            f"- {name_of(part)}, {part.train.split}: {len(part.train.samples):,} samples, data "
            f"sha256 `{part.train.sha256}`"
            for part in parts
        ),
        "",
        f"- command: `{request.command}`",
        f"- seed {request.seed}, device {request.device}, {seconds:.0f} s with the reading of "
        "pictures (of the last start, if it was resumed)",
        f"- {parameters:,} parameters, stored in fp16, computed in fp32",
        f"- recipe: {recipe}",
        f"- regions are told as one of {material.classes} combinations of labels, with the "
        f"probabilities of a small CNN fitted on {fitted:,} pictures, which the model's own starts "
        "from, too; "
        f"on the validation part it is right for {material.told}",
        "",
        f"On the validation part, {len(material.validation):,} pictures, each with one caption "
        "(95 % intervals are Wilson's, of things as if they were independent):",
        "",
        *(lines(measured) if material.validation else ["- not measured"]),
    ]
