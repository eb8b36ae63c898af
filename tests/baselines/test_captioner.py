"""The captioners as models: words, folders, captions, likelihoods, boxes and moments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.baselines.attention_decoder import AttentionDecoderConfig
from harness.baselines.captioner import (
    CaptioningModel,
    load_show_attend_tell,
    load_temporal_attention,
    looked_at,
)
from harness.baselines.captioner_network import (
    CaptionerConfig,
    CaptionerNetwork,
    CaptionWords,
    learn_words,
    pad_captions,
    read_folder,
    save_folder,
)
from harness.baselines.captioner_vision import VisionConfig, cells_of
from harness.baselines.visual_encoder import VisualConfig
from harness.errors import BadInput
from harness.types import Clip, Expression, LoadRequest, ModelDescription, MomentQuery, Picture

WORDS = CaptionWords(["a", "red", "star", "blue", "square"])


def a_network(kind: Any = "pictures", seed: int = 0, **changes: Any) -> CaptionerNetwork:
    clips = kind == "clips"
    visual = VisualConfig(side=32, channels=(4, 8), size=8, narrow=4, frames=8 if clips else 0)
    config = CaptionerConfig(
        VisionConfig(kind, visual, deeper=1, size=8),
        AttentionDecoderConfig(
            n_words=len(WORDS),
            dim_word=6,
            ctx_dim=8,
            dim=10,
            n_layers_att=1,
            n_layers_init=1,
            dropout="none",
            mask_padding=clips,
        ),
        trained_on="video-captioning/toybox" if clips else "captioning/toybox",
        most_words=6,
        moment_lengths=(2, 4) if clips else (),
    )
    torch.manual_seed(seed)
    network = CaptionerNetwork(replace(config, **changes))
    with torch.no_grad():
        network.nothing.normal_()
        for parameter in network.decoder.parameters():
            parameter.mul_(3.0)  # words that differ clearly from picture to picture
    return network.eval()


def a_model(kind: Any = "pictures", **changes: Any) -> CaptioningModel:
    network = a_network(kind, **changes)
    return CaptioningModel(network, WORDS, network.config, ModelDescription())


def a_picture(number: int) -> Picture:
    """A bright square on a dark ground."""
    pixels = np.full((32, 32, 3), 20, dtype=np.uint8)
    size = 6 + 5 * number
    pixels[4 : 4 + size, 2 : 2 + size] = np.random.default_rng(number).integers(60, 255, 3)
    return Picture(f"picture/{number}", lambda: pixels, size=(32, 32))


def a_clip(number: int) -> Clip:
    def read(count: int) -> Any:
        return np.random.default_rng(number).integers(0, 255, (count, 32, 32, 3), dtype=np.uint8)

    return Clip(f"clip/{number}", read, duration=8.0)


PICTURES = [a_picture(i) for i in range(5)]
CLIPS = [a_clip(i) for i in range(3)]


def test_words_are_the_fields_tokens_with_an_end() -> None:
    words = learn_words(["A red star.", "A red square, it's big."])
    assert words.words == ["a", "red", "'s", "big", "it", "square", "star"]
    assert words.encode("a RED unicorn!") == [2, 3, 1, 0]
    assert words.decode([2, 3, 1]) == ["a", "red", "UNK"]
    assert learn_words(["a b", "a c"], at_least=2).words == ["a"]


def test_padding_is_outside_the_mask() -> None:
    tokens, mask = pad_captions([[2, 0], [3, 4, 0]])
    assert tokens.tolist() == [[2, 0, 0], [3, 4, 0]]
    assert mask.tolist() == [[True, True, False], [True, True, True]]


def test_cells_are_covered_by_their_share_of_the_area() -> None:
    cover = cells_of(np.array([[0.0, 0.0, 0.75, 0.5]]), 1.0, 2)
    np.testing.assert_allclose(cover, [[1.0, 0.5, 0.0, 0.0]])


@pytest.mark.parametrize("kind", ["pictures", "clips"])
def test_a_caption_does_not_depend_on_its_batch(kind: Any) -> None:
    visuals: Any = PICTURES if kind == "pictures" else CLIPS
    together = a_model(kind).caption(visuals)
    assert together == [a_model(kind).caption([visual])[0] for visual in visuals]
    assert np.ptp(a_model(kind).score_pairs(visuals, ["a red star"])) > 1e-3  # it does look
    assert a_model(kind).caption([]) == []


def test_a_folder_gives_the_same_captions_back(tmp_path: Path) -> None:
    network = a_network()
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.half().float())  # what fp16 holds
    save_folder(tmp_path / "w", network, WORDS, network.config)
    back, words, config = read_folder(tmp_path / "w")
    assert (words.words, config) == (WORDS.words, network.config)
    model = CaptioningModel(network, WORDS, network.config, ModelDescription())
    loaded = load_show_attend_tell(
        LoadRequest(task="captioning", dataset="toybox", weights=tmp_path / "w")
    )
    assert loaded.caption(PICTURES) == model.caption(PICTURES)
    assert loaded.description.parameters == sum(p.numel() for p in network.parameters())
    for name, value in back.state_dict().items():
        assert torch.equal(value, network.state_dict()[name])


def test_retrieval_uses_a_captioners_weights(tmp_path: Path) -> None:
    network = a_network()
    save_folder(tmp_path, network, WORDS, network.config)
    asked = LoadRequest(task="retrieval", dataset="toybox", weights=tmp_path)
    assert load_show_attend_tell(asked).score_pairs(PICTURES[:1], ["a star"]).shape == (1, 1)
    with pytest.raises(BadInput, match="trained for captioning/toybox, which is not"):
        load_temporal_attention(replace(asked, task="temporal-localization"))


@pytest.mark.parametrize("damage", ["no words", "a word too few", "no config", "torn weights"])
def test_a_bad_folder_is_told_in_one_line(tmp_path: Path, damage: str) -> None:
    network = a_network()
    save_folder(tmp_path, network, WORDS, network.config)
    if damage == "no words":
        (tmp_path / "words.txt").unlink()
    if damage == "a word too few":
        (tmp_path / "words.txt").write_text("a\nred\n")
    if damage == "no config":
        (tmp_path / "config.json").write_text("{}")
    if damage == "torn weights":
        (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(BadInput) as caught:
        read_folder(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("margin", [0.0, 1000.0])
def test_a_pairs_score_is_the_captions_log_likelihood(margin: float) -> None:
    texts = ["a red star", "blue", "a blue square"]
    model = a_model(calibrated=False, margin=margin)
    scores = model.score_pairs(PICTURES, texts)
    context = model._see(PICTURES)
    for column, text in enumerate(texts):
        tokens, mask = pad_captions([WORDS.encode(text)] * len(PICTURES))
        logits = model.network.decoder(context, tokens, mask).logits
        steps = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0].sum(1)
        np.testing.assert_allclose(scores[:, column], steps.detach().numpy(), atol=1e-4)


def test_calibration_shifts_each_text_by_a_constant() -> None:
    texts = ["a red star", "blue"]
    raw = a_model(calibrated=False).score_pairs(PICTURES, texts)
    shifted = a_model(calibrated=True).score_pairs(PICTURES, texts)
    constant = (raw - shifted)[0]
    np.testing.assert_allclose(raw - shifted, np.tile(constant, (len(PICTURES), 1)), atol=1e-5)
    assert abs(constant[0] - constant[1]) > 1e-3
    # and so no score depends on which visuals come together
    np.testing.assert_allclose(
        shifted[:1], a_model(calibrated=True).score_pairs(PICTURES[:1], texts), atol=1e-5
    )


def test_a_pair_is_given_up_where_its_beginning_is_unlikely() -> None:
    texts = ["a red star", "a red square", "blue star", "square", "a red star"]
    whole = a_model(margin=0.0).score_pairs(PICTURES, texts)
    given_up = a_model(margin=0.2).score_pairs(PICTURES, texts)
    same = np.isclose(whole, given_up, atol=1e-4)
    assert same.any()
    assert not same.all()
    assert (given_up[~same] < -0.2).all()
    alone = a_model(margin=0.2).score_pairs(PICTURES[2:3], texts[1:3])
    np.testing.assert_allclose(alone, given_up[2:3, 1:3], atol=1e-5)


def test_attention_comes_with_each_word() -> None:
    model = a_model()
    for artifact, caption in zip(model.artifacts(PICTURES), model.caption(PICTURES), strict=True):
        assert " ".join(artifact["words"]) == caption
        assert artifact["grid"] == [8, 8]
        alphas = np.array(artifact["alphas"]).reshape(-1, 64)
        assert len(alphas) == len(artifact["words"])
        np.testing.assert_allclose(alphas.sum(axis=1), 1.0, atol=0.01)
    assert a_model("clips").artifacts(CLIPS)[0]["grid"] == [1, 8]


def test_hard_attention_looks_at_one_location() -> None:
    for _, alphas in a_model(hard=True).caption_with_attention(PICTURES):
        assert set(np.unique(alphas)) <= {0.0, 1.0}


def test_a_box_is_the_region_that_is_looked_at_most() -> None:
    pixels = np.full((32, 32, 3), 20, dtype=np.uint8)
    pixels[2:12, 2:12] = (250, 20, 20)
    pixels[20:30, 18:30] = (20, 20, 250)
    picture = Picture("two", lambda: pixels, size=(32, 32))
    model = a_model()
    for box, cell in (((2.0, 2.0, 12.0, 12.0), 9), ((18.0, 20.0, 30.0, 30.0), 54)):
        heat = np.full(64, 0.001)
        heat[cell] = 1.0
        assert model._box_of(picture, heat) == box
    found = model.locate([Expression(picture, "a red star"), Expression(PICTURES[0], "star")])
    assert str(found[0]) in ("(2, 2, 12, 12)", "(18, 20, 30, 30)")
    empty = Picture("empty", lambda: np.zeros((32, 32, 3), dtype=np.uint8), size=(32, 32))
    assert model.locate([Expression(empty, "star")]) == [None]
    assert model.locate([]) == []


def test_attention_at_the_end_is_that_of_the_last_step() -> None:
    alphas = torch.rand(2, 3, 4).softmax(-1)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    end = looked_at(alphas, mask, "end")
    assert torch.equal(end, torch.stack([alphas[0, 1], alphas[1, 2]]))
    mean = looked_at(alphas, mask, "mean")
    assert torch.allclose(mean[0], alphas[0, :2].mean(0))


def test_moments_are_windows_of_the_clip_best_first() -> None:
    model = a_model("clips")
    (moments,) = model.find_moments([MomentQuery(CLIPS[0], "a red star")])
    assert 1 <= len(moments) <= 5
    assert all(0.0 <= start < end <= 8.0 for start, end in moments)
    candidates = ((0.0, 4.0), (2.0, 6.0), (6.0, 8.0))
    (ranked,) = model.find_moments([MomentQuery(CLIPS[0], "a red star", candidates)])
    assert sorted(ranked) == sorted(candidates)


def test_a_window_sees_its_own_frames_alone() -> None:
    network = a_network("clips")
    clip = torch.randint(0, 255, (1, 8, 32, 32, 3), dtype=torch.uint8)
    windows = torch.tensor([[[2, 5], [0, 8]]])
    changed = clip.clone()
    changed[:, 6:] = 255 - changed[:, 6:]
    with torch.no_grad():
        (one, mask), (other, _) = (network.vision.windows(c, windows) for c in (clip, changed))
    assert mask.sum(dim=1).tolist() == [3, 8]
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])
    assert (one[0, 3:] == 0).all()
    with torch.no_grad():  # the whole clip as a window is the clip
        assert torch.allclose(one[1:], network.see(clip), atol=1e-6)
