"""The options of `eval` and `score` that say how metrics are made and what floors are fitted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--prior-from",
            multiple=True,
            type=click.Path(path_type=Path),
            help="Official file that floors are fitted on, in place of the train part; repeatable.",
        ),
        click.option(
            "--tokenizer",
            type=click.Choice(["ptb", "java"]),
            help="Of captions: ours, or the official one.",
        ),
        click.option(
            "--rule",
            "rules",
            multiple=True,
            metavar="NAME=CHOICE",
            help="A convention of the task's metrics (`harness ls TASK` lists them); repeatable.",
        ),
    ):
        command = option(command)
    return command


def chosen_rules(rules: tuple[str, ...], tokenizer: str | None) -> Mapping[str, str]:
    from harness.errors import BadInput

    chosen: dict[str, str] = {}
    for rule in rules:
        name, separator, choice = rule.partition("=")
        if not separator:
            raise BadInput(f"--rule {rule}: must be NAME=CHOICE, such as tokenizer=java")
        if chosen.get(name, choice) != choice:
            raise BadInput(f"--rule {name}: is both {chosen[name]} and {choice}; give one")
        chosen[name] = choice
    if tokenizer and chosen.setdefault("tokenizer", tokenizer) != tokenizer:
        raise BadInput(f"--tokenizer {tokenizer} and --rule tokenizer={chosen['tokenizer']} differ")
    return chosen
