"""RefCOCO, RefCOCO+ (Yu et al. 2016) and RefCOCOg (Mao et al. 2016) in the official files. Knows
no metric and no model.

Under --data-dir, from https://github.com/lichengunc/refer: refcoco/refs(unc).p,
refcoco+/refs(unc).p or refcocog/refs(umd).p, each with its instances.json, and COCO's train2014
pictures as train2014/COCO_train2014_<image id, 12 digits>.jpg, also in images/ or
images/mscoco/images/.
RefCOCOg's other division, refs(google).p, is not read: it has no published test part and shares
pictures between its parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.media.checksums import sha256_of_files
from harness.media.pickles import read_pickle
from harness.types import Dataset, Expression, Json, Picture, Sample

from ..targets import BoxTarget
from .faults import Faults, lines_of
from .folders import data_folder, known_split, missing_files
from .json_files import is_number, no_cycle_search, read_json
from .visuals import picture_of


@dataclass(frozen=True)
class _Variant:
    """One of the three data sets. `samples`: how many sentences the official splits have."""

    name: str
    refs: str
    samples: Mapping[str, int]


_REFCOCO = _Variant(
    "refcoco", "refs(unc).p", {"train": 120_624, "val": 10_834, "testA": 5_657, "testB": 5_095}
)
_REFCOCO_PLUS = _Variant(
    "refcoco+", "refs(unc).p", {"train": 120_191, "val": 10_758, "testA": 5_726, "testB": 4_889}
)
_REFCOCOG = _Variant("refcocog", "refs(umd).p", {"train": 80_512, "val": 4_896, "test": 9_602})

_INSTANCES = "instances.json"
_PICTURES = ("train2014", "images/train2014", "images/mscoco/images/train2014")
_KEYS = {  # what is kept of each list of the instances
    "annotations": ("id", "image_id", "category_id", "bbox"),
    "images": ("id", "width", "height"),
    "categories": ("name",),
}
_SLACK = 1.0  # pixels that a box may reach beyond its picture: rounding
_MEND = "take the official files from https://github.com/lichengunc/refer"


# ---------------------------------------------------------------- opening


def load_refcoco(root: Path | None, split: str) -> Dataset:
    """Open "train", "val", "testA" or "testB" of RefCOCO under `root`.

    A sample a sentence, in the order of the files; see `load_refcoco_files`. Raises BadInput, in
    one line, for whatever is missing or wrong; a picture's absence shows when it is read.
    """
    return _load(_REFCOCO, root, split)


def load_refcoco_plus(root: Path | None, split: str) -> Dataset:
    """RefCOCO+, as `load_refcoco`."""
    return _load(_REFCOCO_PLUS, root, split)


def load_refcocog(root: Path | None, split: str) -> Dataset:
    """RefCOCOg, as `load_refcoco`, by the UMD division: "train", "val" or "test"."""
    return _load(_REFCOCOG, root, split)


def load_refcoco_files(files: Mapping[str, Path], split: str) -> Dataset:
    """RefCOCO from the files of the roles "refs" (the pickle) and "instances" (the JSON), without
    pictures: what scoring saved predictions needs.

    A sample's id is the sentence's sent_id; were these not unique in the split, all would be
    "<ref_id>-<sent_id>", and a note would say so. The text is "sent", the cleaned sentence, not
    "raw". The target is the instance's bbox [x, y, w, h] as
    x, y, x + w, y + h. Samples of one picture form a group, and "category" is COCO's name of the
    thing. Notes count right boxes without area and ones that reach out of their picture; both are
    kept. `sha256` covers both files.
    """
    return _load_files(_REFCOCO, files, split)


def load_refcoco_plus_files(files: Mapping[str, Path], split: str) -> Dataset:
    """RefCOCO+, as `load_refcoco_files`."""
    return _load_files(_REFCOCO_PLUS, files, split)


def load_refcocog_files(files: Mapping[str, Path], split: str) -> Dataset:
    """RefCOCOg, as `load_refcoco_files`."""
    return _load_files(_REFCOCOG, files, split)


def verify_refcoco(root: Path) -> list[str]:
    """Whatever is missing or odd in RefCOCO's files under `root`, a line each; empty if all is
    well. Pictures are looked for, not opened."""
    return _verify(_REFCOCO, root)


def verify_refcoco_plus(root: Path) -> list[str]:
    """RefCOCO+, as `verify_refcoco`."""
    return _verify(_REFCOCO_PLUS, root)


def verify_refcocog(root: Path) -> list[str]:
    """RefCOCOg, as `verify_refcoco`."""
    return _verify(_REFCOCOG, root)


def _load(variant: _Variant, root: Path | None, split: str) -> Dataset:
    known_split(variant.name, split, variant.samples)
    folder = _folder(variant, data_folder(root, variant.name, _MEND))
    with no_cycle_search():
        content = _read(folder / variant.refs, folder / _INSTANCES)
        return _open(variant, content, split, _picture_folder(folder))


def _load_files(variant: _Variant, files: Mapping[str, Path], split: str) -> Dataset:
    known_split(variant.name, split, variant.samples)
    with no_cycle_search():
        return _open(variant, _read(files["refs"], files["instances"]), split, None)


def _folder(variant: _Variant, root: Path) -> Path:
    """`root` may be the folder of all three or that of the one."""
    return root / variant.name if (root / variant.name).is_dir() else root


def _picture_folder(folder: Path) -> Path:
    """Pictures lie beside the data set's folder or in it."""
    places = [base / name for base in (folder.parent, folder) for name in _PICTURES]
    return next((place for place in places if place.is_dir()), places[0])


