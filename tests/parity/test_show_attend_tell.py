"""Show, Attend and Tell against outputs of the official code: from the folder sat of
HARNESS_GOLDENS, and from a copy of its vectors here (weights.* and io.* in one file), so that it
runs anywhere. Each kind of mistake is planted and must be seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.baselines.attention_decoder import AttentionDecoder, Look
from harness.baselines.captioning_losses import caption_costs, doubly_stochastic
from harness.baselines.show_attend_tell import from_official

HERE = Path(__file__).parent
GOLDENS = Path(os.environ.get("HARNESS_GOLDENS", HERE.parents[2] / "shared" / "goldens"))
FOLDER = GOLDENS / "sat"
COPY = HERE / "show_attend_tell.safetensors"

Vectors = dict[str, Tensor]
Change = Callable[[pytest.MonkeyPatch, AttentionDecoder], None]

here_only = pytest.mark.skipif(
    not FOLDER.is_dir(),
    reason=f"no golden vectors at {FOLDER}; name their folder in HARNESS_GOLDENS",
)


def vectors(of: str) -> tuple[Vectors, Vectors]:
    """The official weights, and inputs with outputs."""
    if of == "folder":
        weights, io = (load_file(FOLDER / f"{name}.safetensors") for name in ("weights", "io"))
        return weights, io
    both = load_file(COPY)
    weights, io = (
        {name.removeprefix(start): x for name, x in both.items() if name.startswith(start)}
        for start in ("weights.", "io.")
    )
    return weights, io


def assert_same(found: Tensor, golden: Tensor) -> None:
    """The same result, as the design defines it."""
    assert found.shape == golden.shape
    assert found.dtype == golden.dtype == torch.float32
    excess = (found - golden).abs() - (1e-5 + 1e-6 * golden.abs())
    assert excess.max() <= 0, f"{excess.max():.2e} over the tolerance"


def assert_official(decoder: AttentionDecoder, io: Vectors, mask: Tensor | None = None) -> None:
    """Cost, attention, gate and regulariser of the golden vectors come out."""
    tokens, right_mask = io["x"].T, io["mask"].T
    mask = right_mask if mask is None else mask
    with torch.inference_mode():
        output = decoder(io["ctx"], tokens, mask)
    assert_same(caption_costs(output.logits, tokens, mask), io["cost"])
    assert_same(output.alphas.transpose(0, 1), io["alphas"])
    assert_same(output.selector.T, io["selector"])
    assert_same(doubly_stochastic(output.alphas, mask, form="official")[None], io["reg"])


@pytest.mark.parametrize("of", ["copy", pytest.param("folder", marks=here_only)])
def test_the_official_outputs_come_out(of: str) -> None:
    weights, io = vectors(of)
    assert_official(from_official(weights), io)


@here_only
def test_the_copy_is_of_the_golden_vectors() -> None:
    if "HARNESS_GOLDENS" in os.environ:
        pytest.skip("the copy is of the vectors beside this checkout")
    for copy, golden in zip(vectors("copy"), vectors("folder"), strict=True):
        assert set(copy) == set(golden)
        assert all(torch.equal(copy[name], golden[name]) for name in golden)


def test_the_logits_as_batch_and_one_caption_at_a_time_agree() -> None:
    weights, io = vectors("copy")
    decoder = from_official(weights)
    tokens, mask = io["x"].T, io["mask"].T
    for row in range(len(tokens)):
        length = int(mask[row].sum())
        alone = decoder(io["ctx"][row, None], tokens[row, None, :length], mask[row, None, :length])
        cost = caption_costs(alone.logits, tokens[row, None, :length], mask[row, None, :length])
        assert_same(cost.detach(), io["cost"][row, None])


# ---------------------------------------------------------------- planted mistakes

_GATES = ("decoder_W", "decoder_U", "decoder_Wc", "decoder_b")


@pytest.mark.parametrize("order", ["fioc", "ofic", "cfoi", "iofc", "icof", "ifco"])
def test_another_order_of_the_gates_is_caught(order: str) -> None:
    weights, io = vectors("copy")
    for name in _GATES:
        parts = dict(zip("ifoc", weights[name].chunk(4, dim=-1), strict=True))
        weights[name] = torch.cat([parts[gate] for gate in order], dim=-1)
    with pytest.raises(AssertionError, match="over the tolerance"):
        assert_official(from_official(weights), io)


def _ungated(decoder: AttentionDecoder, *arguments: object) -> Look:
    look: Look = AttentionDecoder._attend(decoder, *arguments)  # type: ignore[arg-type]
    return look._replace(z=look.z / look.beta)


def _selector_left_out(patch: pytest.MonkeyPatch, decoder: AttentionDecoder) -> None:
    patch.setattr(decoder, "_attend", lambda *arguments: _ungated(decoder, *arguments))


def _selector_after_the_lstm(patch: pytest.MonkeyPatch, decoder: AttentionDecoder) -> None:
    """The gate reaches the words but not the LSTM."""
    _selector_left_out(patch, decoder)
    step = decoder.step

    def late(*arguments: object) -> object:
        state, look = step(*arguments)  # type: ignore[arg-type]
        return state, look._replace(z=look.z * look.beta)

    patch.setattr(decoder, "step", late)


def _selector_on_the_lstm_alone(patch: pytest.MonkeyPatch, decoder: AttentionDecoder) -> None:
    step = decoder.step

    def early(*arguments: object) -> object:
        state, look = step(*arguments)  # type: ignore[arg-type]
        return state, look._replace(z=look.z / look.beta)

    patch.setattr(decoder, "step", early)


def _selector_from_the_new_state(patch: pytest.MonkeyPatch, decoder: AttentionDecoder) -> None:
    step = decoder.step

    def newer(*arguments: object) -> object:
        (h, c), look = step(*arguments)  # type: ignore[arg-type]
        assert decoder.selector is not None
        beta = torch.sigmoid(decoder.selector(h))
        return (h, c), look._replace(beta=beta, z=look.z / look.beta * beta)

    patch.setattr(decoder, "step", newer)


def _no_query(patch: pytest.MonkeyPatch, decoder: AttentionDecoder) -> None:
    decoder.attention_state.weight.data.zero_()


def _uniform_attention(patch: pytest.MonkeyPatch, decoder: AttentionDecoder) -> None:
    decoder.attention_score.weight.data.zero_()


def _linear_start(patch: pytest.MonkeyPatch, decoder: AttentionDecoder) -> None:
    """No tanh on h_0 and c_0."""
    start = decoder.initial_state

    def linear(*arguments: object) -> tuple[Tensor, ...]:
        return tuple(torch.atanh(part) for part in start(*arguments))  # type: ignore[arg-type]

    patch.setattr(decoder, "initial_state", linear)


def _start_without_its_hidden_layer(patch: pytest.MonkeyPatch, decoder: AttentionDecoder) -> None:
    decoder.init_hidden = torch.nn.ModuleList()


def _attention_without_its_deeper_layer(
    patch: pytest.MonkeyPatch, decoder: AttentionDecoder
) -> None:
    decoder.attention_deeper = torch.nn.ModuleList()


def _first_word_is_end(patch: pytest.MonkeyPatch, decoder: AttentionDecoder) -> None:
    """E y_0 is <eos>'s embedding instead of the zero vector."""

    def started(tokens: Tensor) -> Tensor:
        shifted = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], dim=1)
        embedded: Tensor = decoder.embedding(shifted)
        return embedded

    patch.setattr(decoder, "embed_previous", started)


