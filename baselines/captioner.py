"""Show, Attend and Tell and temporal attention as harness models: a weights folder in; captions,
likelihoods of pairs, boxes and moments out. Knows no training and no scoring."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import BadInput
from harness.media.checksums import sha256_of_file, sha256_of_files
from harness.media.regions import segment
from harness.types import (
    Clip,
    Expression,
    LoadRequest,
    ModelDescription,
    MomentQuery,
    Picture,
)

from .attention_decoder import UNKNOWN, Choose, DecoderOutput, Step, decoding
from .beam_search import beam_search
from .caption_likelihood import score_captions
from .captioner_network import (
    BUNDLED,
    CaptionerConfig,
    CaptionerNetwork,
    CaptionWords,
    pad_captions,
    read_folder,
)
from .captioner_vision import Read, cells_of, read_visuals
from .moment_windows import apart, every_window, window_of
from .pruned_likelihood import Level, gains, log_likelihoods, tree_of
from .show_attend_tell import look_at
from .weights_folder import no_folder

if TYPE_CHECKING:
    from harness.types import FloatArray

MOMENTS = 5  # found for each query
_KEPT_VISUALS = 1024
_MOST_REGIONS = 10
# Tasks whose likelihoods a captioner of the same visuals gives: they have no weights of their own.
_BY_CAPTIONER = {"retrieval": "captioning", "video-retrieval": "video-captioning"}


@dataclass(frozen=True)
class _Said:
    """Texts, their tokens and beginnings, and log p of each beginning and of each text without a
    visual."""

    texts: tuple[str, ...]
    tokens: Tensor
    mask: Tensor
    tree: list[Level]
    expected: list[Tensor]
    alone: Tensor


class CaptioningModel:
    """An attention captioner: a Captioner, PairScorer, Grounder or MomentFinder."""

    def __init__(
        self,
        network: CaptionerNetwork,
        words: CaptionWords,
        config: CaptionerConfig,
        description: ModelDescription,
        device: str = "cpu",
        read: Read = read_visuals,
    ) -> None:
        """`read`: visuals as the network takes them."""
        self._read_visuals = read
        self.network = network.eval().to(device)
        self.words = words
        self.config = config
        self.description = description
        self.device = device
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._last_said: _Said | None = None

    # ------------------------------------------------------------ captions

    def caption(self, visuals: Sequence[Picture | Clip]) -> list[str]:
        """The likeliest caption of each, as beam search finds it."""
        return [" ".join(words) for words in self._tell(visuals)]

    @torch.inference_mode()
    def _tell(self, visuals: Sequence[Picture | Clip]) -> list[list[str]]:
        if not visuals:
            return []
        step, state = decoding(self.network.decoder, self._see(visuals), choose=self._choose())
        if not self.config.says_unknown:
            step = _without_unknown(step)
        found = beam_search(
            step,
            state,
            beam=self.config.beam,
            most_words=self.config.most_words,
            by_length=self.config.by_length,
        )
        return [self.words.decode(hypotheses[0].tokens) for hypotheses in found]

    @torch.inference_mode()
    def caption_with_attention(
        self, visuals: Sequence[Picture | Clip]
    ) -> list[tuple[list[str], FloatArray]]:
        """Each visual's caption, word by word, and where the model looked before each word:
        (words, locations), rows that sum to 1."""
        told = self._tell(visuals)
        tokens, mask = pad_captions([self.words.encode_words(words) for words in told])
        output = self._read(self._see(visuals), tokens, mask)
        alphas = output.attended.double().cpu().numpy()
        return [(words, alphas[row, : len(words)]) for row, words in enumerate(told)]

    def artifacts(self, visuals: Sequence[Picture | Clip]) -> list[dict[str, Any]]:
        """The same as JSON, an object a visual: words; alphas, a list a word; grid, how the
        locations lie, [rows, columns], for a clip [1, frames]."""
        vision = self.config.vision
        clips = vision.of_clips
        grid = [1, vision.locations] if clips else [vision.map_side, vision.map_side]
        return [
            {"words": words, "alphas": alphas.round(4).tolist(), "grid": grid}
            for words, alphas in self.caption_with_attention(visuals)
        ]

    def _choose(self) -> Choose | None:
        """Hard attention looks at the likeliest location when it is not trained."""
        return look_at("likeliest") if self.config.hard else None

    def _read(self, context: Tensor, tokens: Tensor, mask: Tensor) -> DecoderOutput:
        output: DecoderOutput = self.network.decoder(
            context, tokens.to(self.device), mask.to(self.device), choose=self._choose()
        )
        return output

    def _see(self, visuals: Sequence[Picture | Clip]) -> Tensor:
        """(visuals, locations, size)."""
        new = list({v.id: v for v in visuals if v.id not in self._kept}.values())
        fresh: dict[str, Tensor] = {}
        if new:
            given = torch.from_numpy(self._read_visuals(new, self.config.vision, self.device))
            seen = self.network.see(self.network.vision.prepare(given.to(self.device)))
            fresh = {visual.id: row for visual, row in zip(new, seen, strict=True)}
        context = torch.stack([fresh[v.id] if v.id in fresh else self._kept[v.id] for v in visuals])
        self._kept.update(fresh)
        while len(self._kept) > _KEPT_VISUALS:
            self._kept.popitem(last=False)
        return context

    # ------------------------------------------------------------ likelihoods

    @torch.inference_mode()
    def score_pairs(self, visuals: Sequence[Picture | Clip], texts: Sequence[str]) -> FloatArray:
        """(visuals, texts): log p(text | visual); where the config says `calibrated`, minus the log
        p(text) that the model gives without a visual: the same order of visuals, and captions that
        are likely anyway have no advantage. A text whose beginning the visual makes less likely by
        `margin` counts as if the rest were as likely as without it; a margin of 0 reads all."""
        if not visuals or not texts:
            return np.zeros((len(visuals), len(texts)))
        context, decoder = self._see(visuals), self.network.decoder
        said = self._said(texts)
        if self.config.margin:
            scores = gains(
                decoder, context, said.tree, said.expected, self.config.margin, len(texts)
            )
        else:
            scores = score_captions(decoder, context, said.tokens, said.mask) - said.alone
        if not self.config.calibrated:
            scores = scores + said.alone
        return np.asarray(scores.double().cpu().numpy())

    def _said(self, texts: Sequence[str]) -> _Said:
        """What the scores of texts share over visuals, kept: batches of visuals meet the same."""
        if self._last_said is None or self._last_said.texts != tuple(texts):
            tokens, mask = pad_captions([self.words.encode(text) for text in texts])
            tokens, mask = tokens.to(self.device), mask.to(self.device)
            tree = tree_of(tokens, mask)
            expected = log_likelihoods(self.network.decoder, self.network.nothing, tree)
            alone = torch.zeros(len(texts), device=self.device)
            for level, log_p in zip(tree, expected, strict=True):
                alone[level.captions] = log_p[level.places]
            self._last_said = _Said(tuple(texts), tokens, mask, tree, expected, alone)
        return self._last_said

    # ------------------------------------------------------------ places

    @torch.inference_mode()
    def locate(
        self, expressions: Sequence[Expression]
    ) -> list[tuple[float, float, float, float] | None]:
        """The box of the region (an area of one colour) that gets the most attention for its size
        while the expression is force-decoded; None for a picture without regions."""
        if not expressions:
            return []
        tokens, mask = pad_captions([self.words.encode(e.text) for e in expressions])
        looked = self._read(self._see([e.visual for e in expressions]), tokens, mask).alphas
        heat = looked_at(looked, mask.to(self.device), self.config.locate_by).cpu().numpy()
        return [
            self._box_of(expression.visual, row)
            for expression, row in zip(expressions, heat, strict=True)
        ]

    def _box_of(
        self, picture: Picture, heat: FloatArray
    ) -> tuple[float, float, float, float] | None:
        pixels = picture.read()
        boxes = segment(pixels, _MOST_REGIONS).boxes
        if len(boxes) == 0:
            return None
        height, width = pixels.shape[:2]
        unit = boxes / np.array([width, height, width, height])
        cover = cells_of(unit, 1.0, self.config.vision.map_side)
        # a mean over the box, as a sum would prefer large things
        best = int(((cover @ heat) / cover.sum(axis=1)).argmax())
        x1, y1, x2, y2 = boxes[best].tolist()
        return x1, y1, x2, y2

    # ------------------------------------------------------------ moments

    def find_moments(self, queries: Sequence[MomentQuery]) -> list[list[tuple[float, float]]]:
        """Windows by how likely they make the sentence, seen by themselves; or, where a query has
        candidates, all of them; best first."""
        return [self._moments_of(query) for query in queries]

    @torch.inference_mode()
    def _moments_of(self, query: MomentQuery) -> list[tuple[float, float]]:
        frames, duration = self.config.vision.visual.frames, query.visual.duration
        if query.candidates:
            windows = np.array([window_of(m, duration, frames) for m in query.candidates])
            moments = list(query.candidates)
        else:
            windows = every_window(frames, self.config.moment_lengths)
            moments = [(a, b) for a, b in (windows * duration / frames).tolist()]
        clip = torch.from_numpy(read_visuals([query.visual], self.config.vision))
        context, context_mask = self.network.vision.windows(
            self.network.vision.prepare(clip.to(self.device)),
            torch.from_numpy(windows)[None].to(self.device),
        )
        tokens, mask = pad_captions([self.words.encode(query.text)])
        scores = score_captions(
            self.network.decoder,
            context,
            tokens.to(self.device),
            mask.to(self.device),
            context_mask,
        )[:, 0]
        order = scores.double().cpu().numpy().argsort(kind="stable")[::-1]
        ranked = [moments[place] for place in order.tolist()]
        return ranked if query.candidates else apart(ranked, MOMENTS)


def _without_unknown(step: Step) -> Step:
    """A step of beam search after which the unknown word never comes."""

    def known(tokens: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        log_probabilities, after = step(tokens, state)
        log_probabilities[:, UNKNOWN] = -torch.inf
        return log_probabilities, after

    return known


def looked_at(alphas: Tensor, mask: Tensor, by: str) -> Tensor:
    """Where the decoder looked over a whole expression: alphas (batch, words, locations), mask
    (batch, words) -> (batch, locations), rows that sum to 1. `by` "end": at the step that ends the
    expression, which has read all of it; "mean": the mean over all steps."""
    kept = mask.to(alphas.dtype)
    if by == "end":
        last = mask.sum(dim=1) - 1
        return alphas[torch.arange(len(alphas), device=alphas.device), last]
    return (alphas * kept[..., None]).sum(dim=1) / kept.sum(dim=1, keepdim=True)


# ---------------------------------------------------------------- loading


def load_captioner(request: LoadRequest, name: str) -> CaptioningModel:
    """The bundled weights of `name` for the data set, or those of --weights."""
    task, wanted = request.task, _BY_CAPTIONER.get(request.task, request.task)
    folder = request.weights or BUNDLED / f"{name}--{wanted}--{request.dataset}"
    if request.weights is not None and not folder.is_dir():
        raise no_folder(folder)
    if not folder.is_dir():
        raise BadInput(
            f"{name} has no weights for {task}/{request.dataset}: train it (harness train --task "
            f"{wanted}/{request.dataset} --model {name} -o DIR) and give --weights DIR"
        )
    network, words, config = read_folder(folder)
    if config.trained_on.partition("/")[0] not in (task, wanted):
        raise BadInput(
            f"{folder}: trained for {config.trained_on}, which is not {task}; train one for it "
            f"(harness train --task {wanted}/{request.dataset} --model {name} -o DIR)"
        )
    if request.device != "cpu":
        # TF32 would move scores by 1e-3 against the CPU's
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    described = [folder / "config.json", folder / "words.txt"]
    description = ModelDescription(
        weights_sha256=sha256_of_file(folder / "model.safetensors"),
        parameters=sum(p.numel() for p in network.parameters()),
        options={
            "config_sha256": sha256_of_files(described),
            "beam": config.beam,
            "by_length": config.by_length,
            "calibrated": config.calibrated,
            "margin": config.margin,
            **({"frozen": config.frozen} if config.frozen else {}),
        },
    )
    network = network.to(getattr(torch, request.dtype))
    return CaptioningModel(network, words, config, description, request.device)


def load_show_attend_tell(request: LoadRequest) -> CaptioningModel:
    return load_captioner(request, "show-attend-tell")


def load_temporal_attention(request: LoadRequest) -> CaptioningModel:
    return load_captioner(request, "temporal-attention")
