"""The options of `eval` that go with a file of weights as a model's authors released it."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from harness.types import OfficialWeights

_FILE = click.Path(path_type=Path)
_OPTIONS = ("config", "vocabulary", "answers", "regions")


def official_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--regions",
            type=_FILE,
            help="With a released file: region features of the pictures, a file or a folder.",
        ),
        click.option(
            "--answers",
            type=_FILE,
            help="With a released file: the answers that the labels of its VQA head stand for.",
        ),
        click.option(
            "--vocab",
            "vocabulary",
            type=_FILE,
            help="With a released file: BERT's vocab.txt.",
        ),
        click.option(
            "--config",
            metavar="SIZES",
            help="With a released file: its sizes, such as base or base-6.",
        ),
    ):
        command = option(command)
    return command


def take_official(options: MutableMapping[str, Any]) -> OfficialWeights | None:
    """The options above, taken out of `options`; None where none is given. BadInput unless
    --weights is a file: they say nothing of a folder that `harness train` wrote."""
    from harness.errors import BadInput
    from harness.types import OfficialWeights

    chosen = {name: options.pop(name) for name in _OPTIONS}
    given = [name for name, value in chosen.items() if value is not None]
    if not given:
        return None
    weights = options["weights"]
    if weights is None or not weights.is_file():
        option = {"vocabulary": "vocab"}.get(given[0], given[0])
        what = "is a folder" if weights is not None and weights.is_dir() else "is not there"
        found = "which is not given" if weights is None else f"and {weights} {what}"
        raise BadInput(
            f"--{option} goes with a released file in --weights, {found}; leave it out, or "
            "give the file"
        )
    return OfficialWeights(**chosen)
