"""What every step of one evaluation shares: the request, the opened data set, how models load.
Knows no task and computes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from .errors import BadInput, HarnessError
from .predict import predict, predict_set
from .registry import load_attribute
from .score import Scored, score
from .specs import DatasetSpec, ModelSpec, TaskSpec
from .store import Record
from .types import Dataset, LoadRequest, OfficialWeights, Sample, SetTask, Task

Stage = Callable[[str, int, int], None]  # (what is being done, samples done, samples in all)


def silent(what: str, done: int, total: int) -> None:
    """A Stage that shows nothing."""


@dataclass(frozen=True)
class EvalRequest:
    """What `harness eval` is asked. `split` "" is the data set's test split. `rules`: conventions
    of the task's metrics, by name. `prior_from`: official files that floors are fitted on.
    `official`: what goes with `weights` that are a released file."""

    task: str
    model: str
    split: str = ""
    data_dir: Path | None = None
    weights: Path | None = None
    limit: int | None = None
    batch_size: int = 64
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    seed: int = 0
    controls: Literal["none", "sample", "full"] = "sample"
    floors: bool = True
    keep_going: bool = False
    rules: Mapping[str, str] = field(default_factory=dict)
    prior_from: tuple[Path, ...] = ()
    official: OfficialWeights | None = None
    output: Path = Path("runs")


@dataclass(frozen=True)
class Setting:
    """What every step of one evaluation shares."""

    request: EvalRequest
    task_spec: TaskSpec
    data_spec: DatasetSpec
    task: Task
    dataset: Dataset
    samples: Sequence[Sample]
    device: str = "cpu"
    stage: Stage = silent
    _opened: dict[str, Dataset] = field(default_factory=dict)

    def load(self, model: ModelSpec, weights: Path | None = None) -> Any:
        """The model, ready to predict. BadInput if anything keeps it from loading."""
        request = LoadRequest(
            task=self.task_spec.name,
            dataset=self.data_spec.name,
            device=self.device,
            dtype=self.request.dtype,
            seed=self.request.seed,
            weights=weights,
            train=self.open_prior_part,
            official=None if weights is None else self.request.official,
        )
        try:
            return load_attribute(model.load)(request)
        except HarnessError:
            raise
        except Exception as error:  # a plug-in's code: anything can happen
            raise BadInput(
                f"model {model.name} ({model.load}) fails to load: {error!r}; mend it, or "
                "uninstall the package that offers it (`harness --debug eval` shows where)"
            ) from error

    def open_prior_part(self) -> Dataset:
        """What floors are fitted on; BadInput if that holds the samples they would be scored on."""
        spec, split = self.data_spec, self.dataset.split
        if self.request.prior_from:
            return self._open_prior_files()
        if spec.where == "data-dir" and self.request.data_dir is None:
            raise BadInput(
                "there is no train part: give --data-dir, or its files with --prior-from"
            )
        fitted_on = spec.train_split
        if spec.prior_split and split == spec.test_split:
            fitted_on = spec.prior_split
        if not fitted_on:
            raise BadInput(
                f"{spec.name} has no train part to fit on; give its files with --prior-from"
            )
        if split == fitted_on:
            raise BadInput(f"prior is fitted on {fitted_on}, the very samples of this evaluation")
        part = self.open(fitted_on)
        if _shares_visuals(part, self.dataset) and _same_samples(part, self.dataset):
            raise BadInput(f"prior is fitted on {fitted_on}, which {split} holds samples of")
        return part

    def _open_prior_files(self) -> Dataset:
        spec, paths = self.data_spec, self.request.prior_from
        roles = (*spec.files, *spec.optional_files)
        if not spec.load_files:
            raise BadInput(f"--prior-from: {spec.name} is not read from separate files")
        if not len(spec.files) <= len(paths) <= len(roles):
            raise BadInput(
                f"--prior-from: {spec.name} needs {len(spec.files)} files, in this order: "
                f"{', '.join(spec.files)}; give the option once for each"
            )
        key = "\n".join(map(str, paths))
        if key not in self._opened:
            files = dict(zip(roles, paths, strict=False))
            opened = _open_files(spec, files)
            if _same_samples(opened, self.dataset):
                raise BadInput(
                    f"--prior-from {paths[0]}: holds the very samples of this evaluation"
                )
            self._opened[key] = opened
        return self._opened[key]

    def open(self, split: str) -> Dataset:
        """Another part of the data set, opened once."""
        if split == self.dataset.split:
            return self.dataset
        if split not in self._opened:
            load = load_attribute(self.data_spec.load)
            self._opened[split] = load(self.request.data_dir, split)
        return self._opened[split]

    def predict(
        self,
        model: Any,
        samples: Sequence[Sample],
        log: Path,
        what: str,
        known: Path | None = None,
    ) -> dict[str, Record]:
        """Records of all these samples by id, from the log as far as it holds them. `known`: see
        SetTask."""
        batch_size = self.request.batch_size

        def progress(done: int, total: int) -> None:
            self.stage(what, done, total)

        if self.task_spec.whole_set:
            task = cast(SetTask, self.task)
            return predict_set(
                task, model, samples, log, batch_size=batch_size, progress=progress, known=known
            )
        return predict(
            self.task,
            model,
            samples,
            log,
            batch_size=batch_size,
            keep_going=self.request.keep_going,
            progress=progress,
        )

    def score(
        self, samples: Sequence[Sample], records: Mapping[str, Record], slow: bool = False
    ) -> Scored:
        """`slow`: with the metrics that take long."""
        return score(
            self.task,
            self.dataset,
            samples,
            records,
            self.task_spec.breakdowns,
            self.request.seed,
            self.request.rules,
            slow,
        )


def _open_files(spec: DatasetSpec, files: Mapping[str, Path]) -> Dataset:
    """Official files, read as the train part or, where they are another's, as that. Raises the
    error of the train part if none can be read."""
    error: HarnessError | None = None
    for split in (spec.train_split, *spec.splits):
        try:
            opened: Dataset = load_attribute(spec.load_files)(files, split)
        except HarnessError as refused:
            error = error or refused
        else:
            return replace(opened, split="+".join(path.name for path in files.values()))
    assert error is not None
    raise error


def _shares_visuals(one: Dataset, other: Dataset) -> bool:
    """Whether any of 500 samples of the one, evenly spread, is about a visual of the other: a quick
    look, for no two parts of most data sets share any."""
    step = max(1, len(one.samples) // 500)
    seen = {sample.input.visual.id for sample in other.samples}
    return any(sample.input.visual.id in seen for sample in one.samples[::step])


def _same_samples(one: Dataset, other: Dataset) -> bool:
    """Whether a tenth of the other's samples or more are among those of the one: a file may have
    been given another split's name, so ids do not tell, and two annotators may agree."""
    if one.sha256 == other.sha256 and len(one.samples) == len(other.samples):
        return True
    known = {(sample.input.visual.id, repr(sample.target)) for sample in one.samples}
    shared = sum((s.input.visual.id, repr(s.target)) in known for s in other.samples)
    return 10 * shared > len(other.samples)
