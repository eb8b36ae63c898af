"""Loads weights that the authors of a model released, or that their code saved, into a module here.

Bridges the names of the file and of the module, says what became of each, and runs nothing that a
file holds. Knows no model but by the tables of names at the top.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.errors import BadInput

from .weights_folder import check_finite

Renames = Sequence[tuple[str, str]]  # (a name's start in the file, what the module has instead)

_SECTIONS = ("state_dict", "model_state_dict", "model")  # where files keep weights, if not bare
_WRAPPER = "module."  # what training on several devices puts before a name
_JOINED = (
    ".weight_g*weight_v"  # what a weight put together from length and direction is called here
)
_SPELLINGS = {".gamma": ".weight", ".beta": ".bias", _JOINED: ".weight"}  # early BERT's LayerNorm
_MOST_GROUPS = 6


@dataclass(frozen=True)
class NameTable:
    """How the names of a file become a module's. `fresh`: starts of the names that fine-tuning
    begins anew, which a pretrained file has no values for."""

    renames: Renames = ()
    fresh: tuple[str, ...] = ()


# VL-BERT's pretraining to itself and to what is fine-tuned from it, as the official yaml files say.
# VCR's official code wraps its encoder; "fe." is a wrapper of the same kind.
VLBERT_PRETRAINING = NameTable()
VLBERT_VQA = NameTable(
    renames=[("vlbert.mlm_head.predictions.transform.", "final_mlp.0.")],
    fresh=("final_mlp.2.",),
)
VLBERT_REFERRING = NameTable(
    renames=[("vlbert.mvrc_head.transform.", "final_mlp.0.")],
    fresh=("final_mlp.2.",),
)
VLBERT_VCR = NameTable(
    renames=[
        ("image_feature_extractor.", "image_feature_extractor.fe."),
        ("vlbert.", "vlbert._module."),
    ],
    fresh=("final_mlp.1.", "vlbert._module.pooler."),
)

# ViLBERT's names are the module's own; the encoder alone is kept with or without its "bert.".
_VILBERT_RENAMES = [("bert.", ""), ("", "bert.")]
VILBERT = NameTable(renames=_VILBERT_RENAMES)
VILBERT_TASKS = NameTable(
    renames=_VILBERT_RENAMES,
    fresh=(
        "vil_prediction.",
        "vil_prediction_gqa.",
        "vil_binary_prediction.",
        "vil_logit.",
        "vil_tri_prediction.",
        "vision_logit.",
        "linguisic_logit.",
        "bert.embeddings.task_embeddings.",
    ),
)


@dataclass(frozen=True)
class LoadReport:
    """What became of the names of a file and of a module."""

    path: Path
    loaded: tuple[str, ...]  # names of the module that have their value from the file
    renamed: tuple[tuple[str, str], ...]  # (name in the file, name in the module) where they differ
    unused: tuple[str, ...]  # names of the file that the module has no place for
    missing: tuple[str, ...]  # names of the module that start afresh

    def text(self) -> str:
        """A line on each, names of one place together."""
        names = len(self.loaded) + len(self.missing)
        return "\n".join(
            [
                f"{self.path.name}",
                f"  loaded  {len(self.loaded):5} of {names} names",
                f"  renamed {len(self.renamed):5}{_grouped(map(_change, self.renamed))}",
                f"  unused  {len(self.unused):5}{_grouped(map(_place, self.unused))}",
                f"  missing {len(self.missing):5}{_grouped(map(_place, self.missing))}",
            ]
        )


def load_official(
    path: Path, model: nn.Module, renames: Renames = (), fresh: Sequence[str] = ()
) -> LoadReport:
    """Copies the weights in the file `path` into `model`, in the model's precision.

    A name is taken as it is, without "module." before it; else with LayerNorm's gamma and beta as
    weight and bias; else by the first of `renames` that leads to a name of the model. A matrix
    kept as length and direction (weight_g, weight_v) is put together if the model has it whole.
    Names of the model that start with one of `fresh` may be missing from the file.

    Raises BadInput, leaving the model as it was, if the file cannot be read as weights alone, lacks
    a name that must be there, or holds a weight of another shape, two for one name, or NaN.
    """
    wanted: dict[str, Tensor] = model.state_dict(keep_vars=True)
    values, unused = _read(path)
    values = _join_weight_norms(path, values, wanted, renames)
    source_of = _match(path, values, wanted, renames)
    used = set(source_of.values())
    unused += [name for name in values if name not in used]
    loaded, missing = _divide(wanted, source_of)
    _refuse_missing(path, wanted, [name for name in missing if not name.startswith(tuple(fresh))])
    _refuse_misshapen(path, values, wanted, source_of)
    _refuse_untied(path, values, wanted, source_of)
    check_finite(path, {source: values[source] for source in source_of.values()})
    with torch.no_grad():
        for target, source in source_of.items():
            wanted[target].copy_(values[source])
    return LoadReport(
        path,
        loaded=tuple(loaded),
        renamed=tuple((source, target) for target, source in source_of.items() if source != target),
        unused=tuple(unused),
        missing=tuple(missing),
    )


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """The names of the weights in the file `path`, without "module." before them, and their shapes.
    BadInput where it cannot be read as weights alone."""
    return {name: tuple(value.shape) for name, value in _read(path)[0].items()}


# ---------------------------------------------------------------- reading


def _read(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The weights by their names without "module.", and the names of what is no weight."""
    content = _unpickle(path)
    if isinstance(content, Mapping):
        for section in _SECTIONS:
            if isinstance(content.get(section), Mapping):
                content = content[section]
                break
    entries = content if isinstance(content, Mapping) else {}
    if not any(isinstance(value, Tensor) for value in entries.values()):
        raise BadInput(f"{path}: holds no table of weights; give a checkpoint of torch.save")
    values: dict[str, Tensor] = {}
    others: list[str] = []
    for key, value in entries.items():
        name = str(key)
        while name.startswith(_WRAPPER):
            name = name[len(_WRAPPER) :]
        if not isinstance(value, Tensor):
            others.append(name)
        elif name in values:
            raise BadInput(f"{path}: {name} is there twice, with and without {_WRAPPER!r}")
        else:
            values[name] = value
    return values, others


