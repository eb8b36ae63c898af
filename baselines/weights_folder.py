"""What every folder of bundled weights shares: config.json, a vocabulary, and the weights in fp16.
Knows no network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from harness.errors import BadInput

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def write_folder(folder: Path, config: DataclassInstance, network: nn.Module) -> None:
    """Writes config.json and model.safetensors: in fp16, half the size, and what the card measures
    are the stored weights. BadInput where training came to no numbers."""
    from safetensors.torch import save_file

    state = {
        name: (value.to(torch.float16) if value.is_floating_point() else value).cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    if wrong := first_not_finite(state):
        raise BadInput(
            f"{folder}: training came to NaN or infinity ({wrong}); lower --set learning_rate, and "
            "give --restart"
        )
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(config), indent=1, ensure_ascii=False) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")
    path = folder / WEIGHTS
    save_file(state, str(path))
    path.chmod(0o644)  # it comes out readable to its writer alone


def no_folder(path: Path) -> BadInput:
    """What to say of --weights that are no folder, for a model that reads nothing else."""
    what = "is a file, which this model does not read" if path.exists() else "no such folder"
    return BadInput(f"{path}: {what}; --weights takes a folder that `harness train` wrote")


def check_files(folder: Path, vocabulary: str) -> None:
    """BadInput for the first of the three files that is not there."""
    for name in (CONFIG, vocabulary, WEIGHTS):
        if not (folder / name).is_file():
            raise BadInput(
                f"{folder / name}: no such file; --weights takes a folder that `harness train` "
                "wrote"
            )


@contextmanager
def describing(folder: Path, vocabulary: str, what: str) -> Iterator[None]:
    """Within it, whatever goes wrong means that config.json and the vocabulary do not describe
    `what`, such as "a captioner"."""
    try:
        yield
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,
        ArithmeticError,
    ) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise BadInput(
            f"{folder / CONFIG} and {folder / vocabulary} do not describe {what} ({reason}); take "
            "those it was trained with"
        ) from None


def read_weights(folder: Path, network: nn.Module) -> None:
    """Loads model.safetensors into the network, in fp32. BadInput where the file is torn or is not
    of this network."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    try:
        found = load_file(str(path))
    except SafetensorError as error:
        raise BadInput(f"{path}: unreadable ({error}); copy it again") from None
    _check_shapes(path, network.state_dict(), found)
    check_finite(path, found)
    network.load_state_dict(
        {
            name: value.float() if value.is_floating_point() else value
            for name, value in found.items()
        }
    )


def first_not_finite(weights: Mapping[str, Tensor]) -> str:
    """The first name whose weights hold NaN or infinity, "" where there is none."""
    for name, value in weights.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            return name
    return ""


def check_finite(path: Path, weights: Mapping[str, Tensor]) -> None:
    """BadInput where weights of the file hold NaN or infinity: what is computed with them is a
    score of nothing."""
    if wrong := first_not_finite(weights):
        raise BadInput(f"{path}: {wrong} holds NaN or infinity; fetch it again, or train it anew")


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
