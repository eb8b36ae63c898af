"""The program's exit codes and the errors that carry them. Knows nothing else."""

from __future__ import annotations

from collections.abc import Sequence

GOOD = 0
CHECK_FAILED = 1
BAD_INPUT = 2
NOT_COMPARABLE = 3
INCOMPLETE = 4


class HarnessError(Exception):
    """An error shown to the user as one line; the program ends with `exit_code`."""

    exit_code = BAD_INPUT


class BadInput(HarnessError):
    """Wrong usage or bad input: names the file, the record, what is wrong and what to do."""


class MissingFile(BadInput):
    """A file of a data set that is not there."""


class NotComparable(HarnessError):
    """Two results that must not be set side by side: what differs, a line a field."""

    exit_code = NOT_COMPARABLE

    def __init__(self, fields: Sequence[str]) -> None:
        super().__init__("not comparable: " + "; ".join(fields))
        self.fields = tuple(fields)


class Incomplete(HarnessError):
    """A run that lacks predictions."""

    exit_code = INCOMPLETE
