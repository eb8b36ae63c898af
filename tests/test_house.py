"""The layering that CONTRIBUTING.md promises, read off the imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ENGINE = sorted(
    path
    for path in (REPOSITORY / "harness").rglob("*.py")
    if not {"tasks", "baselines"} & set(path.relative_to(REPOSITORY / "harness").parts)
)


def imported(path: Path) -> Iterator[str]:
    """The absolute names of the modules that a file of the engine imports."""
    package = path.relative_to(REPOSITORY).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *(node.module.split(".") if node.module else ())))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: path.stem)
def test_the_engine_imports_no_task_and_no_model(path: Path) -> None:
    strangers = [
        name
        for name in imported(path)
        if name.split(".")[:2] in (["harness", "tasks"], ["harness", "baselines"])
        or name.split(".")[0] in ("tasks", "baselines")
    ]
    assert not strangers


def test_tasks_import_no_model() -> None:
    for path in (REPOSITORY / "tasks").rglob("*.py"):
        assert "harness.baselines" not in path.read_text(encoding="utf-8"), path


def test_the_folders_are_reached_through_the_links() -> None:
    for name in ("tasks", "baselines"):
        link = REPOSITORY / "harness" / name
        assert link.is_symlink()
        assert link.resolve() == REPOSITORY / name
