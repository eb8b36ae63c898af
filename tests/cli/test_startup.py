"""Help, `ls` and argument errors are instant: nothing heavy is imported for them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers", "pandas", "pyarrow", "PIL", "tokenizers", "safetensors", "scipy"}
HEAVY |= {"matplotlib", "jinja2"}

_MAIN = "from harness.cli import main; main()"
_IMPORTED = """
import sys
from harness.cli import main
try:
    main()
finally:
    print("imported:", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def imported_by(folder: Path, *arguments: str) -> tuple[int, set[str]]:
    """The exit code and the top-level packages that a command imported."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    last = next(x for x in reversed(done.stderr.splitlines()) if x.startswith("imported: "))
    return done.returncode, set(last.split()[1:])


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    verbs = ("eval", "score", "compare", "report", "check", "reproduce")
    for arguments in (["--help"], ["--version"], *([verb, "--help"] for verb in verbs)):
        code, imported = imported_by(tmp_path, *arguments)
        assert code == 0
        assert not imported & (HEAVY | {"numpy", "rich"}), arguments


def test_ls_imports_nothing_heavy(tmp_path: Path) -> None:
    for arguments in (["ls"], ["ls", "--json"]):
        code, imported = imported_by(tmp_path, *arguments)
        assert code == 0
        assert "harness" in imported
        assert not imported & (HEAVY | {"numpy", "easy_vqa"}), arguments


@pytest.mark.parametrize(
    "arguments",
    [
        ["evla"],
        ["eval", "--task", "vqa"],
        ["eval", "--task", "vqaa", "--model", "vlbert"],
        ["eval", "--task", "vqa/toybx", "--model", "vlbert"],
        ["eval", "--task", "vqa", "--model", "vlbret"],
        ["eval", "--task", "vqa", "--model", "vlbert", "--split", "tset"],
        ["eval", "--task", "vqa", "--model", "vlbert", "--limit", "0"],
        ["eval", "--task", "vqa/vqav2", "--model", "vlbert"],
        ["eval", "--task", "vqa/vqav2", "--model", "vlbert", "--data-dir", "absent"],
        ["score", "absent.jsonl", "--task", "vqaa"],
        ["train", "--task", "vqaa", "--model", "vlbert"],
    ],
    ids=" ".join,
)
def test_argument_errors_import_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    code, imported = imported_by(tmp_path, *arguments)
    assert code == 2
    assert not imported & HEAVY


def seconds(folder: Path, *arguments: str) -> float:
    """Processor time of a Python process, which other work on the machine disturbs less than the
    clock on the wall."""
    null = subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, *arguments], cwd=folder, stdout=null, stderr=null)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize(("verb", "times"), [("--help", 2.0), ("ls", 4.0)])
def test_it_starts_about_as_fast_as_its_command_line_library(
    tmp_path: Path, verb: str, times: float
) -> None:
    ratios = []
    for _ in range(4):  # a busy machine may spoil a measurement, not four
        ours, bare = [], []
        for _ in range(7):
            bare.append(seconds(tmp_path, "-c", "import click"))
            ours.append(seconds(tmp_path, "-c", _MAIN, verb))
        ratios.append(statistics.median(ours) / statistics.median(bare))
        if ratios[-1] <= times:
            return
    pytest.fail(f"harness {verb} takes {min(ratios):.1f} times `import click`, not {times}")
