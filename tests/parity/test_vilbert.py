"""ViLBERT against outputs of the official code: from the folders vilbert_tasks and
vilbert_pretraining of HARNESS_GOLDENS, and from a small copy of their figures here, so that it runs
anywhere; and what a mistake in the network does to them.

vilbert_*.safetensors hold the official weights by the official names, and inputs and outputs, of
all four pairs (one has padded words, another padded regions). They are cut down by selection: the
words that occur (renumbered), the first nine positions, the first 40 classes and answers. The 28
feature vectors are given by their coordinates in a basis of their span, and the matrix that reads
them likewise; this moves outputs by rounding alone. vilbert_losses.safetensors holds the official
logits, targets and losses as they are, at masked places and some others. The alignment labels,
which were not kept, are the ones that give the official loss: 0, 1, 0, 1.
vilbert_names.txt lists the official names and shapes of the full size.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from harness.baselines.vilbert import (
    CONFIGS,
    ViLBertConfig,
    ViLBertOutput,
    box_locations,
    score_every_pair,
)
from harness.baselines.vilbert_heads import (
    PretrainingLogits,
    ViLBertForPretraining,
    ViLBertForTasks,
    pretraining_losses,
)

HERE = Path(__file__).parent
GOLDENS = os.environ.get("HARNESS_GOLDENS")
PARTS = ("text_before", "text_after", "image", "coattention_0", "coattention_1", "heads", "io")

needs_goldens = pytest.mark.skipif(
    GOLDENS is None or not (Path(GOLDENS) / "vilbert_tasks").is_dir(),
    reason="no folder vilbert_tasks in HARNESS_GOLDENS",
)


@dataclass
class Golden:
    """A model with official weights, official inputs and what came out of them."""

    model: ViLBertForTasks
    inputs: dict[str, Tensor]
    expected: dict[str, Tensor]

    def states(self) -> ViLBertOutput:
        given = self.inputs
        out: ViLBertOutput = self.model(
            given["txt"],
            given["seg"],
            given["att"].bool(),
            given["feat"],
            given["loc"],
            given["imask"].bool(),
            given["task"][:, 0] if self.model.config.task_specific_tokens else None,
        )
        return out

    @torch.inference_mode()
    def outputs(self) -> dict[str, Tensor]:
        """By the official names and in the official shapes."""
        model, states = self.model, self.states()
        pretraining: PretrainingLogits = model.get_submodule("cls")(states)
        return {
            "vil_prediction": model.answer_logits(states),
            "vil_prediction_gqa": model.gqa_logits(states),
            "vil_binary_prediction": model.pair_logits(states),
            "vil_logit": model.match_logit(states)[:, None],
            "vil_tri_prediction": model.entailment_logits(states),
            "vision_logit": model.region_logits(states)[..., None],
            "linguisic_logit": model.word_logits(states)[..., None],
            "linguisic_prediction": pretraining.words,
            "vision_prediction": pretraining.regions,
            "alignment": pretraining.alignment,
        }


def architecture(config: dict[str, Any]) -> ViLBertConfig:
    """What an official config file says of the network; it says more."""
    known = {field.name for field in fields(ViLBertConfig)}
    sizes: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in config.items()
        if name in known
    }
    return ViLBertConfig(**sizes)


def build(config: dict[str, Any], weights: dict[str, Tensor], io: dict[str, Tensor]) -> Golden:
    answers = len(weights["vil_prediction.logit_fc.3.bias"])
    gqa_answers = len(weights["vil_prediction_gqa.logit_fc.3.bias"])
    model = ViLBertForTasks(
        architecture(config | {"answers": answers, "gqa_answers": gqa_answers})
    ).eval()
    model.load_state_dict(weights, strict=True)
    return Golden(model, taken(io, "inputs."), taken(io, "outputs."))


def taken(values: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in values.items()
        if name.startswith(prefix)
    }


SMALL = {
    "vocab_size": 31,
    "hidden_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": 9,
    "v_feature_size": 28,
    "v_target_size": 40,
    "v_hidden_size": 64,
    "v_num_hidden_layers": 2,
    "v_num_attention_heads": 4,
    "v_intermediate_size": 64,
    "bi_hidden_size": 64,
    "bi_num_attention_heads": 4,
    "v_biattention_id": [0, 1],
    "t_biattention_id": [2, 3],
}


@pytest.fixture
def small() -> Golden:
    every: dict[str, Tensor] = {}
    for part in PARTS:
        every |= load_file(HERE / f"vilbert_{part}.safetensors")
    io = {name: every.pop(name) for name in list(every) if name.startswith(("inputs", "outputs"))}
    return build(SMALL, every, io)


def read_folder(name: str) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    assert GOLDENS is not None
    folder = Path(GOLDENS) / name
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config, *(load_file(folder / f"{kind}.safetensors") for kind in ("weights", "io"))


def excess(found: Tensor, expected: Tensor) -> float:
    """How far the worst figure lies over the tolerance of the same result, in tolerances."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype == torch.float32
    return float(((found - expected).abs() / (1e-5 + 1e-6 * expected.abs())).max())


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert excess(found, expected) <= 1


