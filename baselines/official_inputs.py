"""What a released model is given beside its weights: BERT's vocabulary, the order of its answers,
region features, and words for the things that VCR's texts name. Knows no network."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import BadInput
from harness.media.pickles import read_pickle
from harness.media.region_features import RegionFeatures, open_region_features
from harness.types import NamedBox, Picture

from .words import Vocabulary

MOST_REGIONS = 100  # of a picture, beside the whole
_KEPT = 256  # pictures whose regions are kept decoded
_READ_FIRST = 64  # pictures that stand for all, in the checksum and in the mean picture
_COCO_NAME = re.compile(r"COCO_[a-z]+\d{4}_0*(\d+)")
_TAG = re.compile(r"\[(\d+(?:,\d+)*)\]")

# Persons have no names in VCR's files; the official code gives them names like these.
_PERSONS = (
    *("casey", "riley", "jessie", "jackie", "avery", "jaime", "peyton"),
    *("kerry", "jody", "kendall", "frankie", "pat", "quinn"),
)

# ---------------------------------------------------------------- vocabulary and answers


def read_bert_vocabulary(path: Path) -> Vocabulary:
    """A vocab.txt, a piece a line. BadInput where it is none of BERT's."""
    try:
        # line feeds alone end a line: a piece may be one of Unicode's other separators
        words = _text_of(path).removesuffix("\n").split("\n")
        return Vocabulary([word.removesuffix("\r") for word in words])
    except ValueError as error:
        raise BadInput(f"{path}: is no vocab.txt of BERT ({error}); give the model's own") from None


def read_answers(path: Path) -> tuple[str, ...]:
    """The answers in the order of a head's labels: a JSON list, a JSON object answer -> label, a
    pickle of either (.pkl), or a text file with an answer a line. BadInput where it is none."""
    if path.suffix in (".pkl", ".pickle", ".p"):
        content = read_pickle(path)
    elif path.suffix == ".json":
        try:
            content = json.loads(_text_of(path))
        except (ValueError, RecursionError):
            raise BadInput(f"{path}: is not JSON; give the labels of the released head") from None
    else:
        content = _text_of(path).removesuffix("\n").split("\n")
        content = [line.removesuffix("\r") for line in content]
    answers = _in_order(path, content) if isinstance(content, dict) else content
    if not isinstance(answers, list) or not answers:
        raise BadInput(f"{path}: holds no list of answers; give the labels of the released head")
    for label, answer in enumerate(answers):
        if not isinstance(answer, str) or not answer:
            raise BadInput(f"{path}: label {label} is no text; give the labels of the head")
    for answer, times in Counter(answers).items():
        if times > 1:
            raise BadInput(f"{path}: has {answer!r} {times} times; give the labels of the head")
    return tuple(answers)


def _in_order(path: Path, label_of: Mapping[object, object]) -> list[object]:
    """answer -> label, or, as label2ans files have it, label -> answer."""
    pairs = list(label_of.items())
    if all(type(answer) is int for answer, _ in pairs):
        pairs = [(answer, label) for label, answer in pairs]
    places = {label: answer for answer, label in pairs if type(label) is int}
    if len(places) != len(pairs) or set(places) != set(range(len(pairs))):
        raise BadInput(
            f"{path}: its labels are not 0 to {len(pairs) - 1}, one an answer; give the labels of "
            "the released head"
        )
    return [places[label] for label in range(len(pairs))]


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be read ({error.strerror}); correct the path or its rights"
        ) from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: is no text in UTF-8; fetch the file again") from None


# ---------------------------------------------------------------- regions


@dataclass(frozen=True, eq=False)
class SeenRegions:
    """A picture as a network reads it, n regions and the whole before them.

    boxes (1 + n, 4) float32 as x1, y1, x2, y2 in pixels; features (1 + n, d) float32, row 0 their
    mean; size: width and height in pixels.
    """

    boxes: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    size: tuple[int, int]

    def only(self, rows: Sequence[int]) -> SeenRegions:
        """The whole picture and these rows."""
        kept = [0, *rows]
        return SeenRegions(self.boxes[kept], self.features[kept], self.size)


