"""ViLBERT's network beside a slow one, its exact savings, and its losses by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.baselines.vilbert import (
    CONFIGS,
    StreamState,
    ViLBert,
    ViLBertConfig,
    box_locations,
    score_every_pair,
    with_whole_picture,
)
from harness.baselines.vilbert_heads import (
    BETA_HEADS,
    PretrainingLogits,
    ViLBertForPretraining,
    ViLBertForTasks,
    WeightNormClassifier,
    alignment_loss,
    alignment_score,
    answer_loss,
    choice_loss,
    masked_region_loss,
    masked_word_loss,
    pretraining_losses,
    region_loss,
    retrieval_choices,
    retrieval_loss,
    soft_iou_targets,
)
from harness.baselines.vilbert_streams import CoAttentionLayer

TINY = ViLBertConfig(
    vocab_size=40,
    hidden_size=16,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=24,
    max_position_embeddings=12,
    v_feature_size=6,
    v_target_size=5,
    v_hidden_size=8,
    v_num_hidden_layers=3,
    v_num_attention_heads=2,
    v_intermediate_size=10,
    bi_hidden_size=12,
    bi_num_attention_heads=3,
    v_biattention_id=(1, 2),
    t_biattention_id=(1, 2),
    initializer_range=0.4,
    answers=7,
    gqa_answers=4,
)


def shaken(model: nn.Module, seed: int = 0) -> None:
    """No parameter is left at a start value that hides it (zero biases, unit LayerNorms)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn(value.shape, generator=generator) * 0.2)


@pytest.fixture
def model() -> ViLBertForTasks:
    built = ViLBertForTasks(TINY).eval()
    shaken(built)
    return built


def texts(count: int, longest: int = 9, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """tokens, segments and mask of texts of all lengths from 2 on."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(4, TINY.vocab_size, (count, longest), generator=generator)
    mask = torch.arange(longest) < 2 + torch.arange(count)[:, None] * 3 % (longest - 1)
    return tokens * mask, (torch.arange(longest) > 3).long().expand(count, -1), mask


def pictures(
    count: int, most: int = 6, seed: int = 2, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """features, locations and mask of pictures with 1 region and more."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, most, TINY.v_feature_size, generator=generator, dtype=dtype)
    locations = torch.rand(count, most, 5, generator=generator, dtype=dtype)
    return features, locations, torch.arange(most) <= torch.arange(count)[:, None] % most


# ---------------------------------------------------------------- co-attention beside a slow one

EQUAL = replace(
    TINY,
    hidden_size=8,
    intermediate_size=10,
    bi_hidden_size=8,
    bi_num_attention_heads=2,
    num_attention_heads=2,
)


def linear(layer: Any, states: Tensor) -> Tensor:
    out: Tensor = states @ layer.weight.T + layer.bias
    return out


def normal(layer: Any, states: Tensor) -> Tensor:
    centred = states - states.mean(-1, keepdim=True)
    spread = (centred.square().mean(-1, keepdim=True) + 1e-12).sqrt()
    out: Tensor = centred / spread * layer.weight + layer.bias
    return out


def slow_gelu(states: Tensor) -> Tensor:
    return states * (1 + torch.erf(states / math.sqrt(2))) / 2


def slow_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, heads: int) -> Tensor:
    """One pair, one head and one query at a time; the mask is added, as in the official code."""
    size = query.shape[-1] // heads
    rows = []
    for asking in query:
        found = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = torch.stack([asking[part] @ each[part] / math.sqrt(size) for each in key])
            shares = (scores + (~mask) * -10000.0).softmax(0)
            found.append(shares @ torch.stack([each[part] for each in value]))
        rows.append(torch.cat(found))
    return torch.stack(rows)


