"""Training captioners: a folder that loads, a curve, a card, every objective, going on after a
stop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.baselines.captioner import load_captioner
from harness.baselines.captioner_examples import Collator, examples_of, labels_of
from harness.baselines.captioner_losses import WithLosses, _mismatched
from harness.baselines.captioner_network import CaptionerNetwork, learn_words, read_folder
from harness.baselines.captioner_recipes import recipe_for
from harness.baselines.train_captioner import (
    train_show_attend_tell,
    train_temporal_attention,
)
from harness.baselines.training import CurveTrainer
from harness.errors import BadInput
from harness.tasks.datasets.toybox import captions, expressions, moments, video_captions, vqa
from harness.types import Dataset, LoadRequest, TrainRequest

TINY = {
    "epochs": "2",
    "batch": "8",
    "side": "32",
    "channels": "4,8",
    "narrow": "4",
    "frame_size": "8",
    "size": "8",
    "dim": "8",
    "dim_word": "8",
    "most_words": "6",
    "validated": "4",
}
CLIPS = {"vision": "clips", "frames": "8", "side": "16"}
MODULES: dict[str, Any] = {
    "captioning": captions,
    "spatial-localization": expressions,
    "video-captioning": video_captions,
    "temporal-localization": moments,
}


def part(task: str, split: str, count: int) -> Dataset:
    dataset: Dataset = MODULES[task].load(None, split)
    annotated = dataset.region_annotations or vqa.region_annotations
    pictures = not ("video" in task or "temporal" in task)
    return replace(
        dataset,
        samples=dataset.samples[:count],
        region_annotations=annotated if pictures else None,
    )


def request(output: Path, task: str = "captioning", **changes: str) -> TrainRequest:
    return TrainRequest(
        task=task,
        dataset="toybox",
        train=part(task, "train", 16),
        validation=part(task, "val", 6),
        output=output,
        command="harness train ...",
        options={**TINY, **changes},
    )


@pytest.mark.parametrize(
    ("task", "measured"),
    [
        ("captioning", {"eval_cider", "eval_text_to_visual_r1", "eval_visual_to_text_r1"}),
        ("spatial-localization", {"eval_accuracy"}),
        ("video-captioning", {"eval_cider", "eval_text_to_visual_r1", "eval_visual_to_text_r1"}),
        ("temporal-localization", {"eval_r1_iou_0.5", "eval_r5_iou_0.5", "eval_mean_iou"}),
    ],
)
def test_training_writes_a_folder_that_loads(tmp_path: Path, task: str, measured: set[str]) -> None:
    clips = "video" in task or "temporal" in task
    train = train_temporal_attention if clips else train_show_attend_tell
    train(request(tmp_path, task, epochs="1", **(CLIPS if clips else {})))
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"card.md", "config.json", "curve.json", "model.safetensors", "words.txt"}
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert [entry["epoch"] for entry in curve] == [1.0]
    assert {name for name in curve[0] if name.startswith("eval_")} == measured
    card = (tmp_path / "card.md").read_text()
    assert "harness train ..." in card
    assert part(task, "train", 1).sha256 in card
    load_captioner(LoadRequest(task, "toybox", weights=tmp_path), "any")


@pytest.mark.parametrize("objective", ["hard", "nce"])
def test_the_other_objectives_train(tmp_path: Path, objective: str) -> None:
    train_show_attend_tell(request(tmp_path / "soft", epochs="1"))
    changes = {"objective": objective, "epochs": "1", "mismatches": "2"}
    if objective == "nce":
        changes["reference"] = str(tmp_path / "soft")
    train_show_attend_tell(request(tmp_path / objective, **changes))
    before, after = (read_folder(tmp_path / name) for name in ("soft", objective))
    assert before[1].words == after[1].words
    assert after[2].hard is (objective == "hard")
    assert not torch.equal(before[0].decoder.embedding.weight, after[0].decoder.embedding.weight)


def test_clips_can_be_seen_by_a_picture_captioners_cnn(tmp_path: Path) -> None:
    train_show_attend_tell(request(tmp_path / "sat", epochs="1"))
    seen_by = {"vision": "frames", "frames_by": str(tmp_path / "sat"), "epochs": "1"}
    asked = request(tmp_path / "ta", "video-captioning", **{**CLIPS, **seen_by})
    train_temporal_attention(asked)
    pictures, clips = (read_folder(tmp_path / name)[0].state_dict() for name in ("sat", "ta"))
    kept = [name for name in pictures if name.startswith("vision.see.map.convolutions")]
    for name in kept:
        assert torch.equal(pictures[name], clips[name.replace("see.map", "see.map.map")]), name
    assert kept
    with pytest.raises(BadInput, match="its CNN is of the kind pictures, with channels 4,8"):
        train_temporal_attention(
            replace(asked, output=tmp_path / "other", options={**asked.options, "deeper": "1"})
        )


def test_the_same_seed_trains_the_same_weights(tmp_path: Path) -> None:
    for name in ("first", "second"):
        train_show_attend_tell(request(tmp_path / name, epochs="1"))
    first, second = (read_folder(tmp_path / name)[0].state_dict() for name in ("first", "second"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_stopped_training_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_show_attend_tell(request(tmp_path / "straight"))
    seen: list[float] = []
    evaluate_epoch = CurveTrainer.evaluate

    def stop_in_the_second_epoch(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(float(self.state.epoch))
        if seen == [1.0, 2.0]:
            raise KeyboardInterrupt
        return evaluate_epoch(self, *args, **kwargs)

    monkeypatch.setattr(CurveTrainer, "evaluate", stop_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        train_show_attend_tell(request(tmp_path / "stopped"))
    with pytest.raises(BadInput, match="of another training"):
        train_show_attend_tell(request(tmp_path / "stopped", dim="16"))
    train_show_attend_tell(request(tmp_path / "stopped"))
    assert seen == [1.0, 2.0, 2.0]  # the second start did not train the first epoch again
    straight, stopped = (
        read_folder(tmp_path / name)[0].state_dict() for name in ("straight", "stopped")
    )
    for name in straight:
        assert torch.allclose(straight[name].float(), stopped[name].float(), atol=1e-3), name


def test_annotations_lie_where_things_are() -> None:
    dataset = part("captioning", "train", 3)
    labels = labels_of(dataset)
    network = _network(dataset)
    examples = examples_of(dataset, learn_words(["a"]), network, labels)
    for sample, example in zip(dataset.samples, examples, strict=True):
        things = sample.input.visual.scene.things
        assert len(example.things) == len(things)
        for thing, (location, words) in zip(things, example.things, strict=True):
            assert location == thing.y * 8 // 96 * 8 + thing.x * 8 // 96
            assert labels[thing.colour] in words


def test_naming_what_is_there_costs_nothing_without_annotations() -> None:
    dataset = part("captioning", "train", 3)
    network = _network(dataset)
    words = learn_words(text for s in dataset.samples for text in s.target.references)
    recipe = recipe_for("captioning", {**TINY, "nothing": "0"})
    losses = []
    for labels in ({}, labels_of(dataset)):
        examples = examples_of(dataset, words, network, labels)
        torch.manual_seed(0)
        batch = Collator(network.config, len(labels), 1)(examples)
        assert ("things" in batch) is bool(labels)
        losses.append(WithLosses(network, recipe, len(labels))(**batch)["loss"].item())
    assert losses[0] < losses[1]


def test_mismatches_are_of_other_visuals() -> None:
    owners = torch.tensor([0, 0, 1, 2])
    found = _mismatched(owners, 3, 5)
    assert len(found) == 2
    assert all((visual != owners).all() for visual in found)
    assert _mismatched(torch.tensor([0]), 1, 5) == []


def test_a_moments_mismatches_overlap_it_little() -> None:
    recipe = recipe_for("temporal-localization", {**TINY, **CLIPS, "windows": "6"})
    dataset = part("temporal-localization", "train", 4)
    network = _network(dataset, "clips")
    config = replace(network.config, moment_lengths=(2, 3))
    examples = examples_of(dataset, learn_words(["a"]), network, {})
    windows = Collator(config, 0, 1, recipe.windows)(examples)["windows"]
    assert windows.shape == (4, 6, 2)
    for right, *others in windows.tolist():
        for start, end in others:
            shared = min(end, right[1]) - max(start, right[0])
            assert shared < 0.7 * (max(end, right[1]) - min(start, right[0]))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("objective", "both"),
        ("epochs", "0"),
        ("epochs", "many"),
        ("channels", "4,x"),
        ("side", "33"),
        ("region_loss", "nan"),
        ("objective", "nce"),
        ("nonsense", "1"),
    ],
)
def test_a_bad_option_is_told_in_one_line(option: str, value: str) -> None:
    with pytest.raises(BadInput, match=f"--set {option}") as caught:
        recipe_for("captioning", {option: value})
    assert "\n" not in str(caught.value)


def test_each_model_trains_for_its_own_tasks(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not for captioning"):
        train_temporal_attention(request(tmp_path))
    with pytest.raises(BadInput, match="cannot be trained for vqa"):
        recipe_for("vqa", {})


def _network(dataset: Dataset, kind: Any = "pictures") -> CaptionerNetwork:
    from harness.baselines.attention_decoder import AttentionDecoderConfig
    from harness.baselines.captioner_network import CaptionerConfig
    from harness.baselines.captioner_vision import VisionConfig
    from harness.baselines.visual_encoder import VisualConfig

    torch.manual_seed(0)
    visual = VisualConfig(side=32, channels=(4, 8), size=8, narrow=4, frames=8)
    words = 2 + len({w for s in dataset.samples for w in _words_of(s)})
    decoder = AttentionDecoderConfig(
        n_words=words, dim_word=8, ctx_dim=8, dim=8, n_layers_init=1, dropout="none"
    )
    return CaptionerNetwork(CaptionerConfig(VisionConfig(kind, visual, 1, 8), decoder))


def _words_of(sample: Any) -> list[str]:
    texts = getattr(sample.target, "references", ("a",))
    return learn_words(texts).words
