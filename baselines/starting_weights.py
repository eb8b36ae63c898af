"""Starting a training from the weights of another, as fine-tuning does from pretraining: which
weights are taken over, and whether they fit. Knows no data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.media.checksums import sha256_of_file

from .multitask_folder import MultitaskConfig, read_folder
from .multitask_learning import Seer
from .vlbert_multitask import VLBertMultitask
from .vlbert_vcr import start_second_segment
from .words import Vocabulary

# what a network may have otherwise than the one that it starts from
_FREE = (
    *("vocab_size", "answers", "gqa_answers", "region_classes", "v_target_size"),
    *("dropout", "initializer_range", "visual_scale_text_init", "visual_scale_object_init"),
)
# what a folder of pretraining holds as it was drawn: the heads of tasks
_UNTRAINED = (
    *("vision.tags.", "network.alignment.", "network.choices.final_mlp."),
    *("network.choices.vlbert._module.pooler.", "network.answers.final_mlp.2."),
    *("network.expressions.final_mlp.2.", "network.network.vil_", "network.network.vision_logit."),
)


@dataclass(frozen=True)
class Start:
    """A folder of weights to start from, read."""

    folder: Path
    sha256: str
    seer: Seer
    vocabulary: Vocabulary
    config: MultitaskConfig

    @property
    def only_pretrained(self) -> bool:
        return all(name.startswith("pretraining/") for name in self.config.trained_on)


def read_start(folder: str) -> Start | None:
    """None where there is none, "". BadInput where the folder is no weights folder."""
    if not folder:
        return None
    path = Path(folder)
    if not path.is_dir():
        raise BadInput(
            f"--set start={folder}: no such folder; give one that `harness train --pretrain` wrote"
        )
    seer, vocabulary, config = read_folder(path)
    sha256 = sha256_of_file(path / "model.safetensors")
    return Start(path, sha256, seer, vocabulary, config)


def check_start(start: Start, config: MultitaskConfig) -> None:
    """BadInput, which names the first, where its model or a size is not that of `config`."""
    had, wanted = _sizes(start.config), _sizes(config)
    if config.vision.blind or start.config.vision.blind:
        # without pictures there is nothing of theirs to take over
        wanted = {k: v for k, v in wanted.items() if not k.startswith("regions.")}
    for name, value in wanted.items():
        if had.get(name) != value:
            raise BadInput(
                f"--set start={start.folder}: its {name} is {had.get(name)}, this training's "
                f"{value}; give both trainings the same"
            )


def _sizes(config: MultitaskConfig) -> dict[str, Any]:
    network = {
        field.name: getattr(config.network, field.name)
        for field in fields(config.network)
        if field.name not in _FREE
    }
    regions = {f"regions.{name}": value for name, value in asdict(config.vision.regions).items()}
    vision = {name: getattr(config.vision, name) for name in ("appearance_size", "tags")}
    return {"model": config.model, **network, **vision, **regions}


def start_from(start: Start, seer: Seer, choices: bool) -> str:
    """Copies every learned weight whose name and shape agree, and says so in one line. `choices`:
    whether VL-BERT will read choices, in the second segment, which pretraining never learns."""
    here, there = seer.state_dict(), start.seer.state_dict()
    fits = [name for name in here if name in there and there[name].shape == here[name].shape]
    same = [name for name in fits if not (start.only_pretrained and name.startswith(_UNTRAINED))]
    seer.load_state_dict({name: there[name] for name in same}, strict=False)
    if choices and start.only_pretrained and isinstance(seer.network, VLBertMultitask):
        start_second_segment(seer.network.choices)
    fresh = [name for name in here if name not in set(same)]
    afresh = f"; afresh: {', '.join(fresh)}" if fresh else ""
    return f"{len(same)} of {len(here)} weights from {start.folder}{afresh}"


def vocabulary_of(start: Start, learned: Vocabulary) -> Vocabulary:
    """The start's, with a line on the words that it lacks of those `learned` from the texts."""
    unknown = sorted(set(learned.words) - set(start.vocabulary.words))
    if unknown:
        some = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        print(f"{start.folder}: {len(unknown)} words of the texts are unknown there ({some})")
    return start.vocabulary