def slow_coattention(
    layer: Any, image: Tensor, image_mask: Tensor, text: Tensor, text_mask: Tensor, heads: int
) -> tuple[Tensor, Tensor]:
    """Figure 2b for one pair: image (regions, v_hidden), text (tokens, hidden)."""
    at, out = layer.biattention, layer.biOutput
    image_context = slow_attention(
        linear(at.query1, image), linear(at.key2, text), linear(at.value2, text), text_mask, heads
    )
    text_context = slow_attention(
        linear(at.query2, text), linear(at.key1, image), linear(at.value1, image), image_mask, heads
    )
    image = normal(out.LayerNorm1, linear(out.dense1, image_context) + image)
    text = normal(out.LayerNorm2, linear(out.dense2, text_context) + text)
    image_wide = slow_gelu(linear(layer.v_intermediate.dense, image))
    text_wide = slow_gelu(linear(layer.t_intermediate.dense, text))
    return (
        normal(layer.v_output.LayerNorm, linear(layer.v_output.dense, image_wide) + image),
        normal(layer.t_output.LayerNorm, linear(layer.t_output.dense, text_wide) + text),
    )


def coattention_case(config: ViLBertConfig) -> tuple[CoAttentionLayer, list[Tensor]]:
    """A layer and a batch with as many words as regions, some of both padded."""
    layer = CoAttentionLayer(config).eval().double()
    shaken(layer)
    generator = torch.Generator().manual_seed(4)
    image = torch.randn(3, 5, config.v_hidden_size, generator=generator, dtype=torch.float64)
    text = torch.randn(3, 5, config.hidden_size, generator=generator, dtype=torch.float64)
    image_mask = torch.arange(5) < torch.tensor([[5], [3], [1]])
    text_mask = torch.arange(5) < torch.tensor([[2], [5], [4]])
    return layer, [image, image_mask, text, text_mask]


def slowly(layer: CoAttentionLayer, given: list[Tensor], heads: int) -> list[Tensor]:
    rows = [
        slow_coattention(layer, image, image_mask, text, text_mask, heads)
        for image, image_mask, text, text_mask in zip(*given, strict=True)
    ]
    return [torch.stack(side) for side in zip(*rows, strict=True)]


@pytest.mark.parametrize("config", [TINY, EQUAL], ids=["sizes differ", "sizes equal"])
@torch.no_grad()
def test_coattention_is_that_of_the_slow_one(config: ViLBertConfig) -> None:
    layer, given = coattention_case(config)
    for found, expected in zip(
        layer(*given), slowly(layer, given, config.bi_num_attention_heads), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("part", "one", "other"),
    [
        ("biOutput", "dense1", "dense2"),
        ("biOutput", "LayerNorm1", "LayerNorm2"),
        ("biattention", "query1", "query2"),
        ("biattention", "key1", "key2"),
        ("biattention", "value1", "value2"),
        ("biattention", "query1", "key1"),
        ("", "v_intermediate", "t_intermediate"),
        ("", "v_output", "t_output"),
    ],
)
@torch.no_grad()
def test_streams_of_equal_size_are_not_mistaken_for_each_other(
    part: str, one: str, other: str
) -> None:
    layer, given = coattention_case(EQUAL)
    expected = slowly(layer, given, EQUAL.bi_num_attention_heads)
    parent = layer.get_submodule(part)
    first, second = parent.get_submodule(one), parent.get_submodule(other)
    setattr(parent, one, second)
    setattr(parent, other, first)
    assert max((a - b).abs().max() for a, b in zip(layer(*given), expected, strict=True)) > 1e-2


def test_each_attention_has_its_own_number_of_heads() -> None:
    encoder = ViLBert(TINY).encoder
    heads = [
        {part.get_submodule(name).heads for part in stack}
        for stack, name in (
            (encoder.layer, "attention.self"),
            (encoder.v_layer, "attention.self"),
            (encoder.c_layer, "biattention"),
        )
    ]
    assert heads == [{4}, {2}, {3}]


# ---------------------------------------------------------------- order of layers, configs


def order_of_layers(config: ViLBertConfig) -> list[str]:
    model = ViLBert(config).eval()
    seen: list[str] = []
    for stack in ("layer", "v_layer", "c_layer"):
        for number, part in enumerate(getattr(model.encoder, stack)):
            part.register_forward_hook(
                lambda module, given, out, name=f"{stack}.{number}": seen.append(name)
            )
    with torch.inference_mode():
        model(*texts(2), *pictures(2))
    return seen


