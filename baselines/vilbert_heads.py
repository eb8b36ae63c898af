"""What ViLBERT's states are read with: the pretraining heads, a head per task, and their losses.

Read it beside sections 2.2 ("Training Tasks and Objectives") and 3.2 of Lu et al. 2019, and beside
12-in-1 (Lu et al. 2020) for the heads that came later. Knows tensors only: which words and regions
are masked, and what the right answers are, is told by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bert import LAYER_NORM_EPS, BertPredictionTransform, initialise
from .vilbert import ViLBert, ViLBertConfig, ViLBertOutput
from .vlbert import vqa_loss

ALIGNED = 0  # the label of a caption that is the picture's own; 1 is another picture's
_PADDED = -10000.0  # added to the logit of a region that is padding
_BETA_DROPOUT = 0.5

# The first release (vilbert_beta) has the former, with `weight_normed`; 12-in-1 has all.
BETA_HEADS = ("cls", "vil_prediction", "vil_logit", "vision_logit", "linguisic_logit")
TASK_HEADS = (*BETA_HEADS, "vil_prediction_gqa", "vil_binary_prediction", "vil_tri_prediction")


# ---------------------------------------------------------------- pretraining


class MaskedWordHead(nn.Module):
    """(..., hidden) -> (..., vocabulary); its matrix is that of the word embeddings."""

    def __init__(self, hidden_size: int, word_embeddings: nn.Embedding) -> None:
        super().__init__()
        self.transform = BertPredictionTransform(hidden_size)
        self.decoder = nn.Linear(hidden_size, word_embeddings.num_embeddings, bias=False)
        self.decoder.weight = word_embeddings.weight
        self.bias = nn.Parameter(torch.zeros(word_embeddings.num_embeddings))

    def forward(self, states: Tensor) -> Tensor:
        out: Tensor = self.decoder(self.transform(states)) + self.bias
        return out


class MaskedRegionHead(nn.Module):
    """(..., v_hidden) -> (..., classes of the detector)."""

    def __init__(self, v_hidden_size: int, classes: int) -> None:
        super().__init__()
        self.transform = BertPredictionTransform(v_hidden_size)
        self.decoder = nn.Linear(v_hidden_size, classes)

    def forward(self, states: Tensor) -> Tensor:
        out: Tensor = self.decoder(self.transform(states))
        return out


@dataclass(frozen=True)
class PretrainingLogits:
    """words (batch, tokens, vocabulary), regions (batch, regions, classes), alignment (batch, 2)
    with column ALIGNED first."""

    words: Tensor
    regions: Tensor
    alignment: Tensor


class PretrainingHeads(nn.Module):
    """Masked words, masked regions and whether the caption is the picture's."""

    def __init__(self, config: ViLBertConfig, word_embeddings: nn.Embedding) -> None:
        super().__init__()
        self.predictions = MaskedWordHead(config.hidden_size, word_embeddings)
        self.bi_seq_relationship = nn.Linear(config.bi_hidden_size, 2)
        self.imagePredictions = MaskedRegionHead(config.v_hidden_size, config.v_target_size)
        self.dropout = nn.Dropout(config.dropout)

    def alignment(self, output: ViLBertOutput) -> Tensor:
        """-> (batch, 2)."""
        out: Tensor = self.bi_seq_relationship(self.dropout(fuse(output)))
        return out

    def forward(self, output: ViLBertOutput) -> PretrainingLogits:
        return PretrainingLogits(
            words=self.predictions(output.text),
            regions=self.imagePredictions(output.image),
            alignment=self.alignment(output),
        )


def fuse(output: ViLBertOutput) -> Tensor:
    """The product of both pooled streams, element by element -> (batch, bi_hidden)."""
    return output.text_pooled * output.image_pooled


class ViLBertForPretraining(nn.Module):
    """The network of section 2.2 under the three pretraining heads."""

    def __init__(self, config: ViLBertConfig) -> None:
        super().__init__()
        self.config = config
        self.bert = ViLBert(config)
        self.cls = PretrainingHeads(config, self.bert.embeddings.word_embeddings)
        initialise(self, config.initializer_range)

    def forward(
        self,
        tokens: Tensor,
        segments: Tensor,
        token_mask: Tensor,
        features: Tensor,
        locations: Tensor,
        region_mask: Tensor,
        task: Tensor | None = None,
    ) -> PretrainingLogits:
        """Arguments as in ViLBert.forward."""
        pairs = self.bert(tokens, segments, token_mask, features, locations, region_mask, task)
        logits: PretrainingLogits = self.cls(pairs)
        return logits


