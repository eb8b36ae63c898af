"""VL-BERT and ViLBERT as harness models: a weights folder in; answers, choices, pair scores, boxes
and moments out. Knows no training and no scoring."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

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

from .attention_maps import WatchedModel
from .moment_windows import Moment, apart, window_of
from .multitask_batches import pad_choices
from .multitask_folder import MultitaskConfig, read_folder
from .multitask_learning import Seer
from .multitask_vision import (
    Visuals,
    cut_up_frames,
    frame_batch,
    moments_of,
    read_frames,
    region_batch,
)
from .official_model import OfficialModel, load_official_model
from .region_encoder import PictureRegions, RegionCache, named_regions
from .text_inputs import MOST_TOKENS, pad_texts, rows_of_tags, with_tags_as_words
from .weights_folder import no_folder
from .words import Vocabulary

if TYPE_CHECKING:
    from harness.types import FloatArray

BUNDLED = Path(__file__).parent / "weights"
MOMENTS = 5  # found for each query
_PAIRS_AT_ONCE = 128
_KEPT_CLIPS = 64


class MultitaskModel:
    """An Answerer, PairScorer, Grounder and MomentFinder, as far as its weights were trained."""

    def __init__(
        self,
        seer: Seer,
        vocabulary: Vocabulary,
        config: MultitaskConfig,
        description: ModelDescription,
        device: str = "cpu",
    ) -> None:
        self.seer = seer.eval().to(device)
        self.vocabulary = vocabulary
        self.config = config
        self.description = description
        self.device = device
        self._regions_of = RegionCache(config.vision.regions)
        self._named = rows_of_tags(vocabulary).to(device)
        self._frames: OrderedDict[str, Any] = OrderedDict()

    # ------------------------------------------------------------ questions

    @torch.inference_mode()
    def answer(self, questions: Sequence[Question]) -> list[Answer | Choice]:
        """The most probable of the trained answers, or of a question's own choices."""
        chosen = [place for place, question in enumerate(questions) if question.choices]
        open_ones = [place for place, question in enumerate(questions) if not question.choices]
        found: dict[int, Answer | Choice] = {}
        if open_ones:
            asked = [questions[place] for place in open_ones]
            found |= zip(open_ones, self._answers(asked), strict=True)
        if chosen:
            asked = [questions[place] for place in chosen]
            found |= zip(chosen, self._choices(asked), strict=True)
        return [found[place] for place in range(len(questions))]

    def _answers(self, questions: Sequence[Question]) -> list[Answer]:
        if not self.config.answers:
            raise BadInput(
                f"weights trained on {', '.join(self.config.trained_on)} have no answers to choose "
                "from; take those of vqa/toybox, or train some"
            )
        visuals, rows = self._see(questions)
        tokens = self._tokens([question.text for question in questions])
        logits = self.seer.network.answer_logits(tokens, visuals.rows(rows)).float()
        # the greatest logit, not the greatest sigmoid: several may round to 1
        best = logits.max(dim=1)
        return [
            Answer(self.config.answers[index], round(score, 6))
            for index, score in zip(
                best.indices.tolist(), best.values.sigmoid().tolist(), strict=True
            )
        ]

    def _choices(self, questions: Sequence[Question]) -> list[Choice]:
        visuals, rows = self._see(questions, named=True)
        query = self._tokens([f"{question.text} {question.given}" for question in questions])
        counts = [len(question.choices) for question in questions]
        ids = [[self._ids(choice) for choice in question.choices] for question in questions]
        scores = self.seer.network.choice_logits(
            query, pad_choices(ids).to(self.device), self._named, visuals.rows(rows)
        )
        found = []
        for row, count in zip(scores.float().tolist(), counts, strict=True):
            own = row[:count]
            found.append(Choice(int(np.argmax(own)), tuple(own)))
        return found

    # ------------------------------------------------------------ retrieval

    @torch.inference_mode()
    def score_pairs(self, visuals: Sequence[Picture | Clip], texts: Sequence[str]) -> FloatArray:
        """(visuals, texts): the logit of how well a text goes with a picture or a clip."""
        if not visuals or not texts:
            return np.zeros((len(visuals), len(texts)))
        seen = self._see_whole(visuals)
        scores = self.seer.network.match_every_pair(self._tokens(texts), seen, _PAIRS_AT_ONCE)
        return np.asarray(scores.double().cpu().numpy())

    def _see_whole(self, visuals: Sequence[Any]) -> Visuals:
        if not isinstance(visuals[0], Clip):
            return self._see_pictures([self._regions_of(one) for one in visuals], named=False)
        self._check_clips("video-retrieval", self.config.vision.frames > 0)
        batch, frames = frame_batch([cut_up_frames(clip, self.config.vision) for clip in visuals])
        return self.seer.see_frames(batch.to(self.device), frames.to(self.device))

    # ------------------------------------------------------------ boxes and moments

    @torch.inference_mode()
    def locate(
        self, expressions: Sequence[Expression]
    ) -> list[tuple[float, float, float, float] | None]:
        """The box of the most likely region; the whole picture is one of them, as in the official
        code."""
        visuals, rows = self._see(expressions)
        tokens = self._tokens([expression.text for expression in expressions])
        own = visuals.rows(rows)
        logits = self.seer.network.region_logits(tokens, own).float()
        logits = logits.masked_fill(~own.mask, -torch.inf)
        found: list[tuple[float, float, float, float] | None] = []
        for expression, best in zip(expressions, logits.argmax(dim=1).tolist(), strict=True):
            x1, y1, x2, y2 = self._regions_of(expression.visual).boxes[best].tolist()
            found.append((x1, y1, x2, y2))
        return found

    @torch.inference_mode()
    def find_moments(self, queries: Sequence[MomentQuery]) -> list[list[Moment]]:
        """The best windows, or, where a query has candidates, all of them, best first."""
        self._check_clips("temporal-localization", self.config.vision.clips is not None)
        clips = self.config.vision.clips
        assert clips is not None
        found: list[list[Moment]] = []
        for query in queries:
            duration = query.visual.duration
            if query.candidates:
                moments = list(query.candidates)
                places = [window_of(moment, duration, clips.frames) for moment in moments]
                windows = torch.tensor(places)
            else:
                windows = moments_of(self.config.vision)
                seconds = (windows * duration / clips.frames).tolist()
                moments = [(start, end) for start, end in seconds]
            frames = torch.from_numpy(self._frames_of(query.visual))[None]
            seen = self.seer.see_windows(frames.to(self.device), windows.to(self.device))
            logits = self.seer.network.region_logits(self._tokens([query.text]), seen)
            order = logits[0, 1:].float().argsort(descending=True, stable=True).tolist()
            ranked = [moments[place] for place in order]
            found.append(ranked if query.candidates else apart(ranked, MOMENTS))
        return found

    def watched(self) -> WatchedModel:
        """The same model, which keeps where it looks as it predicts."""
        return WatchedModel(self)

    # ------------------------------------------------------------ inputs

    def _see(
        self, inputs: Sequence[Question | Expression], named: bool = False
    ) -> tuple[Visuals, torch.Tensor]:
        """What the inputs look at, each once, and which of these each input looks at. `named`: the
        things that tags name, which questions with choices speak of."""
        rows: dict[tuple[Any, ...], int] = {}
        pictures: list[PictureRegions] = []
        keys = []
        for one in inputs:
            # as in training: who chooses looks at what can be named, though that be nothing
            objects = one.objects if named and isinstance(one, Question) else ()
            keys.append((one.visual.id, *(thing.box for thing in objects)))
            if keys[-1] not in rows:
                rows[keys[-1]] = len(pictures)
                pictures.append(
                    named_regions(one.visual, objects, self.config.vision.regions)
                    if named
                    else self._regions_of(one.visual)
                )
        visuals = self._see_pictures(pictures, named)
        return visuals, torch.tensor([rows[key] for key in keys], device=self.device)

    def _see_pictures(self, pictures: Sequence[PictureRegions], named: bool) -> Visuals:
        batch, tags = region_batch(pictures, named, self.config.vision.tags)
        return self.seer.see_regions(batch.to(self.device), tags.to(self.device))

    def _check_clips(self, task: str, seen: bool) -> None:
        if not seen:
            raise BadInput(
                f"weights trained on {', '.join(self.config.trained_on)} see no clips; train some "
                f"on clips (harness train --task {task} --model MODEL -o DIR)"
            )

    def _frames_of(self, clip: Clip) -> Any:
        if clip.id not in self._frames:
            assert self.config.vision.clips is not None
            self._frames[clip.id] = read_frames([clip], self.config.vision.clips)[0]
            if len(self._frames) > _KEPT_CLIPS:
                self._frames.popitem(last=False)
        return self._frames[clip.id]

    def _ids(self, text: str) -> list[int]:
        return self.vocabulary.encode(with_tags_as_words(text), MOST_TOKENS)

    def _tokens(self, texts: Sequence[str]) -> torch.Tensor:
        return pad_texts([self._ids(text) for text in texts]).to(self.device)