def test_layers_run_in_the_official_order() -> None:
    seen = order_of_layers(TINY)
    # before a co-attention, both streams run up to it; the streams do not wait for each other
    firsts = [seen[:2], seen[2:3], seen[3:5], seen[5:6], seen[6:]]
    assert [set(part) for part in firsts] == [
        {"layer.0", "v_layer.0"},
        {"c_layer.0"},
        {"layer.1", "v_layer.1"},
        {"c_layer.1"},
        {"layer.2", "v_layer.2"},
    ]


def test_without_layers_between_coattentions_follow_each_other() -> None:
    config = replace(TINY, v_biattention_id=(0, 0), t_biattention_id=(3, 3))
    seen = order_of_layers(config)
    assert [name for name in seen if name != "v_layer"][:5] == [
        *("layer.0", "layer.1", "layer.2"),
        *("c_layer.0", "c_layer.1"),
    ]
    assert len(seen) == 8


@pytest.mark.parametrize(
    ("name", "text_at", "parameters"),
    [
        ("base-2", (10, 11), None),
        ("base-4", (8, 9, 10, 11), None),
        ("base-6", (6, 7, 8, 9, 10, 11), 246_726_656),
        ("base-8", (4, 5, 6, 7, 8, 9, 10, 11), None),
        ("large-2", (22, 23), None),
        ("large-4", (20, 21, 22, 23), None),
        ("large-6", (18, 19, 20, 21, 22, 23), None),
    ],
)
def test_the_published_sizes_can_be_built(
    name: str, text_at: tuple[int, ...], parameters: int | None
) -> None:
    config = CONFIGS[name]
    layers = int(name.split("-")[1])
    assert config.t_biattention_id == text_at
    assert config.v_biattention_id == tuple(range(layers))
    assert config.v_num_hidden_layers == layers
    large = name.startswith("large")
    assert config.hidden_size == (1024 if large else 768)
    assert config.num_hidden_layers == (24 if large else 12)
    assert config.intermediate_size == 4 * config.hidden_size
    assert config.num_attention_heads == config.hidden_size // 64
    with torch.device("meta"):
        model = ViLBert(config)
    assert len(model.encoder.c_layer) == len(model.encoder.v_layer) == layers
    if parameters:
        assert sum(value.numel() for value in model.parameters()) == parameters


def test_the_named_sizes_are_all_there() -> None:
    assert set(CONFIGS) == {f"base-{n}" for n in (2, 4, 6, 8)} | {f"large-{n}" for n in (2, 4, 6)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"t_biattention_id": (1,)},
        {"t_biattention_id": (2, 1)},
        {"t_biattention_id": (2, 4)},
        {"v_biattention_id": (-1, 0)},
        {"v_biattention_id": (), "t_biattention_id": ()},
    ],
)
def test_coattention_outside_the_streams_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="biattention_id"):
        replace(TINY, **wrong)


# ---------------------------------------------------------------- inputs


def test_a_location_is_both_corners_and_the_covered_share() -> None:
    boxes = torch.tensor([[[10.0, 40.0, 60.0, 80.0], [0.0, 0.0, 100.0, 200.0]]])
    found = box_locations(boxes, torch.tensor([[100.0, 200.0]]))
    expected = torch.tensor([[[0.1, 0.2, 0.6, 0.4, 0.1], [0.0, 0.0, 1.0, 1.0, 1.0]]])
    torch.testing.assert_close(found, expected)


def test_the_whole_picture_is_the_mean_of_the_real_regions() -> None:
    features = torch.tensor([[[1.0, 4.0], [3.0, 8.0], [90.0, 90.0]]])
    mask = torch.tensor([[True, True, False]])
    locations = torch.full((1, 3, 5), 0.5)
    wide, places, real = with_whole_picture(features, locations, mask)
    assert wide[0].tolist() == [[2.0, 6.0], [1.0, 4.0], [3.0, 8.0], [90.0, 90.0]]
    assert places[0, 0].tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert torch.equal(places[:, 1:], locations)
    assert real.tolist() == [[True, True, True, False]]


def test_a_picture_without_regions_has_a_whole_picture_of_zeros() -> None:
    wide, _, real = with_whole_picture(
        torch.ones(1, 2, 3), torch.ones(1, 2, 5), torch.zeros(1, 2, dtype=torch.bool)
    )
    assert wide[0, 0].tolist() == [0.0, 0.0, 0.0]
    assert real.tolist() == [[True, False, False]]


