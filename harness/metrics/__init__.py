"""The metrics as plain functions for Python users: strings and numbers in, a number out. They know
no data set, no model and no file, and importing this package loads nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .vqa import normalize_answer, vqa_accuracy

if TYPE_CHECKING:
    from .caption import bleu, cider, rouge_l

__all__ = ["bleu", "cider", "normalize_answer", "rouge_l", "vqa_accuracy"]

_LAZY = {"bleu": "caption", "cider": "caption", "rouge_l": "caption"}  # these load NumPy


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