# ---------------------------------------------------------------- from records to samples


@dataclass(frozen=True)
class _Content:
    """What the two files hold, parsed once, not yet checked; the last three by id."""

    refs_path: Path
    instances_path: Path
    refs: Sequence[Any]
    annotations: Mapping[int, Json]
    images: Mapping[int, Json]
    categories: Mapping[int, Json]


@dataclass(frozen=True)
class _Sentence:
    """One expression, checked."""

    id: str
    ref: str
    text: str
    image: int
    box: tuple[float, float, float, float]
    category: str


def _open(variant: _Variant, content: _Content, split: str, folder: Path | None) -> Dataset:
    sentences = _sentences(content, split)
    notes = []
    if len({one.id for one in sentences}) < len(sentences):
        notes.append("the sent_ids are not unique, so each id is ref_id-sent_id")
        sentences = [_with_ref(one) for one in sentences]
    _check_unique(content.refs_path, sentences)
    numbers = dict.fromkeys(one.image for one in sentences)
    pictures = {number: _picture(content.images[number], folder) for number in numbers}
    samples = tuple(
        Sample(
            id=one.id,
            input=Expression(pictures[one.image], one.text),
            target=BoxTarget(one.box),
            group=pictures[one.image].id,
            tags={"category": one.category},
        )
        for one in sentences
    )
    return Dataset(
        name=variant.name,
        split=split,
        samples=samples,
        sha256=sha256_of_files([content.refs_path, content.instances_path]),
        notes=(*notes, *_odd_boxes(samples), *_blank_texts(samples)),
    )


def _picture(image: Json, folder: Path | None) -> Picture:
    """The three data sets share COCO's pictures, and so their ids."""
    path = None if folder is None else folder / _picture_name(image["id"])
    return picture_of(f"coco/train2014/{image['id']}", path, (image["width"], image["height"]))


def _picture_name(number: int) -> str:
    """Not a ref's "file_name", which names its annotation, too."""
    return f"COCO_train2014_{number:012d}.jpg"


def _with_ref(one: _Sentence) -> _Sentence:
    return _Sentence(f"{one.ref}-{one.id}", one.ref, one.text, one.image, one.box, one.category)


def _check_unique(path: Path, sentences: Sequence[_Sentence]) -> None:
    faults = Faults(path, "keep one of each")
    for id, count in Counter(one.id for one in sentences).items():
        if count > 1:
            faults.add(f"sentence {id} (ref_id-sent_id)", "is there more than once")
    faults.check()


def _odd_boxes(samples: Sequence[Sample]) -> Iterator[str]:
    flat, outside = [], []
    for sample in samples:
        x1, y1, x2, y2 = sample.target.box
        width, height = sample.input.visual.size
        if x1 == x2 or y1 == y2:
            flat.append(sample.id)
        if min(x1, y1) < -_SLACK or x2 > width + _SLACK or y2 > height + _SLACK:
            outside.append(sample.id)
    yield from _note(flat, len(samples), "have a right box without area, which no answer can hit")
    yield from _note(outside, len(samples), "have a right box that reaches out of its picture")


def _blank_texts(samples: Sequence[Sample]) -> Iterator[str]:
    blank = [sample.id for sample in samples if not sample.input.text.strip()]
    yield from _note(blank, len(samples), "have an empty text")


def _note(ids: Sequence[str], total: int, what: str) -> Iterator[str]:
    if ids:
        more = ", ..." if len(ids) > 10 else ""
        yield f"{len(ids):,} of {total:,} sentences {what}; kept: {', '.join(ids[:10])}{more}"


# ---------------------------------------------------------------- reading and checking the files


def _read(refs_path: Path, instances_path: Path) -> _Content:
    refs = read_pickle(refs_path)
    if not isinstance(refs, list) or not refs:
        raise BadInput(f"{refs_path}: this is no list with a ref in it; {_MEND}")
    instances = read_json(instances_path, _MEND)
    lists = {}
    for name, keys in _KEYS.items():
        records = instances.get(name) if isinstance(instances, dict) else None
        if not isinstance(records, list) or not records:
            raise BadInput(f"{instances_path}: there is no list {name!r} with a record; {_MEND}")
        lists[name] = _by_id(instances_path, name, records, keys)
    return _Content(refs_path, instances_path, refs, **lists)


