"""VL-BERT and ViLBERT as their authors released them, as harness models: a checkpoint, BERT's
vocabulary and region features in; answers, choices, boxes and pair scores out. What the networks
are fed with is official_networks.py's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import click
import numpy as np
import torch
from torch import Tensor

from harness.errors import BadInput
from harness.media.checksums import sha256_of_file
from harness.types import (
    Answer,
    Choice,
    Expression,
    LoadRequest,
    ModelDescription,
    OfficialWeights,
    Picture,
    Question,
)

from . import vilbert_config, vlbert
from .multitask_vision import Visuals
from .official_checkpoints import LoadReport, load_official, shapes_in
from .official_inputs import (
    RegionSource,
    SeenRegions,
    encode_tagged,
    names_of_things,
    read_answers,
    read_bert_vocabulary,
    rows_of_things,
    tags_in,
)
from .official_networks import (
    VLBERT_HEAD,
    Release,
    ReleasedViLBert,
    ReleasedVLBert,
    TaggedChoices,
    Use,
    look,
)
from .text_inputs import pad_texts
from .words import Vocabulary

if TYPE_CHECKING:
    from harness.types import FloatArray

Released: TypeAlias = ReleasedVLBert | ReleasedViLBert
Shapes: TypeAlias = dict[str, tuple[int, ...]]

_BY_CHOICES = ("vcr", "toybox-vcr")  # data sets of vqa that give choices
_TASK_TOKENS = {"refcoco": 9, "refcoco+": 10, "refcocog": 11, "coco": 7}  # of 12-in-1
_TASK_TOKEN: dict[Use, int] = {"answer": 1, "choose": 5, "locate": 9, "match": 8}
_LAYER = re.compile(r"\.(?:c_|v_)?layer\.\d+\.")  # part of the name of a transformer layer's weight


class OfficialModel:
    """An Answerer, Grounder or PairScorer, whichever its file has the head for."""

    def __init__(
        self,
        released: Released,
        vocabulary: Vocabulary,
        answers: Sequence[str],
        regions_of: RegionSource,
        description: ModelDescription,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        released.network.eval().to(device, dtype)
        self.released = released
        self.vocabulary = vocabulary
        self.answers = answers
        self.regions_of = regions_of
        self.description = description
        self.device = device
        self.dtype = dtype

    @torch.inference_mode()
    def answer(self, questions: Sequence[Question]) -> list[Answer] | list[Choice]:
        """The most probable of the head's answers, or of each question's own choices."""
        if all(question.choices for question in questions):
            return self._choices(questions)
        seen = [self.regions_of(question.visual) for question in questions]
        tokens = self._tokens([question.text for question in questions])
        logits = self.released.answer_logits(tokens, self._see(seen)).float()
        best = logits.max(dim=1)  # the greatest logit: sigmoids of several may round to 1
        scores = best.values.sigmoid().tolist()
        return [
            Answer(self.answers[label], round(score, 6))
            for label, score in zip(best.indices.tolist(), scores, strict=True)
        ]

    def _choices(self, questions: Sequence[Question]) -> list[Choice]:
        asked, seen = zip(*(self._tagged(question) for question in questions), strict=True)
        scores = self.released.choice_logits(asked, self._see(seen))
        return [Choice(int(np.argmax(row)), tuple(row)) for row in scores]

    def _tagged(self, question: Question) -> tuple[TaggedChoices, SeenRegions]:
        """A question in tokens, with the regions that the model sees for it."""
        seen = self.regions_of(question.visual)
        texts = [question.text, question.given, *question.choices]
        tags = tags_in(texts)
        if tags and max(tags) >= len(question.objects):
            raise BadInput(
                f"picture {question.visual.id}: its texts name the thing [{max(tags)}], but the "
                "data set has no boxes of things; give the folder with the pictures' metadata"
            )
        things = {tag: question.objects[tag] for tag in tags}
        row_of: dict[int, int] = {}
        is_mean = question.visual.id.startswith("mean/")  # the control `blind` shows no things
        if self.released.sees_named_things_only and not is_mean:
            seen = seen.only(rows_of_things(self.regions_of.path, seen, things))
            row_of = {tag: row for row, tag in enumerate(things, start=1)}
        names = names_of_things(things)
        question_tokens, given, *choices = (
            encode_tagged(self.vocabulary, text, names, self.released.between_names)
            for text in texts
        )
        return TaggedChoices(question_tokens, given, choices, row_of), seen

    @torch.inference_mode()
    def locate(
        self, expressions: Sequence[Expression]
    ) -> list[tuple[float, float, float, float] | None]:
        """The box of the most likely region; the whole picture is one of them, as in the official
        codes."""
        seen = [self.regions_of(expression.visual) for expression in expressions]
        visuals = self._see(seen)
        tokens = self._tokens([expression.text for expression in expressions])
        logits = self.released.region_logits(tokens, visuals).float()
        best = logits.masked_fill(~visuals.mask, -torch.inf).argmax(dim=1).tolist()
        found: list[tuple[float, float, float, float] | None] = []
        for one, row in zip(seen, best, strict=True):
            x1, y1, x2, y2 = one.boxes[row].tolist()
            found.append((x1, y1, x2, y2))
        return found

    @torch.inference_mode()
    def score_pairs(self, visuals: Sequence[Picture], texts: Sequence[str]) -> FloatArray:
        """(visuals, texts): the logit, or the log odds, of how well they go together."""
        if not visuals or not texts:
            return np.zeros((len(visuals), len(texts)))
        seen = self._see([self.regions_of(picture) for picture in visuals])
        scores = self.released.match_every_pair(self._tokens(texts), seen)
        return np.asarray(scores.double().cpu().numpy())

    def _see(self, seen: Sequence[SeenRegions]) -> Visuals:
        """What the network makes of the regions, once a picture and then row by row."""
        looked, rows = look(seen, self.device, self.dtype)
        return self.released.see(looked).rows(torch.tensor(rows, device=self.device))

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        most = self.released.most_tokens
        return pad_texts([self.vocabulary.encode(text, most) for text in texts]).to(self.device)


# ---------------------------------------------------------------- loading


def load_official_model(request: LoadRequest, name: str) -> OfficialModel:
    """The released file `request.weights` of "vlbert" or "vilbert" with what `request.official`
    gives. BadInput, in one line, where something is not given or they do not belong together."""
    path, official = cast(Path, request.weights), request.official or OfficialWeights()
    use = _use_of(request, name, path)
    config, words, regions = _given(path, name, official)
    shapes = shapes_in(path)
    vocabulary = read_bert_vocabulary(words)
    _check_vocabulary(path, shapes, words, vocabulary)
    answers = _answers_of(path, shapes, use, official.answers)
    if name == "vlbert":
        released: Released = _build_vlbert(path, shapes, use, config, vocabulary, len(answers))
    else:
        released = _build_vilbert(request, shapes, use, config, vocabulary, len(answers))
    report = load_official(path, released.network, renames=released.renames)
    _check_layers(path, config, report)
    source = RegionSource(regions, _feature_size(released), released.to_last_pixel)
    description = ModelDescription(
        weights_sha256=sha256_of_file(path),
        parameters=sum(parameter.numel() for parameter in released.network.parameters()),
        options={
            "config": config,
            "vocabulary_sha256": sha256_of_file(words),
            "regions_sha256": source.sha256,
            **({"answers_sha256": sha256_of_file(official.answers)} if official.answers else {}),
            **({"scored_by": _pair_head(released)} if use == "match" else {}),
            "loaded_names": len(report.loaded),
            "renamed_names": len(report.renamed),
            "unused_names": len(report.unused),
        },
    )
    if request.device != "cpu":
        # TF32 would move scores by 1e-3 against the CPU's
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    click.echo(report.text(), err=True)
    dtype = getattr(torch, request.dtype)
    return OfficialModel(released, vocabulary, answers, source, description, request.device, dtype)


def _use_of(request: LoadRequest, name: str, path: Path) -> Use:
    if request.task == "vqa":
        return "choose" if request.dataset in _BY_CHOICES else "answer"
    if request.task == "spatial-localization":
        return "locate"
    if request.task == "retrieval" and name == "vilbert":
        return "match"
    why = (
        "its authors trained no head that scores a caption with a picture; take vilbert, or train "
        "one (harness train)"
        if request.task == "retrieval"
        else "it knows pictures and regions only; train one for it (harness train)"
    )
    raise BadInput(f"{path}: a released {name} cannot do {request.task}: {why}")


def _given(path: Path, name: str, official: OfficialWeights) -> tuple[str, Path, Path]:
    """The name of the sizes, the vocabulary and the regions."""
    known = list(vlbert.CONFIGS if name == "vlbert" else vilbert_config.CONFIGS)
    needed = {
        f"--config ({', '.join(known)})": official.config,
        "--vocab (BERT's vocab.txt)": official.vocabulary,
        "--regions (region features)": official.regions,
    }
    lacking = [option for option, value in needed.items() if value is None]
    if lacking:
        raise BadInput(
            f"{path}: is a file, so a released checkpoint, which needs {', '.join(lacking)} too; "
            "give them, or a folder that `harness train` wrote"
        )
    config, words, regions = official.config, official.vocabulary, official.regions
    assert config is not None
    assert words is not None
    assert regions is not None
    if config not in known:
        raise BadInput(f"--config {config}: no sizes of {name}; it has {', '.join(known)}")
    return config, words, regions


def _check_vocabulary(path: Path, shapes: Shapes, words: Path, vocabulary: Vocabulary) -> None:
    for name, shape in shapes.items():
        if name.endswith("word_embeddings.weight") and shape[0] != len(vocabulary.words):
            raise BadInput(
                f"{words}: has {len(vocabulary.words):,} lines, but {path.name} embeds "
                f"{shape[0]:,} words; give the vocab.txt that it was trained with"
            )


def _answers_of(path: Path, shapes: Shapes, use: Use, answers: Path | None) -> tuple[str, ...]:
    """The answers of a VQA head; none for other uses."""
    if use != "answer":
        if answers is not None:
            raise BadInput(f"--answers {answers}: no answers are chosen from here; leave it out")
        return ()
    if answers is None:
        raise BadInput(
            f"{path}: does not say what its labels stand for; give --answers, the list its VQA "
            "head was trained with (trainval_label2ans.pkl, answers_vqa.txt or a JSON list)"
        )
    found = read_answers(answers)
    heads = ("final_mlp.2.bias", "vil_prediction.logit_fc.3.bias", "vil_prediction.main.3.bias")
    for head in heads:
        if shapes.get(head) == (1,):
            raise BadInput(
                f"{path}: its head has one label ({head}), as those for expressions and choices "
                "have; give a file fine-tuned for vqa"
            )
        if head in shapes and shapes[head] != (len(found),):
            raise BadInput(
                f"{answers}: has {len(found):,} answers, but {path.name} has {shapes[head][0]:,} "
                f"labels ({head}); give the list that it was trained with"
            )
    return found


def _build_vlbert(
    path: Path, shapes: Shapes, use: Use, sizes: str, vocabulary: Vocabulary, answers: int
) -> ReleasedVLBert:
    head = VLBERT_HEAD[use]
    if any(".c_layer." in name for name in shapes):
        raise BadInput(f"{path}: is a ViLBERT, by its layers of co-attention; give --model vilbert")
    if head not in shapes:
        raise BadInput(
            f"{path}: {_what_it_is(shapes)} and has no head to {use} with ({head}); fine-tune it "
            "with the authors' code, who released pretrained weights alone, and give the result"
        )
    config = replace(vlbert.CONFIGS[sizes], vocab_size=len(vocabulary.words))
    return ReleasedVLBert(replace(config, answers=answers or config.answers), use, vocabulary)


def _build_vilbert(
    request: LoadRequest,
    shapes: Shapes,
    use: Use,
    sizes: str,
    vocabulary: Vocabulary,
    answers: int,
) -> ReleasedViLBert:
    """The network as the names in the file have it."""
    has_pairs = "vil_logit.weight" in shapes
    needed = {"answer": "vil_prediction", "locate": "vision_logit", "choose": "vil_logit"}
    if use == "match":
        needed["match"] = "vil_logit" if has_pairs else "cls.bi_seq_relationship"
    if not any(name.startswith(f"{needed[use]}.") for name in shapes):
        raise BadInput(
            f"{request.weights}: {_what_it_is(shapes)} and has no head to {use} with "
            f"({needed[use]}); give a file fine-tuned for {request.task}"
        )
    has_tasks = "bert.embeddings.task_embeddings.weight" in shapes
    token = _TASK_TOKENS.get(request.dataset, _TASK_TOKEN[use])
    release = Release(
        weight_normed="vil_prediction.main.0.weight_g" in shapes,
        task=token if has_tasks else None,
        by_alignment=use == "match" and not has_pairs,
    )
    config = replace(vilbert_config.CONFIGS[sizes], vocab_size=len(vocabulary.words))
    config = replace(config, answers=answers or config.answers)
    return ReleasedViLBert(config, use, vocabulary, release)


def _what_it_is(shapes: Shapes) -> str:
    pretraining = ("vlbert.mlm_head.", "vlbert.mvrc_head.", "cls.")
    is_pretraining = any(name.startswith(pretraining) for name in shapes)
    return "is of pretraining" if is_pretraining else "is another checkpoint"


def _check_layers(path: Path, config: str, report: LoadReport) -> None:
    """BadInput where a layer of the file found no place: the sizes are those of a smaller model,
    which the remaining layers would fit in silence."""
    beyond = [name for name in report.unused if _LAYER.search(name)]
    if beyond:
        raise BadInput(
            f"{path}: has {len(beyond)} weights of layers that --config {config} lacks, first "
            f"{beyond[0]}; choose the sizes that it was trained with"
        )


def _feature_size(released: Released) -> int:
    if isinstance(released, ReleasedVLBert):
        return released.config.appearance_size
    return released.config.v_feature_size


def _pair_head(released: Released) -> str:
    by_alignment = isinstance(released, ReleasedViLBert) and released.release.by_alignment
    return "alignment" if by_alignment else "vil_logit"
