"""Karpathy's dataset_*.json, the customary splits of COCO and Flickr. Knows which keys they have,
not what a data set makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInput

from .json_files import read_records, refuse_twice, value_of


@dataclass(frozen=True)
class KarpathyImage:
    """An image. `number` is COCO's image id, None where there is none; `folder` is "" where the
    file gives none; `captions` are the sentences' raw texts."""

    name: str
    folder: str
    number: int | None
    split: str
    captions: tuple[str, ...]


def read_karpathy(path: Path, mend: str) -> list[KarpathyImage]:
    """All images of one of Karpathy's files, in order. Raises BadInput for whatever is wrong."""
    images = [_image(record, where, mend) for where, record in read_records(path, "images", mend)]
    refuse_twice(path, ((image.folder, image.name) for image in images), "image", mend)
    return images


def _image(record: dict[str, object], where: str, mend: str) -> KarpathyImage:
    name = value_of(record, "filename", str, where, mend)
    where = f"{where} ({name})"
    captions = []
    for position, sentence in enumerate(value_of(record, "sentences", list, where, mend)):
        if not isinstance(sentence, dict) or not isinstance(sentence.get("raw"), str):
            raise BadInput(f"{where}: sentences[{position}] has no text 'raw'; {mend}")
        captions.append(sentence["raw"])
    return KarpathyImage(
        name=name,
        folder=value_of(record, "filepath", str, where, mend) if "filepath" in record else "",
        number=value_of(record, "cocoid", int, where, mend) if "cocoid" in record else None,
        split=value_of(record, "split", str, where, mend),
        captions=tuple(captions),
    )
