"""Where a result was made: the code's version and commit, the packages, the platform."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from . import __version__
from .types import Json

PACKAGES = ("numpy", "pandas", "torch", "transformers", "safetensors", "tokenizers", "pillow")


def environment() -> Json:
    return {
        "code": {"version": __version__, **_git()},
        "packages": _packages(),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _git() -> Json:
    """The commit that the package's own checkout stands at; nothing for an installed wheel."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return {"git_commit": None, "dirty": None}
    try:
        commit = _git_says(root, "rev-parse", "HEAD")
        return {"git_commit": commit, "dirty": bool(_git_says(root, "status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {"git_commit": None, "dirty": None}


def _git_says(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