# ---------------------------------------------------------------- outputs


@needs_goldens
def test_every_official_output_of_the_tasks_comes_out() -> None:
    golden = build(*read_folder("vilbert_tasks"))
    found = golden.outputs()
    assert golden.expected
    for name, expected in golden.expected.items():
        assert_same(found[name], expected)


@needs_goldens
def test_the_official_pretraining_logits_and_losses_come_out() -> None:
    config, weights, io = read_folder("vilbert_pretraining")
    model = ViLBertForPretraining(architecture(config)).eval()
    model.load_state_dict(weights, strict=True)
    given = taken(io, "inputs.")
    with torch.inference_mode():
        logits: PretrainingLogits = model(
            given["txt"],
            given["seg"],
            given["att"].bool(),
            given["feat"],
            given["loc"],
            given["imask"].bool(),
            given["task"][:, 0] if model.config.task_specific_tokens else None,
        )
    assert_same(logits.words, io["outputs.prediction_t"])
    assert_same(logits.regions, io["outputs.prediction_v"])
    assert_same(logits.alignment, io["outputs.alignment"])

    def losses(aligned: tuple[bool, ...]) -> dict[str, Tensor]:
        return pretraining_losses(
            logits,
            io["loss_inputs.mlm"],
            io["loss_inputs.itgt"],
            io["loss_inputs.ilab"] == 1,
            torch.tensor(aligned),
        )

    # The labels of the alignment are not among the vectors: some labelling gives the official loss.
    labellings = itertools.product([True, False], repeat=len(given["txt"]))
    every = [losses(aligned) for aligned in labellings]
    assert_same(every[0]["masked_words"].view(1), io["losses.masked_lm"])
    assert_same(every[0]["masked_regions"].view(1), io["losses.masked_img(KL)"])
    official = io["losses.alignment"]
    assert min(excess(found["alignment"].view(1), official) for found in every) <= 1


def test_the_official_outputs_come_out_of_the_small_copy(small: Golden) -> None:
    found = small.outputs()
    expected = small.expected
    assert len(expected) == 12
    assert torch.equal(expected.pop("prediction_t"), expected["linguisic_prediction"])
    assert torch.equal(expected.pop("prediction_v"), expected["vision_prediction"])
    assert found.keys() == expected.keys()
    for name in found:
        assert_same(found[name], expected[name])


def test_the_official_losses_come_out_of_the_official_logits() -> None:
    kept = load_file(HERE / "vilbert_losses.safetensors")
    found = pretraining_losses(
        PretrainingLogits(kept["words"], kept["regions"], kept["alignment"]),
        kept["word_labels"],
        kept["region_targets"],
        kept["region_labels"] == 1,
        torch.tensor([True, False, True, False]),
    )
    assert_same(found["masked_words"].view(1), kept["losses.masked_lm"])
    assert_same(found["masked_regions"].view(1), kept["losses.masked_img(KL)"])
    assert_same(found["alignment"].view(1), kept["losses.alignment"])


def test_a_location_is_the_official_one(small: Golden) -> None:
    expected = small.inputs["loc"]
    sizes = torch.tensor([[640.0, 480.0], [333.0, 500.0], [96.0, 96.0], [500.0, 375.0]])
    boxes = expected[..., :4] * torch.cat([sizes, sizes], dim=1)[:, None]
    torch.testing.assert_close(box_locations(boxes, sizes), expected, rtol=0, atol=1e-6)


