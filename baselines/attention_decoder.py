"""The decoder that Show, Attend and Tell (Xu et al., ICML 2015) and temporal attention (Yao et al.,
ICCV 2015) share: an LSTM that looks at a weighted mean of annotation vectors before each word.

Read it beside section 3.1 of the first; the equation numbers are its. The numbers are those of the
official code (capgen.py, model_attention.py), whose weights load by `from_official`. Knows tensors
only: locations of a picture and frames of a video are the same to it. No files, no training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

END, UNKNOWN, FIRST_WORD = 0, 1, 2  # token ids of the official code; words from 2
NO_WORD = -1  # y_0: there is no <start> token, the first embedding is the zero vector
_INITIAL_SCALE = 0.01  # of the official code's random matrices

Dropout: TypeAlias = Literal["official", "modern", "none"]
Choose: TypeAlias = Callable[[Tensor], Tensor]
State: TypeAlias = tuple[Tensor, Tensor]  # h and c, each (pictures, width, dim)
Step: TypeAlias = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class AttentionDecoderConfig:
    """Sizes and options, by the official code's names; the defaults are its model of a picture.

    `n_layers_init` counts as capgen.py does: the layer that gives h_0 is one of them, so 1 means no
    hidden layer. (model_attention.py counts hidden layers alone: its 0 is 1 here.)
    """

    n_words: int = 10000  # with <eos> = 0 and UNK = 1
    dim_word: int = 512
    ctx_dim: int = 512
    dim: int = 1800
    n_layers_att: int = (
        2  # the attention MLP's layers over the annotations, its hidden one included
    )
    n_layers_init: int = 2
    selector: bool = True  # the gate beta_t of section 4.2.1
    prev2out: bool = True  # equation 7's E y_{t-1}
    ctx2out: bool = True  # equation 7's L_z z_t
    dropout: Dropout = "official"  # of the old kind: never scaled up, x (1 - rate) outside training
    dropout_rate: float = 0.5
    lstm_dropout: bool = False  # also on the i, f and o gates, before the sigmoid
    mask_padding: bool = False  # True: padded annotations get no weight; the official codes give it


class DecoderOutput(NamedTuple):
    """What a caption's words are read from, at every step.

    logits (batch, words, n_words); alphas (batch, words, locations), the attention, each row of
    which sums to 1; selector (batch, words), beta, 1 where the model has none; attended (batch,
    words, locations), the weights that z_t was made with: alphas, unless `choose` changed them.
    """

    logits: Tensor
    alphas: Tensor
    selector: Tensor
    attended: Tensor


class Annotations(NamedTuple):
    """Annotation vectors of pictures, with what the attention needs of them, computed once.

    vectors (pictures, locations, ctx_dim), a_i of the paper; projected, of the same shape, their
    part of the attention MLP; hidden (pictures, locations) True where no weight may go, or None.
    """

    vectors: Tensor
    projected: Tensor
    hidden: Tensor | None

    def of(self, pictures: Tensor) -> Annotations:
        """Those of some pictures."""
        hidden = None if self.hidden is None else self.hidden[pictures]
        return Annotations(self.vectors[pictures], self.projected[pictures], hidden)


class Look(NamedTuple):
    """One step of the attention: alpha and attended (pictures, width, locations), beta (pictures,
    width, 1), z (pictures, width, ctx_dim)."""

    alpha: Tensor
    attended: Tensor
    beta: Tensor
    z: Tensor


class AttentionDecoder(nn.Module):
    """The conditional LSTM. Vectors of a step have two leading axes, pictures and `width`: 1 while
    training, the beam while decoding, captions while scoring many against one picture."""

    def __init__(self, config: AttentionDecoderConfig) -> None:
        super().__init__()
        self.config = config
        word, ctx, dim = config.dim_word, config.ctx_dim, config.dim
        self.embedding = nn.Embedding(config.n_words, word)  # E
        self.init_hidden = nn.ModuleList(
            nn.Linear(ctx, ctx) for _ in range(config.n_layers_init - 1)
        )
        self.init_state = nn.Linear(ctx, dim)  # f_init,h
        self.init_memory = nn.Linear(ctx, dim)  # f_init,c
        self.attention_context = nn.Linear(ctx, ctx)
        self.attention_deeper = nn.ModuleList(
            nn.Linear(ctx, ctx) for _ in range(config.n_layers_att - 1)
        )
        self.attention_state = nn.Linear(dim, ctx, bias=False)
        self.attention_score = nn.Linear(ctx, 1)
        self.selector = nn.Linear(dim, 1) if config.selector else None
        self.gates_word = nn.Linear(
            word, 4 * dim
        )  # equation 1's T, in three parts; rows i, f, o, c
        self.gates_state = nn.Linear(dim, 4 * dim, bias=False)
        self.gates_context = nn.Linear(ctx, 4 * dim, bias=False)
        self.output_state = nn.Linear(dim, word)  # L_h
        self.output_context = nn.Linear(ctx, word) if config.ctx2out else None  # L_z
        self.output_word = nn.Linear(word, config.n_words)  # L_o
        _initialise(self)

    def forward(
        self,
        context: Tensor,
        tokens: Tensor,
        mask: Tensor,
        context_mask: Tensor | None = None,
        choose: Choose | None = None,
    ) -> DecoderOutput:
        """Reads captions word by word, each step having seen the words before.

        context (batch, locations, ctx_dim), 0 where padded; tokens (batch, words), each caption
        ended by <eos>; mask (batch, words) true up to and with <eos>; context_mask (batch,
        locations) true where real, at least one a row. `choose` turns a step's alphas into the
        weights that are used (hard attention). Steps that the mask leaves out keep the state, and
        their outputs mean nothing, but for the official doubly stochastic term.
        """
        words = self.embed_previous(tokens)  # (batch, words, dim_word)
        gates = self.gates_word(words).unbind(dim=1)  # not indexed: its gradient is one stack
        keep = mask.bool()[:, :, None, None]
        annotations = self.annotate(context, context_mask)
        h, c = self.initial_state(context, context_mask)
        weight = self.state_weight()
        states, looks = [], []
        for t in range(tokens.shape[1]):
            (new_h, new_c), look = self.step((h, c), gates[t][:, None], annotations, weight, choose)
            h = torch.where(keep[:, t], new_h, h)
            c = torch.where(keep[:, t], new_c, c)
            states.append(h)
            looks.append(look)
        alphas, attended, beta, z = (torch.cat(part, dim=1) for part in zip(*looks, strict=True))
        logits = self.read_out(torch.cat(states, dim=1), z, words)
        return DecoderOutput(logits, alphas, beta[..., 0], attended)

    def embed_previous(self, tokens: Tensor) -> Tensor:
        """E y_{t-1} of every step: tokens (batch, words) -> (batch, words, dim_word), first 0."""
        return F.pad(self.embedding(tokens[:, :-1]), (0, 0, 1, 0))

    def embed(self, tokens: Tensor) -> Tensor:
        """E y of tokens of any shape, the zero vector for NO_WORD."""
        known: Tensor = self.embedding(tokens.clamp(min=0))
        return known * (tokens >= 0)[..., None]

    def annotate(self, context: Tensor, context_mask: Tensor | None) -> Annotations:
        """The part of the attention that no state changes: one projection, then tanh layers."""
        projected = self.attention_context(context)
        for layer in self.attention_deeper:
            projected = torch.tanh(layer(projected))
        masked = self.config.mask_padding and context_mask is not None
        hidden = ~context_mask.bool() if masked and context_mask is not None else None
        return Annotations(context, projected, hidden)

    def initial_state(self, context: Tensor, context_mask: Tensor | None) -> State:
        """h_0 and c_0 from the mean annotation (section 3.1.2), (pictures, 1, dim) each. Padded
        annotations are not counted; the official code sums them all the same, and they are 0."""
        if context_mask is None:
            mean = context.mean(dim=1, keepdim=True)
        else:
            real = context_mask.to(context.dtype)[:, :, None]
            summed = context * real if self.config.mask_padding else context
            mean = summed.sum(dim=1, keepdim=True) / real.sum(dim=1, keepdim=True)
        for layer in self.init_hidden:
            mean = self._dropout(F.relu(layer(mean)))
        return torch.tanh(self.init_state(mean)), torch.tanh(self.init_memory(mean))

    def state_weight(self) -> Tensor:
        """All that h_{t-1} is multiplied with, as one matrix: a step has one product with it."""
        parts = [self.gates_state.weight, self.attention_state.weight]
        return torch.cat(parts if self.selector is None else [*parts, self.selector.weight])

    def step(
        self,
        state: State,
        gates_word: Tensor,
        annotations: Annotations,
        state_weight: Tensor,
        choose: Choose | None = None,
    ) -> tuple[State, Look]:
        """Equations 1 to 6: looks with h_{t-1}, then moves the LSTM on.

        gates_word (pictures, width, 4 dim) is E y_{t-1}'s part of the gates, with the bias.
        """
        h, c = state
        dim, ctx = self.config.dim, self.config.ctx_dim
        sizes = [4 * dim, ctx, 1] if self.selector is not None else [4 * dim, ctx]
        gates_state, query, *gate = torch.split(F.linear(h, state_weight), sizes, dim=-1)
        look = self._attend(query, gate, annotations, choose)
        gates = gates_state + gates_word + self.gates_context(look.z)  # equation 1
        sigmoids = gates[..., : 3 * dim]
        if self.config.lstm_dropout:  # on what goes into the sigmoids: 0 opens a gate half
            sigmoids = self._dropout(sigmoids)
        i, f, o = torch.sigmoid(sigmoids).chunk(3, dim=-1)
        c = f * c + i * torch.tanh(gates[..., 3 * dim :])  # equation 2
        return (o * torch.tanh(c), c), look  # equation 3

    def _attend(
        self, query: Tensor, gate: list[Tensor], annotations: Annotations, choose: Choose | None
    ) -> Look:
        """Equations 4 to 6: query (pictures, width, ctx_dim) is h_{t-1}'s part of the MLP, gate
        holds its part of beta (pictures, width, 1) where there is one."""
        mixed = (annotations.projected[:, None] + query[:, :, None]).tanh_()
        scores = self.attention_score(mixed)[..., 0]  # equation 4: (pictures, width, locations)
        if annotations.hidden is not None:
            scores = scores.masked_fill(annotations.hidden[:, None], -torch.inf)
        alpha = torch.softmax(scores, dim=-1)  # equation 5
        attended = alpha if choose is None else choose(alpha)
        z = torch.bmm(attended, annotations.vectors)  # equation 6, as equation 13 (or 9) has it
        if self.selector is None:
            return Look(alpha, attended, torch.ones_like(z[..., :1]), z)
        beta = torch.sigmoid(
            gate[0] + self.selector.bias
        )  # section 4.2.1: one number, from h_{t-1}
        return Look(alpha, attended, beta, beta * z)

    def read_out(self, h: Tensor, z: Tensor, words: Tensor) -> Tensor:
        """Equation 7, the deep output: h_t, z_t and E y_{t-1} (..., size) -> logits (...,
        n_words). The official code has a tanh inside that the paper's equation does not show."""
        mixed = self.output_state(self._dropout(h))
        if self.config.prev2out:
            mixed = mixed + words
        if self.output_context is not None:
            mixed = mixed + self.output_context(z)
        logits: Tensor = self.output_word(self._dropout(torch.tanh(mixed)))
        return logits

    def _dropout(self, x: Tensor) -> Tensor:
        rate = self.config.dropout_rate
        if self.config.dropout == "none":
            return x
        if self.config.dropout == "modern":
            return F.dropout(x, rate, self.training)
        if self.training:
            return x * torch.empty_like(x).bernoulli_(1.0 - rate)
        return x * (1.0 - rate)


