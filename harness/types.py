"""What passes between data sets, models, tasks and the engine: samples, inputs, predictions, and
what models and tasks must be able to do. Knows no task, no model and no torch; the light specs that
entry points name stand in specs.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels: TypeAlias = npt.NDArray[np.uint8]  # (height, width, 3), RGB
    Frames: TypeAlias = npt.NDArray[np.uint8]  # (frames, height, width, 3), RGB
    FloatArray: TypeAlias = npt.NDArray[np.float64]

Json: TypeAlias = dict[str, Any]

# ---------------------------------------------------------------- samples and their inputs


@dataclass(frozen=True)
class Picture:
    """A picture that is decoded when asked for.

    `id` is unique over all data sets, so that a model may cache by it. `size` is its width and
    height in pixels, where they are known without decoding. `scene` is what a synthetic data set
    drew, for the oracle ceiling only; no other model may read it.
    """

    id: str
    read: Callable[[], Pixels]
    scene: object | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Clip:
    """A piece of video that is decoded when asked for.

    `read(count)` gives that many frames (count, height, width, 3), from the middles of `count`
    equal parts of its `duration` in seconds: frame i stands for the time (i + .5) / count *
    duration. A clip of fewer frames repeats some. `id` and `scene` as in Picture.
    """

    id: str
    read: Callable[[int], Frames]
    duration: float
    scene: object | None = None


Visual: TypeAlias = Picture | Clip


@dataclass(frozen=True)
class NamedBox:
    """A thing in a picture that a text may name by its tag: a box in pixels and a category."""

    box: tuple[float, float, float, float]  # x1, y1, x2, y2, the far ends exclusive
    name: str


@dataclass(frozen=True)
class Question:
    """A question about a picture. `choices` is empty for open questions.

    `kind` is the question type that the data set gives beside the text ("what color is the",
    "count"), known at test time too; `prior` backs off to it, no trained model reads it.
    `objects`: the things that tags in the text and the choices name: "[0]" is the first, "[0,2]"
    the first and the third. `given`: what is already known, as VCR gives the right answer before it
    asks for the reason.
    """

    visual: Picture
    text: str
    choices: tuple[str, ...] = ()
    kind: str = ""
    objects: Sequence[NamedBox] = ()
    given: str = ""


@dataclass(frozen=True)
class ReasonedQuestion:
    """A question with four answers and, once the right answer is `given`, four reasons for it (VCR:
    Q->A, then QA->R). `objects` and tags as in Question."""

    visual: Picture
    text: str
    answers: tuple[str, ...]
    reasons: tuple[str, ...]
    objects: Sequence[NamedBox]
    given: str
    kind: str = ""


@dataclass(frozen=True)
class Uncaptioned:
    """A picture or a clip that wants a caption."""

    visual: Visual


@dataclass(frozen=True)
class Expression:
    """An expression that singles out one thing in a picture."""

    visual: Picture
    text: str


@dataclass(frozen=True)
class MomentQuery:
    """A sentence that describes a moment of a clip. `candidates`, where a data set has them, are
    the only moments there are, as (start, end) in seconds: to be ranked."""

    visual: Clip
    text: str
    candidates: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class CaptionedVisual:
    """A picture or a clip and its captions, one entry of a set to search, in both directions.

    No model sees which caption belongs to which visual: it is handed visuals and texts apart.
    `foils`: captions of the same words that do not hold, "" for a caption that has none.
    `gallery`: entries of one name are searched together, as COCO's 1K folds are.
    """

    visual: Visual
    texts: tuple[str, ...]
    foils: tuple[str, ...] = ()
    gallery: str = ""


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
    `answers` is the answer vocabulary of the train part, where the task has one. `notes`: what a
    user must know of what was left out or changed in reading, a line each ("2 of 12,408 lines
    dropped: the moment starts after the video's end: lines 17, 23").

    What only training may use, where a data set has it: `region_annotations` of a picture, and
    `groundings` of a sample and one of its texts: for each phrase of the text, in order, the boxes
    it speaks of, as the annotations of GQA and of Flickr30k Entities have them.
    """

    name: str
    split: str
    samples: Sequence[Sample]
    sha256: str
    answers: tuple[str, ...] = ()
    region_annotations: Callable[[Picture], Sequence[RegionAnnotation]] | None = None
    groundings: Callable[[Sample, str], Sequence[Sequence[Box]]] | None = None
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- predictions and capabilities


