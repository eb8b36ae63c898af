"""The dual encoder as a harness model: a weights folder in; embeddings, captions, answers, boxes
and moments out. Each folder is trained for one task. Knows no training and no scoring."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import BadInput
from harness.media.checksums import sha256_of_file, sha256_of_files
from harness.types import (
    Answer,
    Choice,
    Clip,
    Expression,
    LoadRequest,
    ModelDescription,
    MomentQuery,
    Picture,
    Question,
)

from .frozen_networks import Frozen
from .moment_windows import apart, every_window, window_of
from .nce import DualEncoder
from .nce_folder import NceConfig, read_folder
from .region_encoder import PictureRegions, RegionBatch, RegionCache, named_regions, pad_regions
from .text_inputs import (
    MOST_TOKENS,
    choice_text,
    draw_captions,
    pad_texts,
    rows_of_tags,
    tags_of,
)
from .visual_encoder import read_clips, read_pictures
from .weights_folder import no_folder
from .words import Vocabulary

if TYPE_CHECKING:
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

BUNDLED = Path(__file__).parent / "weights"
MOMENTS = 5  # found for each query
CAPTIONS = 4000  # to choose from, where none stand beside the weights
_TEXTS_AT_ONCE = 1024
_KEPT_VISUALS = 4096


# ---------------------------------------------------------------- the model


class NceModel:
    """A dual encoder of one task: an Encoder, Captioner, Answerer, Grounder or MomentFinder."""

    def __init__(
        self,
        network: DualEncoder,
        vocabulary: Vocabulary,
        config: NceConfig,
        description: ModelDescription,
        device: str = "cpu",
        bank: Sequence[str] = (),
        frozen: Frozen | None = None,
    ) -> None:
        """`bank`: the captions to choose from. `frozen`: what is below the heads, if it is at hand
        and remembers what it saw."""
        self.network = network.eval().to(device)
        self.vocabulary = vocabulary
        self.config = config
        self.description = description
        self.device = device
        self._frozen = frozen or Frozen(device)
        self._bank = bank
        self._bank_vectors: Vectors | None = None
        self._regions_of = RegionCache(config.regions)
        self._rows_of_tags = rows_of_tags(vocabulary).to(device)
        self._kept: OrderedDict[str, Vectors] = OrderedDict()

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """(texts, size), unit vectors."""
        parts = [np.zeros((0, self.config.encoder.size), dtype=np.float32)]
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            tokens = self._tokens(texts[start : start + _TEXTS_AT_ONCE])
            parts.append(_as_array(self.network.embed_texts(tokens)))
        return np.concatenate(parts)

    @torch.inference_mode()
    def embed_visuals(self, visuals: Sequence[Picture | Clip]) -> Vectors:
        """(visuals, size), unit vectors, each of a whole picture or clip."""
        new = list({v.id: v for v in visuals if v.id not in self._kept}.values())
        vectors = dict(zip([v.id for v in new], self._see(new), strict=True)) if new else {}
        rows = [self._kept[v.id] if v.id in self._kept else vectors[v.id] for v in visuals]
        self._kept.update(vectors)
        while len(self._kept) > _KEPT_VISUALS:
            self._kept.popitem(last=False)
        return np.stack(rows)

    def _see(self, visuals: Sequence[Any]) -> Vectors:
        visual = self.config.encoder.visual
        if self.config.encoder.eye == "regions":
            batch = pad_regions([self._regions_of(one) for one in visuals]).to(self.device)
            tags = torch.zeros(batch.mask.shape, dtype=torch.long, device=self.device)
            return _as_array(self.network.embed_visuals(batch, tags)[:, 0])
        if self.config.encoder.eye == "efficientnet-lite0":
            seen = self._frozen.see(visuals).to(self.device)
            return _as_array(self.network.embed_visuals(seen))
        pixels: Any
        if self.config.encoder.eye == "clips":
            pixels = read_clips(visuals, visual.frames, visual.side)
        else:
            pixels = read_pictures(visuals, visual.side)
        return _as_array(self.network.embed_visuals(torch.from_numpy(pixels).to(self.device)))

    def caption(self, visuals: Sequence[Picture | Clip]) -> list[str]:
        """The caption of the bank that is nearest to each."""
        if self._bank_vectors is None:
            self._bank_vectors = self.embed_texts(self._bank)
        nearest = (self.embed_visuals(visuals) @ self._bank_vectors.T).argmax(axis=1)
        return [self._bank[place] for place in nearest.tolist()]

    def answer(self, questions: Sequence[Question]) -> list[Answer | Choice]:
        """Each of the answers, or of the question's choices, as a claim against the picture."""
        if not self.config.answers and not all(question.choices for question in questions):
            raise BadInput(
                f"weights trained on {self.config.trained_on} have no answers to choose from; take "
                "those of vqa/toybox, or train some"
            )
        choices = [
            [choice_text(question, choice) for choice in question.choices] or self.config.answers
            for question in questions
        ]
        scores = self._fit(questions, choices)
        return [
            Choice(int(row.argmax()), tuple(row.tolist()))
            if question.choices
            else Answer(self.config.answers[int(row.argmax())])
            for question, row in zip(questions, scores, strict=True)
        ]

    @torch.inference_mode()
    def _fit(
        self, questions: Sequence[Question], choices: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """A score for each of each question's choices."""
        regions, mask = self._regions_for(questions)
        if self.config.encoder.matching == "question":
            asked = self._tokens([question.text for question in questions])
            rows = _as_array(self.network.see_through(asked, regions, mask)[0])
            texts = list(dict.fromkeys(text for some in choices for text in some))
            place = {text: row for row, text in enumerate(texts)}
            vectors = self.embed_texts(texts)
            return [
                (vectors[[place[text] for text in some]] @ row).astype(np.float64)
                for some, row in zip(choices, rows, strict=True)
            ]
        tokens = self._tokens([text for some in choices for text in some])
        whose = torch.tensor(
            [row for row, some in enumerate(choices) for _ in some], device=self.device
        )
        named = self._rows_of_tags[tokens]
        scores = self.network.match_things(tokens, named, regions[whose], mask[whose])
        ends = np.cumsum([len(some) for some in choices])[:-1]
        return np.split(scores.float().cpu().numpy().astype(np.float64), ends)

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        """As the network's text side takes them."""
        if self.config.encoder.text == "minilm":
            return self._frozen.read(texts).to(self.device)
        encoded = [self.vocabulary.encode(text, MOST_TOKENS) for text in texts]
        return pad_texts(encoded).to(self.device)

    def _regions_for(self, inputs: Sequence[Question]) -> tuple[Tensor, Tensor]:
        """Each input's regions in the light of one another (inputs, regions, size), row 0 for the
        whole picture, and their mask."""
        batch, tags, rows = self._batch_of(inputs)
        return self.network.see_regions(batch, tags)[rows], batch.mask[rows]

    @torch.inference_mode()
    def _see_regions(self, inputs: Sequence[Question | Expression]) -> list[Vectors]:
        """(1 + regions, size) of each input's picture, unit vectors, row 0 for the whole."""
        batch, tags, rows = self._batch_of(inputs)
        vectors = _as_array(self.network.embed_visuals(batch, tags))
        counts = batch.mask.sum(dim=1).tolist()
        return [vectors[row, : counts[row]] for row in rows]

    def _batch_of(
        self, inputs: Sequence[Question | Expression]
    ) -> tuple[RegionBatch, Tensor, list[int]]:
        """The pictures of the inputs, each once, the tags of their regions, and which picture each
        input looks at."""
        rows: dict[tuple[Any, ...], int] = {}
        pictures: list[PictureRegions] = []
        for one in inputs:
            key = _view(one)
            if key not in rows:
                rows[key] = len(pictures)
                pictures.append(self.regions_of(one))
        batch = pad_regions(pictures).to(self.device)
        tags = tags_of(batch, self.config.encoder.tags)
        if not self.config.encoder.tagged:
            tags = torch.zeros_like(tags)
        return batch, tags, [rows[key] for key in map(_view, inputs)]

    def regions_of(self, one: Question | Expression) -> PictureRegions:
        """The named things of a question that has choices, else what the picture's pixels give."""
        if isinstance(one, Question) and self.config.encoder.tagged:
            return named_regions(one.visual, one.objects, self.config.regions)
        return self._regions_of(one.visual)

    def locate(
        self, expressions: Sequence[Expression]
    ) -> list[tuple[float, float, float, float] | None]:
        """The box of the region that is nearest to each expression."""
        vectors = self.embed_texts([expression.text for expression in expressions])
        seen = self._see_regions(expressions)
        found: list[tuple[float, float, float, float] | None] = []
        for expression, vector, regions in zip(expressions, vectors, seen, strict=True):
            if len(regions) == 1:
                found.append(None)
                continue
            best = 1 + int((regions[1:] @ vector).argmax())
            x1, y1, x2, y2 = self._regions_of(expression.visual).boxes[best].tolist()
            found.append((x1, y1, x2, y2))
        return found

    def find_moments(self, queries: Sequence[MomentQuery]) -> list[list[tuple[float, float]]]:
        """The best windows, or, where a query has candidates, all of them, best first."""
        vectors = self.embed_texts([query.text for query in queries])
        found = []
        for query, vector in zip(queries, vectors, strict=True):
            moments, windows = self._windows_of(query)
            order = np.argsort(-(self._see_windows(query.visual, windows) @ vector), kind="stable")
            ranked = [moments[place] for place in order.tolist()]
            found.append(ranked if query.candidates else apart(ranked, MOMENTS))
        return found

    def _windows_of(
        self, query: MomentQuery
    ) -> tuple[Sequence[tuple[float, float]], npt.NDArray[np.int64]]:
        """The moments to be ranked, in seconds, and the windows that stand for them."""
        frames, duration = self.config.encoder.visual.frames, query.visual.duration
        if query.candidates:
            windows = [window_of(moment, duration, frames) for moment in query.candidates]
            return query.candidates, np.array(windows, dtype=np.int64)
        places = every_window(frames, self.config.moment_lengths)
        return [(a, b) for a, b in (places * duration / frames).tolist()], places

    @torch.inference_mode()
    def _see_windows(self, clip: Clip, windows: npt.NDArray[np.int64]) -> Vectors:
        """(windows, size)."""
        visual = self.config.encoder.visual
        pixels = torch.from_numpy(read_clips([clip], visual.frames, visual.side))
        places = torch.from_numpy(windows).to(self.device)
        return _as_array(self.network.embed_visuals(pixels.to(self.device), places)[0])


def _view(one: Question | Expression) -> tuple[Any, ...]:
    """What a picture is looked at by: its id and the things that are named in it."""
    return one.visual.id, *(thing.box for thing in getattr(one, "objects", ()))


def _as_array(vectors: Tensor) -> Vectors:
    array: Vectors = vectors.float().cpu().numpy()
    return array


# ---------------------------------------------------------------- loading

# captions are chosen by the same vectors that retrieval compares
_SERVES = {"captioning": "retrieval", "video-captioning": "video-retrieval"}


def load_nce(request: LoadRequest) -> NceModel:
    """The bundled weights for the data set, or those of --weights. Captioning is served by weights
    for retrieval too."""
    folder = _folder_for(request)
    network, vocabulary, config = read_folder(folder)
    trained_for = config.trained_on.partition("/")[0]
    if trained_for not in (request.task, _SERVES.get(request.task)):
        raise BadInput(
            f"{folder}: trained for {config.trained_on}, which is not {request.task}; train one "
            f"for it (harness train --task {request.task}/{request.dataset} --model nce -o DIR)"
        )
    if request.device != "cpu":
        # TF32 would move scores by 1e-3 against the CPU's
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    options: dict[str, Any] = {
        "config_sha256": sha256_of_files([folder / "config.json", folder / "vocab.txt"]),
        "objective": config.encoder.objective,
    }
    if config.frozen:
        options["frozen"] = config.frozen
    bank: list[str] = []
    if "captioning" in request.task:
        bank = _captions_for(request, folder)
        options["captions_sha256"] = hashlib.sha256("\n".join(bank).encode()).hexdigest()
    description = ModelDescription(
        weights_sha256=sha256_of_file(folder / "model.safetensors"),
        parameters=sum(p.numel() for p in network.parameters()),
        options=options,
    )
    network = network.to(getattr(torch, request.dtype))
    return NceModel(network, vocabulary, config, description, request.device, bank)


def _folder_for(request: LoadRequest) -> Path:
    if request.weights is not None:
        if not request.weights.is_dir():
            raise no_folder(request.weights)
        return request.weights
    for task in filter(None, (request.task, _SERVES.get(request.task))):
        folder = BUNDLED / f"nce--{task}--{request.dataset}"
        if folder.is_dir():
            return folder
    name = f"{request.task}/{request.dataset}"
    raise BadInput(
        f"nce has no weights for {name}: train it (harness train --task {name} --model nce -o DIR) "
        "and give --weights DIR"
    )


def _captions_for(request: LoadRequest, folder: Path) -> list[str]:
    """The captions to choose from: those that stand beside the weights, or some of the train
    part's."""
    path = folder / "captions.txt"
    if path.is_file():
        return path.read_text(encoding="utf-8").splitlines()
    if request.train is None:
        raise BadInput(f"{path}: no such file, so there is nothing to choose captions from")
    return draw_captions(request.train(), CAPTIONS, seed=0)
