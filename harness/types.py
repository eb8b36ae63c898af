"""What passes between data sets, models, tasks and the engine: samples, inputs, predictions,
capabilities, and the light specs that entry points name. Knows no task, no model and no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels: TypeAlias = npt.NDArray[np.uint8]  # (height, width, 3), RGB
    FloatArray: TypeAlias = npt.NDArray[np.float64]

Json: TypeAlias = dict[str, Any]

# ---------------------------------------------------------------- samples and their inputs


@dataclass(frozen=True)
class Picture:
    """A picture that is decoded when asked for.

    `id` is unique over all data sets, so that a model may cache by it. `scene` is what a synthetic
    data set drew, for the oracle ceiling only; no other model may read it.
    """

    id: str
    read: Callable[[], Pixels]
    scene: object | None = None


@dataclass(frozen=True)
class Question:
    """A question about a picture. `choices` is empty for open questions.

    `kind` is the question type that the data set gives beside the text ("what color is the",
    "count"), known at test time too; `prior` backs off to it, no trained model reads it.
    """

    visual: Picture
    text: str
    choices: tuple[str, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class Sample:
    """One thing to predict.

    `input` has a field `visual`, which the controls replace. `target` never reaches a model.
    `group` is what samples share (a picture, a video): resampling keeps a group together.
    `tags` give the breakdowns.
    """

    id: str
    input: Any
    target: Any
    group: str
    tags: Mapping[str, str] = field(default_factory=dict)


Box: TypeAlias = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels, the far ends exclusive


@dataclass(frozen=True)
class RegionAnnotation:
    """A box and the words that describe what is in it: the supervision that detectors get. Only
    training sees it."""

    box: Box
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """One split of a data set, opened.

    `samples` are light: their pictures decode on demand. `sha256` covers the questions and answers,
    and the pictures where that is cheap; the data set's module says what it covers.
    `answers` is the answer vocabulary of the train part, where the task has one.

    What only training may use, where a data set has it: `region_annotations` of a picture, and
    `groundings` of a sample: for each phrase of its text, in order, the boxes it speaks of, as
    GQA's annotations have them.
    """

    name: str
    split: str
    samples: Sequence[Sample]
    sha256: str
    answers: tuple[str, ...] = ()
    region_annotations: Callable[[Picture], Sequence[RegionAnnotation]] | None = None
    groundings: Callable[[Sample], Sequence[Sequence[Box]]] | None = None


# ---------------------------------------------------------------- predictions and capabilities


@dataclass(frozen=True)
class Answer:
    """An answer and, where the model has one, its probability in [0, 1]."""

    text: str
    confidence: float | None = None


@dataclass(frozen=True)
class UniformAnswer:
    """Any answer of the vocabulary with equal probability, scored by its exact expectation."""


class Answerer(Protocol):
    """Answers questions about pictures, one answer a question, in order."""

    def answer(self, questions: Sequence[Question]) -> Sequence[Answer | UniformAnswer]: ...


Capability: TypeAlias = Literal["answer"]


@dataclass(frozen=True)
class ModelDescription:
    """What identifies a loaded model in a run: everything that can move its predictions."""

    weights_sha256: str | None = None
    parameters: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


class Model(Protocol):
    """A loaded model; what it can do is in its spec's `capabilities`."""

    @property
    def description(self) -> ModelDescription: ...


@dataclass(frozen=True)
class LoadRequest:
    """What a model is loaded for and with.

    `train` opens the data set's train part for models that are fitted when evaluated (floors); it
    raises BadInput where the part is absent. `weights` overrides the bundled ones.
    """

    task: str
    dataset: str
    device: str = "cpu"
    dtype: str = "float32"
    seed: int = 0
    weights: Path | None = None
    train: Callable[[], Dataset] | None = None


# ---------------------------------------------------------------- training


@dataclass(frozen=True)
class TrainRequest:
    """What `harness train` asks of a model's train function; the result is a folder at `output`."""

    task: str
    dataset: str
    train: Dataset
    validation: Dataset | None
    output: Path
    command: str
    device: str = "cpu"
    seed: int = 0
    resume: bool = True
    options: Mapping[str, str] = field(default_factory=dict)


# ---------------------------------------------------------------- metrics


@dataclass(frozen=True)
class Metric:
    """A metric in two steps, so that an interval for it is a matrix product.

    `rows(predictions, targets)` -> (samples, statistics): sufficient statistics of each sample; a
    prediction of None (missing or invalid) gets the row of the worst answer.
    `aggregate(sums)` (..., statistics) -> (...): the metric, from weighted sums of rows.
    `low`, `high`: its range. `variant`: the rule by which it was made, for the signature.
    """

    name: str
    variant: str
    rows: Callable[[Sequence[Json | None], Sequence[Any]], FloatArray]
    aggregate: Callable[[FloatArray], FloatArray]
    low: float = 0.0
    high: float = 1.0
    higher_is_better: bool = True
    percent: bool = True


class Task(Protocol):
    """What the engine asks of a task. Predictions are JSON objects, as they stand in the log."""

    def predict(self, model: Any, inputs: Sequence[Any]) -> Sequence[Json]:
        """One prediction an input, in order."""

    def invalid(self, prediction: Json) -> str | None:
        """Why a prediction cannot be scored, or None if it can."""

    def metrics(self, dataset: Dataset) -> Sequence[Metric]:
        """The metrics, primary first."""

    def read_results(self, path: Path) -> dict[str, Json]:
        """Sample id -> prediction from the field's own result files; BadInput names the record."""


# ---------------------------------------------------------------- specs, named by entry points


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
    load_files: str = ""  # "module:attribute" of (role -> path, split) -> Dataset


@dataclass(frozen=True)
class TaskSpec:
    """A task: what a model must be able to do for it, and over which data sets (default first)."""

    name: str
    summary: str
    capability: Capability
    metrics: tuple[str, ...]
    datasets: tuple[DatasetSpec, ...]
    load: str
    breakdowns: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelSpec:
    """A model. `load` names, as "module:attribute", a function (LoadRequest) -> Model; `train`,
    likewise, one (TrainRequest) -> None.

    `kind` "floor" and "ceiling" stand beside every result. `blind`: the name of the same model
    trained without pictures, shown as a control. `datasets`: the "task/dataset" names it works on
    without --weights; None means any.
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
