"""The light specs that entry points name: which tasks, data sets and models there are, and where
their code is. Reading them imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Capability: TypeAlias = Literal[
    "answer",
    "choose",
    "caption",
    "caption-clips",
    "match",
    "match-clips",
    "locate",
    "find-moments",
]


@dataclass(frozen=True)
class TaskVariant:
    """How a data set's form of a task differs from the task's own: multiple choice among open
    questions, DiDeMo's chunks among moments in seconds. The fields are TaskSpec's."""

    capability: Capability
    metrics: tuple[str, ...]
    load: str
    breakdowns: tuple[str, ...] = ()
    rules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetSpec:
    """A data set of a task. `load` names, as "module:attribute", a function
    (root: Path | None, split: str) -> Dataset.

    `where`: "embedded", "package" (then `package` is the module and `extra` our pip extra), or
    "data-dir" (the user's folder). The splits are those used unless the user names one.
    """

    name: str
    summary: str
    load: str
    splits: tuple[str, ...]
    where: Literal["embedded", "package", "data-dir"]
    package: str = ""
    extra: str = ""
    test_split: str = "test"
    train_split: str = "train"
    validation_split: str = "val"  # "" where there is none
    also_measured: tuple[str, ...] = ()  # splits that a card of weights shows beside the test split
    prior_split: str = ""  # what the floor `prior` is fitted on, if not the train split
    files: tuple[str, ...] = ()  # roles of the official files that `load_files` takes
    optional_files: tuple[str, ...] = ()  # roles that `load_files` can do without
    load_files: str = ""  # "module:attribute" of (role -> path, split) -> Dataset
    verify: str = ""  # "module:attribute" of (root) -> every missing or odd thing, a line each
    variant: TaskVariant | None = None


@dataclass(frozen=True)
class TaskSpec:
    """A task: what a model must be able to do for it, and over which data sets (default first).

    `rules`: the named conventions by which its metrics can be made, each with its choices, the
    default first. `whole_set`: its predictions depend on the whole set (SetTask).
    """

    name: str
    summary: str
    capability: Capability
    metrics: tuple[str, ...]
    datasets: tuple[DatasetSpec, ...]
    load: str
    breakdowns: tuple[str, ...] = ()
    rules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    whole_set: bool = False


@dataclass(frozen=True)
class ModelSpec:
    """A model. `load` names, as "module:attribute", a function (LoadRequest) -> Model; `train`,
    likewise, one (TrainRequest) -> None, and `pretrain` one for --pretrain.

    `kind` "floor" and "ceiling" stand beside every result. `blind`: the name of the same model
    trained without pictures, shown as a control. `datasets`: the "task/dataset" names it works on
    without --weights; None means any. `trains_together`: one training can be for several tasks.
    `searched`: how many entries of a set its card's measure of retrieval goes over, where scoring
    all pairs would take hours.
    """

    name: str
    summary: str
    capabilities: tuple[Capability, ...]
    load: str
    kind: Literal["model", "floor", "ceiling"] = "model"
    aliases: tuple[str, ...] = ()
    train: str = ""
    blind: str = ""
    datasets: tuple[str, ...] | None = None
    trains_together: bool = False
    searched: int | None = None
    pretrain: str = ""