def test_pairs_joined_from_encoded_sides_give_the_official_outputs(small: Golden) -> None:
    """Each side encoded in another order than that of the pairs."""
    bert, given = small.model.bert, small.inputs
    back = torch.tensor([3, 2, 1, 0])
    with torch.inference_mode():
        text = bert.encode_text(given["txt"][back], given["seg"][back], given["att"][back].bool())
        image = bert.encode_image(
            given["feat"][back], given["loc"][back], given["imask"][back].bool()
        )
        states = bert.join(text.rows(back), image.rows(back))
        pooled = bert.join(text.rows(back), image.rows(back), pooled_only=True)
        assert_same(small.model.answer_logits(states), small.expected["vil_prediction"])
        assert_same(small.model.answer_logits(pooled), small.expected["vil_prediction"])
        assert_same(small.model.match_logit(pooled)[:, None], small.expected["vil_logit"])
        assert_same(small.model.region_logits(states)[..., None], small.expected["vision_logit"])


@torch.inference_mode()
def test_every_pair_scores_as_in_a_plain_forward_pass(small: Golden) -> None:
    model, given = small.model, small.inputs
    for name in ("att", "imask"):
        given[name] = given[name].bool()
    captions = tuple(given[name] for name in ("txt", "seg", "att"))
    pictures = tuple(given[name] for name in ("feat", "loc", "imask"))
    found = score_every_pair(
        model.bert,
        model.bert.encode_text(*captions),
        model.bert.encode_image(*pictures),
        model.match_logit,
        pairs_at_once=6,
    )
    picture, caption = torch.cartesian_prod(torch.arange(4), torch.arange(4)).T
    states = model(*(side[caption] for side in captions), *(side[picture] for side in pictures))
    plain = model.match_logit(states).view(4, 4)
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-6)
    assert_same(found.diagonal()[:, None], small.expected["vil_logit"])


# ---------------------------------------------------------------- names and shapes


def official_names() -> dict[str, tuple[int, ...]]:
    names = {}
    for line in (HERE / "vilbert_names.txt").read_text(encoding="utf-8").splitlines():
        name, shape, *layers = line.split()
        sizes = tuple(int(size) for size in shape.split("x"))
        count = int(layers[0].removeprefix("N<")) if layers else 1
        for number in range(count):
            names[name.replace(".N.", f".{number}.")] = sizes
    return names


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def test_the_full_size_has_the_official_names_shapes_and_counts() -> None:
    with torch.device("meta"):
        tasks = ViLBertForTasks(CONFIGS["base-6"])
        pretraining = ViLBertForPretraining(CONFIGS["base-6"])
    expected = official_names()
    assert shapes(tasks) == expected
    assert shapes(pretraining) == {
        name: shape for name, shape in expected.items() if name.startswith(("bert.", "cls."))
    }
    counts = [
        sum(value.numel() for value in model.parameters())
        for model in (pretraining.bert, pretraining, tasks)
    ]
    assert counts == [246_726_656, 250_044_029, 268_013_499]


def test_the_word_head_shares_the_word_embeddings(small: Golden) -> None:
    words = small.model.bert.embeddings.word_embeddings.weight
    assert small.model.get_submodule("cls.predictions.decoder").weight is words


def test_a_weight_of_another_name_is_not_passed_over(small: Golden) -> None:
    state = small.model.state_dict()
    state["bert.pooler.dense.weight"] = state.pop("bert.t_pooler.dense.weight")
    with pytest.raises(RuntimeError, match="t_pooler"):
        small.model.load_state_dict(state, strict=True)


# ---------------------------------------------------------------- mistakes

Change = Callable[[pytest.MonkeyPatch, Golden], None]
BERT = "bert"
COATTENTION = "bert.encoder.c_layer.0.biattention"
CO_OUTPUT = "bert.encoder.c_layer.0.biOutput"


def schedule(name: str, at: tuple[int, ...]) -> Change:
    """Co-attention at other places of a stream; the last number is the count of its layers."""
    return lambda patch, golden: setattr(golden.model.bert.encoder, name, at)


def swapped(module: str, one: str, other: str) -> Change:
    def apply(patch: pytest.MonkeyPatch, golden: Golden) -> None:
        parent = golden.model.get_submodule(module)
        first, second = parent.get_submodule(one), parent.get_submodule(other)
        setattr(parent, one, second)
        setattr(parent, other, first)

    return apply


def replaced(module: str, name: str, by: Callable[[], nn.Module] = nn.Identity) -> Change:
    return lambda patch, golden: setattr(golden.model.get_submodule(module), name, by())


def zeroed(name: str) -> Change:
    def apply(patch: pytest.MonkeyPatch, golden: Golden) -> None:
        golden.model.get_parameter(name).zero_()

    return apply


