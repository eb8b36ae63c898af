"""Trains VL-BERT or ViLBERT for a task or for several at once, through transformers.Trainer, each
batch of one task. Writes a weights folder with its card. Knows no scoring but what its curve shows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from torch.utils.data import DataLoader
from transformers import set_seed

from harness.errors import BadInput
from harness.types import Dataset, ModelDescription, TrainPart, TrainRequest

from .checkpoints import prepare_checkpoints
from .grounding import naming_words
from .moment_windows import usual_lengths
from .multitask_batches import Collator, OneKindBatches
from .multitask_examples import Example, Kind, Reader, kind_of, texts_of
from .multitask_folder import ModelName, MultitaskConfig, build, save_folder
from .multitask_learning import Seer, WithLosses
from .multitask_model import MultitaskModel
from .multitask_recipes import Recipe, recipe_for
from .multitask_vision import VisionConfig
from .region_encoder import RegionConfig
from .region_labels import label_words_of
from .starting_weights import Start, check_start, read_start, start_from, vocabulary_of
from .text_inputs import rows_of_tags
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
from .vilbert import ViLBertConfig
from .visual_encoder import VisualConfig
from .vlbert import VLBertConfig
from .words import Vocabulary, learn_vocabulary

_VALIDATED = 300  # samples of each task that the curve is measured on
_SEARCHED = 30  # visuals among which retrieval is measured


def train_vlbert(request: TrainRequest) -> None:
    """VL-BERT, with pictures."""
    _train(request, "vlbert", blind=False)


def train_vlbert_blind(request: TrainRequest) -> None:
    """The same VL-BERT without pictures: what texts alone give away."""
    _train(request, "vlbert", blind=True)


def train_vilbert(request: TrainRequest) -> None:
    """ViLBERT, with pictures."""
    _train(request, "vilbert", blind=False)


class MixedTrainer(CurveTrainer):
    """Trainer whose batches are each of one kind."""

    def __init__(self, batches: OneKindBatches, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batches = batches

    def get_train_dataloader(self) -> DataLoader[Any]:
        examples: Any = self.train_dataset
        return _EpochLoader(examples, batch_sampler=self.batches, collate_fn=self.data_collator)


class _EpochLoader(DataLoader[Any]):
    def set_epoch(self, epoch: int) -> None:
        """Trainer tells which epoch comes, also when it goes on in the midst of a training."""
        self.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]


def _train(request: TrainRequest, model: ModelName, blind: bool) -> None:
    parts = parts_of(request)
    alone = request.task if len(parts) == 1 else ""
    name = f"{model}-blind" if blind else model
    recipe = recipe_for(name, dict(request.options), request.dataset, alone)
    start = read_start(recipe.start)
    asked = {"recipe": asdict(recipe), "blind": blind, "also": [name_of(p) for p in parts[1:]]}
    checkpoints = prepare_checkpoints(
        request, asked | ({"start_sha256": start.sha256} if start else {})
    )
    set_seed(request.seed)
    began = time.monotonic()
    vocabulary, config, words = _plan(model, recipe, parts, blind, start)
    seer = build(config, vocabulary)
    if start:
        print(start_from(start, seer, any(kind_of(p.train) == "choices" for p in parts)))
    examples = _examples(parts, vocabulary, config, words)
    print(f"{time.monotonic() - began:6.0f} s  {len(examples)} visuals read", flush=True)
    kinds = [example.kind for example in examples]
    sizes, draws = _batches_of(recipe)
    trainer = MixedTrainer(
        OneKindBatches(
            kinds,
            sizes,
            request.seed,
            _passes_of(recipe),
        ),
        measure=lambda: _measure(seer, vocabulary, config, request.device, parts),
        model=WithLosses(seer, recipe, naming_words(vocabulary.words, words)),
        args=training_arguments(
            request,
            epochs=recipe.epochs,
            batch=1,  # of OneKindBatches
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            warmup=recipe.warmup,
            label_names=["rows"],
        ),
        train_dataset=examples,
        data_collator=Collator(
            config.vision, draws, rows_of_tags(vocabulary), len(config.answers), len(words)
        ),
        callbacks=[PlainProgress()],
    )
    curve = learn(trainer, checkpoints)
    save_folder(request.output, seer, vocabulary, config)
    card = _card(request, parts, recipe, config, seer, curve, time.monotonic() - began)
    finish(
        request,
        curve,
        card + ([f"- started from weights sha256 `{start.sha256}`"] if start else []),
    )


def parts_of(request: TrainRequest) -> list[TrainPart]:
    """The tasks, each with its samples made once: several passes go over them."""
    first = TrainPart(request.task, request.dataset, request.train, request.validation)
    return [
        replace(part, train=replace(part.train, samples=list(part.train.samples)))
        for part in (first, *request.also)
    ]


def name_of(part: TrainPart) -> str:
    return f"{part.task}/{part.dataset}"


def _plan(
    model: ModelName,
    recipe: Recipe,
    parts: Sequence[TrainPart],
    blind: bool,
    start: Start | None,
) -> tuple[Vocabulary, MultitaskConfig, dict[str, int]]:
    """The vocabulary, the sizes, and the words that name regions in training."""
    vocabulary = learn_vocabulary(text for part in parts for text in texts_of(part.train))
    if start:
        vocabulary = vocabulary_of(start, vocabulary)
    kinds = _by_kind(parts)
    answers = kinds["answers"].answers if "answers" in kinds else ()
    if "answers" in kinds and not answers:
        raise BadInput(f"{name_of(parts[0])}: its training part has no answer vocabulary")
    vision = vision_config(recipe, kinds, blind)
    if blind and (vision.clips is not None or vision.frames):
        raise BadInput("who sees nothing is not trained on clips; give tasks of pictures")
    config = MultitaskConfig(
        model,
        network_config(model, recipe, len(vocabulary.words), max(1, len(answers))),
        vision,
        answers,
        tuple(name_of(part) for part in parts),
    )
    if start:
        check_start(start, config)
    annotated = [part.train for part in parts if part.train.region_annotations]
    words = label_words_of(annotated[0]) if annotated and not blind else {}
    return vocabulary, config, words


def _by_kind(parts: Sequence[TrainPart]) -> dict[Kind, Dataset]:
    """BadInput where two tasks are of one kind: their answers, or the lengths of their moments, are
    not the same."""
    kinds: dict[Kind, TrainPart] = {}
    for part in parts:
        first = kinds.setdefault(kind_of(part.train), part)
        if first is not part:
            raise BadInput(
                f"{name_of(first)} and {name_of(part)} ask for the same in other words: train a "
                "model for each"
            )
    return {kind: part.train for kind, part in kinds.items()}


def vision_config(recipe: Recipe, kinds: dict[Kind, Dataset], blind: bool) -> VisionConfig:
    kind: Any = "none" if blind else recipe.regions
    visual = VisualConfig(
        side=recipe.side,
        channels=tuple(map(int, recipe.channels.split(","))),
        stem=4,
        size=recipe.frame_size,
        narrow=recipe.narrow,
        frames=recipe.frames,
    )
    return VisionConfig(
        RegionConfig(kind=kind, rows=recipe.rows, columns=recipe.columns),
        visual if "moments" in kinds else None,
        recipe.hidden_size,
        moment_lengths=(
            usual_lengths(kinds["moments"], recipe.frames) if "moments" in kinds else ()
        ),
        frames=recipe.frames_cut_up if "clip-pairs" in kinds else 0,
    )


def network_config(
    model: ModelName, recipe: Recipe, words: int, answers: int
) -> VLBertConfig | ViLBertConfig:
    if model == "vlbert":
        return VLBertConfig(
            vocab_size=words,
            hidden_size=recipe.hidden_size,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            intermediate_size=recipe.intermediate_size,
            max_position_embeddings=128,
            appearance_size=recipe.hidden_size,
            geometry_size=128,
            dropout=recipe.dropout,
            initializer_range=recipe.initializer_range,
            visual_scale_text_init=recipe.text_visual_scale_init,
            visual_scale_object_init=recipe.visual_scale_init,
            answers=answers,
        )
    hidden, layers = recipe.hidden_size, recipe.image_layers
    return ViLBertConfig(
        vocab_size=words,
        hidden_size=hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        intermediate_size=recipe.intermediate_size,
        max_position_embeddings=128,
        v_feature_size=hidden,
        v_hidden_size=hidden,
        v_num_hidden_layers=layers,
        v_num_attention_heads=recipe.heads,
        v_intermediate_size=hidden,
        bi_hidden_size=hidden,
        bi_num_attention_heads=recipe.heads,
        v_biattention_id=tuple(range(layers)),
        t_biattention_id=tuple(range(recipe.layers - layers, recipe.layers)),
        dropout=recipe.dropout,
        initializer_range=recipe.initializer_range,
        answers=answers,
    )


def _examples(
    parts: Sequence[TrainPart],
    vocabulary: Vocabulary,
    config: MultitaskConfig,
    words: dict[str, int],
) -> list[Example]:
    places = {answer: place for place, answer in enumerate(config.answers)}
    reader = Reader(vocabulary, config.vision, places, words)
    return [example for part in parts for example in reader.examples_of(part.train)]


def _batches_of(recipe: Recipe) -> tuple[dict[Kind, int], dict[Kind, int]]:
    """Visuals of a batch, and texts drawn of each visual."""
    sizes: dict[Kind, int] = {
        "answers": recipe.answers_batch,
        "regions": recipe.regions_batch,
        "choices": recipe.choices_batch,
        "pairs": recipe.pairs_batch,
        "clip-pairs": recipe.clip_pairs_batch,
        "moments": recipe.moments_batch,
    }
    draws: dict[Kind, int] = {
        "answers": recipe.answers_draw,
        "regions": recipe.regions_draw,
        "choices": recipe.choices_draw,
        "pairs": recipe.pairs_draw,
        "clip-pairs": recipe.pairs_draw,
        "moments": recipe.moments_draw,
    }
    return sizes, draws


def _passes_of(recipe: Recipe) -> dict[Kind, float]:
    """How often each kind comes in an epoch."""
    return {
        "answers": recipe.answers_passes,
        "choices": recipe.choices_passes,
        "pairs": recipe.pairs_passes,
        "clip-pairs": recipe.clip_pairs_passes,
        "moments": recipe.moments_passes,
    }


def _measure(
    seer: Seer,
    vocabulary: Vocabulary,
    config: MultitaskConfig,
    device: str,
    parts: Sequence[TrainPart],
) -> dict[str, float]:
    """What validation gives for each task, by its name where there are several."""
    model = MultitaskModel(seer, vocabulary, config, ModelDescription(), device)
    found: dict[str, float] = {}
    for part in parts:
        if part.validation is None:
            continue
        few = replace(part.validation, samples=part.validation.samples[:_VALIDATED])
        before = f"{part.task}/{part.dataset} " if len(parts) > 1 else ""
        for name, value in validate(model, few, _SEARCHED).items():
            found[before + name] = value
    return found


def _card(
    request: TrainRequest,
    parts: Sequence[TrainPart],
    recipe: Recipe,
    config: MultitaskConfig,
    seer: Seer,
    curve: Curve,
    seconds: float,
) -> list[str]:
    parameters = sum(p.numel() for p in seer.parameters())
    names = {"vlbert": "VL-BERT", "vilbert": "ViLBERT"}
    sight = "without pictures" if config.vision.blind else "with a small CNN over regions"
    return [
        f"{names[config.model]} {sight}, trained along. One set of weights, trained on:",
        "",
        *(
            f"- {name_of(part)}, {part.train.split}: {len(part.train.samples):,} samples, data "
            f"sha256 `{part.train.sha256}`"
            for part in parts
        ),
        "",
        f"- command: `{request.command}`",
        f"- seed {request.seed}, device {request.device}, {seconds:.0f} s with the reading of "
        "visuals (of the last start, if it was resumed)",
        f"- {parameters:,} parameters, stored in fp16, computed in fp32",
        f"- recipe: {recipe}",
        f"- validation at the end, on {_VALIDATED} samples each: {at_the_end(curve, ' %')} (every "
        "epoch in curve.json)",
    ]