def _unpickle(path: Path) -> object:
    """The content of a file that torch.save wrote; tensors and plain values only. Files of torch
    1.6 and later are not read into memory before their weights are copied."""
    if not path.is_file():
        raise BadInput(f"{path}: no such file; give the checkpoint's path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats and protocols
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it names {found[1]}" if found else "it is no plain pickle"
        raise BadInput(
            f"{path}: refused, since loading it could run code ({reason}); save its state_dict "
            "alone with torch.save where you trust it"
        ) from None
    except PermissionError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); correct its rights") from None
    except Exception as error:  # torch's reader raises what its steps stumble over
        raise BadInput(
            f"{path}: torn or no checkpoint ({type(error).__name__}); fetch it again"
        ) from None


# ---------------------------------------------------------------- names


def _spellings(name: str) -> list[str]:
    for old, new in _SPELLINGS.items():
        if name.endswith(old):
            return [name, name.removesuffix(old) + new]
    return [name]


def _target(name: str, wanted: Mapping[str, Tensor], renames: Renames) -> str | None:
    """The module's name for a name of the file; None where it has none."""
    spellings = _spellings(name)
    for spelling in spellings:
        if spelling in wanted:
            return spelling
    for old, new in renames:
        for spelling in spellings:
            if spelling.startswith(old) and new + spelling.removeprefix(old) in wanted:
                return new + spelling.removeprefix(old)
    return None


def _match(
    path: Path, values: Mapping[str, Tensor], wanted: Mapping[str, Tensor], renames: Renames
) -> dict[str, str]:
    """Name of the module -> name of the file. A name that is the module's own comes before one
    that would have to be changed, which then is left unused."""
    source_of = {name: name for name in wanted if name in values}
    for name in values:
        target = _target(name, wanted, renames)
        if target is None or target == name or source_of.get(target) == target:
            continue
        if target in source_of:
            raise BadInput(f"{path}: {source_of[target]} and {name} are both {target}; remove one")
        source_of[target] = name
    return {name: source_of[name] for name in wanted if name in source_of}