@dataclass(frozen=True)
class Answer:
    """An answer and, where the model has one, its probability in [0, 1]."""

    text: str
    confidence: float | None = None


@dataclass(frozen=True)
class UniformAnswer:
    """Any answer of the vocabulary with equal probability, scored by its exact expectation."""


@dataclass(frozen=True)
class Choice:
    """Which of a question's choices, from 0 on, and a score for each where the model has them."""

    index: int
    scores: tuple[float, ...] = ()


class Answerer(Protocol):
    """Answers questions about pictures, one answer a question, in order.

    Capability "answer": open questions, whose `choices` are empty, with an Answer; "choose":
    questions with choices, with a Choice. UniformAnswer serves either.
    """

    def answer(
        self, questions: Sequence[Question]
    ) -> Sequence[Answer | Choice | UniformAnswer]: ...


class Captioner(Protocol):
    """Describes visuals in a sentence each, in order. Capability "caption": pictures;
    "caption-clips": clips."""

    def caption(self, visuals: Sequence[Any]) -> Sequence[str]: ...


class Encoder(Protocol):
    """Embeds visuals and texts apart; a pair's score is the product of its two embeddings.
    Capability "match": pictures and texts; "match-clips": clips and texts."""

    def embed_visuals(self, visuals: Sequence[Any]) -> FloatArray:
        """(visuals, dimensions), any float type."""

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """(texts, dimensions)."""


class PairScorer(Protocol):
    """Scores pairs of a visual and a text, higher for a better match, for what an Encoder cannot
    do. Same capabilities."""

    def score_pairs(self, visuals: Sequence[Any], texts: Sequence[str]) -> FloatArray:
        """(visuals, texts): the score of every visual with every text."""


class Grounder(Protocol):
    """Finds the box that an expression speaks of, x1, y1, x2, y2 in pixels, the far ends exclusive;
    None where it finds nothing. Capability "locate"."""

    def locate(
        self, expressions: Sequence[Expression]
    ) -> Sequence[tuple[float, float, float, float] | None]: ...


class MomentFinder(Protocol):
    """Finds moments, (start, end) in seconds, several a query, best first. Capability
    "find-moments"."""

    def find_moments(
        self, queries: Sequence[MomentQuery]
    ) -> Sequence[Sequence[tuple[float, float]]]: ...


class Attentive(Protocol):
    """What a captioner may offer beside its captions: where it looked for each word, as JSON, kept
    in a run's artifacts/."""

    def artifacts(self, visuals: Sequence[Any]) -> Sequence[Json]: ...


class Watched(Protocol):
    """A model that keeps, as it predicts, which regions the words of a text attend to: `maps`, one
    an input, in the order in which inputs came, or none at all. A map is {"words", "weights"
    (words, regions), "boxes" (regions, 4) in pixels}; for a clip, "spans" (regions, 2) in seconds.
    """

    maps: Sequence[Json]


class Watchable(Protocol):
    """What any other model may offer: itself with the same capabilities, watched. Its predictions
    must not change by it."""

    def watched(self) -> Watched: ...


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
class OfficialWeights:
    """What a file of weights, as a model's authors released it, does not say itself.

    `config`: the name of its sizes. `vocabulary`: BERT's vocab.txt. `answers`: which answer each
    label of its head stands for. `regions`: region features of the pictures. None where not given:
    the model says what it lacks.
    """

    config: str | None = None
    vocabulary: Path | None = None
    answers: Path | None = None
    regions: Path | None = None


@dataclass(frozen=True)
class LoadRequest:
    """What a model is loaded for and with.

    `train` opens the data set's train part for models that are fitted when evaluated (floors); it
    raises BadInput where the part is absent. `weights` overrides the bundled ones; `official` goes
    with it where it is a released file.
    """

    task: str
    dataset: str
    device: str = "cpu"
    dtype: str = "float32"
    seed: int = 0
    weights: Path | None = None
    train: Callable[[], Dataset] | None = None
    official: OfficialWeights | None = None


