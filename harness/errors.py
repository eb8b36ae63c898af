"""The program's exit codes and the errors that carry them. Knows nothing else."""

from __future__ import annotations

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
