"""The records of region-feature files as they stand there: bottom-up tsv, npz, VL-BERT's json,
ViLBERT's lmdb. An index of image ids comes first; a record is read when asked for. Nothing here
decodes or checks a record's values: `region_features` does."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from ..errors import BadInput
from .pickles import loads_pickle

Fields: TypeAlias = Mapping[str, object]  # a record's fields by the names that its format gives

# The columns of a line: Anderson et al.'s, and LXMERT's, which add what the detector named.
_TSV_COLUMNS: Mapping[int, Sequence[str]] = {
    6: ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features"),
    10: (
        "img_id",
        "img_h",
        "img_w",
        "objects_id",
        "objects_conf",
        "attrs_id",
        "attrs_conf",
        "num_boxes",
        "boxes",
        "features",
    ),
}
_NPZ_FIELDS = (
    *("x", "features", "bbox", "boxes", "num_bbox", "num_boxes"),
    *("image_w", "image_h", "width", "height"),
    *("cls_prob", "classes", "objects_id", "objects_conf"),
)
_LARGEST_RECORD = 1 << 28  # bytes: 100 regions of 2048 numbers and 1601 classes are 2 MB
_AGAIN = "fetch the file again"
_FORMS = (
    "give a bottom-up .tsv or a folder of its parts, a folder of .npz, a folder or .zip of .json, "
    "or an lmdb"
)


class RecordFault(BadInput):
    """What is wrong with one record; `kind` says it without the record, to sum faults up."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class RecordFiles:
    """The records at a path, indexed. `where(id)` names a record in messages; `read(id)` gives its
    fields or raises RecordFault. `faults`: what is wrong with the index itself. `notes`: what a
    user must know of what was left out, a line each."""

    ids: Sequence[str]
    where: Callable[[str], str]
    read: Callable[[str], Fields]
    faults: Sequence[RecordFault] = ()
    notes: tuple[str, ...] = ()


def find_records(path: Path) -> RecordFiles:
    """Index the records at `path` by the form that is there. Raises BadInput if there is none."""
    if not path.exists():
        raise BadInput(f"{path}: there is nothing there; {_FORMS}")
    found = _find_in_folder(path) if path.is_dir() else _find_in_file(path)
    if not found.ids and not found.faults:
        raise BadInput(f"{path}: there is no image in it; {_FORMS}")
    return found


def _find_in_file(path: Path) -> RecordFiles:
    if ".tsv" in path.suffixes and path.suffix not in (".zip", ".gz", ".bz2"):
        return _tsv_records([path])
    if path.suffix in (".lmdb", ".mdb"):
        return _lmdb_records(path)
    if path.suffix == ".zip":
        return _zip_records(path)
    if path.suffix in (".npz", ".json"):
        raise BadInput(f"{path}: this is one file of many; give the folder that it is in")
    raise BadInput(f"{path}: files of this name are not read; {_FORMS}")


def _find_in_folder(folder: Path) -> RecordFiles:
    if (folder / "data.mdb").is_file():
        return _lmdb_records(folder)
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    tsv = [name for name in names if ".tsv" in Path(name).suffixes]
    npz = [name for name in names if name.endswith(".npz")]
    documents = [name for name in names if name.endswith(".json")]
    if sum(map(bool, (tsv, npz, documents))) > 1:
        raise BadInput(f"{folder}: it holds files of more than one form; give a folder of one form")
    if tsv:
        return _tsv_records([folder / name for name in tsv])
    if npz:
        return _file_records(folder, npz, _read_npz)
    return _file_records(folder, documents, _read_json)


# ---------------------------------------------------------------- tab-separated lines


@dataclass(frozen=True, slots=True)
class _Line:
    file: Path
    number: int  # from 1 on
    start: int  # bytes
    length: int


