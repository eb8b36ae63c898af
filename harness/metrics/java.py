"""Java programs run with care: whether there is a Java, where pycocoevalcap's jars are, and one run
from text to text with a time limit and a fixed locale. Knows no metric; importing it runs nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from harness.errors import HarnessError

__all__ = [
    "JavaFailed",
    "coco_folder",
    "jar_reason",
    "java_major_version",
    "java_reason",
    "run_java",
]

_SECONDS_TO_START = 60.0
# In German the METEOR jar cannot read the numbers it printed; in Turkish the lower case of "I" is
# another letter.
_FIXED = ("-Duser.language=en", "-Duser.country=US", "-Dfile.encoding=UTF-8")
# Under plain C a Java finds no jar in a folder whose name is not ASCII.
_LOCALE = "C.UTF-8"


class JavaFailed(HarnessError):
    """A Java program could not be run, failed, took too long or answered nonsense. One line;
    `output` is what it had printed by then."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


# ---------------------------------------------------------------- what is there


def java_reason() -> str:
    """An empty string if Java can be run, else why not, in a few words. Runs `java -version` once
    for each `java` that the PATH names."""
    return _version()[1]


def java_major_version() -> int | None:
    """8 for "1.8.0_292", 17 for "17.0.15"; None if Java cannot be run or does not say."""
    found = re.search(r'version "(?:1\.)?(\d+)', _version()[0])
    return int(found.group(1)) if found else None


def coco_folder() -> Path | None:
    """The folder of the package pycocoevalcap, found without importing it; None without it."""
    spec = find_spec("pycocoevalcap")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return Path(folders[0]) if folders else None


def jar_reason(*paths: str) -> str:
    """An empty string if pycocoevalcap has the files of these paths and Java can be run, else why
    not."""
    folder = coco_folder()
    if folder is None:
        return "no jar: pycocoevalcap is not installed"
    missing = [path for path in paths if not (folder / path).is_file()]
    if missing:
        return f"no jar: {folder} lacks {missing[0]}"
    return java_reason()


def _version() -> tuple[str, str]:
    """What `java -version` says, and the reason why Java cannot be run."""
    java = shutil.which("java")
    return _version_of(java) if java else ("", "no Java: no `java` on the PATH")


@lru_cache(maxsize=8)
def _version_of(java: str) -> tuple[str, str]:
    """Some systems have a `java` that only says where to get one: run it to know."""
    try:
        done = subprocess.run(
            [java, "-version"], capture_output=True, timeout=_SECONDS_TO_START, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"no Java: {java} does not start ({type(error).__name__})"
    said = (done.stderr + done.stdout).decode("utf-8", "replace")
    if done.returncode:
        return "", f"no Java: {java} does not start ({_gist(said) or 'without a word'})"
    return said, ""


# ---------------------------------------------------------------- one run


def run_java(
    what: str, arguments: Sequence[str], text: str = "", *, folder: Path, timeout: float
) -> str:
    """What `java ARGUMENTS` prints when started in that folder and given the text on its standard
    input, both UTF-8; lone surrogates become "?". `what` names the program in errors; `timeout` is
    in seconds.

    Reads and writes at the same time, so neither side can block the other. Whatever ends the run
    early, Ctrl-C included, the program and what it started are killed first.

    Raises JavaFailed if Java cannot be started, is not done in time, or ends with a code but 0.
    """
    reason = java_reason()
    if reason:
        raise JavaFailed(f"{what}: {reason}")
    with subprocess.Popen(
        [shutil.which("java") or "java", *_FIXED, *arguments],
        cwd=folder,
        env={**os.environ, "LC_ALL": _LOCALE},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            printed, errors = process.communicate(text.encode("utf-8", "replace"), timeout)
        except subprocess.TimeoutExpired:
            _kill(process)
            printed, _ = process.communicate()
            raise JavaFailed(
                f"{what}: Java was not done after {timeout:g} s and was stopped",
                printed.decode("utf-8", "replace"),
            ) from None
        except BaseException:
            _kill(process)
            raise
    output = printed.decode("utf-8", "replace")
    if process.returncode:
        gist = _gist(errors.decode("utf-8", "replace")) or "without a word"
        raise JavaFailed(f"{what}: Java ended with code {process.returncode}: {gist}", output)
    return output


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends the program and what it started: `java` may be a script that waits for another one,
    which would keep the pipes open."""
    with suppress(ProcessLookupError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _gist(errors: str) -> str:
    """The last line of what a program complained, the places of a Java stack trace left out."""
    lines = [line.strip() for line in errors.splitlines()]
    telling = [line for line in lines if line and not re.match(r"at \S+\(|\.\.\. \d+ more", line)]
    return telling[-1][:200] if telling else ""
