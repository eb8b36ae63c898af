"""A scorer as a program: started once, asked a case a line on its standard input, answering a line
each on its standard output. Whatever goes wrong there becomes a Reply, never an exception."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, TypeAlias

from harness.errors import BadInput
from harness.types import Json

from .cases import Reply, read_reply

FAILURES_IN_A_ROW = 3  # of a scorer that dies or hangs; then it is asked no more
NOT_ASKED = f"not asked: the {FAILURES_IN_A_ROW} cases before had no answer"
_LONGEST_LINE = 1 << 20
_LINES_AHEAD = 1000  # kept of a scorer that prints without being asked

_Lines: TypeAlias = "queue.Queue[bytes | None]"  # None is the end


class _Lost(Exception):
    """The program gave no answer and is of no more use; says why in one line."""


class ScorerProcess:
    """`reply(request)` asks the program; `close()` ends it.

    A program that dies or does not answer within `timeout` seconds is ended and, for the next case,
    started again; after three such cases in a row it is not asked any more.
    """

    def __init__(self, command: Sequence[str], timeout: float) -> None:
        """BadInput if there is no such command."""
        if not command or shutil.which(command[0]) is None:
            named = repr(command[0]) if command else "an empty command"
            raise BadInput(
                f"--scorer {named}: no such program; give a command such as "
                "'python my_scorer.py', or the name of a shipped adapter"
            )
        self._command = list(command)
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: _Lines = queue.Queue()
        self._lines: _Lines = queue.Queue(_LINES_AHEAD)
        self._errors: IO[bytes] | None = None
        self._asked: set[str] = set()
        self._failures = 0

    def reply(self, request: Json) -> Reply:
        if self._failures >= FAILURES_IN_A_ROW:
            return Reply("lost", said=NOT_ASKED)
        try:
            reply = self._ask(request)
        except _Lost as lost:
            self.close()
            self._failures += 1
            return Reply("lost", said=str(lost))
        self._failures = 0
        return reply

    def close(self) -> None:
        """Ends the program and what it started."""
        process, self._process = self._process, None
        if process is None:
            return
        _kill(process)
        process.wait()
        if self._errors is not None:
            self._errors.close()
        self._requests.put(None)
        with suppress(queue.Empty):  # lets the reading thread put the last lines, and end
            while self._lines.get(timeout=1) is not None:
                pass

    # ------------------------------------------------------------ one question

    def _ask(self, request: Json) -> Reply:
        """_Lost if the program does not start, is gone, or takes too long."""
        if self._process is None:
            self._start()
        self._requests.put(json.dumps(request).encode("utf-8") + b"\n")
        self._asked.add(request["id"])
        deadline = time.monotonic() + self._timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                self._lines.put(None)
                raise _Lost(self._how_it_ended())
            if (reply := self._read(line, request)) is not None:
                return reply
        raise _Lost(f"no answer in {self._timeout:g} s (is each one flushed?)")

    def _read(self, line: bytes, request: Json) -> Reply | None:
        """None for an empty line and for a late answer to an earlier case."""
        text = line.decode("utf-8", "replace").strip()
        if not text:
            return None
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            return Reply("lost", said=f"printed no JSON object: {text[:60]!r}")
        id = content.get("id")
        if id == request["id"]:
            return read_reply(content, request["metric"])
        if isinstance(id, str) and id in self._asked:
            return None
        return Reply("lost", said=f"answered a case {str(id)[:60]!r} that was not asked")

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
        self._requests, self._lines = queue.Queue(), queue.Queue(_LINES_AHEAD)
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
            )
        except OSError as error:
            raise _Lost(f"does not start: {error.strerror or error}") from None
        for function, stream, lines in (
            (_write_lines, self._process.stdin, self._requests),
            (_read_lines, self._process.stdout, self._lines),
        ):
            threading.Thread(target=function, args=(stream, lines), daemon=True).start()

    # ------------------------------------------------------------ what went wrong

    def _how_it_ended(self) -> str:
        """The code or signal, with the last line of its standard error."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return "closed its standard output"
        how = f"ended with code {code}" if code >= 0 else f"was killed by signal {-code}"
        return f"{how}: {last}" if (last := self._last_error()) else how

    def _last_error(self) -> str:
        if self._errors is None:
            return ""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - 4096))
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        return next((line.strip()[:100] for line in reversed(lines) if line.strip()), "")


def _write_lines(stream: IO[bytes], lines: _Lines) -> None:
    """Hands on what is put, until None. A program that reads nothing holds up this thread only."""
    with suppress(OSError), stream:
        while (line := lines.get()) is not None:
            stream.write(line)
            stream.flush()


def _read_lines(stream: IO[bytes], lines: _Lines) -> None:
    """Puts what the program prints, line by line, then None. A program that floods waits."""
    with suppress(OSError), stream:
        while line := stream.readline(_LONGEST_LINE):
            lines.put(line)
    lines.put(None)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
