"""What the captioners learn from: likelihood with soft or hard attention, contrast with a frozen
reference, and, for training only, what is annotated. Knows no data set and no optimiser."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention_decoder import UNKNOWN, DecoderOutput
from .captioner_network import CaptionerNetwork
from .captioning_losses import caption_costs, contrastive_captioning, doubly_stochastic
from .show_attend_tell import HardAttentionConfig, hard_attention_loss, look_at, semi_sample

_HARD = HardAttentionConfig()
_LITTLE = 1e-6  # of attention, so that its logarithm is finite


class Weights(Protocol):
    """Which losses there are, and how much each counts."""

    @property
    def objective(self) -> str: ...
    @property
    def mismatches(self) -> int: ...
    @property
    def correction(self) -> str: ...
    @property
    def doubly_stochastic(self) -> float: ...
    @property
    def doubly_stochastic_form(self) -> str: ...
    @property
    def region_loss(self) -> float: ...
    @property
    def word_loss(self) -> float: ...
    @property
    def attention_loss(self) -> float: ...
    @property
    def window_loss(self) -> float: ...
    @property
    def nothing(self) -> float: ...
    @property
    def word_dropout(self) -> float: ...


class WithLosses(nn.Module):
    """A network and the loss of a batch, as Collator makes it. `labels`: how many words annotate
    things; the layers that name them and spot words, from the annotation vectors, are not kept."""

    def __init__(
        self,
        network: CaptionerNetwork,
        weights: Weights,
        labels: int,
        reference: CaptionerNetwork | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.weights = weights
        self.naming = nn.Linear(network.config.vision.size, labels) if labels else None
        vision, decoder = network.config.vision, network.config.decoder
        self.spotting = nn.Linear(vision.size, decoder.n_words) if weights.word_loss else None
        self.baseline: Tensor
        self.register_buffer("baseline", torch.zeros(()))
        # in a list, so that it is neither trained nor kept in checkpoints
        self._reference = [] if reference is None else [reference.eval().requires_grad_(False)]

    def forward(
        self,
        visuals: Tensor,
        tokens: Tensor,
        mask: Tensor,
        owners: Tensor,
        things: Tensor | None = None,
        inside: Tensor | None = None,
        windows: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """visuals (batch, ...); tokens, mask (texts, words); owners (texts,) the visual of each
        text; things (batch, locations, labels); inside (texts, locations), how much of each
        location the text's box covers; windows (texts, n, 2), the right one first."""
        if windows is not None:
            return {"loss": self._among_windows(visuals, tokens, mask, owners, windows)}
        seen = self.network.see(visuals)
        if self._reference:
            loss = self._against_reference(visuals, seen, tokens, mask, owners)
        else:
            loss = self._likelihood(self._sometimes_nothing(seen[owners]), tokens, mask, inside)
        if self.spotting is not None:
            spotted = self._spotted(self.spotting(seen), tokens, mask, owners)
            loss = loss + self.weights.word_loss * spotted
        if things is not None and self.naming is not None:
            named = F.binary_cross_entropy_with_logits(self.naming(seen), things, reduction="sum")
            loss = loss + self.weights.region_loss * named / len(seen)
        return {"loss": loss}

    def _likelihood(
        self, context: Tensor, tokens: Tensor, mask: Tensor, inside: Tensor | None
    ) -> Tensor:
        if self.weights.objective == "hard":
            look = semi_sample(_HARD)
            output = self.network.decoder(context, tokens, mask, choose=look_at(look))
            hard = hard_attention_loss(output, tokens, mask, self.baseline, look, _HARD)
            self.baseline.copy_(hard.baseline)
            loss = hard.loss
        else:
            output = self.network.decoder(context, self._sometimes_unknown(tokens), mask)
            loss = caption_costs(output.logits, tokens, mask).mean()
        loss = loss + self._all_looked_at(output, mask)
        if inside is not None and self.weights.attention_loss:
            rows = torch.arange(len(tokens), device=tokens.device)
            at_end = output.alphas[rows, mask.sum(dim=1) - 1]  # having read the whole expression
            within = (at_end * inside / inside.amax(dim=1, keepdim=True)).sum(dim=1)
            loss = loss - self.weights.attention_loss * (within + _LITTLE).log().mean()
        return loss

    def _spotted(self, logits: Tensor, tokens: Tensor, mask: Tensor, owners: Tensor) -> Tensor:
        """Which words stand in a visual's texts, by the location that shows each best (Fang et al.
        2015 use a noisy or): logits (batch, locations, words). It reaches the vision without
        passing through the recurrence."""
        pooled = torch.logsumexp(logits, dim=1) - math.log(logits.shape[1])
        said = torch.zeros_like(pooled)
        said[owners[:, None].expand_as(tokens)[mask], tokens[mask]] = 1.0
        loss = F.binary_cross_entropy_with_logits(pooled, said, reduction="sum")
        return loss / len(pooled)

    def _all_looked_at(self, output: DecoderOutput, mask: Tensor) -> Tensor | float:
        if not self.weights.doubly_stochastic:
            return 0.0
        form: Any = self.weights.doubly_stochastic_form
        return self.weights.doubly_stochastic * doubly_stochastic(output.alphas, mask, form)

    def _sometimes_unknown(self, tokens: Tensor) -> Tensor:
        """What was said, with some words unknown (Bowman et al. 2016): the next word must come from
        what is seen."""
        if not self.weights.word_dropout:
            return tokens
        lost = torch.rand(tokens.shape, device=tokens.device) < self.weights.word_dropout
        return tokens.masked_fill(lost, UNKNOWN)

    def _sometimes_nothing(self, context: Tensor) -> Tensor:
        """The annotations, for some texts those of no visual."""
        blank = torch.rand(len(context), 1, 1, device=context.device) < self.weights.nothing
        return torch.where(blank, self.network.nothing, context)

    def _against_reference(
        self, visuals: Tensor, seen: Tensor, tokens: Tensor, mask: Tensor, owners: Tensor
    ) -> Tensor:
        """Dai & Lin: real captions against those of other visuals of the batch, by how much
        likelier the model finds them than the reference does."""
        (reference,) = self._reference
        matched = self._log_p(self.network, seen[owners], tokens, mask)
        with torch.no_grad():
            before = reference.see(visuals)
            matched_before = self._log_p(reference, before[owners], tokens, mask)
        pairs, pairs_before = [], []
        for visual in _mismatched(owners, len(visuals), self.weights.mismatches):
            pairs.append(self._log_p(self.network, seen[visual], tokens, mask))
            with torch.no_grad():
                pairs_before.append(self._log_p(reference, before[visual], tokens, mask))
        return contrastive_captioning(
            matched,
            matched_before,
            torch.stack(pairs, dim=1),
            torch.stack(pairs_before, dim=1),
            self.weights.correction == "yes",
        )

    def _log_p(
        self, network: CaptionerNetwork, context: Tensor, tokens: Tensor, mask: Tensor
    ) -> Tensor:
        return -caption_costs(network.decoder(context, tokens, mask).logits, tokens, mask)

    def _among_windows(
        self, visuals: Tensor, tokens: Tensor, mask: Tensor, owners: Tensor, windows: Tensor
    ) -> Tensor:
        """The sentence given its window alone, and which of the windows makes it likeliest."""
        texts, count = windows.shape[:2]
        context, real = self.network.vision.windows(visuals[owners], windows)
        repeated = (part.repeat_interleave(count, dim=0) for part in (tokens, mask))
        words, kept = repeated
        output = self.network.decoder(context, words, kept, real)
        log_p = -caption_costs(output.logits, words, kept, floor=0.0).view(texts, count)
        right = torch.zeros(texts, dtype=torch.long, device=log_p.device)
        return F.cross_entropy(log_p, right) * self.weights.window_loss - log_p[:, 0].mean()


def _mismatched(owners: Tensor, visuals: int, most: int) -> list[Tensor]:
    """Visuals that texts do not belong to: `most` tensors (texts,), fewer in a small batch."""
    shifts = torch.randperm(visuals - 1)[:most] + 1 if visuals > 1 else torch.zeros(0)
    return [(owners + int(shift)) % visuals for shift in shifts.tolist()]
