"""Show, Attend and Tell (Xu et al., ICML 2015): what is its own beside the shared decoder, above
all hard attention (section 4.1): sampled locations, learnt by REINFORCE. Knows tensors only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from . import attention_decoder
from .attention_decoder import AttentionDecoder, AttentionDecoderConfig, Choose, DecoderOutput
from .captioning_losses import caption_costs

SHOW_ATTEND_TELL = AttentionDecoderConfig()  # evaluate_coco.py's settings

LookKind: TypeAlias = Literal["sampled", "likeliest", "mean"]


@dataclass(frozen=True)
class HardAttentionConfig:
    """How hard attention learns. The official code has reward_weight 0.1 and sums both weighted
    terms over the batch, where its cost (and all here) is a mean."""

    semi_sampling: float = 0.5  # how often a batch samples; otherwise it takes the mean (soft)
    baseline_decay: float = 0.9
    reward_weight: float = 1.0  # lambda_r; 1 makes the gradient unbiased
    entropy_weight: float = 0.002  # lambda_e


@dataclass(frozen=True)
class HardAttentionLoss:
    """loss () to go down from; costs (batch,), -log p of the captions given where it looked;
    baseline (), the moving average to hand to the next call."""

    loss: Tensor
    costs: Tensor
    baseline: Tensor


def from_official(state: Mapping[str, Tensor]) -> AttentionDecoder:
    """The decoder with capgen.py's weights, by its names. Raises ValueError for other names."""
    return attention_decoder.from_official(state, SHOW_ATTEND_TELL)


def look_at(kind: LookKind, generator: torch.Generator | None = None) -> Choose:
    """Turns alphas (pictures, width, locations) into weights of the same shape: one location drawn
    from them (equations 8 and 9), the likeliest one, or the alphas (equation 13)."""

    def choose(alphas: Tensor) -> Tensor:
        if kind == "mean":
            return alphas
        if kind == "sampled":
            rows = alphas.detach().flatten(0, -2)
            place = torch.multinomial(rows, 1, generator=generator).view(*alphas.shape[:-1], 1)
        else:
            place = alphas.argmax(dim=-1, keepdim=True)
        return torch.zeros_like(alphas).scatter(-1, place, 1.0)

    return choose


def semi_sample(config: HardAttentionConfig, generator: torch.Generator | None = None) -> LookKind:
    """Throws the batch's coin: whether this step of training samples or takes the mean."""
    heads = torch.rand((), generator=generator) < config.semi_sampling
    return "sampled" if heads else "mean"


def hard_attention_loss(
    output: DecoderOutput,
    tokens: Tensor,
    mask: Tensor,
    baseline: Tensor,
    look: LookKind,
    config: HardAttentionConfig,
) -> HardAttentionLoss:
    """The learning rule at the end of section 4.1, as a loss whose gradient it is:

        cost + lambda_r (cost - b) log p(s) - lambda_e H[s]

    where s is where the decoder looked and the cost in brackets is a number. `output` comes from
    `forward` with choose=look_at(look); tokens and mask (batch, words); baseline (), 0 at first.
    """
    costs = caption_costs(output.logits, tokens, mask)
    kept = mask.to(output.alphas.dtype)
    log_alphas = output.alphas.clamp(min=torch.finfo(output.alphas.dtype).tiny).log()
    entropy = -((output.alphas * log_alphas).sum(dim=-1) * kept).sum(dim=1)  # (batch,)
    loss = costs - config.entropy_weight * entropy
    if look == "sampled":
        log_p = ((output.attended * log_alphas).sum(dim=-1) * kept).sum(dim=1)
        loss = loss + config.reward_weight * (costs.detach() - baseline) * log_p
    decay = config.baseline_decay
    moved = decay * baseline + (1.0 - decay) * costs.detach().mean()
    return HardAttentionLoss(loss.mean(), costs, moved)