@torch.inference_mode()
def test_a_task_token_stands_behind_cls_without_a_position() -> None:
    model = ViLBert(replace(TINY, task_specific_tokens=True)).eval()
    shaken(model)
    tokens, segments, mask = texts(2)
    task = torch.tensor([3, 17])
    embeddings = model.embeddings
    table = embeddings.position_embeddings.weight
    kinds = embeddings.token_type_embeddings.weight
    words = embeddings.word_embeddings(tokens)
    summed = words + table[: tokens.shape[1]] + kinds[segments]
    expected = torch.stack(
        [
            torch.cat([row[:1], embeddings.task_embeddings.weight[[which]], row[1:]])
            for row, which in zip(summed, task.tolist(), strict=True)
        ]
    )
    found = embeddings(tokens, segments, task)
    torch.testing.assert_close(found, normal(embeddings.LayerNorm, expected), rtol=0, atol=1e-5)
    state = model.encode_text(tokens, segments, mask, task)
    assert state.mask.tolist() == [
        [place < length + 1 for place in range(mask.shape[1] + 1)]
        for length in mask.sum(dim=1).tolist()
    ]
    with pytest.raises(ValueError, match="task"):
        model.encode_text(tokens, segments, mask)
    with pytest.raises(ValueError, match="task"):
        ViLBert(TINY).encode_text(tokens, segments, mask, task)


# ---------------------------------------------------------------- batches and exact savings


@torch.inference_mode()
def test_padding_changes_nothing(model: ViLBertForTasks) -> None:
    """Each pair alone without padding, and in a batch with more of it filled with rubbish."""
    model.double()  # so that nothing hides behind rounding
    tokens, segments, words = texts(5)
    features, locations, regions = pictures(5, dtype=torch.float64)
    states = model(
        F.pad(tokens, (0, 2)) + ~F.pad(words, (0, 2)) * 7,
        F.pad(segments, (0, 2)),
        F.pad(words, (0, 2)),
        F.pad(features.where(regions[..., None], 5.0), (0, 0, 0, 3), value=3.0),
        F.pad(locations, (0, 0, 0, 3)),
        F.pad(regions, (0, 3)),
    )
    for row in range(5):
        said, seen = int(words[row].sum()), int(regions[row].sum())
        alone = model(
            tokens[[row], :said],
            segments[[row], :said],
            words[[row], :said],
            features[[row], :seen],
            locations[[row], :seen],
            regions[[row], :seen],
        )
        for found, expected in (
            (states.text[[row], :said], alone.text),
            (states.image[[row], :seen], alone.image),
            (model.answer_logits(states)[[row]], model.answer_logits(alone)),
            (model.region_logits(states)[[row], :seen], model.region_logits(alone)),
        ):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


@torch.inference_mode()
def test_every_pair_scores_as_in_a_plain_forward_pass(model: ViLBertForTasks) -> None:
    model.double()
    captions, shown = texts(7), pictures(4, dtype=torch.float64)
    scores = score_every_pair(
        model.bert,
        model.bert.encode_text(*captions),
        model.bert.encode_image(*shown),
        model.match_logit,
        pairs_at_once=5,
    )
    assert scores.shape == (4, 7)
    for picture in range(4):
        for caption in range(7):
            plain = model.match_logit(
                model(
                    *(value[[caption]] for value in captions),
                    *(value[[picture]] for value in shown),
                )
            )
            assert scores[picture, caption] == pytest.approx(plain.item(), abs=1e-11)
    assert scores.std(dim=0).min() > 1e-3  # a score depends on the picture
    assert scores.std(dim=1).min() > 1e-3  # and on the caption


