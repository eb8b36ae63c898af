"""The official PTB tokenizer: the Stanford jar inside pycocoevalcap, called as pycocoevalcap 1.2
calls it, for those who want its very tokens. Needs Java. Knows no metric.

Differs from pycocoevalcap only where that goes wrong without a word:
- every character that ends a line for Java is a space. There only "\\n" is, and after a caption
  with another one each caption gets the tokens of the one before;
- a Java that fails, takes too long or gives too few lines is an error;
- captions go through a pipe, not through a file in the package's folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .java import JavaFailed, coco_folder, jar_reason, run_java

__all__ = ["java_tokenizer_reason", "tokenize_all_with_java"]

_JAR = "tokenizer/stanford-corenlp-3.4.1.jar"
_ARGUMENTS = (
    "-cp",
    "stanford-corenlp-3.4.1.jar",
    "edu.stanford.nlp.process.PTBTokenizer",
    "-preserveLines",
    "-lowerCase",
)
_LINE_BREAKS = re.compile("[\n\r\v\f\u2028\u2029]")
# The official list has "-LRB-" and its like too, which never occur: tokens are in lower case.
_PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
_SECONDS, _SECONDS_PER_CAPTION = 600.0, 0.001  # some 50 times what it takes


def java_tokenizer_reason() -> str:
    """An empty string if the tokenizer can be run here, else why not."""
    return jar_reason(_JAR)


def tokenize_all_with_java(captions: Sequence[str], timeout: float | None = None) -> list[str]:
    """The tokens of each caption, in lower case, without punctuation, joined by spaces.

    All captions go through one run, as the official code has it: a caption's last tokens may depend
    on how the next one begins. `timeout`: seconds for the run; None for 600 and .001 for each
    caption.

    Raises JavaFailed if Java or the jar is missing, fails, takes too long, or does not give as many
    lines as it got.
    """
    if not captions:
        return []
    reason = java_tokenizer_reason()
    folder = coco_folder()
    if reason or folder is None:
        raise JavaFailed(f"the Java tokenizer: {reason}")
    output = run_java(
        "the Java tokenizer",
        _ARGUMENTS,
        "\n".join(_LINE_BREAKS.sub(" ", caption) for caption in captions),
        folder=(folder / _JAR).parent,
        timeout=_SECONDS + _SECONDS_PER_CAPTION * len(captions) if timeout is None else timeout,
    )
    lines = output.split("\n")
    if len(lines) != len(captions):
        raise JavaFailed(f"the Java tokenizer gave {len(lines)} lines for {len(captions)} captions")
    return [_without_punctuation(line) for line in lines]


def _without_punctuation(line: str) -> str:
    return " ".join(token for token in line.rstrip().split(" ") if token not in _PUNCTUATION)