# ---------------------------------------------------------------- training


@dataclass(frozen=True)
class TrainPart:
    """A task and its data set to be trained for beside another."""

    task: str
    dataset: str
    train: Dataset
    validation: Dataset | None


@dataclass(frozen=True)
class TrainRequest:
    """What `harness train` asks of a model's train function; the result is a folder at `output`.
    `also`: further tasks that one set of weights is to serve."""

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
    also: tuple[TrainPart, ...] = ()


# ---------------------------------------------------------------- metrics


@dataclass(frozen=True)
class Metric:
    """A metric in two steps, so that an interval for it is a matrix product.

    `rows(predictions, targets)` -> (samples, statistics): sufficient statistics of each sample; a
    prediction of None (missing or invalid) gets the row of the worst answer. A sample whose row is
    all zeros has no say.
    `aggregate(sums)` (..., statistics) -> (...): the metric, from weighted sums of rows; nan where
    it does not apply ("n/a"). `weighted(weights, rows)`, for a metric that no sum gives, such as a
    median, takes its place: weights (..., samples) -> (...).
    `low`, `high`: its range. `variant`: the rule by which it was made, for the signature.
    `absent`: why the metric cannot be computed here ("no Java"); then nothing is asked of it.
    `slow`: computed for the model only, not for floors and controls. `na`: why its value can be
    nan. `counted`: the statistic whose sum is the number of queries, where a sample holds several.
    """

    name: str
    variant: str
    rows: Callable[[Sequence[Json | None], Sequence[Any]], FloatArray]
    aggregate: Callable[[FloatArray], FloatArray]
    low: float = 0.0
    high: float = 1.0
    higher_is_better: bool = True
    percent: bool = True
    absent: str = ""
    slow: bool = False
    na: str = "does not apply to these predictions"
    counted: int | None = None
    weighted: Callable[[FloatArray, FloatArray], FloatArray] | None = None


@dataclass(frozen=True)
class Shown:
    """A sample as a person is to see it: lines of (what, text), boxes of (what, box in pixels) and
    moments of (what, start, end in seconds) to draw."""

    lines: Sequence[tuple[str, str]]
    boxes: Sequence[tuple[str, tuple[float, float, float, float]]] = ()
    moments: Sequence[tuple[str, float, float]] = ()


class Task(Protocol):
    """What the engine asks of a task. Predictions are JSON objects, as they stand in the log.

    It may also have `form`, a prediction as an example for messages; `reads_jsonl`: whether the
    field's own files may end in .jsonl as ours do; and `show_prediction(prediction, sample)`, a
    valid prediction as a person is to see it, a Shown: without it, or without the sample (None: its
    data set is not here), the prediction stands as JSON or as far as it speaks for itself.
    """

    def predict(self, model: Any, inputs: Sequence[Any]) -> Sequence[Json]:
        """One prediction an input, in order."""

    def invalid(self, prediction: Json) -> str | None:
        """Why a prediction cannot be scored, or None if it can."""

    def metrics(self, dataset: Dataset, rules: Mapping[str, str]) -> Sequence[Metric]:
        """The metrics, primary first, by the rules of the spec's `rules`, each with its choice."""

    def read_results(self, path: Path, dataset: Dataset) -> dict[str, Json]:
        """Sample id -> prediction from the field's own result files; BadInput names the record."""

    def show(self, sample: Sample) -> Shown:
        """What a sample asks and what is right."""


class SetTask(Task, Protocol):
    """A task whose predictions depend on the whole set, as retrieval's ranks do; `whole_set` in its
    spec says so."""

    def predict_set(
        self,
        model: Any,
        samples: Sequence[Sample],
        folder: Path,
        batch_size: int,
        progress: Callable[[int, int], None],
        known: Path | None = None,
    ) -> Sequence[Json]:
        """One prediction a sample, in order. What it keeps in `folder`, to go on with when stopped,
        is its own; of that, files named scores.* stay in the run folder. `known` is the folder of a
        run of the same model on the same samples with their visuals dealt otherwise, whose scores
        need not be computed again. It sees ids and inputs, no targets."""
