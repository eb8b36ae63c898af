"""How VL-BERT and ViLBERT are trained, for one task or several, and what `harness train --set` may
change. Knows no network and no data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from harness.errors import BadInput

from .recipe_options import check_choices, with_options


@dataclass(frozen=True)
class Recipe:
    """How long and how hard to train, and how large a model. Every field is an option of
    `harness train --set name=value`."""

    start: str = ""  # a folder that `harness train --pretrain` wrote, to start from
    epochs: int = 3
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup: int = 200  # steps until the learning rate is reached
    region_loss: float = 1.0  # naming and placing regions, where they are annotated
    grounding: float = 1.0  # telling which phrases speak of them, where that is annotated
    telling: float = 0.0  # vlbert: and what is in them, and what two of them have in common
    negatives: str = "batch"  # what a right pair is told from: "four", or all pairs of the batch
    # visuals of a batch and the texts drawn of each, by what is asked
    answers_batch: int = 8
    answers_draw: int = 5
    answers_passes: int = 2  # in an epoch: to compare two things takes longest to learn
    regions_batch: int = 16
    regions_draw: int = 3
    choices_batch: int = 12
    choices_draw: int = 1
    choices_passes: float = 1.0  # in an epoch; .5 for a half, drawn anew
    pairs_batch: int = 6  # all pairs of a batch are scored
    clip_pairs_batch: int = 4
    pairs_draw: int = 1
    pairs_passes: float = 1.0  # of pictures
    clip_pairs_passes: float = 1.0
    moments_batch: int = 8
    moments_draw: int = 1
    moments_passes: int = 1  # in an epoch: windows of clips have no loss that names what is in them
    # sizes
    hidden_size: int = 96
    layers: int = 4
    heads: int = 8  # a phrase, a relation and a count each want heads of their own
    intermediate_size: int = 192
    image_layers: int = 3  # vilbert: layers of the image stream, each after a co-attention
    dropout: float = 0.0
    initializer_range: float = 0.06  # BERT's 0.02 suits 768 wide; a narrow model stalls with it
    visual_scale_init: float = 1.0  # vlbert: without pretraining, regions must be seen from step 1
    text_visual_scale_init: float = 0.2  # vlbert: of what words carry of what they name
    regions: str = "segments"
    rows: int = 4  # of a grid
    columns: int = 4
    frames_cut_up: int = 4  # of a clip that is matched with captions
    side: int = 48  # of a clip's frames, where windows of them are told apart
    frames: int = 16
    channels: str = "24,48,48"
    narrow: int = 24
    frame_size: int = 64


_EASY_VQA = Recipe(
    epochs=8, hidden_size=48, layers=2, heads=4, intermediate_size=96, answers_passes=1
)
_VLBERT = {
    "": Recipe(
        epochs=2,
        layers=5,
        learning_rate=8e-4,
        telling=1.0,
        answers_passes=4,
        moments_passes=2,
        pairs_passes=0.5,
        clip_pairs_passes=0.5,
    ),
    "vqa/easy-vqa": _EASY_VQA,
}
# by the one task and data set; "" for others and for several at once
RECIPES: dict[str, dict[str, Recipe]] = {
    "vlbert": _VLBERT,
    "vlbert-blind": _VLBERT,
    "vilbert": {
        "": Recipe(
            epochs=2,
            hidden_size=80,
            intermediate_size=160,
            answers_passes=4,
            moments_passes=2,
            clip_pairs_passes=0.25,
        )
    },
}
_ON_GRID = {"": "grid", "toybox": "segments", "toybox-vcr": "segments", "easy-vqa": "segments"}


def recipe_for(
    model: str, options: Mapping[str, str], dataset: str = "toybox", task: str = ""
) -> Recipe:
    """The model's recipe for a task, "" for several, changed by --set options. BadInput for unknown
    ones."""
    usual = RECIPES[model].get(f"{task}/{dataset}", RECIPES[model][""])
    recipe = with_options(usual, {"regions": _ON_GRID.get(dataset, "grid"), **options})
    check_choices(recipe, {"regions": ("segments", "grid", "none"), "negatives": ("four", "batch")})
    for name, value in asdict(recipe).items():
        if isinstance(value, int) and value < 1:
            raise BadInput(f"--set {name}={value}: must be 1 or more")
    for name in ("choices_passes", "pairs_passes", "clip_pairs_passes"):
        if not 0 < getattr(recipe, name) <= 100:
            raise BadInput(f"--set {name}={getattr(recipe, name)}: must be above 0, at most 100")
    if not all(width.strip().isdecimal() and int(width) for width in recipe.channels.split(",")):
        raise BadInput(f"--set channels={recipe.channels}: must be whole numbers, as in 24,48,48")
    if not 0 <= recipe.dropout < 1:
        raise BadInput(f"--set dropout={recipe.dropout}: must be from 0 to below 1")
    if recipe.hidden_size % recipe.heads:
        raise BadInput(
            f"--set hidden_size={recipe.hidden_size}: must be a multiple of heads={recipe.heads}"
        )
    if recipe.image_layers >= recipe.layers and model == "vilbert":
        raise BadInput(f"--set image_layers={recipe.image_layers}: must be below {recipe.layers}")
    return recipe
