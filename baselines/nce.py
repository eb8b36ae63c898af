"""A dual encoder and three objectives that teach it to tell real pairs from mismatches: noise
contrastive estimation (Gutmann & Hyvarinen 2010; in captioning Dai & Lin 2017), InfoNCE (van den
Oord et al. 2018) and the hinge of VSE++ (Faghri et al. 2018). Knows no files and no data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from . import efficientnet, minilm
from .nce_matching import SeenThroughQuestion, WordsOnThings
from .region_encoder import RegionBatch, RegionCNN
from .visual_encoder import ClipEncoder, PictureEncoder, VisualConfig, WindowEncoder

Objective: TypeAlias = Literal["nce", "infonce", "hinge", "hinge-sum"]
Eye: TypeAlias = Literal["pictures", "regions", "clips", "moments", "efficientnet-lite0"]
TextSide: TypeAlias = Literal["words", "minilm"]
Matching: TypeAlias = Literal["vectors", "things", "question"]

# ---------------------------------------------------------------- objectives
#
# Each takes scores (rows, candidates), the place of each row's real candidate (rows,), and a mask
# (rows, candidates), True for the real one and for the mismatches it is told from. What is not in
# the mask is no candidate: padding, or a caption that holds too. Each gives a mean over the rows.


def nce_loss(scores: Tensor, real: Tensor, mask: Tensor, correction: bool = True) -> Tensor:
    """Binary classification: is a pair real, or one of the k mismatches drawn beside it?

    With h = sigmoid(s - log k), the probability of "real" where one pair in k + 1 is real:
    -log h(real) - sum over the mismatches of log(1 - h). Without `correction` Dai & Lin's code:
    h = sigmoid(s), and the sum divided by k.
    """
    mismatches = mask & ~_one_hot(real, mask)
    k = mismatches.sum(dim=1, keepdim=True).clamp(min=1).to(scores.dtype)
    logits = scores - k.log() if correction else scores
    of_real = logsigmoid(logits.gather(1, real[:, None]))[:, 0]
    # log(1 - sigmoid(x)) = log sigmoid(-x)
    of_mismatches = (logsigmoid(-logits) * mismatches).sum(dim=1)
    if not correction:
        of_mismatches = of_mismatches / k[:, 0]
    return -(of_real + of_mismatches).mean()


def infonce_loss(scores: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """Which of the candidates is the real one? Cross entropy over the row."""
    return cross_entropy(scores.masked_fill(~mask, -1e9), real)


def hinge_loss(
    scores: Tensor, real: Tensor, mask: Tensor, margin: float = 0.2, hardest: bool = True
) -> Tensor:
    """[margin + s(mismatch) - s(real)]_+ of the hardest mismatch (VSE++), or the sum over all."""
    mismatches = mask & ~_one_hot(real, mask)
    cost = (margin + scores - scores.gather(1, real[:, None])).clamp(min=0.0)
    cost = cost.masked_fill(~mismatches, 0.0)
    return (cost.amax(dim=1) if hardest else cost.sum(dim=1)).mean()


def _one_hot(places: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).scatter_(1, places[:, None], True)


# ---------------------------------------------------------------- encoders


@dataclass(frozen=True)
class DualConfig:
    """Sizes of a dual encoder. `eye`: what it sees pictures by: "pictures" whole, "regions" by
    crops that attend to each other, "clips" whole, "moments" by windows of a clip,
    "efficientnet-lite0" by a frozen CNN. `text`: what reads texts, "words" by a recurrent network
    that is trained along, "minilm" by a frozen transformer. `matching`: a
    pair's score is the product of two vectors; or, of a text that names "things" by tag, a sum over
    its words; or the picture is seen through a "question", and its vector matched with answers'."""

    vocab_size: int
    eye: Eye = "pictures"
    objective: Objective = "infonce"
    visual: VisualConfig = field(default_factory=VisualConfig)
    word_size: int = 64
    text_hidden: int = 128  # of each direction
    region_size: int = 96
    region_layers: int = 2
    region_side: int = 24
    tagged: bool = False  # regions are the things that texts name by tag
    tags: int = 16  # how many can be told apart; later ones share the last
    size: int = 256  # of the joint space
    matching: Matching = "vectors"
    queries: int = 4  # that a question puts to the regions
    text: TextSide = "words"
    dropout: float = 0.0  # of what a frozen network gives