def _words_not_shifted(patch: pytest.MonkeyPatch, decoder: AttentionDecoder) -> None:
    patch.setattr(decoder, "embed_previous", lambda tokens: decoder.embedding(tokens))


def _without_tanh_before_the_words(patch: pytest.MonkeyPatch, decoder: AttentionDecoder) -> None:
    def linear(h: Tensor, z: Tensor, words: Tensor) -> Tensor:
        assert decoder.output_context is not None
        mixed = decoder.output_state(h / 2) + words + decoder.output_context(z)
        logits: Tensor = decoder.output_word(mixed / 2)
        return logits

    patch.setattr(decoder, "read_out", linear)


def _no_output_context(patch: pytest.MonkeyPatch, decoder: AttentionDecoder) -> None:
    decoder.output_context = None


def _option(**options: object) -> Change:
    def change(patch: pytest.MonkeyPatch, decoder: AttentionDecoder) -> None:
        decoder.config = replace(decoder.config, **options)  # type: ignore[arg-type]

    return change


MISTAKES: dict[str, Change] = {
    "selector left out": _selector_left_out,
    "selector after the LSTM": _selector_after_the_lstm,
    "selector on the LSTM alone": _selector_on_the_lstm_alone,
    "selector from the new state": _selector_from_the_new_state,
    "attention without the state": _no_query,
    "attention uniform": _uniform_attention,
    "no tanh on h_0 and c_0": _linear_start,
    "E y_0 not zero": _first_word_is_end,
    "words not shifted": _words_not_shifted,
    "no tanh in the deep output": _without_tanh_before_the_words,
    "L_z z_t missing": _no_output_context,
    "E y_{t-1} missing": _option(prev2out=False),
    "no dropout at all": _option(dropout="none"),
    "dropout of the modern kind": _option(dropout="modern"),
    "dropout on the gates": _option(lstm_dropout=True),
    "another dropout rate": _option(dropout_rate=0.4),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_caught(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, io = vectors("copy")
    decoder = from_official(weights)
    MISTAKES[mistake](monkeypatch, decoder)
    with pytest.raises(AssertionError, match="over the tolerance"):
        assert_official(decoder, io)


@pytest.mark.parametrize(
    "change", [_start_without_its_hidden_layer, _attention_without_its_deeper_layer]
)
def test_a_missing_layer_is_caught(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, io = vectors("copy")
    decoder = from_official(weights)
    change(monkeypatch, decoder)
    with pytest.raises(AssertionError, match="over the tolerance"):
        assert_official(decoder, io)


def test_a_mask_that_is_ignored_is_caught() -> None:
    """By the cost, and by the attention after <eos>, which a moving state would change."""
    weights, io = vectors("copy")
    decoder = from_official(weights)
    nothing_masked = torch.ones_like(io["mask"].T)
    with pytest.raises(AssertionError, match="over the tolerance"):
        assert_official(decoder, io, nothing_masked)
    moving = decoder(io["ctx"], io["x"].T, nothing_masked)
    last = (moving.alphas.transpose(0, 1) - io["alphas"])[-1].abs().amax(dim=1)
    masked = io["mask"][-1] == 0
    assert (last[~masked] < 1e-6).all()
    more = torch.cat([io["x"].T, torch.full_like(io["x"].T[:, :1], 5)], dim=1)
    mask = torch.nn.functional.pad(io["mask"].T, (0, 1))
    held = decoder(io["ctx"], more, mask).alphas
    moved = decoder(io["ctx"], more, torch.ones_like(mask)).alphas
    assert (held[:, -1] - moved[:, -1]).abs().max() > 1e-4


@pytest.mark.parametrize("term", ["paper's form", "missing"])
def test_another_doubly_stochastic_term_is_caught(term: str) -> None:
    weights, io = vectors("copy")
    tokens, mask = io["x"].T, io["mask"].T
    alphas = from_official(weights)(io["ctx"], tokens, mask).alphas.detach()
    found = doubly_stochastic(alphas, mask, form="paper") if term != "missing" else torch.zeros(())
    with pytest.raises(AssertionError, match="over the tolerance"):
        assert_same(found[None], io["reg"])


def test_weights_of_another_name_are_not_passed_over() -> None:
    weights, _ = vectors("copy")
    weights["decoder_Wd_attention"] = weights.pop("decoder_Wd_att")
    with pytest.raises(ValueError, match=r"missing \['decoder_Wd_att'\].*decoder_Wd_attention"):
        from_official(weights)
