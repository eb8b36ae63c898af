"""What captioning models are trained on: likelihood, the doubly stochastic term, and contrast with
a reference model. Knows tensors only: no network, no data, no optimiser."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

OFFICIAL_FLOOR = 1e-8  # the official codes add it to a probability before they take its logarithm


def with_floor(log_p: Tensor, floor: float = OFFICIAL_FLOOR) -> Tensor:
    """log(p + floor) of log p."""
    if floor == 0:
        return log_p
    return torch.logaddexp(log_p, log_p.new_tensor(math.log(floor)))


def word_costs(
    logits: Tensor, tokens: Tensor, mask: Tensor, floor: float = OFFICIAL_FLOOR
) -> Tensor:
    """-log p of every word, 0 where the mask is: logits (batch, words, n_words), tokens and mask
    (batch, words) -> (batch, words), in fp32. A floor of 0 gives the exact likelihood."""
    log_p = torch.log_softmax(logits.float(), dim=-1)
    log_p = with_floor(log_p.gather(-1, tokens[..., None])[..., 0], floor)
    return -log_p.masked_fill(~mask.bool(), 0.0)


def caption_costs(
    logits: Tensor, tokens: Tensor, mask: Tensor, floor: float = OFFICIAL_FLOOR
) -> Tensor:
    """-log p of every caption, summed over its words: arguments as in `word_costs` -> (batch,)."""
    return word_costs(logits, tokens, mask, floor).sum(dim=1)


def doubly_stochastic(
    alphas: Tensor, mask: Tensor, form: Literal["paper", "official"] = "paper"
) -> Tensor:
    """How far each location is from being looked at once in all (Xu et al., equation 14's second
    term, without its lambda): alphas (batch, words, locations), mask (batch, words) -> ().

    "paper": sum over locations, mean over captions, a caption's own steps alone. "official": what
    both official codes compute, sum over captions and mean over locations, and the steps after
    <eos> count too: batch / locations times as much.
    """
    alphas = alphas.float()
    if form == "official":
        official: Tensor = ((1.0 - alphas.sum(dim=1)) ** 2).sum(dim=0).mean()
        return official
    looked = (alphas * mask.to(alphas.dtype)[..., None]).sum(dim=1)
    return ((1.0 - looked) ** 2).sum(dim=1).mean()


def contrastive_captioning(
    matched: Tensor,
    matched_reference: Tensor,
    mismatched: Tensor,
    mismatched_reference: Tensor,
    correction: bool = True,
) -> Tensor:
    """Tells a picture's captions from mismatched ones by how much likelier the model finds them
    than a frozen reference model does (Dai & Lin, NeurIPS 2017).

    Log likelihoods of captions, summed over words: matched (batch,), mismatched (batch, nu), each
    by the model and by the reference -> (). With G = log p_model - log p_reference:
    correction: noise-contrastive estimation, with nu mismatches for each match:
        h = sigmoid(G - log nu);  -log h(match) - sum_k log(1 - h(mismatch_k))
    without: the released code, which weighs both sides alike and so needs no constant:
        h = sigmoid(G);           -log h(match) - mean_k log(1 - h(mismatch_k))
    At both optima G is the log ratio of the two distributions.
    """
    nu = mismatched.shape[1]
    shift = math.log(nu) if correction else 0.0
    real = F.logsigmoid(matched - matched_reference.detach() - shift)
    noise = F.logsigmoid(shift - (mismatched - mismatched_reference.detach()))
    return -(real + (noise.sum(dim=1) if correction else noise.mean(dim=1))).mean()
