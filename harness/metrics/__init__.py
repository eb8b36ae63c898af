"""The metrics as plain functions for Python users: strings and numbers in, a number out. They know
no data set, no model and no file, and importing one loads nothing heavy."""

from .vqa import normalize_answer, vqa_accuracy

__all__ = ["normalize_answer", "vqa_accuracy"]
