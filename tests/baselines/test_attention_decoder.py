"""The attention decoder: what a word may depend on, what padding may not change, its options, and
many captions read against many pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.baselines.attention_decoder import (
    END,
    NO_WORD,
    AttentionDecoder,
    AttentionDecoderConfig,
    decoding,
    from_official,
)
from harness.baselines.caption_likelihood import score_captions, shared_beginnings
from harness.baselines.captioning_losses import caption_costs, doubly_stochastic
from harness.baselines.temporal_attention import sampled_frames

CONFIG = AttentionDecoderConfig(n_words=13, dim_word=6, ctx_dim=5, dim=7)
LENGTHS = (6, 3, 5, 1)


def decoder_of(config: AttentionDecoderConfig = CONFIG, std: float = 0.7) -> AttentionDecoder:
    torch.manual_seed(7)
    decoder = AttentionDecoder(config)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return decoder.eval()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Context, tokens and mask of four captions, padded."""
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(4, 8, 5, generator=generator)
    tokens = torch.randint(1, 13, (4, 6), generator=generator)
    for row, length in enumerate(LENGTHS):
        tokens[row, length - 1 :] = END
    mask = torch.arange(6) < torch.tensor(LENGTHS)[:, None]
    return context, tokens, mask


# ---------------------------------------------------------------- what depends on what