def masked_word_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy, mean over the masked words; 0 where none is masked.

    logits (..., vocabulary), labels (...) with -1 where a word is not masked -> ().
    """
    total = F.cross_entropy(
        logits.flatten(0, -2), labels.flatten(), ignore_index=-1, reduction="sum"
    )
    return total / (labels >= 0).sum().clamp(min=1)


def masked_region_loss(logits: Tensor, targets: Tensor, masked: Tensor) -> Tensor:
    """KL divergence from the detector's distribution, summed over its classes and the masked
    regions, over the number of masked regions; 0 where none is masked.

    logits, targets (..., classes), targets summing to 1 each, masked (...) bool -> ().
    """
    predicted = F.log_softmax(logits[masked], dim=-1)
    return F.kl_div(predicted, targets[masked], reduction="sum") / masked.sum().clamp(min=1)


def alignment_loss(logits: Tensor, aligned: Tensor) -> Tensor:
    """Cross entropy. logits (batch, 2), aligned (batch,) True where the caption is the picture's
    own -> ()."""
    return F.cross_entropy(logits, torch.where(aligned, ALIGNED, 1 - ALIGNED))


def alignment_score(logits: Tensor) -> Tensor:
    """How sure the alignment head is that a caption is the picture's: log odds, (batch, 2) ->
    (batch,). Orders pairs as the probability of label 0 does, and does not round to 1."""
    return logits[:, ALIGNED] - logits[:, 1 - ALIGNED]


def pretraining_losses(
    logits: PretrainingLogits,
    word_labels: Tensor,
    region_targets: Tensor,
    masked_regions: Tensor,
    aligned: Tensor,
) -> dict[str, Tensor]:
    """The three losses by name; their plain sum is what is trained on.

    word_labels (batch, tokens), -1 where not masked; aligned (batch,) bool; region_targets (batch,
    regions - 1, classes) and masked_regions (batch, regions - 1) without the whole picture, which
    is never masked.
    """
    return {
        "masked_words": masked_word_loss(logits.words, word_labels),
        "masked_regions": masked_region_loss(logits.regions[:, 1:], region_targets, masked_regions),
        "alignment": alignment_loss(logits.alignment, aligned),
    }


# ---------------------------------------------------------------- tasks


class Classifier(nn.Module):
    """The two-layer head of the later release: (batch, size) -> (batch, labels)."""

    def __init__(self, size: int, hidden: int, labels: int) -> None:
        super().__init__()
        self.logit_fc = nn.Sequential(
            nn.Linear(size, hidden),
            nn.GELU(),
            nn.LayerNorm(hidden, eps=LAYER_NORM_EPS),
            nn.Linear(hidden, labels),
        )

    def forward(self, states: Tensor) -> Tensor:
        out: Tensor = self.logit_fc(states)
        return out


class WeightNormLinear(nn.Module):
    """A linear layer whose matrix is a direction times one length (Salimans & Kingma 2016, with
    one norm for the whole matrix)."""

    def __init__(self, size: int, out: int) -> None:
        super().__init__()
        plain = nn.Linear(size, out)
        self.weight_v = plain.weight
        self.weight_g = nn.Parameter(plain.weight.detach().norm())  # ()
        self.bias = plain.bias

    def forward(self, states: Tensor) -> Tensor:
        return F.linear(states, self.weight_v * (self.weight_g / self.weight_v.norm()), self.bias)


class WeightNormClassifier(nn.Module):
    """The two-layer head of the first release (vilbert_beta): (batch, size) -> (batch, labels)."""

    def __init__(self, size: int, hidden: int, labels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            WeightNormLinear(size, hidden),
            nn.ReLU(),
            nn.Dropout(_BETA_DROPOUT),
            WeightNormLinear(hidden, labels),
        )

    def forward(self, states: Tensor) -> Tensor:
        out: Tensor = self.main(states)
        return out


class ViLBertForTasks(nn.Module):
    """The network under the heads of tasks. `heads` names those to build (of TASK_HEADS);
    `weight_normed` makes vil_prediction that of the first release."""

    def __init__(
        self,
        config: ViLBertConfig,
        heads: Sequence[str] = TASK_HEADS,
        weight_normed: bool = False,
    ) -> None:
        super().__init__()
        self.config = config
        self.bert = ViLBert(config)
        self.dropout = nn.Dropout(config.dropout)
        size = config.bi_hidden_size
        answer_head = WeightNormClassifier if weight_normed else Classifier
        build: dict[str, Callable[[], nn.Module]] = {
            "cls": lambda: PretrainingHeads(config, self.bert.embeddings.word_embeddings),
            "vil_prediction": lambda: answer_head(size, 2 * size, config.answers),
            "vil_prediction_gqa": lambda: Classifier(size, 2 * size, config.gqa_answers),
            "vil_binary_prediction": lambda: Classifier(2 * size, 2 * size, 2),
            "vil_logit": lambda: nn.Linear(size, 1),
            "vil_tri_prediction": lambda: nn.Linear(size, 3),
            "vision_logit": lambda: nn.Linear(config.v_hidden_size, 1),
            "linguisic_logit": lambda: nn.Linear(config.hidden_size, 1),  # spelt so in checkpoints
        }
        for name in heads:
            self.add_module(name, build[name]())
        initialise(self, config.initializer_range)

    def forward(
        self,
        tokens: Tensor,
        segments: Tensor,
        token_mask: Tensor,
        features: Tensor,
        locations: Tensor,
        region_mask: Tensor,
        task: Tensor | None = None,
    ) -> ViLBertOutput:
        """Arguments as in ViLBert.forward; the result goes to the methods below."""
        out: ViLBertOutput = self.bert(
            tokens, segments, token_mask, features, locations, region_mask, task
        )
        return out

    def _read(self, head: str, states: Tensor) -> Tensor:
        """AttributeError where the model was built without that head."""
        out: Tensor = self.get_submodule(head)(states)
        return out

    def _fused(self, output: ViLBertOutput) -> Tensor:
        fused: Tensor = self.dropout(fuse(output))
        return fused

    def answer_logits(self, output: ViLBertOutput) -> Tensor:
        """VQA -> (batch, answers)."""
        return self._read("vil_prediction", self._fused(output))

    def gqa_logits(self, output: ViLBertOutput) -> Tensor:
        """GQA -> (batch, gqa_answers)."""
        return self._read("vil_prediction_gqa", self._fused(output))

    def pair_logits(self, output: ViLBertOutput) -> Tensor:
        """A statement about two pictures (NLVR2): rows 2i and 2i + 1 hold the same statement, each
        with one of them -> (batch / 2, 2)."""
        fused = self._fused(output)
        return self._read("vil_binary_prediction", fused.view(len(fused) // 2, -1))

    def match_logit(self, output: ViLBertOutput) -> Tensor:
        """How well text and picture go together (retrieval, VCR) -> (batch,)."""
        return self._read("vil_logit", self._fused(output))[:, 0]

    def entailment_logits(self, output: ViLBertOutput) -> Tensor:
        """Visual entailment -> (batch, 3)."""
        return self._read("vil_tri_prediction", self._fused(output))

    def region_logits(self, output: ViLBertOutput) -> Tensor:
        """Whether a region is meant (referring expressions) -> (batch, regions), far below all
        others where padded."""
        logits = self._read("vision_logit", self.dropout(output.image))[..., 0]
        return logits + (~output.image_mask).to(logits.dtype) * _PADDED

    def word_logits(self, output: ViLBertOutput) -> Tensor:
        """One number per word; no published task uses it -> (batch, tokens)."""
        return self._read("linguisic_logit", self.dropout(output.text))[..., 0]


# ---------------------------------------------------------------- losses of tasks (section 3.2)


def answer_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """VQA: binary cross entropy against soft answer scores, summed over answers, mean over the
    batch. logits, targets (batch, answers), targets in [0, 1] -> ()."""
    return vqa_loss(logits, targets)


def choice_loss(scores: Tensor, right: Tensor) -> Tensor:
    """VCR: cross entropy over the match logits of a question's responses.

    scores (batch, responses), right (batch,) the right one's place -> ().
    """
    return F.cross_entropy(scores, right)


def soft_iou_targets(iou: Tensor) -> Tensor:
    """A region's target: its IoU with the box that is meant, 0 below one half. Any shape."""
    return iou.where(iou >= 0.5, 0.0)