# ---------------------------------------------------------------- loading


def load_multitask(request: LoadRequest, name: str) -> MultitaskModel:
    """The bundled weights of `name` that were trained for the data set, or those of --weights."""
    folder = _folder_for(request, name)
    seer, vocabulary, config = read_folder(folder)
    _check_model(name, folder, config)
    _check_trained(request, folder, config)
    if request.device != "cpu":
        # TF32 would move scores by 1e-3 against the CPU's
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    description = ModelDescription(
        weights_sha256=sha256_of_file(folder / "model.safetensors"),
        parameters=sum(p.numel() for p in seer.parameters()),
        options={
            "config_sha256": sha256_of_files([folder / "config.json", folder / "vocab.txt"]),
            "regions": config.vision.regions.kind,
        },
    )
    seer = seer.to(getattr(torch, request.dtype))
    return MultitaskModel(seer, vocabulary, config, description, request.device)


def _folder_for(request: LoadRequest, name: str) -> Path:
    """The bundled folder that was trained for the data set, perhaps among others."""
    if request.weights is not None:
        if not request.weights.is_dir():
            raise no_folder(request.weights)
        return request.weights
    wanted = f"{request.task}/{request.dataset}"
    for config in sorted(BUNDLED.glob(f"{name}--*/config.json")):
        if wanted in json.loads(config.read_text(encoding="utf-8")).get("trained_on", ()):
            return config.parent
    raise BadInput(
        f"{name} has no weights for {request.task}/{request.dataset}: train it (harness train "
        f"--task {request.task}/{request.dataset} --model {name} -o DIR) and give --weights DIR"
    )


