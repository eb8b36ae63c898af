"""How VL-BERT and ViLBERT are pretrained, and what `harness train --pretrain --set` may change.
Knows no network and no data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from harness.errors import BadInput

from .multitask_recipes import Recipe, recipe_for
from .recipe_options import with_options


@dataclass(frozen=True)
class PretrainingRecipe:
    """How long and how hard to train, and how large a model. Every field is an option. The sizes
    are those of the model's fine-tuning unless they are given, and it must be given the same."""

    epochs: int = 3
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup: int = 100  # steps until the learning rate is reached
    batch: int = 16  # pictures, each with one caption, and as many texts without a picture
    class_pictures: int = 4000  # that the soft classes of regions are fitted on
    # sizes
    hidden_size: int = 0
    layers: int = 0
    heads: int = 0
    intermediate_size: int = 0
    image_layers: int = 0
    dropout: float = 0.0
    initializer_range: float = 0.0
    visual_scale_init: float = 0.0
    text_visual_scale_init: float = 0.0
    regions: str = ""
    rows: int = 0
    columns: int = 0


_LEARNING = ("epochs", "learning_rate", "weight_decay", "warmup", "batch", "class_pictures")
SIZES = tuple(field.name for field in fields(PretrainingRecipe) if field.name not in _LEARNING)


def pretraining_recipe_for(
    model: str, options: Mapping[str, str], dataset: str = "toybox"
) -> PretrainingRecipe:
    """The model's recipe changed by --set options. BadInput for unknown ones, and for a model that
    is to see no pictures."""
    usual = recipe_for(model, {}, dataset)
    sizes = {name: getattr(usual, name) for name in SIZES}
    recipe = with_options(replace(PretrainingRecipe(), **sizes), options)
    if recipe.regions == "none":
        raise BadInput("--set regions=none: pretraining tells words and regions of pictures")
    for name, value in asdict(recipe).items():
        if isinstance(value, int) and value < 1:
            raise BadInput(f"--set {name}={value}: must be 1 or more")
    sizes_of(model, recipe, dataset)
    return recipe


def sizes_of(model: str, recipe: PretrainingRecipe, dataset: str = "toybox") -> Recipe:
    """A recipe of fine-tuning of the same sizes, checked as such are."""
    return recipe_for(model, {name: str(getattr(recipe, name)) for name in SIZES}, dataset)
