"""Options of a training: what they change, and what is refused. Reading them loads no torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pytest

from harness.baselines.recipe_options import check_choices, with_options
from harness.errors import BadInput


@dataclass(frozen=True)
class Recipe:
    epochs: int = 8
    learning_rate: float = 1e-3
    regions: str = "segments"


def test_an_option_is_read_as_the_type_of_its_field() -> None:
    changed = with_options(Recipe(), {"epochs": "3", "learning_rate": "1", "regions": "grid"})
    assert changed == Recipe(3, 1.0, "grid")
    assert isinstance(changed.learning_rate, float)
    assert with_options(Recipe(), {}) == Recipe()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("sizes", "3", "--set sizes: unknown; choose from epochs, learning_rate, regions"),
        ("epochs", "2.5", "--set epochs=2.5: not a value of type int"),
        ("learning_rate", "fast", "--set learning_rate=fast: not a value of type float"),
        ("learning_rate", "-1", "--set learning_rate=-1: must be a number of 0 or more"),
        ("learning_rate", "nan", "--set learning_rate=nan: must be a number of 0 or more"),
        ("learning_rate", "inf", "--set learning_rate=inf: must be a number of 0 or more"),
    ],
)
def test_what_cannot_be_set_is_told_in_one_line(option: str, value: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        with_options(Recipe(), {option: value})
    assert str(caught.value) == message


def test_a_value_that_is_no_choice_is_refused_with_those_there_are() -> None:
    choices = {"regions": ("segments", "grid")}
    check_choices(Recipe(), choices)
    with pytest.raises(BadInput) as caught:
        check_choices(Recipe(regions="all"), choices)
    assert str(caught.value) == "--set regions=all: must be segments or grid"
    with pytest.raises(BadInput, match="must be segments or grid for vqa"):
        check_choices(Recipe(regions="all"), choices, only_for="vqa")


@pytest.mark.parametrize("module", ["recipe_options", "captioner_recipes"])
def test_options_are_read_without_torch(module: str) -> None:
    code = f"import sys, harness.baselines.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