def region_loss(logits: Tensor, iou: Tensor) -> Tensor:
    """Referring expressions: binary cross entropy against soft IoU, summed over regions, mean over
    the batch.

    logits (batch, regions) as region_logits gives them, iou (batch, regions) in [0, 1], 0 where
    padded -> ().
    """
    return vqa_loss(logits, soft_iou_targets(iou))


def retrieval_choices(
    caption: Tensor,
    picture: Tensor,
    other_caption: Tensor,
    other_picture: Tensor,
    hard_caption: Tensor,
) -> tuple[Tensor, Tensor]:
    """The four pairs among which retrieval training chooses: the right one, the picture with a
    random caption, the caption with a random picture, and the picture with a hard caption, one of a
    picture that looks like it.

    All (batch,) row numbers of captions and of pictures -> both sides' rows (batch, 4), to be
    joined flattened.
    """
    captions = torch.stack([caption, other_caption, caption, hard_caption], dim=1)
    pictures = torch.stack([picture, picture, other_picture, picture], dim=1)
    return captions, pictures


def retrieval_loss(scores: Tensor) -> Tensor:
    """Cross entropy of choosing the right pair. scores (batch, 4), the right pair first -> ()."""
    return choice_loss(scores, scores.new_zeros(len(scores), dtype=torch.long))
