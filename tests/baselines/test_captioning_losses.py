"""What captioning learns from: numbers worked out by hand, and hard attention's gradient against
the one that comes from going through every way of looking."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from harness.baselines.attention_decoder import AttentionDecoder, AttentionDecoderConfig
from harness.baselines.captioning_losses import (
    caption_costs,
    contrastive_captioning,
    doubly_stochastic,
    word_costs,
)
from harness.baselines.show_attend_tell import (
    HardAttentionConfig,
    hard_attention_loss,
    look_at,
    semi_sample,
)

# ---------------------------------------------------------------- likelihood


def test_costs_are_sums_over_the_words_that_count() -> None:
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]]))
    tokens = torch.tensor([[1, 2]])
    both, first = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    expected = -math.log(0.25) - math.log(0.7)
    assert caption_costs(logits, tokens, both, floor=0).item() == pytest.approx(expected)
    assert caption_costs(logits, tokens, first).item() == pytest.approx(-math.log(0.25))
    assert word_costs(logits, tokens, first)[0, 1] == 0


def test_the_official_floor_bounds_what_an_impossible_word_costs() -> None:
    logits = torch.tensor([[[0.0, -100.0]]])
    tokens, mask = torch.tensor([[1]]), torch.ones(1, 1)
    assert caption_costs(logits, tokens, mask).item() == pytest.approx(-math.log(1e-8))
    assert caption_costs(logits, tokens, mask, floor=0).item() == pytest.approx(100)


# ---------------------------------------------------------------- doubly stochastic attention


def test_doubly_stochastic_by_hand() -> None:
    alphas = torch.tensor(
        [[[0.5, 0.5], [1.0, 0.0], [0.25, 0.75]], [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]]
    )
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    # looked: (1.5, 0.5) and (1.5, 1.5) in the paper; the first is (1.75, 1.25) with its last step
    assert doubly_stochastic(alphas, mask).item() == pytest.approx((0.5 + 0.5) / 2)
    official = ((0.75**2 + 0.5**2) + (0.25**2 + 0.5**2)) / 2
    assert doubly_stochastic(alphas, mask, form="official").item() == pytest.approx(official)


def test_without_padding_the_forms_differ_by_batch_over_locations() -> None:
    alphas = torch.rand(6, 4, 3).softmax(dim=-1)
    mask = torch.ones(6, 4)
    paper = doubly_stochastic(alphas, mask)
    torch.testing.assert_close(doubly_stochastic(alphas, mask, form="official"), paper * 6 / 3)


# ---------------------------------------------------------------- contrast with a reference


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_contrast_by_hand() -> None:
    """G is 1.5 for the match, and 0.5 and -2 for the mismatches."""
    arguments = (
        torch.tensor([-3.0]),
        torch.tensor([-4.5]),
        torch.tensor([[-6.0, -9.0]]),
        torch.tensor([[-6.5, -7.0]]),
    )
    nce = -math.log(sigmoid(1.5 - math.log(2)))
    nce -= math.log(1 - sigmoid(0.5 - math.log(2))) + math.log(1 - sigmoid(-2 - math.log(2)))
    assert contrastive_captioning(*arguments).item() == pytest.approx(nce, rel=1e-5)
    released = -math.log(sigmoid(1.5))
    released -= (math.log(1 - sigmoid(0.5)) + math.log(1 - sigmoid(-2))) / 2
    found = contrastive_captioning(*arguments, correction=False)
    assert found.item() == pytest.approx(released, rel=1e-5)


def test_a_model_equal_to_its_reference_starts_from_the_prior() -> None:
    """With nu mismatches for a match, h is 1 / (1 + nu) for all."""
    same, others = torch.tensor([-5.0, -7.0]), torch.tensor([[-8.0] * 5, [-9.0] * 5])
    expected = -math.log(1 / 6) - 5 * math.log(5 / 6)
    found = contrastive_captioning(same, same, others, others)
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("correction", [True, False])
def test_the_best_g_is_the_log_ratio_of_the_distributions(correction: bool) -> None:
    """Over two captions, matched 80:20 and mismatched 50:50."""
    g = torch.zeros(2, requires_grad=True)
    matched = torch.tensor([0] * 8 + [1] * 2)
    mismatched = torch.tensor([[0, 1, 0, 1]] * 10)
    optimiser = torch.optim.LBFGS([g], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        zero = torch.zeros(())
        loss = contrastive_captioning(g[matched], zero, g[mismatched], zero, correction)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    expected = torch.tensor([math.log(0.8 / 0.5), math.log(0.2 / 0.5)])
    torch.testing.assert_close(g.detach(), expected, atol=1e-3, rtol=0)


def test_the_reference_is_frozen() -> None:
    model, reference = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    loss = contrastive_captioning(model, reference, model[:, None], reference[:, None])
    loss.backward()  # type: ignore[no-untyped-call]
    assert reference.grad is None
    assert model.grad is not None


# ---------------------------------------------------------------- hard attention

LOCATIONS, WORDS = 3, 2
ATTENTION = (
    "attention_context.weight",
    "attention_context.bias",
    "attention_state.weight",
    "attention_score.weight",
)


@pytest.fixture
def tiny() -> tuple[AttentionDecoder, Tensor, Tensor]:
    """A decoder whose words depend much on where it looks, one picture and its caption."""
    torch.manual_seed(3)
    config = AttentionDecoderConfig(
        n_words=5, dim_word=3, ctx_dim=3, dim=4, n_layers_att=1, n_layers_init=1, dropout="none"
    )
    decoder = AttentionDecoder(config)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter)
    return decoder, 2 * torch.randn(1, LOCATIONS, 3), torch.tensor([[3, 0]])


def attention_gradient(decoder: AttentionDecoder, loss: Tensor) -> Tensor:
    parameters = dict(decoder.named_parameters())
    gradients = torch.autograd.grad(loss, [parameters[name] for name in ATTENTION])
    return torch.cat([gradient.flatten() for gradient in gradients])


def expected_cost(decoder: AttentionDecoder, context: Tensor, tokens: Tensor) -> Tensor:
    """E_s[-log p(y | s, a)], over all the ways to look: p(s) is a product of alphas."""
    total = torch.zeros(())
    for places in itertools.product(range(LOCATIONS), repeat=WORDS):
        left = list(places)
        probability = torch.ones(())

        def look(alphas: Tensor) -> Tensor:
            nonlocal probability
            place = left.pop(0)  # noqa: B023
            probability = probability * alphas[0, 0, place]
            return torch.nn.functional.one_hot(torch.tensor([[place]]), LOCATIONS).float()

        output = decoder(context, tokens, torch.ones(1, WORDS), choose=look)
        total = total + probability * caption_costs(output.logits, tokens, torch.ones(1, WORDS))[0]
    return total


def estimates(
    tiny: tuple[AttentionDecoder, Tensor, Tensor], config: HardAttentionConfig, baseline: float
) -> tuple[Tensor, Tensor]:
    """The mean of independent estimates of the attention's gradient, and its standard error."""
    decoder, context, tokens = tiny
    copies, repeats = 100, 60
    choose = look_at("sampled", torch.Generator().manual_seed(0))
    many, words = context.expand(copies, -1, -1), tokens.expand(copies, -1)
    mask = torch.ones(copies, WORDS)
    found = []
    for _ in range(repeats):
        output = decoder(many, words, mask, choose=choose)
        start = torch.tensor(baseline)
        learning = hard_attention_loss(output, words, mask, start, "sampled", config)
        found.append(attention_gradient(decoder, learning.loss))
    samples = torch.stack(found)
    return samples.mean(dim=0), samples.std(dim=0) / repeats**0.5