def _join_weight_norms(
    path: Path, values: dict[str, Tensor], wanted: Mapping[str, Tensor], renames: Renames
) -> dict[str, Tensor]:
    """The values with "x.weight_g" and "x.weight_v" multiplied, wherever the module wants
    "x.weight" and has no length of its own."""
    joined = dict(values)
    for name in values:
        base = name.removesuffix(".weight_g")
        direction = f"{base}.weight_v"
        target = _target(f"{base}.weight", wanted, renames)
        if base == name or direction not in values or f"{base}.weight" in values:
            continue
        if target is None or _target(name, wanted, renames) is not None:
            continue
        length, matrix = joined.pop(name).float(), joined.pop(direction).float()
        joined[base + _JOINED] = _scaled(path, name, length, matrix)
    return joined


def _scaled(path: Path, name: str, length: Tensor, direction: Tensor) -> Tensor:
    """Directions of the given lengths: one for the whole matrix, as ViLBERT's first release has it,
    or one a row."""
    if length.numel() == 1:
        norms: Tensor = direction.norm()
        return direction * (length.reshape(()) / norms)
    if direction.dim() < 1 or length.numel() != len(direction):
        raise BadInput(
            f"{path}: {name} has {length.numel()} lengths for a weight_v of shape "
            f"{tuple(direction.shape)}; fetch the file again"
        )
    norms = direction.flatten(1).norm(dim=1)
    scales = (length.flatten() / norms).view(-1, *[1] * (direction.dim() - 1))
    return direction * scales


def _divide(
    wanted: Mapping[str, Tensor], source_of: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Names of the module that get a value, and those that do not. Where two names are one
    parameter, a value for either serves."""
    served = {id(wanted[name]) for name in source_of}
    loaded = [name for name, value in wanted.items() if id(value) in served]
    return loaded, [name for name, value in wanted.items() if id(value) not in served]


# ---------------------------------------------------------------- refusals


def _refuse_missing(path: Path, wanted: Mapping[str, Tensor], missing: Sequence[str]) -> None:
    if missing:
        raise BadInput(
            f"{path}: lacks {len(missing)} of the model's {len(wanted)} names, first {missing[0]}; "
            "choose the model and the sizes that it was trained with"
        )


def _refuse_misshapen(
    path: Path,
    values: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    source_of: Mapping[str, str],
) -> None:
    wrong = []
    for target, source in source_of.items():
        value, place = values[source], wanted[target]
        if value.layout != torch.strided or value.is_floating_point() != place.is_floating_point():
            raise BadInput(f"{path}: {source} is no plain table of numbers ({value.dtype})")
        if value.shape != place.shape:
            wrong.append(
                f"{source} has shape {tuple(value.shape)}, the model's {target} "
                f"{tuple(place.shape)}"
            )
    if wrong:
        more = f" (and {len(wrong) - 1} more differ)" if len(wrong) > 1 else ""
        raise BadInput(f"{path}: {wrong[0]}{more}; choose the sizes that it was trained with")


def _refuse_untied(
    path: Path,
    values: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    source_of: Mapping[str, str],
) -> None:
    """Two names of one parameter must have one value in the file, or the last one would win."""
    first: dict[int, str] = {}
    for target, source in source_of.items():
        known = first.setdefault(id(wanted[target]), source)
        if known != source and not torch.equal(values[known], values[source]):
            raise BadInput(
                f"{path}: {known} and {source} differ, though the model has one weight for both; "
                "it was trained as another model"
            )


# ---------------------------------------------------------------- the report's words


def _place(name: str) -> str:
    """The first two parts of a name: enough to tell which part of a model it is of."""
    return ".".join(name.split(".")[:2])


def _change(pair: tuple[str, str]) -> str:
    """What differs between two names: their common last parts are left out, then their first."""
    old, new = pair[0].split("."), pair[1].split(".")
    while len(old) > 1 and len(new) > 1 and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    while len(old) > 1 and len(new) > 1 and old[0] == new[0]:
        old, new = old[1:], new[1:]
    return f"{'.'.join(old)} -> {'.'.join(new)}"


def _grouped(labels: Iterable[str]) -> str:
    """'  a (3), b (1)', the most frequent first."""
    groups = Counter(labels).most_common()
    shown = [f"{label} ({count})" for label, count in groups[:_MOST_GROUPS]]
    more = [f"{len(groups) - _MOST_GROUPS} more places"] if len(groups) > _MOST_GROUPS else []
    return "  " + ", ".join(shown + more) if groups else ""