def test_shapes_and_sums(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    output = decoder_of()(*batch)
    assert output.logits.shape == (4, 6, 13)
    assert output.alphas.shape == output.attended.shape == (4, 6, 8)
    assert output.selector.shape == (4, 6)
    torch.testing.assert_close(output.alphas.sum(dim=-1), torch.ones(4, 6))
    assert ((output.selector > 0) & (output.selector < 1)).all()


def test_a_word_is_read_from_the_words_before_alone(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    context, tokens, _ = batch
    decoder, mask = decoder_of(), torch.ones(4, 6)
    before = decoder(context, tokens, mask)
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 13
    after = decoder(context, changed, mask)
    same = (before.logits - after.logits).abs().amax(dim=(0, 2)) < 1e-6
    assert same.tolist() == [True, True, True, True, False, False]


def test_padding_after_a_caption_changes_nothing(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    context, tokens, mask = batch
    decoder = decoder_of()
    together = caption_costs(decoder(*batch).logits, tokens, mask)
    for row, length in enumerate(LENGTHS):
        words, ones = tokens[row, None, :length], torch.ones(1, length)
        alone = caption_costs(decoder(context[row, None], words, ones).logits, words, ones)
        torch.testing.assert_close(alone[0], together[row])
    other = tokens.masked_fill(~mask, 9)
    changed = caption_costs(decoder(context, other, mask).logits, other, mask)
    torch.testing.assert_close(changed, together)


def test_the_context_mask_by_option_leaves_padding_out(
    batch: tuple[Tensor, Tensor, Tensor],
) -> None:
    context, tokens, mask = batch
    real = torch.arange(8) < torch.tensor([8, 5, 1, 3])[:, None]
    context = context * real[..., None]
    official = decoder_of()(context, tokens, mask, real)
    assert (official.alphas[1, :, 5:] > 0).all()

    decoder = decoder_of(replace(CONFIG, mask_padding=True))
    masked = decoder(context, tokens, mask, real)
    assert (masked.alphas.masked_select(~real[:, None].expand_as(masked.alphas)) == 0).all()
    noise = torch.where(real[..., None], context, 7.0)
    torch.testing.assert_close(decoder(noise, tokens, mask, real).logits, masked.logits)
    alone = decoder(context[1, None, :5], tokens[1, None], mask[1, None])
    torch.testing.assert_close(alone.logits[0], masked.logits[1])


def test_decoding_word_by_word_gives_the_same_logits(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    """Also with several hypotheses for a picture, and with pictures left out."""
    context, tokens, _ = batch
    decoder = decoder_of()
    expected = decoder(context, tokens, torch.ones(4, 6)).logits.log_softmax(dim=-1)
    step, state = decoding(decoder, context)
    state = tuple(part[[0, 0, 2, 2, 3, 3]] for part in state)
    rows = torch.tensor([0, 0, 2, 2, 3, 3])
    before = torch.full((6,), NO_WORD)
    for t in range(6):
        log_probabilities, state = step(before, state)
        torch.testing.assert_close(log_probabilities, expected[rows, t])
        before = tokens[rows, t]


# ---------------------------------------------------------------- options


@pytest.mark.parametrize("selector", [True, False])
@pytest.mark.parametrize("prev2out", [True, False])
@pytest.mark.parametrize("ctx2out", [True, False])
@pytest.mark.parametrize(("n_layers_att", "n_layers_init"), [(1, 1), (3, 2)])
def test_every_option_learns(
    selector: bool,
    prev2out: bool,
    ctx2out: bool,
    n_layers_att: int,
    n_layers_init: int,
    batch: tuple[Tensor, Tensor, Tensor],
) -> None:
    """A gradient reaches every parameter but c of equation 4, which the softmax takes away."""
    config = replace(
        CONFIG,
        selector=selector,
        prev2out=prev2out,
        ctx2out=ctx2out,
        n_layers_att=n_layers_att,
        n_layers_init=n_layers_init,
        dropout="none",
    )
    decoder = decoder_of(config)
    output = decoder(*batch)
    loss = caption_costs(output.logits, *batch[1:]).mean()
    loss = loss + doubly_stochastic(output.alphas, batch[2])
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {name: parameter.grad for name, parameter in decoder.named_parameters()}
    still = [n for n, gradient in gradients.items() if gradient is None or gradient.norm() < 1e-5]
    assert still == ["attention_score.bias"]
    if not selector:
        assert (output.selector == 1).all()


def test_official_dropout_never_scales_up_and_halves_outside_training() -> None:
    decoder = decoder_of(replace(CONFIG, dropout_rate=0.5))
    x = torch.full((1000,), 3.0)
    assert torch.equal(decoder._dropout(x), x * 0.5)
    decoder.train()
    dropped = decoder._dropout(x)
    assert set(dropped.tolist()) == {0.0, 3.0}
    assert 0.4 < (dropped == 0).float().mean() < 0.6


def test_modern_dropout_scales_up_and_is_nothing_outside_training() -> None:
    decoder = decoder_of(replace(CONFIG, dropout="modern", dropout_rate=0.25))
    x = torch.full((1000,), 3.0)
    assert decoder._dropout(x) is x or torch.equal(decoder._dropout(x), x)
    decoder.train()
    assert set(decoder._dropout(x).tolist()) == {0.0, 4.0}


def test_dropout_on_the_gates_is_drawn_anew_at_every_step(
    batch: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = decoder_of(replace(CONFIG, lstm_dropout=True, n_layers_init=1)).train()
    shapes = []
    plain = decoder._dropout

    def watched(x: Tensor) -> Tensor:
        shapes.append(tuple(x.shape))
        return plain(x)

    monkeypatch.setattr(decoder, "_dropout", watched)
    decoder(*batch)
    assert shapes == [(4, 1, 21)] * 6 + [(4, 6, 7), (4, 6, 6)]  # i, f, o; then h and the tanh


def test_choose_changes_what_is_seen_and_not_alphas(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    decoder = decoder_of()

    def first(alphas: Tensor) -> Tensor:
        return torch.zeros_like(alphas).index_fill(-1, torch.tensor([0]), 1.0)

    output = decoder(*batch, choose=first)
    assert (output.attended[..., 0] == 1).all()
    assert (output.alphas[..., 0] < 1).all()
    start = decoder(*batch)
    torch.testing.assert_close(output.alphas[:, 0], start.alphas[:, 0])
    assert not torch.allclose(output.logits[:, 0], start.logits[:, 0])


def test_the_start_is_the_official_one() -> None:
    """Square matrices orthogonal, also each gate's; the annotations' projection is not."""
    torch.manual_seed(0)
    decoder = AttentionDecoder(replace(CONFIG, dim_word=40, ctx_dim=40, dim=40))
    eye = torch.eye(40)
    for part in [*decoder.gates_state.weight.chunk(4), *decoder.gates_word.weight.chunk(4)]:
        torch.testing.assert_close(part @ part.T, eye, atol=1e-5, rtol=0)
    assert decoder.attention_context.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert decoder.gates_context.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert all((p == 0).all() for p in decoder.parameters() if p.ndim == 1)


def test_official_weights_need_every_name() -> None:
    with pytest.raises(ValueError, match=r"missing .*decoder_U"):
        from_official({"Wemb": torch.zeros(3, 2)}, CONFIG)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(3, [0, 1, 2]), (4, [0, 1, 2, 3]), (8, [0, 2, 4, 6]), (10, [0, 3, 6, 8]), (0, [])],
)
def test_frames_are_the_first_of_equal_parts(frames: int, expected: list[int]) -> None:
    assert sampled_frames(frames, 4) == expected


# ---------------------------------------------------------------- many captions, many pictures


@pytest.fixture
def captions() -> tuple[Tensor, Tensor]:
    """Forty captions, many of which begin alike."""
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(2, 5, (40, 7), generator=generator)
    lengths = torch.randint(1, 8, (40,), generator=generator)
    tokens[torch.arange(40), lengths - 1] = END
    mask = torch.arange(7) < lengths[:, None]
    return tokens, mask


@pytest.mark.parametrize("most_pairs", [1, 30, 100000])
@pytest.mark.parametrize("padded", [True, False])
def test_scores_are_minus_the_costs_of_every_pair(
    most_pairs: int, padded: bool, captions: tuple[Tensor, Tensor]
) -> None:
    tokens, mask = captions
    decoder = decoder_of(replace(CONFIG, mask_padding=padded))
    context = torch.randn(6, 8, 5, generator=torch.Generator().manual_seed(1))
    real = torch.arange(8) < torch.tensor([8, 5, 1, 3, 8, 2])[:, None] if padded else None
    scores = score_captions(decoder, context, tokens, mask, real, most_pairs=most_pairs)
    assert scores.shape == (6, 40)
    for i in range(6):
        many = context[i].expand(40, -1, -1)
        many_real = None if real is None else real[i].expand(40, -1)
        with torch.no_grad():
            logits = decoder(many, tokens, mask, many_real).logits
        torch.testing.assert_close(scores[i], -caption_costs(logits, tokens, mask))


def watch_steps(
    decoder: AttentionDecoder, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[int, ...]]:
    step: Callable[..., Any] = decoder.step
    shapes: list[tuple[int, ...]] = []

    def watched(*arguments: Any) -> Any:
        shapes.append(tuple(arguments[0][0].shape[:2]))
        return step(*arguments)

    monkeypatch.setattr(decoder, "step", watched)
    return shapes


@pytest.mark.parametrize("most_pairs", [7, 50, 300])
def test_memory_is_bounded(
    most_pairs: int, captions: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = decoder_of()
    shapes = watch_steps(decoder, monkeypatch)
    score_captions(decoder, torch.randn(20, 8, 5), *captions, most_pairs=most_pairs)
    assert max(pictures * beginnings for pictures, beginnings in shapes) <= most_pairs


def test_a_shared_beginning_is_read_once(
    captions: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, mask = captions
    decoder = decoder_of()
    shapes = watch_steps(decoder, monkeypatch)
    score_captions(decoder, torch.randn(2, 8, 5), tokens, mask)
    for t, (pictures, beginnings) in enumerate(shapes):
        distinct = {tuple(words[:t]) for words in tokens[mask[:, t]].tolist()}
        assert (pictures, beginnings) == (2, len(distinct))
    assert sum(n for _, n in shapes) < 0.7 * int(mask.sum())


def test_the_tree_of_beginnings_gives_the_captions_back(captions: tuple[Tensor, Tensor]) -> None:
    tokens, mask = captions
    texts: list[tuple[int, ...]] = [()]
    for t, level in enumerate(shared_beginnings(tokens, mask)):
        if t > 0:
            texts = [
                (*texts[parent], word)
                for parent, word in zip(level.parent.tolist(), level.last.tolist(), strict=True)
            ]
        for caption, at in zip(level.caption.tolist(), level.beginning.tolist(), strict=True):
            assert texts[at] == tuple(tokens[caption, :t].tolist())


def test_a_mask_with_a_gap_is_refused() -> None:
    with pytest.raises(ValueError, match="gap"):
        score_captions(
            decoder_of(),
            torch.zeros(1, 2, 5),
            torch.zeros(1, 3, dtype=torch.long),
            torch.tensor([[1, 0, 1]]),
        )


def test_no_captions_and_no_pictures() -> None:
    decoder = decoder_of()
    none = torch.zeros(0, 3, dtype=torch.long)
    assert score_captions(decoder, torch.zeros(2, 8, 5), none, none).shape == (2, 0)
    some = torch.zeros(2, 3, dtype=torch.long)
    assert score_captions(decoder, torch.zeros(0, 8, 5), some, some + 1).shape == (0, 2)
