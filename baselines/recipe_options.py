"""What `harness train --set` changes of a recipe, a frozen dataclass whose every field is an
option. Knows no network, and none of the recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import BadInput

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    R = TypeVar("R", bound=DataclassInstance)


def with_options(recipe: R, options: Mapping[str, str]) -> R:
    """The recipe with these fields changed, each read as the type of the value it had. BadInput for
    a field that there is not, for a value of another type, and for a number below 0 or none."""
    known = [field.name for field in fields(recipe)]
    changes: dict[str, Any] = {}
    for option, value in options.items():
        if option not in known:
            raise BadInput(f"--set {option}: unknown; choose from {', '.join(known)}")
        kind = type(getattr(recipe, option))
        try:
            changes[option] = kind(value)
        except ValueError:
            raise BadInput(f"--set {option}={value}: not a value of type {kind.__name__}") from None
        if kind is float and not 0 <= changes[option] < inf:
            raise BadInput(f"--set {option}={value}: must be a number of 0 or more")
    return replace(recipe, **changes)


def check_choices(recipe: object, choices: Mapping[str, Sequence[str]], only_for: str = "") -> None:
    """BadInput unless each of these fields has one of its values. `only_for`: the task that has
    these and no others."""
    where = f" for {only_for}" if only_for else ""
    for name, allowed in choices.items():
        value = getattr(recipe, name)
        if value not in allowed:
            raise BadInput(f"--set {name}={value}: must be {' or '.join(allowed)}{where}")