class TextEncoder(nn.Module):
    """Token ids -> a state for each word and a vector each: word embeddings, a recurrent layer in
    each direction, and the greatest value of each channel over the words."""

    def __init__(self, config: DualConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, config.word_size, padding_idx=0)
        self.onward = nn.GRU(config.word_size, config.text_hidden, batch_first=True)
        self.back = nn.GRU(config.word_size, config.text_hidden, batch_first=True)
        self.dense = nn.Linear(2 * config.text_hidden, config.size)

    def states(self, tokens: Tensor) -> Tensor:
        """tokens (texts, longest), 0 = padding at the end -> (texts, longest, 2 text_hidden), which
        means nothing in padding. The second half was read from the end, and turned back."""
        real = (tokens != 0)[:, :, None]
        words = self.words(tokens)
        # Padding stays at the end of either reading, so that it moves no state: a text's vector
        # does not depend on its batch. Twice as fast as packed sequences.
        places = torch.arange(tokens.shape[1], device=tokens.device)
        mirrored = (real.sum(dim=1) - 1 - places).clamp(min=0)[:, :, None]
        turned = words.gather(1, mirrored.expand_as(words))
        back = self.back(turned)[0]
        return torch.cat([self.onward(words)[0], back.gather(1, mirrored.expand_as(back))], dim=2)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (texts, longest), 0 = padding at the end -> (texts, size)."""
        states, real = self.states(tokens), tokens != 0
        pooled: Tensor = self.dense(states.masked_fill(~real[:, :, None], -1.0).amax(dim=1))
        return pooled


class FrozenHead(nn.Module):
    """A frozen network's vectors -> a vector each: brought to one length, then a dense layer. No
    more than that: it is to be learnt from some hundred photographs."""

    def __init__(self, channels: int, size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(channels, size)

    def forward(self, vectors: Tensor) -> Tensor:
        """(batch, channels), any float type -> (batch, size)."""
        even = normalize(vectors, dim=-1) * vectors.shape[-1] ** 0.5
        dense: Tensor = self.dense(self.dropout(even.to(self.dense.weight.dtype)))
        return dense


class RegionSetEncoder(nn.Module):
    """Regions -> a vector each, in the light of the others: crops through a CNN, places, and, where
    a text may name them, tags; then a transformer over the picture's regions. Row 0 is the whole
    picture, whose vector stands for all."""

    def __init__(self, config: DualConfig) -> None:
        super().__init__()
        width = config.region_size
        self.cnn = RegionCNN(config.region_side, (16, 32, 64), width)
        self.place = nn.Sequential(nn.Linear(7, width), nn.ReLU(), nn.Linear(width, width))
        self.tags = nn.Embedding(config.tags + 1, width, padding_idx=0)
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.among = nn.TransformerEncoder(layer, config.region_layers, enable_nested_tensor=False)
        self.dense = nn.Linear(width, config.size)

    def forward(self, batch: RegionBatch, tags: Tensor, looks: Tensor | None = None) -> Tensor:
        """tags (pictures, regions), 0 = none; looks, where it is at hand, what the CNN gave ->
        (pictures, regions, size)."""
        seen = (
            (self.cnn(batch) if looks is None else looks)
            + self.place(_geometry(batch).to(self.dense.weight.dtype))
            + self.tags(tags)
        )
        states = self.among(seen, src_key_padding_mask=~batch.mask)
        placed: Tensor = self.dense(states)
        return placed


def _geometry(batch: RegionBatch) -> Tensor:
    """Corners, middle and area as parts of the picture, -1 to 1, (pictures, regions, 7)."""
    size = batch.size[:, None]
    low, high = batch.boxes[..., :2] / size, batch.boxes[..., 2:] / size
    area = (high - low).prod(dim=-1, keepdim=True)
    return torch.cat([low, high, (low + high) / 2, area], dim=-1) * 2 - 1


class DualEncoder(nn.Module):
    """A visual encoder and a text encoder into one space of unit vectors. Their product, scaled
    and shifted by two learned numbers, is a pair's score: for `nce` the logarithm of how much more
    often the pair is real than by chance, which no product of unit vectors could be."""

    def __init__(self, config: DualConfig) -> None:
        super().__init__()
        self.config = config
        self.text: TextEncoder | FrozenHead
        self.sight: nn.Module
        if config.text == "minilm":
            # a caption is short: it can spare less than a photograph
            self.text = FrozenHead(minilm.CHANNELS, config.size, config.dropout / 2)
        else:
            self.text = TextEncoder(config)
        if config.eye == "pictures":
            self.sight = PictureEncoder(config.visual)
        elif config.eye == "clips":
            self.sight = ClipEncoder(config.visual)
        elif config.eye == "regions":
            self.sight = RegionSetEncoder(config)
        elif config.eye == "efficientnet-lite0":
            self.sight = FrozenHead(efficientnet.CHANNELS, config.size, config.dropout)
        else:
            self.sight = WindowEncoder(config.visual, config.size)
        if config.matching == "things":
            self.words = WordsOnThings(2 * config.text_hidden, config.size)
        elif config.matching == "question":
            self.glance = SeenThroughQuestion(config.size, config.size, config.queries)
        self.log_scale = nn.Parameter(torch.tensor(2.5))
        self.shift = nn.Parameter(torch.tensor(0.0))

    def embed_texts(self, tokens: Tensor) -> Tensor:
        """tokens (texts, longest), or, with MiniLM, its vectors (texts, 384) -> unit vectors
        (texts, size)."""
        return normalize(self.text(tokens), dim=-1)

    def embed_visuals(self, *visuals: object) -> Tensor:
        """What the eye takes -> unit vectors (..., size)."""
        return normalize(self.sight(*visuals), dim=-1)

    def see_regions(self, batch: RegionBatch, tags: Tensor, looks: Tensor | None = None) -> Tensor:
        """The regions as match_things and see_through take them, (pictures, regions, size)."""
        seen: Tensor = self.sight(batch, tags, looks)
        return seen

    def match_things(self, tokens: Tensor, named: Tensor, regions: Tensor, mask: Tensor) -> Tensor:
        """Scores (texts,) of texts, each with the regions of its own picture. Arguments as
        WordsOnThings has them."""
        assert isinstance(self.text, TextEncoder)
        scores: Tensor = self.words(self.text.states(tokens), tokens != 0, named, regions, mask)
        return scores

    def see_through(
        self, questions: Tensor, regions: Tensor, mask: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """questions (questions, longest) tokens; regions (questions, regions, size) of its own
        picture, for each -> unit vectors (questions, size), to be matched with answers', and the
        fits that SeenThroughQuestion gives."""
        seen, fits = self.glance(self.text(questions), regions, mask)
        return normalize(seen, dim=-1), fits

    def score(self, cosines: Tensor) -> Tensor:
        """Scores as the objective wants them: VSE++ measures its margin in cosines."""
        if self.config.objective.startswith("hinge"):
            return cosines
        return cosines * self.log_scale.exp().clamp(max=100.0) + self.shift
