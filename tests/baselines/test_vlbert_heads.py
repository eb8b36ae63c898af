"""VL-BERT's pretraining, referring expressions and VCR: names and sizes of the official code,
sentences as it builds them, padding without effect, and the formulas of losses and labels."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.baselines.vlbert import CONFIGS, VLBertConfig, VLBertForVQA, region_states, text_states
from harness.baselines.vlbert_pretraining import (
    VLBertForPretraining,
    masked_region_loss,
    masked_word_loss,
    whole_picture_appearance,
)
from harness.baselines.vlbert_refcoco import (
    VLBertForReferring,
    overlap_labels,
    referred_region,
    referring_loss,
)
from harness.baselines.vlbert_vcr import VLBertForVCR, each_choice_loss, start_second_segment

TINY = VLBertConfig(
    vocab_size=30,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=24,
    max_position_embeddings=32,
    appearance_size=6,
    geometry_size=16,
    initializer_range=0.3,
    visual_scale_text_init=1.0,
    visual_scale_object_init=1.0,
    region_classes=5,
)
TINY_SPECIAL = {"cls": 1, "sep": 2}


# ---------------------------------------------------------------- official names and shapes

# Written for a hidden size of H and an intermediate size of I; "V." is the encoder's place, L any
# layer's number.
SHARED = """
object_linguistic_embeddings.weight 1,H
V.word_embeddings.weight 30522,H
V.end_embedding.weight 1,H
V.position_embeddings.weight 512,H
V.token_type_embeddings.weight 3,H
V.embedding_LayerNorm.weight H
V.embedding_LayerNorm.bias H
V.visual_ln_text.weight H
V.visual_ln_text.bias H
V.visual_ln_object.weight H
V.visual_ln_object.bias H
V.encoder.layer.L.attention.self.query.weight H,H
V.encoder.layer.L.attention.self.query.bias H
V.encoder.layer.L.attention.self.key.weight H,H
V.encoder.layer.L.attention.self.key.bias H
V.encoder.layer.L.attention.self.value.weight H,H
V.encoder.layer.L.attention.self.value.bias H
V.encoder.layer.L.attention.output.dense.weight H,H
V.encoder.layer.L.attention.output.dense.bias H
V.encoder.layer.L.attention.output.LayerNorm.weight H
V.encoder.layer.L.attention.output.LayerNorm.bias H
V.encoder.layer.L.intermediate.dense.weight I,H
V.encoder.layer.L.intermediate.dense.bias I
V.encoder.layer.L.output.dense.weight H,I
V.encoder.layer.L.output.dense.bias H
V.encoder.layer.L.output.LayerNorm.weight H
V.encoder.layer.L.output.LayerNorm.bias H
"""
REGIONS = """
image_feature_extractor.obj_downsample.1.weight H,4096
image_feature_extractor.obj_downsample.1.bias H
"""
OFFICIAL: dict[type[nn.Module], str] = {
    VLBertForPretraining: SHARED
    + REGIONS
    + """
object_mask_visual_embedding.weight 1,2048
object_mask_word_embedding.weight 1,H
aux_text_visual_embedding.weight 1,H
V.mlm_head.predictions.bias 30522
V.mlm_head.predictions.transform.dense.weight H,H
V.mlm_head.predictions.transform.dense.bias H
V.mlm_head.predictions.transform.LayerNorm.weight H
V.mlm_head.predictions.transform.LayerNorm.bias H
V.mlm_head.predictions.decoder.weight 30522,H
V.mvrc_head.transform.dense.weight H,H
V.mvrc_head.transform.dense.bias H
V.mvrc_head.region_cls_pred.weight 1601,H
V.mvrc_head.region_cls_pred.bias 1601
""",
    VLBertForVQA: SHARED
    + REGIONS
    + """
final_mlp.0.dense.weight H,H
final_mlp.0.dense.bias H
final_mlp.0.LayerNorm.weight H
final_mlp.0.LayerNorm.bias H
final_mlp.2.weight 3129,H
final_mlp.2.bias 3129
""",
    VLBertForReferring: SHARED
    + REGIONS
    + """
final_mlp.0.dense.weight H,H
final_mlp.0.dense.bias H
final_mlp.2.weight 1,H
final_mlp.2.bias 1
""",
    VLBertForVCR: SHARED
    + REGIONS.replace("extractor.", "extractor.fe.")
    + """