def _by_id(path: Path, name: str, records: Sequence[Any], keys: Sequence[str]) -> dict[int, Json]:
    """Id -> record, of which only the `keys` are kept: outlines are most of the file."""
    faults = Faults(path, _MEND)
    by_id: dict[int, Json] = {}
    for place, record in enumerate(records):
        if not isinstance(record, dict) or not _is_id(record.get("id")):
            faults.add(f"{name}[{place}]", "is no object with a number 'id'")
        elif record["id"] in by_id:
            faults.add(f"{name}[{place}] (id {record['id']})", "has an id that is there twice")
        else:
            by_id[record["id"]] = {key: record[key] for key in keys if key in record}
    faults.check()
    return by_id


def _sentences(content: _Content, split: str) -> list[_Sentence]:
    """The sentences of one split. Raises Faulty with all that is wrong in it."""
    faults = Faults(content.refs_path, _MEND)
    sentences: list[_Sentence] = []
    splits = set()
    for place, ref in enumerate(content.refs):
        found = ref.get("split") if isinstance(ref, dict) else None
        if not isinstance(found, str):
            faults.add(f"refs[{place}]", "is no object with a text 'split'")
            continue
        splits.add(found)
        if found == split:
            sentences += _sentences_of(content, ref, f"refs[{place}]", faults)
    faults.check()
    if not sentences:
        there = ", ".join(sorted(ascii(name[:40]) for name in splits)[:10])
        raise BadInput(f"{content.refs_path}: it has no ref of split {split!r}, only {there}")
    return sentences


def _sentences_of(content: _Content, ref: Json, where: str, faults: Faults) -> list[_Sentence]:
    if not all(_is_id(ref.get(key)) for key in ("ref_id", "ann_id", "image_id")):
        faults.add(where, "has no numbers 'ref_id', 'ann_id' and 'image_id'")
        return []
    where = f"{where} (ref_id {ref['ref_id']})"
    annotation = content.annotations.get(ref["ann_id"], {})
    image = content.images.get(ref["image_id"], {})
    category = _category(content, annotation)
    wrong = _wrong_instance(ref, annotation, image, category)
    if wrong:
        faults.add(where, f"{wrong} in {content.instances_path.name}")
        return []
    x, y, width, height = map(float, annotation["bbox"])
    sentences = []
    for one in ref["sentences"] if isinstance(ref.get("sentences"), list) else [None]:
        if (
            not isinstance(one, dict)
            or not _is_id(one.get("sent_id"))
            or not isinstance(one.get("sent"), str)
        ):
            faults.add(where, "has no sentences with a number 'sent_id' and a text 'sent' each")
            return []
        box = (x, y, x + width, y + height)
        id, text = str(one["sent_id"]), one["sent"]
        sentences.append(_Sentence(id, str(ref["ref_id"]), text, image["id"], box, str(category)))
    return sentences


def _wrong_instance(ref: Json, annotation: Json, image: Json, category: object) -> str | None:
    """What is wrong with the records that a ref names: the end of "refs[3] ... in FILE"."""
    if not annotation:
        return "names an annotation ('ann_id') that is not"
    if not image:
        return "names a picture ('image_id') that is not"
    if annotation.get("image_id") != image["id"]:
        return "is about another picture than its annotation"
    if not all(_is_id(image.get(side)) and image[side] > 0 for side in ("width", "height")):
        return "names a picture without 'width' and 'height'"
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        return "names an annotation without four numbers 'bbox'"
    if box[2] < 0 or box[3] < 0:
        return "names an annotation whose 'bbox' has a negative width or height"
    if not isinstance(category, str):
        return "names an annotation whose category has no name"
    return None


def _category(content: _Content, annotation: Json) -> object:
    id: Any = annotation.get("category_id")
    return content.categories.get(id, {}).get("name") if _is_id(id) else None


def _is_id(value: object) -> bool:
    return type(value) is int and abs(value) < 1 << 63


# ---------------------------------------------------------------- verifying


def _verify(variant: _Variant, root: Path) -> list[str]:
    if not root.is_dir():
        return [f"{root}: there is no such folder; correct --data-dir"]
    folder = _folder(variant, root)
    files = folder / variant.refs, folder / _INSTANCES
    lines = [f"{path}: there is no such file; {_MEND}" for path in files if not path.is_file()]
    pictures: dict[int, None] = {}
    if not lines:
        try:
            content = _read(*files)
        except BadInput as error:
            return list(lines_of(error))
        for split, count in variant.samples.items():
            lines += _verify_split(variant, content, split, count, pictures)
    home = _picture_folder(folder)
    paths = [home / _picture_name(number) for number in pictures]
    return list(dict.fromkeys(lines)) + missing_files(home.parent, paths, "pictures", home.name)


def _verify_split(
    variant: _Variant, content: _Content, split: str, count: int, pictures: dict[int, None]
) -> list[str]:
    """What is odd in one split; the numbers of its pictures are added to `pictures`."""
    try:
        dataset = _open(variant, content, split, None)
    except BadInput as error:
        return list(lines_of(error))
    pictures |= {int(sample.input.visual.id.split("/")[-1]): None for sample in dataset.samples}
    lines = [f"{content.refs_path}: split {split!r}: {note}" for note in dataset.notes]
    if len(dataset.samples) != count:
        lines.append(
            f"{content.refs_path}: split {split!r} has {len(dataset.samples):,} sentences, "
            f"{count:,} in the official file; fetch it again"
        )
    return lines