class RegionSource:
    """Picture -> SeenRegions, from region features in a file or a folder.

    A picture is looked for by the end of its id: vqav2/val/42 by "42", flickr30k/7.jpg by "7.jpg"
    and "7". The control `blind`, whose mean picture no detector has seen, gets one region over the
    whole picture with the mean feature of some of those in the file.

    `to_last_pixel`: whether the box of the whole picture ends at its last pixel, width - 1 and
    height - 1, as VL-BERT has it, or behind it. `width`: of a feature.
    """

    def __init__(self, path: Path, width: int, to_last_pixel: bool) -> None:
        self.path = path
        self._features = open_region_features(path)
        self._width = width
        self._to_last_pixel = to_last_pixel
        self._kept: OrderedDict[str, SeenRegions] = OrderedDict()
        self.sha256, self._mean = self._read_some()

    def __call__(self, picture: Picture) -> SeenRegions:
        """BadInput, naming the picture, where it has no regions or they are of another picture."""
        if picture.id.startswith("mean/"):
            return self._mean
        if picture.id not in self._kept:
            self._kept[picture.id] = self._read(picture)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return self._kept[picture.id]

    def _read(self, picture: Picture) -> SeenRegions:
        names = _names_of(picture.id)
        found = next((name for name in names if name in self._features), None)
        if found is None:
            raise BadInput(
                f"{self.path}: has no regions of picture {picture.id} (looked for "
                f"{', '.join(names)}); add them, or leave its samples out with --keep-going"
            )
        regions = self._features[found]
        size = (regions.width, regions.height)
        if picture.size is not None and picture.size != size:
            raise BadInput(
                f"{self.path}: image {found} is {size[0]} x {size[1]}, but picture {picture.id} "
                f"is {picture.size[0]} x {picture.size[1]}; give regions in its own pixels"
            )
        return self._seen(found, regions)

    def _seen(self, name: str, regions: RegionFeatures) -> SeenRegions:
        if regions.features.shape[1] != self._width:
            raise BadInput(
                f"{self.path}: image {name} has features of {regions.features.shape[1]} numbers, "
                f"the model reads {self._width}; give features of the detector it was trained with"
            )
        edge = 1 if self._to_last_pixel else 0
        whole = np.array([[0, 0, regions.width - edge, regions.height - edge]], dtype=np.float32)
        mean = regions.features.mean(axis=0, keepdims=True)
        return SeenRegions(
            np.concatenate([whole, regions.boxes[:MOST_REGIONS]]),
            np.concatenate([mean, regions.features[:MOST_REGIONS]]),
            (regions.width, regions.height),
        )

    def _read_some(self) -> tuple[str, SeenRegions]:
        """A checksum, and the mean picture. Extractions are tens of gigabytes, so the checksum
        covers every file's name and size, every image id, and the regions of some images."""
        digest = hashlib.sha256()
        files = sorted(self.path.rglob("*")) if self.path.is_dir() else [self.path]
        for file in files:
            if file.is_file():
                digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        ids = list(self._features)
        digest.update("\n".join(ids).encode("utf-8", "backslashreplace"))
        count = min(_READ_FIRST, len(ids))
        wholes: list[SeenRegions] = []
        for name in (ids[i * len(ids) // count] for i in range(count)):
            try:
                regions = self._features[name]
            except BadInput as error:  # a damaged record is an error when its picture is asked for
                digest.update(f"{name}: {type(error).__name__}\n".encode())
                continue
            digest.update(f"{regions.width} {regions.height}\n".encode())
            digest.update(regions.boxes.tobytes() + regions.features.tobytes())
            wholes.append(self._seen(name, regions).only(()))
        if not wholes:
            raise BadInput(f"{self.path}: none of its first {count} images can be read")
        mean = np.stack([one.features for one in wholes]).mean(axis=0, dtype=np.float32)
        first = wholes[0]
        blind = SeenRegions(first.boxes[[0, 0]], mean[[0, 0]], first.size)
        return digest.hexdigest(), blind


def _names_of(id: str) -> list[str]:
    """What a picture of this id may be called in the files."""
    last = id.rpartition("/")[2]
    stem, dot, ending = last.rpartition(".")
    names = [id, last]
    if dot and ending.lower() in ("jpg", "jpeg", "png"):
        names.append(stem)
    coco = _COCO_NAME.fullmatch(names[-1])
    return list(dict.fromkeys([*names, *([coco[1]] if coco else [])]))


def rows_of_things(source: Path, seen: SeenRegions, things: Mapping[int, NamedBox]) -> list[int]:
    """For each thing, the row of the region whose box is nearest its own. BadInput, naming its tag,
    where none overlaps it by half: then its feature was not extracted."""
    rows = []
    for tag, thing in things.items():
        overlap = _overlaps(seen.boxes[1:], np.array(thing.box, dtype=np.float64))
        best = int(overlap.argmax())
        if overlap[best] < 0.5:
            raise BadInput(
                f"{source}: no region lies on the thing [{tag}], a {thing.name} at "
                f"{[round(side) for side in thing.box]}; add the features of the annotated boxes"
            )
        rows.append(best + 1)
    return rows


def _overlaps(boxes: npt.NDArray[np.float32], box: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Intersection over union: boxes (n, 4), box (4,) -> (n,)."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    both = sides.clip(min=0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return np.asarray(both / (areas - both).clip(min=1e-9))


# ---------------------------------------------------------------- things that texts name


def tags_in(texts: Sequence[str]) -> list[int]:
    """The tags of all texts, each once, in the order in which they are first named."""
    found = [int(tag) for text in texts for tags in _TAG.findall(text) for tag in tags.split(",")]
    return list(dict.fromkeys(found))


def names_of_things(things: Mapping[int, NamedBox]) -> dict[int, str]:
    """A word for each thing by its tag: a person's made-up name, else its category. The official
    code deals names out as it goes, or at random; here a question's first person has the first."""
    names: dict[int, str] = {}
    persons = 0
    for tag, thing in things.items():
        names[tag] = _PERSONS[persons % len(_PERSONS)] if thing.name == "person" else thing.name
        persons += thing.name == "person"
    return names


def encode_tagged(
    vocabulary: Vocabulary, text: str, names: Mapping[int, str], between: str
) -> list[tuple[int, int]]:
    """(token id, tag) of a text whose tags are spoken as `names`, with the word `between` between
    those of one place; -1 for a token that names nothing."""
    tokens: list[tuple[int, int]] = []

    def add(words: str, tag: int) -> None:
        tokens.extend((id, tag) for id in vocabulary.encode(words, len(words)))

    end = 0
    for found in _TAG.finditer(text):
        add(text[end : found.start()], -1)
        for place, tag in enumerate(map(int, found[1].split(","))):
            if place and between:
                add(between, -1)
            add(names[tag], tag)
        end = found.end()
    add(text[end:], -1)
    return tokens
