"""What the moment data sets share: files of timestamps and sentences, samples, what reading drops
and changes, and the check of a folder. Knows no data set, no metric and no model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import BadInput
from harness.types import Clip, Dataset, Json, MomentQuery, Sample

from ..targets import MomentTarget
from .faults import Faults, lines_of
from .folders import missing_files
from .json_files import is_number, read_json

# ---------------------------------------------------------------- files of timestamps and sentences


def read_sentences(path: Path, *numbers: str, mend: str) -> dict[str, Json]:
    """Video -> its record of `timestamps`, `sentences`, as many, and the positive `numbers` named.

    Raises Faulty, a line for each kind of fault, if the file is no such thing.
    """
    content = read_json(path, mend)
    if not isinstance(content, dict) or not content:
        raise BadInput(f"{path}: this is no JSON object of videos; {mend}")
    faults = Faults(path, mend)
    for name, record in content.items():
        if not isinstance(record, dict):
            faults.add(f"video {name!r}", "is not an object")
            continue
        for key in numbers:
            if not is_number(record.get(key)) or record[key] <= 0:
                faults.add(f"video {name!r}", f"has no positive number {key!r}")
        times, sentences = record.get("timestamps"), record.get("sentences")
        if not isinstance(times, list) or not isinstance(sentences, list):
            faults.add(f"video {name!r}", "has no lists 'timestamps' and 'sentences'")
        elif len(times) != len(sentences):
            faults.add(f"video {name!r}", "has not as many timestamps as sentences")
        else:
            for place, (pair, text) in enumerate(zip(times, sentences, strict=True)):
                if not _is_pair(pair):
                    faults.add(f"video {name!r}", "has a timestamp that is no pair of numbers")
                if not isinstance(text, str) or not text.strip():
                    faults.add(f"sentence {name}-{place}", "is no text")
    faults.check()
    return content


def clip_samples(
    clip: Clip, name: str, record: Json, per_second: float, changes: Changes
) -> list[Sample]:
    """The samples of one video's record, whose timestamps count in 1 / `per_second` seconds. What
    is dropped or changed goes to `changes` by the ids."""
    samples = []
    for place, (pair, raw) in enumerate(
        zip(record["timestamps"], record["sentences"], strict=True)
    ):
        id = f"{name}-{place}"
        changes.total += 1
        text = changes.clean(id, raw)
        moment = changes.fit(id, pair[0] / per_second, pair[1] / per_second, clip.duration)
        if moment is not None:
            samples.append(moment_sample(id, clip, text, moment))
    return samples


def moment_sample(id: str, clip: Clip, text: str, moment: tuple[float, float]) -> Sample:
    """A query with one right moment, grouped by its clip."""
    return Sample(
        id=id, input=MomentQuery(clip, text), target=MomentTarget((moment,)), group=clip.id
    )


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


# ---------------------------------------------------------------- what reading drops and changes


@dataclass
class Changes:
    """What reading drops and changes, for a data set's notes. `unit`: what is counted ("lines");
    `total`: how many there are."""

    unit: str
    total: int = 0
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, where: str, what: str) -> None:
        self.places.setdefault(what, []).append(where)

    def fit(
        self, where: str, start: float, end: float, duration: float
    ) -> tuple[float, float] | None:
        """The moment within 0 and `duration`; None, to be dropped, if it is empty or inverted,
        before or after that. As in 2D-TAN's readers."""
        fitted = max(start, 0.0), min(end, duration)
        if start >= end:
            self.add(where, "dropped: the moment ends where it starts, or before")
            return None
        if fitted[0] >= fitted[1]:
            self.add(where, "dropped: the moment lies outside the video")
            return None
        if end > duration:
            self.add(where, "changed: the moment ends after the video; clipped to the video's end")
        if start < 0:
            self.add(where, "changed: the moment starts before 0; clipped to 0")
        return fitted

    def clean(self, where: str, text: str) -> str:
        """The text with one space between its words and none around them."""
        cleaned = " ".join(text.split())
        if cleaned != text:
            self.add(where, "changed: spaces around the text or in a row, or line breaks, removed")
        return cleaned

    def notes(self) -> tuple[str, ...]:
        """A line for each kind of change, with the first ten places."""
        return tuple(
            f"{len(places):,} of {self.total:,} {self.unit} {what}: "
            + ", ".join(places[:10])
            + (", ..." if len(places) > 10 else "")
            for what, places in sorted(self.places.items(), reverse=True)  # dropped before changed
        )


# ---------------------------------------------------------------- verifying


def verify_moments(
    root: Path,
    load: Callable[[Path, str], Dataset],
    official: Mapping[str, int],
    videos: Callable[[Path, Iterable[str]], Mapping[str, Path | None]],
) -> list[str]:
    """A line for each thing that is missing or odd: faults of the annotations, a split whose number
    of samples is not the `official` one, and among the `videos` of (root, names) those that are
    absent or empty."""
    if not root.is_dir():
        return [f"{root}: there is no such folder; correct --data-dir"]
    lines: list[str] = []
    names: dict[str, None] = {}
    for split, count in official.items():
        try:
            dataset = load(root, split)
        except BadInput as error:
            lines += lines_of(error)
            continue
        if len(dataset.samples) != count:
            lines.append(
                f"{root}: split {split!r} has {len(dataset.samples):,} samples, "
                f"{count:,} in the official files; fetch its annotations again"
            )
        names |= {sample.group.split("/", 1)[1]: None for sample in dataset.samples}
    paths = [path for path in videos(root, names).values() if path is not None]
    return lines + missing_files(root, paths, "videos")
