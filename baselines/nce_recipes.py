"""How the dual encoder is trained for each task, and what `harness train --set` may change. Knows
no network and no data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import get_args

from harness.errors import BadInput

from .nce import Objective, TextSide
from .recipe_options import check_choices, with_options


@dataclass(frozen=True)
class Recipe:
    """How long and how hard to train, and how large a model. Every field is an option of
    `harness train --set name=value`."""

    objective: str = "infonce"  # nce, infonce, hinge, hinge-sum
    correction: str = "yes"  # nce: the log k; "no" is Dai & Lin's code
    margin: float = 0.2  # hinge
    hard_negatives: str = "none"  # "foils": captions of the same words that do not hold
    across: str = "yes"  # mismatches are also the other texts and visuals of the batch
    epochs: int = 8
    batch: int = 128  # visuals
    texts: int = 2  # drawn of each visual's
    foils: int = 1  # drawn of each text's own mismatches
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warmup: int = 100  # steps until the learning rate is reached
    channels: str = "32,48,64,64"
    stem: int = 2
    narrow: int = 48
    side: int = 96
    frames: int = 0
    size: int = 256
    word_size: int = 64
    text_hidden: int = 128
    eye: str = "pictures"  # or "regions": the crops of what stands out; efficientnet-lite0, frozen
    text: str = "words"  # or "minilm", frozen
    dropout: float = 0.0  # of what a frozen network gives
    regions: str = "segments"
    region_size: int = 96
    region_layers: int = 2
    queries: int = 4  # that a question puts to the regions
    naming: float = 0.0  # weight of the loss that names regions, where a question's are annotated
    grounding: float = 0.0  # likewise of the loss that tells which regions a phrase speaks of
    bank: int = 2000  # captions to choose from


_CLIPS = Recipe(
    eye="clips",
    epochs=8,
    batch=64,
    channels="32,64,64",
    stem=4,
    narrow=32,
    side=64,
    frames=16,
    size=192,
    text_hidden=64,
)
_REGIONS = Recipe(
    eye="regions", epochs=4, batch=64, texts=6, foils=7, across="no", learning_rate=1e-3
)
_QUESTIONS = replace(_REGIONS, batch=16, size=128, text_hidden=64, word_size=48, naming=1.0)
_MOMENTS = replace(
    _CLIPS,
    eye="moments",
    epochs=4,
    batch=32,
    frames=32,
    side=48,
    channels="24,48,48",
    size=128,
    across="no",
)
# Toybox's things stand out from their ground: seen by regions, R@1 grows four times as fast
_THINGS = Recipe(eye="regions", epochs=4, texts=3)
# Some hundred photographs teach two dense layers on networks that have seen and read before; chosen
# by cross-validation over 682 photographs of Flickr8k
_PHOTOGRAPHS = Recipe(
    eye="efficientnet-lite0",
    text="minilm",
    dropout=0.5,
    epochs=20,
    texts=5,
    size=512,
    weight_decay=0.05,
    warmup=10,
)
RECIPES = {
    "retrieval/toybox": replace(_THINGS, hard_negatives="foils"),
    "captioning/toybox": _THINGS,
    **{
        f"{task}/{dataset}": _PHOTOGRAPHS
        for task in ("retrieval", "captioning")
        for dataset in ("flickr8k", "flickr30k", "coco")
    },
    "retrieval": Recipe(hard_negatives="foils"),
    "captioning": Recipe(),
    "video-retrieval": replace(_CLIPS, hard_negatives="foils"),
    "video-captioning": _CLIPS,
    "vqa": replace(_QUESTIONS, foils=3, grounding=1.0, epochs=10),
    "vqa/toybox-vcr": replace(_QUESTIONS, foils=3, epochs=3),
    "spatial-localization": _REGIONS,
    "temporal-localization": _MOMENTS,
}
_EITHER = ("retrieval", "captioning")  # whole pictures: seen and read in any way


def recipe_for(name: str, options: dict[str, str]) -> Recipe:
    """The recipe of a "task/dataset", or of its task, changed by --set options. BadInput for
    unknown ones."""
    task = name.partition("/")[0]
    recipe = RECIPES.get(name) or RECIPES.get(task)
    if recipe is None:
        tasks = [known for known in RECIPES if "/" not in known]
        raise BadInput(f"nce cannot be trained for {task}; only for {', '.join(tasks)}")
    eyes = ("pictures", "regions", "efficientnet-lite0") if task in _EITHER else (recipe.eye,)
    texts = get_args(TextSide) if task in _EITHER else (recipe.text,)
    recipe = with_options(recipe, options)
    check_choices(recipe, {"eye": eyes, "text": texts}, only_for=task)
    _check_recipe(recipe)
    return recipe


_CHOICES = {
    "objective": get_args(Objective),
    "correction": ("yes", "no"),
    "hard_negatives": ("none", "foils"),
    "across": ("yes", "no"),
    "regions": ("segments", "grid"),
}


def _check_recipe(recipe: Recipe) -> None:
    check_choices(recipe, _CHOICES)
    for name, value in asdict(recipe).items():
        if isinstance(value, int) and value < 1 and name not in ("foils", "frames"):
            raise BadInput(f"--set {name}={value}: must be 1 or more")
    channels = recipe.channels.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in channels):
        raise BadInput(f"--set channels={recipe.channels}: must be numbers, as 32,48,64,64")
    if recipe.stem not in (2, 4):
        raise BadInput(f"--set stem={recipe.stem}: must be 2 or 4")
    fold = recipe.stem * 2 ** (len(channels) - 1)
    if recipe.side % fold:
        raise BadInput(f"--set side={recipe.side}: must be a multiple of {fold}")
    for name in ("naming", "grounding"):
        if not getattr(recipe, name) >= 0:
            raise BadInput(f"--set {name}={getattr(recipe, name)}: must be 0 or more")
    if not 0 <= recipe.dropout < 1:
        raise BadInput(f"--set dropout={recipe.dropout}: must be from 0 to less than 1")
    if recipe.size % 2:
        raise BadInput(f"--set size={recipe.size}: must be even")
    if recipe.region_size % 4:
        raise BadInput(f"--set region_size={recipe.region_size}: must be a multiple of 4")