@torch.inference_mode()
def test_each_side_is_encoded_once(model: ViLBertForTasks) -> None:
    rows: dict[str, int] = {}
    encoder = model.bert.encoder

    def count(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple[Tensor, ...], out: object) -> None:
            rows[name] = rows.get(name, 0) + len(given[0])

        return hook

    encoder.layer[0].register_forward_hook(count("first text layer"))
    encoder.layer[1].register_forward_hook(count("later text layer"))
    encoder.v_layer[0].register_forward_hook(count("first image layer"))
    model.bert.v_embeddings.register_forward_hook(count("image embedding"))
    score_every_pair(
        model.bert,
        model.bert.encode_text(*texts(7)),
        model.bert.encode_image(*pictures(4)),
        model.match_logit,
        pairs_at_once=10,
    )
    assert rows == {
        "first text layer": 7,
        "first image layer": 4,
        "image embedding": 4,
        "later text layer": 28,
    }


@torch.inference_mode()
def test_captions_of_one_length_are_joined_without_padding(model: ViLBertForTasks) -> None:
    widths: list[int] = []
    model.bert.encoder.layer[-1].register_forward_hook(
        lambda module, given, states: widths.append(given[0].shape[1])
    )
    captions = texts(7)
    score_every_pair(
        model.bert,
        model.bert.encode_text(*captions),
        model.bert.encode_image(*pictures(4)),
        model.match_logit,
        pairs_at_once=4,
    )
    lengths = captions[2].sum(dim=1).tolist()
    assert lengths != sorted(lengths)
    assert widths == sorted(lengths)  # one caption with all pictures at a time


@torch.inference_mode()
def test_no_captions_give_no_scores(model: ViLBertForTasks) -> None:
    image = model.bert.encode_image(*pictures(3))
    none = model.bert.encode_text(*texts(2)).rows(torch.zeros(0, dtype=torch.long))
    assert score_every_pair(model.bert, none, image, model.match_logit).shape == (3, 0)


def test_common_padding_is_cut_and_nothing_else() -> None:
    mask = torch.tensor([[True, False, False, False], [True, False, True, False]])
    cut = StreamState(torch.arange(8.0).view(2, 4, 1), mask).without_common_padding()
    assert cut.mask.tolist() == [[True, False, False], [True, False, True]]
    assert cut.states.flatten().tolist() == [0, 1, 2, 4, 5, 6]


def test_gradients_reach_both_sides_through_a_join() -> None:
    model = ViLBertForTasks(TINY)
    shaken(model)
    text, image = model.bert.encode_text(*texts(3)), model.bert.encode_image(*pictures(3))
    row = torch.arange(3)
    shifted = row.roll(1)
    captions, shown = retrieval_choices(row, row, shifted, shifted, row.roll(2))
    joined = model.bert.join(text.rows(captions.flatten()), image.rows(shown.flatten()))
    loss = retrieval_loss(model.match_logit(joined).view(-1, 4))
    loss.backward()  # type: ignore[no-untyped-call]
    without = {
        name
        for name, value in model.named_parameters()
        if name.startswith("bert.") and value.grad is None
    }
    assert without == {
        f"bert.encoder.c_layer.{number}.biOutput.q_dense{side}.{kind}"
        for number in (0, 1)
        for side in (1, 2)
        for kind in ("weight", "bias")
    }


# ---------------------------------------------------------------- heads


def test_a_model_has_the_heads_that_are_asked_for() -> None:
    model = ViLBertForTasks(TINY, heads=("vil_logit",)).eval()
    names = {name.split(".")[0] for name in model.state_dict()}
    assert names == {"bert", "vil_logit"}
    with torch.inference_mode():
        states = model(*texts(2), *pictures(2))
        assert model.match_logit(states).shape == (2,)
        with pytest.raises(AttributeError, match="vil_prediction"):
            model.answer_logits(states)