def _tsv_records(files: Sequence[Path]) -> RecordFiles:
    """Index of the lines of all files together, made in one pass that keeps only offsets. An image
    that comes twice with the same bytes counts once; with other bytes it is a fault."""
    lines: dict[str, _Line] = {}
    faults: list[RecordFault] = []
    repeated = 0
    for path in files:
        with _opened(path) as file:
            for line, text in _lines(path, file):
                id = text[: max(text.find(b"\t"), 0)].decode("utf-8", "backslashreplace")
                fault = _line_fault(line, id, text.count(b"\t") + 1)
                if fault is not None:
                    faults.append(fault)
                elif id not in lines:
                    lines[id] = line
                elif _text_of(lines[id]) == text:
                    repeated += 1
                else:
                    faults.append(_contradiction(id, lines[id], line))
    repeats = "record repeats" if repeated == 1 else "records repeat"
    counts = "counts" if repeated == 1 else "count"
    note = f"{repeated:,} {repeats} an earlier one byte for byte and {counts} once"
    return RecordFiles(
        ids=tuple(lines),
        where=lambda image: f"{lines[image].file}: line {lines[image].number}: image {image!r}",
        read=lambda image: _columns(_text_of(lines[image])),
        faults=faults,
        notes=(note,) if repeated else (),
    )


def _lines(path: Path, file: BinaryIO) -> Iterable[tuple[_Line, bytes]]:
    """The lines that are not empty, and their bytes without the line end."""
    start = 0
    number = 0
    while line := file.readline(_LARGEST_RECORD):
        number += 1
        if len(line) == _LARGEST_RECORD:
            raise BadInput(
                f"{path}: line {number} is longer than {_LARGEST_RECORD:,} bytes; {_AGAIN}"
            )
        text = line.rstrip(b"\r\n")
        if text:
            yield _Line(path, number, start, len(text)), text
        start += len(line)


def _line_fault(line: _Line, id: str, columns: int) -> RecordFault | None:
    where = f"{line.file}: line {line.number}"
    if columns not in _TSV_COLUMNS:
        return RecordFault(
            "a line without 6 or 10 columns",
            f"{where} has {columns} columns between tabs, not 6 or 10; {_AGAIN}",
        )
    if not id:
        return RecordFault("a line without an image id", f"{where} has no image id; {_AGAIN}")
    return None


def _contradiction(id: str, first: _Line, second: _Line) -> RecordFault:
    return RecordFault(
        "an image that comes twice with different content",
        f"{second.file}: line {second.number}: image {id!r} is also in {first.file.name}, line "
        f"{first.number}, with other content; keep one of the two",
    )


def _columns(text: bytes) -> Fields:
    values = text.split(b"\t")
    return dict(zip(_TSV_COLUMNS[len(values)], values, strict=True))


def _text_of(line: _Line) -> bytes:
    with _opened(line.file) as file:  # opened each time: an offset must not be shared by processes
        file.seek(line.start)
        return file.read(line.length)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise _unreadable(path, "tsv", error) from None


# ---------------------------------------------------------------- a file per image


def _file_records(
    folder: Path, names: Sequence[str], read: Callable[[Path], Fields]
) -> RecordFiles:
    """An image's id is its file's name without the suffix."""
    files = {Path(name).stem: folder / name for name in names}
    return RecordFiles(
        ids=tuple(files),
        where=lambda image: str(files[image]),
        read=lambda image: read(files[image]),
    )