V.pooler.dense.weight H,H
V.pooler.dense.bias H
final_mlp.1.weight 1,H
final_mlp.1.bias 1
""",
}
BASE_PARAMETERS = {
    VLBertForPretraining: 114_491_515,
    VLBertForVQA: 115_041_849,
    VLBertForReferring: 112_634_881,
    VLBertForVCR: 112_634_881,
}


def official_shapes(kind: type[nn.Module], config: VLBertConfig) -> dict[str, tuple[int, ...]]:
    sizes = {"H": config.hidden_size, "I": config.intermediate_size}
    encoder = "vlbert._module." if kind is VLBertForVCR else "vlbert."
    shapes = {}
    for line in OFFICIAL[kind].split("\n"):
        if line:
            name, _, shape = line.partition(" ")
            name = re.sub(r"^V\.", encoder, name)
            for layer in range(config.num_hidden_layers):
                at = name.replace("layer.L.", f"layer.{layer}.")
                shapes[at] = tuple(sizes.get(side) or int(side) for side in shape.split(","))
    return shapes


@pytest.mark.parametrize("size", ["base", "large"])
@pytest.mark.parametrize("kind", OFFICIAL, ids=lambda kind: kind.__name__)
def test_full_size_models_have_the_official_names_and_shapes(
    kind: Callable[[VLBertConfig], nn.Module], size: str
) -> None:
    with torch.device("meta"):
        model = kind(CONFIGS[size])
    found = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert found == official_shapes(type(model), CONFIGS[size])
    heads = CONFIGS[size].num_attention_heads
    assert CONFIGS[size].hidden_size == 64 * heads
    if size == "base":
        assert sum(p.numel() for p in model.parameters()) == BASE_PARAMETERS[type(model)]


def test_the_word_head_is_tied_to_the_word_embeddings() -> None:
    encoder = VLBertForPretraining(TINY).vlbert
    assert encoder.mlm_head.predictions.decoder.weight is encoder.word_embeddings.weight


# ---------------------------------------------------------------- a batch's padding


def tiny(kind: Callable[..., nn.Module], **special: int) -> nn.Module:
    torch.manual_seed(3)
    return kind(TINY, **special).eval()


def picture(regions: int, seed: int, pad: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes, appearance, size and mask of one picture, with `pad` rows of padding between."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(1, regions, 2, generator=generator) * 50
    boxes = torch.cat([corners, corners + 5], dim=-1)
    appearance = torch.randn(1, regions, TINY.appearance_size, generator=generator)
    mask = torch.ones(1, regions, dtype=torch.bool)

    def padded(rows: Tensor, value: float) -> Tensor:
        beside = rows.new_full((1, pad, *rows.shape[2:]), value)
        return torch.cat([rows[:, :2], beside, rows[:, 2:]], dim=1)

    return (
        padded(boxes, -2.0),
        padded(appearance, 7.0),
        torch.tensor([[80.0, 60.0]]),
        padded(mask, 0),
    )


@torch.inference_mode()
def test_padding_changes_no_logit_of_pretraining() -> None:
    model = tiny(VLBertForPretraining)
    caption = torch.tensor([[1, 9, 3, 8, 2]])
    masked = torch.tensor([[False, True, False, True]])
    words, regions = model(caption, *picture(4, seed=1), masked)
    masked = torch.tensor([[False, True, False, False, False, True]])
    padded_words, padded_regions = model(F.pad(caption, (0, 3)), *picture(4, 1, pad=2), masked)
    torch.testing.assert_close(padded_words[:, :5], words, rtol=0, atol=1e-5)
    torch.testing.assert_close(padded_regions[:, [0, 1, 4, 5]], regions, rtol=0, atol=1e-5)
    text = torch.tensor([[9, 3, 8, 5]])
    alone = model.read_text(text)  # type: ignore[operator]
    together = model.read_text(F.pad(text.repeat(2, 1), (0, 30 - 4)))  # type: ignore[operator]
    torch.testing.assert_close(together[1:, :4], alone, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_a_masked_regions_appearance_is_not_seen() -> None:
    model = tiny(VLBertForPretraining)
    boxes, appearance, size, mask = picture(4, seed=2)
    masked = torch.tensor([[False, False, True, False]])
    other = appearance + 5.0 * masked[:, :, None]
    caption = torch.tensor([[1, 9, 3, 2]])
    first = model(caption, boxes, appearance, size, mask, masked)
    second = model(caption, boxes, other, size, mask, masked)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    seen = model(caption, boxes, other, size, mask, torch.zeros_like(masked))
    assert not torch.allclose(seen[1], first[1])


@torch.inference_mode()
def test_padding_changes_no_logit_of_referring_expressions() -> None:
    model = tiny(VLBertForReferring, **TINY_SPECIAL)
    expression = torch.tensor([[9, 8, 7]])
    boxes, appearance, size, mask = picture(4, seed=4)
    visuals = model.region_embeddings(boxes, appearance, size)  # type: ignore[operator]
    logits = model(expression, visuals, mask)
    boxes, appearance, size, mask = picture(4, seed=4, pad=3)
    visuals = model.region_embeddings(boxes, appearance, size)  # type: ignore[operator]
    padded = model(F.pad(expression, (0, 2)), visuals, mask)
    torch.testing.assert_close(padded[:, [0, 1, 5, 6]], logits, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_padding_and_other_choices_change_no_logit_of_a_choice() -> None:
    model = tiny(VLBertForVCR, **TINY_SPECIAL)
    query, tags = torch.tensor([[9, 8, 7, 0]]), torch.tensor([[0, 3, 0, 0]])
    choices = torch.tensor([[[5, 6, 0], [4, 0, 0], [6, 5, 4]]])
    choice_tags = torch.tensor([[[1, 0, 0], [0, 0, 0], [0, 0, 2]]])
    boxes, appearance, size, mask = picture(4, seed=5)
    visuals = model.region_embeddings(boxes, appearance, size)  # type: ignore[operator]
    together = model(query, tags, choices, choice_tags, visuals, mask)
    assert together.shape == (1, 3)
    for index, length in enumerate((2, 1, 3)):
        one = choices[:, index : index + 1, :length], choice_tags[:, index : index + 1, :length]
        alone = model(query[:, :3], tags[:, :3], *one, visuals, mask)
        torch.testing.assert_close(alone[:, 0], together[:, index], rtol=0, atol=1e-5)


def test_states_of_words_and_regions_are_taken_from_their_places() -> None:
    states = torch.arange(7.0)[None, :, None].expand(1, -1, 2)  # 3 words, 3 regions, [END]
    words = torch.tensor([[True, True, True, False]])
    regions = torch.tensor([[True, False, True, True]])
    assert text_states(states, 4)[0, :3, 0].tolist() == [0, 1, 2]
    assert text_states(states, 9).shape == (1, 9, 2)
    assert region_states(states, words, regions)[0, :, 0].tolist() == [3, 0, 4, 5]


# ---------------------------------------------------------------- sentences


def test_an_expression_becomes_one_sentence() -> None:
    model = VLBertForReferring(TINY, cls=28, sep=29)
    tokens, mask = model._as_sentence(torch.tensor([[9, 8, 7], [9, 0, 0]]))
    assert tokens[0].tolist() == [28, 9, 8, 7, 29]
    assert tokens[1, :3].tolist() == [28, 9, 29]
    assert mask.sum(dim=1).tolist() == [5, 3]


def test_a_query_and_a_choice_become_two_sentences_with_their_tags() -> None:
    model = VLBertForVCR(TINY, cls=28, sep=29)
    tokens, segments, tags, mask = model._two_sentences(
        torch.tensor([[9, 8, 7], [9, 0, 0]]),
        torch.tensor([[0, 2, 0], [3, 0, 0]]),
        torch.tensor([[6, 5], [6, 0]]),
        torch.tensor([[1, 0], [4, 0]]),
    )
    assert tokens[0].tolist() == [28, 9, 8, 7, 29, 6, 5, 29]
    assert segments[0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert tags[0].tolist() == [0, 0, 2, 0, 0, 1, 0, 0]
    assert tokens[1, :5].tolist() == [28, 9, 29, 6, 29]
    assert segments[1, :5].tolist() == [0, 0, 0, 1, 1]
    assert tags[1, :5].tolist() == [0, 3, 0, 4, 0]
    assert mask.sum(dim=1).tolist() == [8, 5]


@torch.inference_mode()
def test_a_word_carries_the_visuals_of_the_region_that_its_tag_names() -> None:
    model = VLBertForVCR(TINY, **TINY_SPECIAL).eval()
    seen: dict[str, Tensor] = {}
    model.encoder.register_forward_pre_hook(
        lambda module, given: seen.__setitem__("words", given[3])
    )
    visuals = torch.randn(1, 4, TINY.hidden_size)
    query, tags = torch.tensor([[9, 8]]), torch.tensor([[0, 3]])
    model(
        query,
        tags,
        query[:, None],
        tags[:, None] - 1 + (tags[:, None] == 0),
        visuals,
        visuals[..., 0] < 9,
    )
    named = [0, 0, 3, 0, 0, 2, 0]  # [CLS] q q [SEP] a a [SEP]
    assert torch.equal(seen["words"][0], visuals[0, named])


def test_the_second_segment_starts_as_the_first() -> None:
    model = VLBertForVCR(TINY)
    table = model.encoder.token_type_embeddings.weight
    third = table[2].clone()
    start_second_segment(model)
    assert torch.equal(table[1], table[0])
    assert torch.equal(table[2], third)


# ---------------------------------------------------------------- losses and labels


def test_words_without_a_label_do_not_count() -> None:
    logits = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[-1, 4, -1], [0, -1, 2]])
    places = [(0, 1, 4), (1, 0, 0), (1, 2, 2)]
    expected = -sum(float(logits[b, w].log_softmax(0)[label]) for b, w, label in places) / 3
    assert float(masked_word_loss(logits, labels)) == pytest.approx(expected, rel=1e-6)


def test_a_batch_without_a_masked_word_or_region_costs_nothing() -> None:
    logits = torch.randn(2, 3, 7, requires_grad=True)
    loss = masked_word_loss(logits, torch.full((2, 3), -1))
    loss = loss + masked_region_loss(logits, torch.zeros(2, 3, 7))
    assert float(loss.detach()) == 0
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize(
    ("total", "counts"), [(0.89, False), (0.91, True), (1.09, True), (1.11, False)]
)
def test_a_region_is_told_if_its_targets_sum_to_about_one(total: float, counts: bool) -> None:
    logits = torch.randn(1, 2, 4, generator=torch.Generator().manual_seed(1))
    targets = torch.zeros(1, 2, 4)
    targets[0, 0] = torch.tensor([0.1, 0.2, 0.3, 0.4])
    targets[0, 1, 2] = total
    rows = [0, 1] if counts else [0]
    expected = sum(float(-(logits[0, r].log_softmax(0) * targets[0, r]).sum()) for r in rows)
    found = float(masked_region_loss(logits, targets))
    assert found == pytest.approx(expected / len(rows), rel=1e-5)


def test_the_whole_picture_is_the_mean_of_regions_that_are_not_masked() -> None:
    appearance = torch.tensor([[[99.0], [1.0], [2.0], [6.0], [50.0]]])
    mask = torch.tensor([[True, True, True, True, False]])
    masked = torch.tensor([[False, False, True, False, False]])
    found = whole_picture_appearance(appearance, mask, masked)
    assert found[0, 0, 0] == pytest.approx(3.5, rel=1e-4)
    assert torch.equal(found[:, 1:], appearance[:, 1:])
    assert whole_picture_appearance(appearance, mask, mask)[0, 0, 0] == 0


def test_the_referring_loss_is_the_mean_over_real_regions() -> None:
    logits, labels = torch.tensor([[1.0, -2.0, 9.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False]])
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2))) / 2
    assert float(referring_loss(logits, labels, mask)) == pytest.approx(expected, rel=1e-6)
    assert referred_region(logits, mask).tolist() == [0]


def test_an_overlap_counts_both_ends_of_a_box() -> None:
    """10 x 10 pixels against 10 x 6: 6/10 with both ends counted; 9 x 9 and 9 x 5 without."""
    target = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
    boxes = torch.tensor(
        [[[0, 0, 9, 9], [0, 0, 9, 4], [0, 0, 9, 5], [20, 0, 29, 9], [0, 0, 99, 99]]]
    )
    assert overlap_labels(boxes.float(), target).tolist() == [[1, 0, 1, 0, 0]]
    # 3 x 1 of 5 x 1 pixels is above a half only if ends count: 2 of 4 without
    thin = torch.tensor([[[0.0, 0.0, 2.0, 0.0]]])
    assert overlap_labels(thin, torch.tensor([[0.0, 0.0, 4.0, 0.0]])).tolist() == [[1]]


def test_every_choice_is_judged_for_itself() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5, 3.0]])
    signed = [-2.0, 1.0, 0.5, -3.0]  # logits of being judged rightly, where 2 is right
    expected = sum(math.log(1 + math.exp(-x)) for x in signed) / 4
    assert float(each_choice_loss(logits, torch.tensor([2]))) == pytest.approx(expected, rel=1e-6)