def test_the_first_release_has_a_weight_normed_answer_head() -> None:
    model = ViLBertForTasks(TINY, heads=BETA_HEADS, weight_normed=True)
    shapes = {
        name: tuple(value.shape)
        for name, value in model.state_dict().items()
        if name.startswith(("vil_", "vision_", "linguisic_"))
    }
    assert shapes == {
        "vil_prediction.main.0.weight_g": (),
        "vil_prediction.main.0.weight_v": (24, 12),
        "vil_prediction.main.0.bias": (24,),
        "vil_prediction.main.3.weight_g": (),
        "vil_prediction.main.3.weight_v": (7, 24),
        "vil_prediction.main.3.bias": (7,),
        "vil_logit.weight": (1, 12),
        "vil_logit.bias": (1,),
        "vision_logit.weight": (1, 8),
        "vision_logit.bias": (1,),
        "linguisic_logit.weight": (1, 16),
        "linguisic_logit.bias": (1,),
    }


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_the_weight_normed_head_is_that_of_torch() -> None:
    from torch.nn.utils import weight_norm

    reference: Any = nn.Sequential(
        weight_norm(nn.Linear(12, 24), dim=None),  # type: ignore[arg-type]
        nn.ReLU(),
        nn.Dropout(0.5),
        weight_norm(nn.Linear(24, 7), dim=None),  # type: ignore[arg-type]
    ).eval()
    with torch.no_grad():
        for value in reference.parameters():
            value.mul_(1.7)  # the length is no longer that of the direction
        reference[0].weight_g.mul_(0.3)
    head = WeightNormClassifier(12, 24, 7).eval()
    head.main.load_state_dict(reference.state_dict(), strict=True)
    states = torch.randn(5, 12, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(head(states), reference(states), rtol=0, atol=1e-6)


def test_a_fresh_weight_normed_layer_is_a_plain_one() -> None:
    head = WeightNormClassifier(12, 24, 7)
    first: Any = head.main[0]
    states = torch.randn(5, 12)
    expected = F.linear(states, first.weight_v, first.bias)
    torch.testing.assert_close(first(states), expected)


@torch.inference_mode()
def test_padded_regions_are_never_chosen(model: ViLBertForTasks) -> None:
    states = model(*texts(4), *pictures(4))
    logits = model.region_logits(states)
    assert (logits[~states.image_mask] < -9000).all()
    assert (logits[states.image_mask] > -1000).all()


# ---------------------------------------------------------------- losses by hand


def test_the_word_loss_is_the_mean_over_masked_words() -> None:
    shares = torch.tensor([[[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.6, 0.1, 0.3]]])
    labels = torch.tensor([[1, -1, 2, 0]])
    expected = -(math.log(0.3) + math.log(0.4) + math.log(0.6)) / 3
    assert masked_word_loss(shares.log(), labels).item() == pytest.approx(expected)
    picked = masked_word_loss(shares.log()[labels >= 0], labels[labels >= 0])
    assert picked.item() == pytest.approx(expected)  # logits of masked words alone will do
    assert masked_word_loss(shares.log(), torch.full((1, 4), -1)).item() == 0.0


def test_the_region_loss_is_summed_over_classes_and_averaged_over_masked_regions() -> None:
    predicted = torch.tensor([[[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]]])
    targets = torch.tensor([[[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]]])
    masked = torch.tensor([[True, False, True]])
    first = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    third = 1.0 * math.log(1.0 / 0.2)
    found = masked_region_loss(predicted.log(), targets, masked)
    assert found.item() == pytest.approx((first + third) / 2)
    logits = predicted.log() + torch.tensor([3.0, -2.0, 0.5])[:, None]  # not normalised
    assert masked_region_loss(logits, targets, masked).item() == pytest.approx(found.item())
    assert masked_region_loss(logits, targets, torch.zeros_like(masked)).item() == 0.0


def test_label_0_says_that_a_caption_is_the_pictures_own() -> None:
    shares = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    found = alignment_loss(shares.log(), torch.tensor([True, False]))
    assert found.item() == pytest.approx(-(math.log(0.9) + math.log(0.4)) / 2)
    score = alignment_score(shares.log())
    assert score.tolist() == pytest.approx([math.log(0.9 / 0.1), math.log(0.6 / 0.4)], rel=1e-5)
    certain = alignment_score(torch.tensor([[30.0, -30.0], [40.0, -40.0]]))
    assert certain[0] < certain[1]  # their probabilities are both 1 in fp32


def test_the_whole_picture_has_no_part_in_the_region_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = PretrainingLogits(
        words=torch.randn(2, 4, 9, generator=generator),
        regions=torch.randn(2, 3, 5, generator=generator),
        alignment=torch.randn(2, 2, generator=generator),
    )
    labels = torch.tensor([[-1, 2, -1, -1], [-1, -1, 8, 3]])
    targets = torch.randn(2, 2, 5, generator=generator).softmax(-1)
    masked = torch.tensor([[True, False], [True, True]])
    aligned = torch.tensor([False, True])
    found = pretraining_losses(logits, labels, targets, masked, aligned)
    kl = 0.0
    for row, region in ((0, 0), (1, 0), (1, 1)):
        predicted = logits.regions[row, region + 1].softmax(-1)
        target = targets[row, region]
        kl += float((target * (target / predicted).log()).sum()) / 3
    assert found["masked_regions"].item() == pytest.approx(kl, rel=1e-5)
    assert found["masked_words"].item() == pytest.approx(masked_word_loss(logits.words, labels))
    assert found["alignment"].item() == pytest.approx(alignment_loss(logits.alignment, aligned))


def test_the_answer_loss_is_summed_over_answers() -> None:
    logits, targets = torch.tensor([[0.0, 2.0, -1.0]]), torch.tensor([[1.0, 0.3, 0.0]])
    share = [1 / (1 + math.exp(-x)) for x in (0.0, 2.0, -1.0)]
    expected = -math.log(share[0]) - 0.3 * math.log(share[1]) - 0.7 * math.log(1 - share[1])
    expected -= math.log(1 - share[2])
    assert answer_loss(logits, targets).item() == pytest.approx(expected, rel=1e-6)
    twice = answer_loss(logits.repeat(2, 1), targets.repeat(2, 1))
    assert twice.item() == pytest.approx(expected, rel=1e-6)
    wide = answer_loss(torch.zeros(2, 3129), torch.zeros(2, 3129))
    assert wide.item() == pytest.approx(3129 * math.log(2), rel=1e-6)


def test_a_region_below_half_an_overlap_is_no_target() -> None:
    iou = torch.tensor([0.0, 0.3, 0.49999, 0.5, 0.7, 1.0])
    assert soft_iou_targets(iou).tolist() == pytest.approx([0, 0, 0, 0.5, 0.7, 1.0])


def test_the_region_choice_loss_is_summed_over_regions_and_padding_costs_nothing() -> None:
    logits = torch.tensor([[1.0, -2.0, -10000.0], [0.5, 0.0, 3.0]])
    iou = torch.tensor([[0.8, 0.4, 0.0], [0.1, 0.6, 0.5]])

    def cost(logit: float, target: float) -> float:
        share = 1 / (1 + math.exp(-logit))
        return -target * math.log(share) - (1 - target) * math.log(1 - share)

    expected = cost(1.0, 0.8) + cost(-2.0, 0.0)
    expected += cost(0.5, 0.0) + cost(0.0, 0.6) + cost(3.0, 0.5)
    assert region_loss(logits, iou).item() == pytest.approx(expected / 2, rel=1e-6)


def test_vcr_chooses_among_four_responses() -> None:
    shares = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]])
    found = choice_loss(shares.log() + 5, torch.tensor([2, 0]))
    assert found.item() == pytest.approx(-(math.log(0.3) + math.log(0.7)) / 2, rel=1e-5)


def test_retrieval_chooses_the_right_pair_among_four() -> None:
    shares = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]])
    expected = -(math.log(0.1) + math.log(0.7)) / 2
    assert retrieval_loss(shares.log()).item() == pytest.approx(expected, rel=1e-5)
    captions, shown = retrieval_choices(*(torch.tensor([n, n + 5]) for n in (10, 20, 30, 40, 50)))
    assert captions.tolist() == [[10, 30, 10, 50], [15, 35, 15, 55]]
    assert shown.tolist() == [[20, 20, 40, 20], [25, 25, 45, 25]]


def test_a_pretrained_network_goes_on_under_task_heads() -> None:
    pretrained = ViLBertForPretraining(TINY)
    tasks = ViLBertForTasks(TINY, heads=("vil_logit",))
    tasks.bert.load_state_dict(pretrained.bert.state_dict(), strict=True)
    with_heads = ViLBertForTasks(TINY)
    missing = with_heads.load_state_dict(pretrained.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert {name.split(".")[0] for name in missing.missing_keys} == {
        *("vil_prediction", "vil_prediction_gqa", "vil_binary_prediction", "vil_logit"),
        *("vil_tri_prediction", "vision_logit", "linguisic_logit"),
    }
