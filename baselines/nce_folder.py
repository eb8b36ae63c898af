"""Folders of the dual encoder's weights: what they hold, written and read. Knows no training and no
task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from harness.errors import BadInput

from .frozen_networks import check_frozen
from .nce import DualConfig, DualEncoder
from .region_encoder import RegionConfig
from .visual_encoder import VisualConfig
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
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(
        json.dumps(asdict(config), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    vocabulary.save(folder / "vocab.txt")
    state = {
        name: value.to("cpu", torch.float16) if value.is_floating_point() else value.cpu()
        for name, value in network.state_dict().items()
    }
    path = folder / "model.safetensors"
    save_file({name: value.contiguous() for name, value in state.items()}, str(path))
    path.chmod(0o644)  # it comes out readable to its writer alone
    if bank:
        lines = "".join(f"{' '.join(caption.split())}\n" for caption in bank)
        (folder / "captions.txt").write_text(lines, encoding="utf-8")


def read_folder(folder: Path) -> tuple[DualEncoder, Vocabulary, NceConfig]:
    """Reads what save_folder wrote; computes in fp32. BadInput names the file and the mend, also
    where a frozen network is absent or another than in training."""
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
        words = config.encoder.vocab_size
        if len(vocabulary.words) != words:
            raise ValueError(f"{len(vocabulary.words)} words for {words} embeddings")
        network = DualEncoder(config.encoder)
    except (ValueError, KeyError, TypeError, RuntimeError, ArithmeticError) as error:
        raise BadInput(
            f"{files[0]} and {files[1]} do not describe a dual encoder ({error}); take those it "
            "was trained with"
        ) from None
    check_frozen(config.frozen, folder)
    try:
        network.load_state_dict({name: _wide(v) for name, v in load_file(str(files[2])).items()})
    except SafetensorError as error:
        raise BadInput(f"{files[2]}: unreadable ({error}); copy it again") from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise BadInput(
            f"{files[2]}: not of this config.json ({reason[:200]}); take the one it was trained "
            "with"
        ) from None
    return network, vocabulary, config


def _wide(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


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
