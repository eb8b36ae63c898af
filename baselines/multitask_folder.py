"""Folders of VL-BERT's and ViLBERT's weights: what they hold, written and read. Knows no training
and no task."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from .multitask_learning import Seer
from .multitask_vision import Vision, VisionConfig
from .region_encoder import RegionConfig, RegionKind
from .vilbert import ViLBertConfig
from .vilbert_multitask import ViLBertMultitask
from .visual_encoder import VisualConfig
from .vlbert import VLBertConfig
from .vlbert_multitask import VLBertMultitask
from .weights_folder import check_files, describing, read_weights, write_folder
from .words import Vocabulary, read_vocabulary

ModelName: TypeAlias = Literal["vlbert", "vilbert"]


@dataclass(frozen=True)
class MultitaskConfig:
    """What config.json holds: which network in which sizes, how it sees, the answers in the order
    of their logits, and what it was trained for, as "task/dataset" names."""

    model: ModelName
    network: VLBertConfig | ViLBertConfig
    vision: VisionConfig
    answers: tuple[str, ...]
    trained_on: tuple[str, ...]


def build(config: MultitaskConfig, vocabulary: Vocabulary) -> Seer:
    """The network with its initial weights."""
    special = (vocabulary.cls, vocabulary.sep, vocabulary.mask)
    vision = Vision(config.vision)
    if isinstance(config.network, VLBertConfig):
        return Seer(vision, VLBertMultitask(config.network, *special))
    return Seer(vision, ViLBertMultitask(config.network, *special))


def save_folder(folder: Path, seer: Seer, vocabulary: Vocabulary, config: MultitaskConfig) -> None:
    """Writes config.json, vocab.txt and model.safetensors."""
    write_folder(folder, config, seer)
    vocabulary.save(folder / "vocab.txt")


def read_folder(folder: Path) -> tuple[Seer, Vocabulary, MultitaskConfig]:
    """Reads what save_folder wrote; computes in fp32. BadInput names the file and the mend."""
    check_files(folder, "vocab.txt")
    with describing(folder, "vocab.txt", "a VL-BERT or a ViLBERT"):
        config = _read_config(folder / "config.json")
        vocabulary = read_vocabulary(folder / "vocab.txt")
        _check_sizes(config, vocabulary)
        seer = build(config, vocabulary)
    read_weights(folder, seer)
    return seer, vocabulary, config


def _read_config(path: Path) -> MultitaskConfig:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("the first is no JSON object")
    kinds: dict[str, Any] = {"vlbert": VLBertConfig, "vilbert": ViLBertConfig}
    vision = content["vision"]
    regions = vision["regions"] | {"channels": tuple(vision["regions"]["channels"])}
    clips = vision["clips"]
    return MultitaskConfig(
        model=content["model"],
        network=kinds[content["model"]](**_with_tuples(content["network"])),
        vision=VisionConfig(
            RegionConfig(**regions),
            clips and VisualConfig(**_with_tuples(clips)),
            vision["appearance_size"],
            vision["tags"],
            tuple(vision["moment_lengths"]),
            vision.get("frames", 0),
        ),
        answers=tuple(content["answers"]),
        trained_on=tuple(content["trained_on"]),
    )


def _with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }


def _check_sizes(config: MultitaskConfig, vocabulary: Vocabulary) -> None:
    """ValueError where the parts of a folder are not of one model."""
    network = config.network
    if max(1, len(config.answers)) != network.answers:
        raise ValueError(f"{len(config.answers)} answers for {network.answers} logits")
    if len(vocabulary.words) != network.vocab_size:
        raise ValueError(f"{len(vocabulary.words)} words for {network.vocab_size} embeddings")
    if len(set(vocabulary.words)) < len(vocabulary.words):
        raise ValueError("a word is there twice")
    if config.vision.regions.kind not in get_args(RegionKind):
        raise ValueError(f"regions of the unknown kind {config.vision.regions.kind!r}")
