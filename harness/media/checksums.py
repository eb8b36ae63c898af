"""SHA-256 of files, read in pieces. Knows nothing of what is in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from ..errors import BadInput


def sha256_of_file(path: Path) -> str:
    """SHA-256 of the file's bytes in hexadecimal, as `sha256sum` prints it. Raises BadInput if the
    file cannot be read."""
    return _digest(path).hex()


def sha256_of_files(paths: Iterable[Path]) -> str:
    """SHA-256, in hexadecimal, over the contents of files in the order given.

    It is the digest of the files' digests, so that bytes which move from one file to the next
    change it. Names and times do not count. Raises BadInput if a file cannot be read.
    """
    whole = hashlib.sha256()
    for path in paths:
        whole.update(_digest(path))
    return whole.hexdigest()


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise BadInput(
            f"{path}: the file cannot be read ({error.strerror}); put it there, or correct the path"
        ) from None