def _read_npz(path: Path) -> Fields:
    """The arrays that `region_features` knows. Others stay closed: "info", as
    bottom-up-attention.pytorch writes it, is a pickle, and is not read."""
    try:
        with zipfile.ZipFile(path) as file:
            if any(member.file_size > _LARGEST_RECORD for member in file.infolist()):
                raise ValueError(f"an array is over {_LARGEST_RECORD:,} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: _plain(name, arrays) for name in arrays.files if name in _NPZ_FIELDS}
    except MemoryError:
        raise
    except (
        Exception
    ) as error:  # damaged files raise BadZipFile, zlib.error, ValueError, KeyError ...
        raise _unreadable(path, "npz", error) from None


def _plain(name: str, arrays: Mapping[str, Any]) -> object:
    try:
        return arrays[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise ValueError(f"{name!r} holds pickled objects, which are never opened") from None


def _read_json(path: Path) -> Fields:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, "json", error) from None
    return _parse_json(path, content)


def _parse_json(where: object, content: bytes) -> Fields:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _unreadable(where, "json", error) from None
    if not isinstance(fields, dict):
        raise _unreadable(where, "json", ValueError("it is not an object"))
    return fields


def _unreadable(where: object, form: str, error: Exception) -> RecordFault:
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    reason = " ".join(told.split()) or type(error).__name__
    return RecordFault(
        f"{form} that cannot be read", f"{where}: the {form} cannot be read ({reason}); {_AGAIN}"
    )


# ---------------------------------------------------------------- archives


class _Archive:
    """A zip that each process opens for itself: workers that fork must not share its offset."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: tuple[int, zipfile.ZipFile] | None = None

    def opened(self) -> zipfile.ZipFile:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), _open_zip(self._path))
        return self._opened[1]


def _zip_records(path: Path) -> RecordFiles:
    """The .json members of an archive, in whatever folder they are there."""
    archive = _Archive(path)
    members: dict[str, str] = {}
    faults: list[RecordFault] = []
    for name in archive.opened().namelist():
        if not name.endswith(".json") or Path(name).name.startswith("."):
            continue
        if Path(name).stem in members:
            message = f"{path}: {name}: image {Path(name).stem!r} is there twice; keep one"
            faults.append(RecordFault("an image that comes twice", message))
        members.setdefault(Path(name).stem, name)
    if not members:
        raise BadInput(f"{path}: there is no .json in the archive; unpack it, or {_FORMS}")

    def read(id: str) -> Fields:
        where = f"{path}: {members[id]}"
        try:
            if archive.opened().getinfo(members[id]).file_size > _LARGEST_RECORD:
                raise ValueError(f"it is over {_LARGEST_RECORD:,} bytes")
            content = archive.opened().read(members[id])
        except Exception as error:  # a damaged member raises BadZipFile, zlib.error, EOFError ...
            raise _unreadable(where, "json", error) from None
        return _parse_json(where, content)

    return RecordFiles(
        ids=tuple(members),
        where=lambda image: f"{path}: {members[image]}",
        read=read,
        faults=faults,
    )


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path}: the archive cannot be opened ({error}); {_AGAIN}") from None


# ---------------------------------------------------------------- lmdb


def _lmdb_records(path: Path) -> RecordFiles:
    """ViLBERT's: the record "keys" holds the list of ids, the record of an id its fields, both
    pickled, and read by the restricted unpickler."""
    one_at_a_time = Lock()

    def get(key: bytes) -> bytes | None:
        # opened for each record: a process may not open an lmdb twice, nor use a parent's
        with one_at_a_time, _open_lmdb(path) as database:
            try:
                with database.begin() as transaction:
                    value: bytes | None = transaction.get(key)
            except Exception as error:  # lmdb.Error, of a damaged page or an overlong key
                raise _unreadable(path, "lmdb", error) from None
        return value

    listed = get(b"keys")
    if listed is None:
        raise BadInput(f"{path}: there is no record 'keys', the list of image ids; {_AGAIN}")
    keys = loads_pickle(listed, f"{path}: record 'keys'")
    if not isinstance(keys, list | tuple) or not all(isinstance(key, bytes | str) for key in keys):
        raise BadInput(f"{path}: the record 'keys' is not a list of image ids; {_AGAIN}")
    ids = [key.decode("utf-8", "replace") if isinstance(key, bytes) else key for key in keys]

    def where(id: str) -> str:
        return f"{path}: image {id!r}"

    def read(id: str) -> Fields:
        content = get(id.encode())
        if content is None:
            raise RecordFault(
                "an image that is listed but absent",
                f"{where(id)} is in the list 'keys' but has no record; {_AGAIN}",
            )
        try:
            fields = loads_pickle(content, where(id), arrays=True)
        except BadInput as error:
            raise RecordFault("a pickle that cannot be read", str(error)) from None
        if not isinstance(fields, dict):
            raise RecordFault(
                "a record that is not a dict", f"{where(id)}: the record is not a dict; {_AGAIN}"
            )
        return fields

    repeated = len(ids) - len(set(ids))
    note = f"{repeated:,} ids are in the list 'keys' more than once: each image counts once"
    return RecordFiles(tuple(dict.fromkeys(ids)), where, read, notes=(note,) if repeated else ())


def _open_lmdb(path: Path) -> Any:
    try:
        import lmdb
    except ImportError:
        raise BadInput(
            f"{path}: an lmdb needs the package lmdb; pip install 'harness[lmdb]'"
        ) from None
    try:
        return lmdb.open(
            str(path),
            subdir=path.is_dir(),
            readonly=True,
            create=False,
            lock=False,
            readahead=False,
            meminit=False,
        )
    except lmdb.Error as error:
        raise BadInput(f"{path}: the lmdb cannot be opened ({error}); {_AGAIN}") from None