def _check_model(name: str, folder: Path, config: MultitaskConfig) -> None:
    """BadInput where scores would stand under another model's name: ViLBERT's under VL-BERT's, or
    those of one that sees under that of the one that does not."""
    sees_too_much = name.endswith("-blind") and not config.vision.blind
    if config.model != name.removesuffix("-blind") or sees_too_much:
        raise BadInput(
            f"{folder}: weights of {config.model}, not of {name}; give --model {config.model}"
        )


def _check_trained(request: LoadRequest, folder: Path, config: MultitaskConfig) -> None:
    """BadInput where weights never learned what they are asked for. Which choice holds is asked
    otherwise than which answer, under one task's name."""

    def asks(task: str, dataset: str) -> str:
        return f"{task} by choices" if dataset in ("toybox-vcr", "vcr") else task

    known = {asks(*name.split("/", 1)) for name in config.trained_on}
    wanted = asks(request.task, request.dataset)
    if wanted not in known:
        raise BadInput(
            f"{folder}: trained for {', '.join(config.trained_on)}, which is not {wanted}; train "
            f"one for it (harness train --task {request.task}/{request.dataset} --model "
            f"{config.model} -o DIR)"
        )


def load_vlbert(request: LoadRequest) -> MultitaskModel | OfficialModel:
    """A folder of ours, or a file of the authors'."""
    if request.weights is not None and request.weights.is_file():
        return load_official_model(request, "vlbert")
    return load_multitask(request, "vlbert")


def load_vlbert_blind(request: LoadRequest) -> MultitaskModel:
    return load_multitask(request, "vlbert-blind")


def load_vilbert(request: LoadRequest) -> MultitaskModel | OfficialModel:
    """A folder of ours, or a file of the authors'."""
    if request.weights is not None and request.weights.is_file():
        return load_official_model(request, "vilbert")
    return load_multitask(request, "vilbert")
