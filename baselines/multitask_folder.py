"""Folders of VL-BERT's and ViLBERT's weights: what they hold, written and read. Knows no training
and no task."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from harness.errors import BadInput

from .multitask_learning import Seer
from .multitask_vision import Vision, VisionConfig
from .region_encoder import RegionConfig, RegionKind
from .vilbert import ViLBertConfig
from .vilbert_multitask import ViLBertMultitask
from .visual_encoder import VisualConfig
from .vlbert import VLBertConfig
from .vlbert_multitask import VLBertMultitask
from .words import Vocabulary, read_vocabulary

ModelName: TypeAlias = Literal["vlbert", "vilbert"]

# what reading a config.json, or building what it describes, raises where it is of something else
_NOT_OURS = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError)


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
    """Writes config.json, vocab.txt and model.safetensors (in fp16: half the size; the card says
    what the stored weights score)."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(
        json.dumps(asdict(config), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    vocabulary.save(folder / "vocab.txt")
    state = {
        name: (value.to(torch.float16) if value.is_floating_point() else value).cpu().contiguous()
        for name, value in seer.state_dict().items()
    }
    path = folder / "model.safetensors"
    save_file(state, str(path))
    path.chmod(0o644)  # it comes out readable to its writer alone


def read_folder(folder: Path) -> tuple[Seer, Vocabulary, MultitaskConfig]:
    """Reads what save_folder wrote; computes in fp32. BadInput names the file and the mend."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = [folder / name for name in ("config.json", "vocab.txt", "model.safetensors")]
    for path in files:
        if not path.is_file():
            raise BadInput(
                f"{path}: no such file; --weights takes a folder that `harness train` wrote"
            )
    try:
        config = _read_config(files[0])
        vocabulary = read_vocabulary(files[1])
        _check_sizes(config, vocabulary)
        seer = build(config, vocabulary)
    except _NOT_OURS as error:
        raise BadInput(
            f"{files[0]} and {files[1]} do not describe a VL-BERT or a ViLBERT ({error}); take "
            "those it was trained with"
        ) from None
    try:
        state = load_file(str(files[2]))
    except SafetensorError as error:
        raise BadInput(f"{files[2]}: unreadable ({error}); copy it again") from None
    _check_shapes(files[2], seer.state_dict(), state)
    seer.load_state_dict(state)
    return seer.float(), vocabulary, config


def _read_config(path: Path) -> MultitaskConfig:
    content = json.loads(path.read_text(encoding="utf-8"))
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
    if config.vision.regions.kind not in get_args(RegionKind):
        raise ValueError(f"regions of the unknown kind {config.vision.regions.kind!r}")


def _check_shapes(path: Path, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            raise BadInput(f"{path}: {name} is missing; take the config.json it was trained with")
        if name not in wanted:
            raise BadInput(f"{path}: {name} is not in the model that config.json describes")
        if wanted[name].shape != found[name].shape:
            raise BadInput(
                f"{path}: {name} has shape {tuple(found[name].shape)}, config.json asks for "
                f"{tuple(wanted[name].shape)}; take the config.json it was trained with"
            )