def given(name: str, change: Callable[[Tensor], Tensor]) -> Change:
    def apply(patch: pytest.MonkeyPatch, golden: Golden) -> None:
        golden.inputs[name] = change(golden.inputs[name])

    return apply


def output(change: Callable[[ViLBertOutput], None]) -> Change:
    """`change` alters what the network returns before the heads read it."""

    def apply(patch: pytest.MonkeyPatch, golden: Golden) -> None:
        states = golden.states()
        change(states)
        patch.setattr(golden, "states", lambda: states)

    return apply


def set_field(states: ViLBertOutput, name: str, value: Tensor) -> None:
    object.__setattr__(states, name, value)


def summed_fusion(patch: pytest.MonkeyPatch, golden: Golden) -> None:
    from harness.baselines import vilbert_heads

    patch.setattr(vilbert_heads, "fuse", lambda out: out.text_pooled + out.image_pooled)


EXACT_GELU = F.gelu


def other_activation(name: str, by: Callable[..., Tensor]) -> Change:
    return lambda patch, golden: patch.setattr(F, name, by)


def pooled_over(reduce: Callable[[Tensor], Tensor]) -> Change:
    def apply(patch: pytest.MonkeyPatch, golden: Golden) -> None:
        for pooler in (golden.model.bert.t_pooler, golden.model.bert.v_pooler):
            plain = pooler.forward
            patch.setattr(pooler, "forward", lambda states, f=plain: f(reduce(states)))

    return apply


