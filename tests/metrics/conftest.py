"""A stand-in for Java: an executable `java`, first on the PATH, that runs a few lines of Python."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FakeJava = Callable[..., Path]

_SCRIPT = """#!{python}
import json, os, sys, time
from pathlib import Path
if sys.argv[1:] == ["-version"]:
    print('openjdk version "{version}" 2019-01-01', file=sys.stderr)
    sys.exit(0)
folder = Path({folder!r})
call = {{"arguments": sys.argv[1:], "LC_ALL": os.environ.get("LC_ALL"), "cwd": os.getcwd()}}
(folder / "call.json").write_text(json.dumps(call))
(folder / "pid").write_text(str(os.getpid()))
sys.stdin.reconfigure(encoding="utf-8", newline="\\n")
sys.stdout.reconfigure(encoding="utf-8")
{body}
"""


@pytest.fixture
def fake_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeJava:
    """fake_java(body, version): the Python lines that `java` then runs, and what `java -version`
    says. Gives the folder where each run leaves call.json and pid."""

    def make(body: str, version: str = "17.0.1") -> Path:
        folder = tmp_path / "fake-java"
        folder.mkdir()
        script = _SCRIPT.format(
            python=sys.executable, version=version, folder=str(folder), body=body
        )
        (folder / "java").write_text(script, encoding="utf-8")
        (folder / "java").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return folder

    return make


@pytest.fixture
def no_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
