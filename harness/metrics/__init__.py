"""The metrics as plain functions for Python users: strings and numbers in, a number out. They know
no data set, no model and no file, and importing this package loads nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .vqa import normalize_answer, vqa_accuracy

if TYPE_CHECKING:
    from .box import score_boxes
    from .caption import bleu, cider, rouge_l
    from .caption_meteor import meteor
    from .caption_spice import spice
    from .java_tokenizer import tokenize_all_with_java
    from .moment import score_moments
    from .ptb_tokenizer import tokenize, tokenize_all
    from .retrieval import score_retrieval

__all__ = [
    "bleu",
    "cider",
    "meteor",
    "normalize_answer",
    "rouge_l",
    "score_boxes",
    "score_moments",
    "score_retrieval",
    "spice",
    "tokenize",
    "tokenize_all",
    "tokenize_all_with_java",
    "vqa_accuracy",
]

_LAZY = {  # function -> its module, which loads NumPy
    "bleu": "caption",
    "cider": "caption",
    "meteor": "caption_meteor",
    "rouge_l": "caption",
    "score_boxes": "box",
    "score_moments": "moment",
    "score_retrieval": "retrieval",
    "spice": "caption_spice",
    "tokenize": "ptb_tokenizer",
    "tokenize_all": "ptb_tokenizer",
    "tokenize_all_with_java": "java_tokenizer",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