def text_asks_after_the_image_has_learnt(patch: pytest.MonkeyPatch, golden: Golden) -> None:
    layer: Any = golden.model.bert.encoder.c_layer[0]

    def forward(
        image: Tensor, image_mask: Tensor, text: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        of_words, _ = layer.biattention(image, image_mask, text, text_mask)
        image, _ = layer.biOutput(of_words, image, torch.zeros(*text.shape[:2], 64), text)
        image = layer.v_output(layer.v_intermediate(image), image)
        _, of_regions = layer.biattention(image, image_mask, text, text_mask)
        _, text = layer.biOutput(of_words, of_words, of_regions, text)
        return image, layer.t_output(layer.t_intermediate(text), text)

    patch.setattr(layer, "forward", forward)


def coattention_unmasked(which: int) -> Change:
    """All words (3) or all regions (1) are seen by the other stream."""

    def apply(patch: pytest.MonkeyPatch, golden: Golden) -> None:
        for layer in golden.model.bert.encoder.c_layer:

            def forward(*args: Tensor, plain: Any = layer.forward) -> Any:
                return plain(*(torch.ones_like(a) if n == which else a for n, a in enumerate(args)))

            patch.setattr(layer, "forward", forward)

    return apply


def coattention_heads(count: int) -> Change:
    return lambda patch, golden: setattr(golden.model.get_submodule(COATTENTION), "heads", count)


def feed_forward_skipped(name: str) -> Change:
    def apply(patch: pytest.MonkeyPatch, golden: Golden) -> None:
        block = golden.model.get_submodule(f"bert.encoder.c_layer.1.{name}")
        patch.setattr(block, "forward", lambda wide, states: states)

    return apply


def position_shifted(patch: pytest.MonkeyPatch, golden: Golden) -> None:
    table = golden.model.bert.embeddings.position_embeddings
    plain = table.forward
    patch.setattr(table, "forward", lambda places: plain((places + 1).clamp(max=8)))


def pairs_by_halves(patch: pytest.MonkeyPatch, golden: Golden) -> None:
    order = torch.tensor([0, 2, 1, 3])
    for name, value in golden.inputs.items():
        golden.inputs[name] = value[order]
    plain = golden.outputs

    def outputs() -> dict[str, Tensor]:
        return {
            name: value if name == "vil_binary_prediction" else value[order]
            for name, value in plain().items()
        }

    patch.setattr(golden, "outputs", outputs)


MISTAKES: dict[str, Change] = {
    "co-attention after the text layer": schedule("text_at", (3, 4, 4)),
    "co-attention a text layer early": schedule("text_at", (1, 2, 4)),
    "co-attention after the image layer": schedule("image_at", (1, 2, 2)),
    "all co-attention first": schedule("image_at", (0, 0, 2)),
    "first text layers forgotten": lambda patch, golden: patch.setattr(
        golden.model.bert.encoder, "text_before_first_coattention", lambda text, mask: text
    ),
    "last image layer forgotten": schedule("image_at", (0, 1, 1)),
    "last text layer forgotten": schedule("text_at", (2, 3, 3)),
    "co-attention blocks in the other order": swapped("bert.encoder.c_layer", "0", "1"),
    "text asks after the image has learnt": text_asks_after_the_image_has_learnt,
    "image asks with its keys": swapped(COATTENTION, "query1", "key1"),
    "image gives its keys as values": swapped(COATTENTION, "key1", "value1"),
    "text asks with its keys": swapped(COATTENTION, "query2", "key2"),
    "text gives its keys as values": swapped(COATTENTION, "key2", "value2"),
    "fewer co-attention heads": coattention_heads(2),
    "image output through the unused matrix": swapped(CO_OUTPUT, "dense1", "q_dense1"),
    "text output through the unused matrix": swapped(CO_OUTPUT, "dense2", "q_dense2"),
    "image learns nothing": zeroed(f"{CO_OUTPUT}.dense1.weight"),
    "text learns nothing": zeroed(f"{CO_OUTPUT}.dense2.weight"),
    "no feed-forward for the image": feed_forward_skipped("v_output"),
    "no feed-forward for the text": feed_forward_skipped("t_output"),
    "co-attention reads padded words": coattention_unmasked(3),
    "co-attention reads padded regions": coattention_unmasked(1),
    "padded words attended to": given("att", torch.ones_like),
    "padded regions attended to": given("imask", torch.ones_like),
    "no LayerNorm on words": replaced("bert.embeddings", "LayerNorm"),
    "no LayerNorm on regions": replaced("bert.v_embeddings", "LayerNorm"),
    "no LayerNorm1 in co-attention": replaced(CO_OUTPUT, "LayerNorm1"),
    "no LayerNorm2 in co-attention": replaced(CO_OUTPUT, "LayerNorm2"),
    "LayerNorm eps of 1e-5": lambda patch, golden: setattr(
        golden.model.bert.embeddings.LayerNorm, "eps", 1e-5
    ),
    "no LayerNorm behind the image's feed-forward": replaced(
        "bert.encoder.c_layer.1.v_output", "LayerNorm"
    ),
    "no LayerNorm behind the text's feed-forward": replaced(
        "bert.encoder.c_layer.1.t_output", "LayerNorm"
    ),
    "location with y before x": given("loc", lambda loc: loc[..., [1, 0, 3, 2, 4]]),
    "location with the area first": given("loc", lambda loc: loc[..., [4, 0, 1, 2, 3]]),
    "location with width and height": given(
        "loc", lambda loc: torch.cat([loc[..., :2], loc[..., 2:4] - loc[..., :2], loc[..., 4:]], -1)
    ),
    "no location": given("loc", torch.zeros_like),
    "whole picture last": given("feat", lambda feat: feat.roll(-1, dims=1)),
    "one segment": given("seg", torch.zeros_like),
    "segments exchanged": given("seg", lambda seg: 1 - seg),
    "positions from one": position_shifted,
    "tanh in the poolers": other_activation("relu", torch.tanh),
    "no activation in the poolers": other_activation("relu", lambda states: states),
    "mean pooling": pooled_over(lambda states: states.mean(dim=1, keepdim=True)),
    "last state pooled": pooled_over(lambda states: states[:, -1:]),
    "fusion by sum": summed_fusion,
    "tanh gelu": other_activation(
        "gelu", lambda states, **exact: EXACT_GELU(states, approximate="tanh")
    ),
    "relu for gelu": other_activation("gelu", lambda states, **exact: states.relu()),
    "relu in the classifier": replaced("vil_prediction.logit_fc", "1", nn.ReLU),
    "no LayerNorm in the classifier": replaced("vil_prediction.logit_fc", "2"),
    "no LayerNorm in the word head": replaced("cls.predictions.transform", "LayerNorm"),
    "no LayerNorm in the region head": replaced("cls.imagePredictions.transform", "LayerNorm"),
    "no bias in the word head": zeroed("cls.predictions.bias"),
    "padded regions may be chosen": output(
        lambda states: set_field(states, "image_mask", torch.ones_like(states.image_mask))
    ),
    "pictures of a pair lie a half apart": pairs_by_halves,
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_changes_the_official_outputs(
    small: Golden, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    with torch.inference_mode():
        MISTAKES[mistake](monkeypatch, small)
        found = small.outputs()
    worst = max(excess(value, small.expected[name]) for name, value in found.items())
    assert worst > 3
