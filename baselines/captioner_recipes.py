"""How the attention captioners are trained for each task, and what `harness train --set` may
change. Knows no network and no data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from harness.errors import BadInput

from .recipe_options import check_choices, with_options


@dataclass(frozen=True)
class Recipe:
    """How long and how hard to train, and how large a model. Every field is an option of
    `harness train --set name=value`."""

    objective: str = "soft"  # soft, hard (REINFORCE), nce (against --set reference=FOLDER)
    reference: str = ""  # weights of a likelihood-trained captioner, to start from and to beat
    mismatches: int = 5  # nce: other visuals' captions for each
    correction: str = "yes"  # nce: the log nu; "no" is Dai & Lin's code
    doubly_stochastic: float = 0.01  # lambda
    doubly_stochastic_form: str = "paper"  # or official
    region_loss: float = 1.0  # naming what is at a location, where things are annotated
    word_loss: float = 0.0  # telling from the annotation vectors which words the texts have
    attention_loss: float = 0.5  # looking, at the end of an expression, at the box it speaks of
    window_loss: float = 2.0  # telling a moment's window from others of its clip
    windows: int = 8
    nothing: float = 0.05  # share of texts learnt without a visual, for calibrated likelihoods
    epochs: int = 4
    batch: int = 32  # visuals
    texts: int = 2  # drawn of each visual's
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    vision: str = "pictures"  # clips, frames, efficientnet-lite0
    frames_by: str = ""  # frames: by the CNN of these weights; those bundled for Toybox's pictures
    side: int = 96
    channels: str = "32,48,64,96"
    deeper: int = 2
    frames: int = 0
    narrow: int = 32  # clips: channels of a frame's map before it becomes a vector
    frame_size: int = 128  # clips: of that vector
    size: int = 96  # of an annotation vector
    dim: int = 192
    dim_word: int = 64
    layers_att: int = 1
    roots: str = "no"  # efficientnet-lite0: of its features
    feature_dropout: float = 0.0  # efficientnet-lite0: of its features
    word_dropout: float = 0.0  # share of the words that were said before that are unknown
    dropout: str = "none"  # official, modern
    dropout_rate: float = 0.5
    mask_padding: str = "no"
    at_least: int = 1  # a word stands in the captions so often, or it is unknown
    says_unknown: str = "yes"
    beam: int = 3
    by_length: str = "no"
    calibrated: str = "yes"
    margin: float = 15.0  # natural logarithms after which a pair is given up; 0 never
    locate_by: str = "end"  # mean
    most_words: int = 48
    validated: int = 200  # validation samples that the curve is measured on


_CLIPS = Recipe(
    epochs=8,
    texts=4,
    doubly_stochastic=0.0,
    word_loss=1.0,
    vision="frames",
    side=64,
    frames=16,
    size=128,
    dim=160,
)
# Some hundred photographs teach a small decoder on a network that has seen before, if much is
# dropped and rare words are left out. Chosen on the validation part of 800 photographs of Flickr8k.
_PHOTOGRAPHS = Recipe(
    doubly_stochastic=0.0,
    word_loss=0.2,
    epochs=30,
    batch=16,
    learning_rate=3e-3,
    weight_decay=0.05,
    vision="efficientnet-lite0",
    dim_word=128,
    roots="yes",
    feature_dropout=0.5,
    word_dropout=0.1,
    dropout="modern",
    at_least=4,
    says_unknown="no",
    by_length="yes",
)
_MANY_PHOTOGRAPHS = replace(_PHOTOGRAPHS, epochs=6)
RECIPES = {
    **{
        f"{task}/{dataset}": recipe
        for task in ("captioning", "retrieval")
        for dataset, recipe in (
            ("flickr8k", _PHOTOGRAPHS),
            ("flickr30k", _MANY_PHOTOGRAPHS),
            ("coco", _MANY_PHOTOGRAPHS),
        )
    },
    "captioning": Recipe(),
    "retrieval": Recipe(),
    "spatial-localization": Recipe(texts=3, epochs=5, dim=128, most_words=24, attention_loss=2.0),
    "video-captioning": _CLIPS,
    "video-retrieval": _CLIPS,
    "temporal-localization": replace(
        _CLIPS,
        vision="clips",
        texts=1,
        word_loss=0.0,
        side=32,
        channels="16,32,48",
        frames=32,
        dim=128,
        mask_padding="yes",
    ),
}
TASKS = [name for name in RECIPES if "/" not in name]
OF_PICTURES = ("captioning", "retrieval", "spatial-localization")


def recipe_for(name: str, options: dict[str, str]) -> Recipe:
    """The recipe of a "task/dataset", or of its task, changed by --set options. BadInput for
    unknown ones."""
    task = name.partition("/")[0]
    recipe = RECIPES.get(name) or RECIPES.get(task)
    if recipe is None:
        raise BadInput(f"captioners cannot be trained for {task}; only for {', '.join(TASKS)}")
    recipe = with_options(recipe, options)
    _check_recipe(recipe)
    return recipe


_CHOICES = {
    "objective": ("soft", "hard", "nce"),
    "doubly_stochastic_form": ("paper", "official"),
    "correction": ("yes", "no"),
    "vision": ("pictures", "clips", "frames", "efficientnet-lite0"),
    "dropout": ("none", "official", "modern"),
    "mask_padding": ("yes", "no"),
    "by_length": ("yes", "no"),
    "calibrated": ("yes", "no"),
    "locate_by": ("end", "mean"),
    "roots": ("yes", "no"),
    "says_unknown": ("yes", "no"),
}
_MAY_BE_0 = ("deeper", "frames", "windows")


def _check_recipe(recipe: Recipe) -> None:
    check_choices(recipe, _CHOICES)
    for name, value in asdict(recipe).items():
        if isinstance(value, int) and value < (0 if name in _MAY_BE_0 else 1):
            raise BadInput(f"--set {name}={value}: too small")
        if isinstance(value, float) and not 0.0 <= value < 1e6:
            raise BadInput(f"--set {name}={value}: must be a number from 0 on")
    for name in ("feature_dropout", "word_dropout", "dropout_rate"):
        if not getattr(recipe, name) < 1.0:
            raise BadInput(f"--set {name}={getattr(recipe, name)}: must be less than 1")
    channels = recipe.channels.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in channels):
        raise BadInput(f"--set channels={recipe.channels}: must be numbers, as 32,48,64,96")
    if recipe.side % 2 ** len(channels):
        raise BadInput(f"--set side={recipe.side}: must be a multiple of {2 ** len(channels)}")
    if recipe.frames_by and recipe.vision != "frames":
        raise BadInput("--set frames_by: is for --set vision=frames")
    if (recipe.objective == "nce") != bool(recipe.reference):
        raise BadInput(
            "--set objective=nce learns against a frozen reference: give --set reference=FOLDER, "
            "weights trained by likelihood, and for no other objective"
        )