def decoding(
    decoder: AttentionDecoder,
    context: Tensor,
    context_mask: Tensor | None = None,
    choose: Choose | None = None,
) -> tuple[Step, tuple[Tensor, ...]]:
    """A decoder as beam search wants it: one step and the first state, (h, c, picture), a row each
    for every picture. Arguments as in `forward`.

    The step goes from tokens (rows,), NO_WORD at first, to log probabilities (rows, n_words). It
    relies on beam search keeping the rows of a picture together, the same number of each: so the
    annotations are not copied for every row.
    """
    annotations = decoder.annotate(context, context_mask)
    h, c = decoder.initial_state(context, context_mask)
    weight = decoder.state_weight()

    def step(tokens: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        h, c, picture = state
        pictures = torch.unique_consecutive(picture)
        here = annotations if len(pictures) == len(context) else annotations.of(pictures)
        grouped = (len(pictures), len(tokens) // len(pictures), -1)
        words = decoder.embed(tokens).view(grouped)
        before = (h.view(grouped), c.view(grouped))
        (h, c), look = decoder.step(before, decoder.gates_word(words), here, weight, choose)
        logits = decoder.read_out(h, look.z, words)
        log_probabilities = torch.log_softmax(logits.float(), dim=-1).flatten(0, 1)
        return log_probabilities, (h.flatten(0, 1), c.flatten(0, 1), picture)

    return step, (h[:, 0], c[:, 0], torch.arange(len(context), device=context.device))


def from_official(state: Mapping[str, Tensor], options: AttentionDecoderConfig) -> AttentionDecoder:
    """A decoder with the official code's weights, which are named and laid out as there (a vector
    times a matrix). Sizes and layers come from the weights, all else from `options`. Raises
    ValueError for names that it does not know or misses."""
    deeper = sorted(name for name in state if name.startswith("decoder_W_att_"))
    hidden = sorted(n for n in state if n.startswith("ff_init_") and n.endswith("_W"))
    names = {**_OFFICIAL_NAMES, **_OFFICIAL_SELECTOR, **_OFFICIAL_CONTEXT}
    for i, name in enumerate(deeper):
        names[f"attention_deeper.{i}.weight"] = name
        names[f"attention_deeper.{i}.bias"] = name.replace("_W_att_", "_b_att_")
    for i, name in enumerate(hidden):
        names[f"init_hidden.{i}.weight"] = name
        names[f"init_hidden.{i}.bias"] = name.removesuffix("_W") + "_b"
    optional = {*_OFFICIAL_SELECTOR.values(), *_OFFICIAL_CONTEXT.values()}
    missing = sorted({*names.values()} - {*state} - optional)
    unknown = sorted({*state} - {*names.values()})
    if missing or unknown:
        raise ValueError(
            f"not the official decoder's weights: missing {missing}, unknown {unknown}"
        )
    n_words, dim_word = state["Wemb"].shape
    config = replace(
        options,
        n_words=n_words,
        dim_word=dim_word,
        ctx_dim=state["decoder_Wc"].shape[0],
        dim=state["decoder_U"].shape[0],
        n_layers_att=1 + len(deeper),
        n_layers_init=1 + len(hidden),
        selector="decoder_W_sel" in state,
        ctx2out="ff_logit_ctx_W" in state,
    )
    decoder = AttentionDecoder(config)
    ours = {}
    for name, theirs in names.items():
        if theirs in state:
            tensor = state[theirs]
            matrix = name.endswith(".weight") and theirs != "Wemb"
            ours[name] = tensor.T.contiguous() if matrix else tensor.reshape(tensor.shape or (1,))
    decoder.load_state_dict(ours)
    return decoder.eval()


_OFFICIAL_NAMES = {
    "embedding.weight": "Wemb",
    "init_state.weight": "ff_state_W",
    "init_state.bias": "ff_state_b",
    "init_memory.weight": "ff_memory_W",
    "init_memory.bias": "ff_memory_b",
    "attention_context.weight": "decoder_Wc_att",
    "attention_context.bias": "decoder_b_att",
    "attention_state.weight": "decoder_Wd_att",
    "attention_score.weight": "decoder_U_att",
    "attention_score.bias": "decoder_c_tt",
    "gates_word.weight": "decoder_W",
    "gates_word.bias": "decoder_b",
    "gates_state.weight": "decoder_U",
    "gates_context.weight": "decoder_Wc",
    "output_state.weight": "ff_logit_lstm_W",
    "output_state.bias": "ff_logit_lstm_b",
    "output_word.weight": "ff_logit_W",
    "output_word.bias": "ff_logit_b",
}
_OFFICIAL_SELECTOR = {"selector.weight": "decoder_W_sel", "selector.bias": "decoder_b_sel"}
_OFFICIAL_CONTEXT = {
    "output_context.weight": "ff_logit_ctx_W",
    "output_context.bias": "ff_logit_ctx_b",
}


def _initialise(decoder: AttentionDecoder) -> None:
    """As the official code: square matrices orthogonal (a gate's part counts as one), except the
    annotations' own projection; others small and normal; biases 0."""
    for name, parameter in decoder.named_parameters():
        if parameter.ndim < 2:
            nn.init.zeros_(parameter)
            continue
        gates = name in ("gates_word.weight", "gates_state.weight")
        for part in parameter.data.chunk(4 if gates else 1):
            if part.shape[0] == part.shape[1] and name != "attention_context.weight":
                nn.init.orthogonal_(part)
            else:
                nn.init.normal_(part, std=_INITIAL_SCALE)
