"""What the dual encoder learns from a batch: which candidates each text or question is told from,
by one of the objectives. Knows no data set and no training loop."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from .nce import DualEncoder, RegionSetEncoder, hinge_loss, infonce_loss, nce_loss
from .nce_recipes import Recipe
from .region_encoder import RegionBatch


class WithObjective(nn.Module):
    """A dual encoder and the loss of a batch, as Collator makes it."""

    named: Tensor
    answers: Tensor

    def __init__(
        self,
        network: DualEncoder,
        recipe: Recipe,
        named: Tensor | None = None,
        answers: Tensor | None = None,
        labels: int = 0,
    ) -> None:
        """named (words of the vocabulary,), as rows_of_tags gives it; answers (answers, longest)
        their tokens; labels: how many words name regions. The layer that names them is not kept."""
        super().__init__()
        self.network = network
        self.recipe = recipe
        self.naming = nn.Linear(network.config.region_size, labels) if labels else None
        self.register_buffer("named", named, persistent=False)
        self.register_buffer("answers", answers, persistent=False)

    def forward(
        self,
        tokens: Tensor,
        owners: Tensor,
        foil_of: Tensor,
        parts: Tensor,
        **visuals: Tensor,
    ) -> dict[str, Tensor]:
        """tokens (texts + foils, longest), or MiniLM's vectors of them; owners (texts,) the visual
        of each text; foil_of (foils,) the text that each foil stands against; parts (texts,) as
        Claim's."""
        if self.network.config.matching != "vectors":
            return {"loss": self._of_questions(tokens, owners, foil_of, visuals)}
        texts = self.network.embed_texts(tokens)
        seen = self._see(visuals)
        real, foils = texts[: len(owners)], texts[len(owners) :]
        if self.network.config.eye == "moments" or bool((parts >= 0).any()):
            loss = self._among_parts(seen, real, owners, parts, visuals.get("mask"))
        else:
            whole = seen[:, 0] if seen.dim() == 3 else seen
            loss = self._among_wholes(whole, real, foils, owners, foil_of)
        return {"loss": loss}

    def _of_questions(
        self, tokens: Tensor, owners: Tensor, foil_of: Tensor, visuals: dict[str, Tensor]
    ) -> Tensor:
        """Choices against their question's other choices, or answers against all the others."""
        network = self.network
        batch = RegionBatch(*(visuals[name] for name in ("crops", "boxes", "mask", "size")))
        assert isinstance(network.sight, RegionSetEncoder)
        looks = network.sight.cnn(batch)
        seen = network.see_regions(batch, visuals["tags"], looks)
        if network.config.matching == "question":
            rows, fits = network.see_through(tokens, seen[owners], batch.mask[owners])
            scores = network.score(rows @ network.embed_texts(self.answers).T)
            loss = self._loss(scores, visuals["answers"], visuals["options"])
            if "roles" in visuals:
                grounded = [
                    grounding_loss(fit, visuals["roles"], batch.mask[owners]) for fit in fits
                ]
                loss = loss + self.recipe.grounding * (grounded[0] + grounded[1])
        else:
            whose = torch.cat([owners, owners[foil_of]])
            each = network.match_things(tokens, self.named[tokens], seen[whose], batch.mask[whose])
            loss = self._loss(*beside_their_foils(each, len(owners), foil_of))
        if self.naming is not None:
            loss = loss + self.recipe.naming * self._naming(looks, visuals["labels"])
        return loss

    def _naming(self, looks: Tensor, labels: Tensor) -> Tensor:
        """How well what the CNN gives of a region tells its words."""
        known = labels.any(dim=2)
        if self.naming is None or not bool(known.any()):
            return looks.new_zeros(())
        told = self.naming(looks[known])
        return binary_cross_entropy_with_logits(told, labels[known]) * labels.shape[2]

    def _see(self, visuals: dict[str, Tensor]) -> Tensor:
        network = self.network
        if network.config.eye == "regions":
            batch = RegionBatch(*(visuals[name] for name in ("crops", "boxes", "mask", "size")))
            return network.embed_visuals(batch, visuals["tags"])
        if network.config.eye == "moments":
            return network.embed_visuals(visuals["pixels"], visuals["places"])
        return network.embed_visuals(visuals["pixels"])

    def _among_parts(
        self, seen: Tensor, texts: Tensor, owners: Tensor, parts: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Each text against the parts of its own visual: seen (visuals, parts, size)."""
        scores = (seen[owners] * texts[:, None]).sum(dim=2)
        if mask is None:
            mask = torch.ones(seen.shape[:2], dtype=torch.bool, device=seen.device)
        else:
            mask = mask.clone()
            mask[:, 0] = False  # the whole picture is no candidate
        return self._loss(self.network.score(scores), parts, mask[owners])

    def _among_wholes(
        self, seen: Tensor, texts: Tensor, foils: Tensor, owners: Tensor, foil_of: Tensor
    ) -> Tensor:
        """Visuals against texts, each real text in turn beside its mismatches: its own foils and,
        across the batch, the texts of other visuals; and texts against visuals."""
        count = len(owners)
        scores = self.network.score(seen @ torch.cat([texts, foils]).T)
        places = torch.arange(count, device=owners.device)
        others = owners[:, None] != owners[None, :]
        if self.recipe.across == "no":
            others = torch.zeros_like(others)
        others[places, places] = True
        mask = torch.cat([others, foil_of[None, :] == places[:, None]], dim=1)
        loss = self._loss(scores[owners], places, mask)
        if self.recipe.across == "no":
            return loss
        back = scores[:, :count].T
        return (loss + self._loss(back, owners, torch.ones_like(back, dtype=torch.bool))) / 2

    def _loss(self, scores: Tensor, real: Tensor, mask: Tensor) -> Tensor:
        if self.recipe.objective == "nce":
            return nce_loss(scores, real, mask, self.recipe.correction == "yes")
        if self.recipe.objective == "infonce":
            return infonce_loss(scores, real, mask)
        hardest = self.recipe.objective == "hinge"
        return hinge_loss(scores, real, mask, self.recipe.margin, hardest)


def grounding_loss(fits: Tensor, roles: Tensor, mask: Tensor) -> Tensor:
    """How well the first queries find what each phrase speaks of: fits (questions, queries,
    regions); roles (questions, phrases, regions), 1 where it does; mask (questions, regions)."""
    phrases = min(fits.shape[1], roles.shape[1])
    real = mask[:, None].expand(-1, phrases, -1)
    fits, roles = fits[:, :phrases][real], roles[:, :phrases][real]
    return phrases * binary_cross_entropy_with_logits(fits, roles)


def beside_their_foils(
    scores: Tensor, count: int, foil_of: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores (texts + foils,) -> what the objectives take: each of the `count` texts in column 0 of
    its row, and its foils behind it."""
    width = 1 + int(torch.bincount(foil_of, minlength=count).max())
    # foils come text by text: the place of each in its row is how many of its text came before
    column = 1 + torch.arange(len(foil_of), device=foil_of.device)
    column = column - torch.searchsorted(foil_of, foil_of)
    rows = torch.cat([torch.arange(count, device=foil_of.device), foil_of])
    columns = torch.cat([torch.zeros(count, dtype=torch.long, device=foil_of.device), column])
    table = scores.new_zeros(count, width).index_put((rows, columns), scores)
    mask = torch.zeros(count, width, dtype=torch.bool, device=scores.device)
    mask[rows, columns] = True
    return table, torch.zeros(count, dtype=torch.long, device=scores.device), mask
