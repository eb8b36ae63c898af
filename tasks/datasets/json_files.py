"""JSON, JSON lines and text from the field's files, with one-line errors that name the file, the
record, what is wrong and what mends it. Knows no data set."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import BadInput, MissingFile
from harness.types import Json

_Value = TypeVar("_Value")

_KINDS: dict[type, str] = {int: "number", str: "text", list: "list", dict: "object"}


def read_json(path: Path, mend: str) -> object:
    """The content of a JSON file. Raises BadInput if it is missing or cannot be read, and as
    `parse_json`."""
    content = read_bytes(path, mend)
    with no_cycle_search():
        return parse_json(content, str(path), mend)


@contextmanager
def no_cycle_search() -> Iterator[None]:
    """Suspends the search for reference cycles: records from files have none, and among millions of
    them it takes as long as the reading."""
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()


def parse_json(content: str | bytes, where: str, mend: str) -> object:
    """What a JSON text says. Raises BadInput, beginning with `where`, if it is not JSON, and if an
    object has a key twice, of which JSON readers keep one without a word."""
    try:
        parsed: object = json.loads(content, object_pairs_hook=_unique_keys)
    except _KeyTwice as error:
        raise BadInput(
            f"{where}: the key {error.key[:60]!r} is there twice in one object; keep one of the two"
        ) from None
    except UnicodeDecodeError as error:
        encoding = error.encoding.upper()
        raise BadInput(f"{where}: byte {error.start} is not {encoding}; {mend}") from None
    except (ValueError, RecursionError) as error:  # its message gives the line and the column
        raise BadInput(f"{where}: this is not JSON ({error}); {mend}") from None
    return parsed


def read_records(path: Path, name: str, mend: str) -> list[tuple[str, Json]]:
    """The list `name` of the object in a JSON file as (where, record), `where` for errors:
    "FILE: name[3]". Raises BadInput if there is no such list, if it is empty and if a record is no
    object."""
    return records_of(path, read_json(path, mend), name, mend)


def records_of(path: Path, content: object, name: str, mend: str) -> list[tuple[str, Json]]:
    """As `read_records`, from the file's content."""
    records = content.get(name) if isinstance(content, dict) else None
    if not isinstance(records, list) or not records:
        raise BadInput(f"{path}: there is no list {name!r} with a record in it; {mend}")
    named = [(f"{path}: {name}[{position}]", record) for position, record in enumerate(records)]
    for where, record in named:
        if not isinstance(record, dict):
            raise BadInput(f"{where} is not an object; {mend}")
    return named


def read_json_lines(path: Path, mend: str) -> Iterator[tuple[str, Json]]:
    """The objects of a file with one a line, as (where, record); blank lines are passed over."""
    for number, line in enumerate(read_lines(path, mend), start=1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        record = parse_json(line, where, mend)
        if not isinstance(record, dict):
            raise BadInput(f"{where} is not an object; {mend}")
        yield where, record


def read_lines(path: Path, mend: str, notes: list[str] | None = None) -> list[str]:
    """The lines of a text file in UTF-8, without their ends; only a line feed, with or without a
    carriage return, ends a line.

    A line in another encoding raises BadInput. With `notes` it is read as Windows-1252, what old
    files are mostly in, and counted there.
    """
    lines = read_bytes(path, mend).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not lines[-1]:
        lines.pop()
    texts, odd = [], []
    for number, line in enumerate(lines, start=1):
        try:
            texts.append(line.removesuffix(b"\r").decode())
        except UnicodeDecodeError:
            if notes is None:
                raise BadInput(f"{path}: line {number} is not UTF-8; {mend}") from None
            texts.append(line.removesuffix(b"\r").decode("cp1252", errors="replace"))
            odd.append(number)
    if odd and notes is not None:
        notes.append(
            f"{path.name}: {len(odd):,} of {len(lines):,} lines are not UTF-8 and were read as "
            f"Windows-1252; the first is line {odd[0]}"
        )
    return texts


def read_text(path: Path, mend: str) -> str:
    """A text file in UTF-8, with or without a byte order mark; else BadInput."""
    try:
        return read_bytes(path, mend).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: byte {error.start} is not UTF-8; {mend}") from None


def read_bytes(path: Path, mend: str) -> bytes:
    """The bytes of a file. Raises BadInput if it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise MissingFile(f"{path}: there is no such file; {mend}") from None
    except OSError as error:
        raise BadInput(f"{path}: the file cannot be read ({error.strerror}); {mend}") from None


def value_of(record: Json, key: str, kind: type[_Value], where: str, mend: str) -> _Value:
    """`record[key]`, which must be exactly of the type `kind`, else BadInput."""
    value = record.get(key)
    if type(value) is not kind:
        raise BadInput(f"{where} has no {_KINDS[kind]} {key!r}; {mend}")
    return value


def number_of(record: Json, key: str, where: str, mend: str) -> float:
    """`record[key]`, a number as of `is_number`, else BadInput."""
    value = record.get(key)
    if not is_number(value):
        raise BadInput(f"{where} has no number {key!r}; {mend}")
    return float(record[key])


def is_number(value: object) -> bool:
    """Whether a value of a JSON file is a finite number of usual size, true and false excepted."""
    return isinstance(value, int | float) and type(value) is not bool and abs(value) <= 1e9


def refuse_twice(path: Path, keys: Iterable[object], what: str, mend: str) -> None:
    """Raises BadInput if one of `keys` comes twice."""
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise BadInput(f"{path}: {what} {twice[0]!r} is there twice; {mend}")


class _KeyTwice(ValueError):
    def __init__(self, key: str) -> None:
        self.key = key


def _unique_keys(pairs: list[tuple[str, Any]]) -> Json:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise _KeyTwice(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return record
