"""What the tests of pictures and clips share: that no float decides them. Knows no shape."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np
import pytest

from harness.tasks.datasets.toybox.drawing import shape_mask


@pytest.fixture
def assert_no_floats() -> Callable[[ModuleType], None]:
    """Asserts that a module's source holds no float and nothing that makes one."""

    def check(module: ModuleType) -> None:
        assert module.__file__ is not None
        for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float | complex))
            assert not isinstance(node, ast.Div), "/ makes floats"
            if isinstance(node, ast.Attribute):
                assert "float" not in node.attr, ast.unparse(node)
                assert node.attr not in ("sqrt", "hypot", "sin", "cos", "mean", "linspace")

    return check


@pytest.fixture
def kinds_while() -> Callable[[Callable[[], object]], set[str]]:
    """Calls a function -> the kinds of all arrays that Toybox's functions hold meanwhile, as of
    numpy.dtype.kind, and "python float" where there is one."""

    def watch(act: Callable[[], object]) -> set[str]:
        kinds: set[str] = set()

        def look(frame: FrameType, event: str, argument: Any) -> Any:
            if "toybox" not in frame.f_code.co_filename:
                return None
            for value in (*frame.f_locals.values(), argument):
                if isinstance(value, np.ndarray | np.generic):
                    kinds.add(value.dtype.kind)
                elif isinstance(value, float):
                    kinds.add("python float")
            return look

        shape_mask.cache_clear()
        before = sys.gettrace()
        sys.settrace(look)
        try:
            act()
        finally:
            sys.settrace(before)
        return kinds

    return watch
