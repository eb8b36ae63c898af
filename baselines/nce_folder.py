"""Folders of the dual encoder's weights: what they hold, written and read. Knows no training and no
task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .frozen_networks import check_frozen
from .nce import DualConfig, DualEncoder
from .region_encoder import RegionConfig
from .visual_encoder import VisualConfig
from .weights_folder import check_files, describing, read_weights, write_folder
from .words import Vocabulary, read_vocabulary


@dataclass(frozen=True)
class NceConfig:
    """What config.json holds: sizes, how pictures are cut up, the task it was trained for, the
    answers it chooses from, how long its moments are, in frames, and the sha256 of each frozen
    network below it, whose weights are not in the folder."""

    encoder: DualConfig
    regions: RegionConfig
    trained_on: str = ""
    answers: tuple[str, ...] = ()
    moment_lengths: tuple[int, ...] = ()
    frozen: dict[str, str] = field(default_factory=dict)


def save_folder(
    folder: Path,
    network: DualEncoder,
    vocabulary: Vocabulary,
    config: NceConfig,
    bank: Sequence[str] = (),
) -> None:
    """Writes config.json, vocab.txt, model.safetensors (in fp16) and, for captioning, captions.txt:
    the captions to choose from, a line each. Where MiniLM reads, its own words count, and vocab.txt
    holds the special ones alone."""
    write_folder(folder, config, network)
    vocabulary.save(folder / "vocab.txt")
    if bank:
        lines = "".join(f"{' '.join(caption.split())}\n" for caption in bank)
        (folder / "captions.txt").write_text(lines, encoding="utf-8")


def read_folder(folder: Path) -> tuple[DualEncoder, Vocabulary, NceConfig]:
    """Reads what save_folder wrote; computes in fp32. BadInput names the file and the mend, also
    where a frozen network is absent or another than in training."""
    check_files(folder, "vocab.txt")
    with describing(folder, "vocab.txt", "a dual encoder"):
        config = _read_config(folder / "config.json")
        vocabulary = read_vocabulary(folder / "vocab.txt")
        words = config.encoder.vocab_size
        if len(vocabulary.words) != words:
            raise ValueError(f"{len(vocabulary.words)} words for {words} embeddings")
        network = DualEncoder(config.encoder)
    check_frozen(config.frozen, folder)
    read_weights(folder, network)
    return network, vocabulary, config


def _read_config(path: Path) -> NceConfig:
    content = json.loads(path.read_text(encoding="utf-8"))
    encoder, regions = content["encoder"], content["regions"]
    visual = encoder["visual"] | {"channels": tuple(encoder["visual"]["channels"])}
    return NceConfig(
        encoder=DualConfig(**encoder | {"visual": VisualConfig(**visual)}),
        regions=RegionConfig(**regions | {"channels": tuple(regions["channels"])}),
        trained_on=content["trained_on"],
        answers=tuple(content["answers"]),
        moment_lengths=tuple(content["moment_lengths"]),
        frozen=dict(content.get("frozen", {})),
    )