@pytest.mark.parametrize("baseline", [0.0, 3.0])
def test_hard_attentions_gradient_is_unbiased(
    tiny: tuple[AttentionDecoder, Tensor, Tensor], baseline: float
) -> None:
    exact = attention_gradient(tiny[0], expected_cost(*tiny))
    mean, error = estimates(tiny, HardAttentionConfig(entropy_weight=0.0), baseline)
    distance = ((mean - exact).abs() / error.clamp(min=1e-6)).max()
    assert distance < 4.5  # of two dozen components in standard errors
    assert (exact.abs() > 10 * error).any()  # there is something to be wrong about


def test_a_gradient_without_the_reward_is_caught(
    tiny: tuple[AttentionDecoder, Tensor, Tensor],
) -> None:
    exact = attention_gradient(tiny[0], expected_cost(*tiny))
    config = HardAttentionConfig(entropy_weight=0.0, reward_weight=0.0)
    mean, error = estimates(tiny, config, 0.0)
    assert ((mean - exact).abs() / error.clamp(min=1e-6)).max() > 10


def test_the_baseline_takes_variance_away(tiny: tuple[AttentionDecoder, Tensor, Tensor]) -> None:
    config = HardAttentionConfig(entropy_weight=0.0)
    cost = expected_cost(*tiny).item()
    assert estimates(tiny, config, cost)[1].sum() < estimates(tiny, config, 0.0)[1].sum()


def test_the_baseline_is_a_moving_average_and_entropy_is_rewarded(
    tiny: tuple[AttentionDecoder, Tensor, Tensor],
) -> None:
    decoder, context, tokens = tiny
    mask = torch.tensor([[1.0, 0.0]])
    output = decoder(context, tokens, mask)
    config = HardAttentionConfig(entropy_weight=0.5)
    learning = hard_attention_loss(output, tokens, mask, torch.tensor(2.0), "mean", config)
    cost = caption_costs(output.logits, tokens, mask)[0].item()
    alphas = output.alphas[0, 0]  # the masked step has no part in it
    entropy = -(alphas * alphas.log()).sum().item()
    assert learning.baseline.item() == pytest.approx(0.9 * 2.0 + 0.1 * cost, rel=1e-5)
    assert learning.loss.item() == pytest.approx(cost - 0.5 * entropy, rel=1e-5)


def test_locations_are_drawn_as_often_as_alphas_say() -> None:
    alphas = torch.tensor([0.1, 0.2, 0.7]).expand(20000, 1, 3)
    drawn = look_at("sampled", torch.Generator().manual_seed(0))(alphas)
    assert torch.equal(drawn.sum(dim=-1), torch.ones(20000, 1))
    torch.testing.assert_close(drawn.mean(dim=(0, 1)), alphas[0, 0], atol=0.015, rtol=0)
    likeliest = look_at("likeliest")(alphas[:1])
    assert likeliest.tolist() == [[[0.0, 0.0, 1.0]]]
    assert look_at("mean")(alphas) is alphas


def test_half_of_the_batches_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    looks = [semi_sample(HardAttentionConfig(), generator) for _ in range(1000)]
    assert 440 < looks.count("sampled") < 560
    assert semi_sample(HardAttentionConfig(semi_sampling=1.0)) == "sampled"
    assert semi_sample(HardAttentionConfig(semi_sampling=0.0)) == "mean"
