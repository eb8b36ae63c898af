"""Released VL-BERT and ViLBERT fed as their authors' code feeds them: which tokens, which limits,
which segments. Knows no files and no harness tasks; region features come decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from .multitask_vision import Looked, Visuals
from .official_checkpoints import (
    VILBERT_TASKS,
    VLBERT_REFERRING,
    VLBERT_VCR,
    VLBERT_VQA,
    NameTable,
    Renames,
)
from .official_inputs import SeenRegions
from .text_inputs import pad_texts
from .vilbert import StreamState, ViLBertConfig, ViLBertOutput, box_locations, score_every_pair
from .vilbert_heads import ViLBertForTasks, alignment_score
from .vlbert import VLBertConfig, VLBertForVQA
from .vlbert_refcoco import VLBertForReferring
from .vlbert_vcr import VLBertForVCR
from .words import Vocabulary

Use: TypeAlias = Literal["answer", "choose", "locate", "match"]
Tagged: TypeAlias = list[tuple[int, int]]  # (token id, tag), tag -1 for what names nothing

# The name by which a file shows that it has VL-BERT's head for a use.
VLBERT_HEAD: Mapping[Use, str] = {
    "answer": "final_mlp.2.weight",
    "locate": "final_mlp.2.weight",
    "choose": "final_mlp.1.weight",
}
_VLBERT_TABLE: Mapping[Use, NameTable] = {
    "answer": VLBERT_VQA,
    "locate": VLBERT_REFERRING,
    "choose": VLBERT_VCR,
}
_VLBERT_VCR_TOKENS = 64  # of question, given answer and choice together
_PAIRS_AT_ONCE = 128


@dataclass
class TaggedChoices:
    """A question in tokens: the given answer is empty where the answers themselves are asked for.
    `row_of`: tag -> the row of the region that it names."""

    question: Tagged
    given: Tagged
    choices: list[Tagged]
    row_of: Mapping[int, int] = field(default_factory=dict)


def look(
    seen: Sequence[SeenRegions], device: str | torch.device, dtype: torch.dtype
) -> tuple[Looked, list[int]]:
    """Padded regions, boxes and sizes in fp32 and features in `dtype`; the same SeenRegions once.
    Beside them the row of each of `seen`."""
    distinct = {id(one): one for one in seen}
    row = {key: place for place, key in enumerate(distinct)}
    pictures = list(distinct.values())
    most = max(len(one.boxes) for one in pictures)
    boxes = torch.zeros(len(pictures), most, 4)
    features = torch.zeros(len(pictures), most, pictures[0].features.shape[1])
    mask = torch.zeros(len(pictures), most, dtype=torch.bool)
    for place, one in enumerate(pictures):
        count = len(one.boxes)
        boxes[place, :count] = torch.from_numpy(one.boxes)
        features[place, :count] = torch.from_numpy(one.features)
        mask[place, :count] = True
    sizes = torch.tensor([one.size for one in pictures], dtype=torch.float32)
    looked = Looked(boxes.to(device), features.to(device, dtype), mask.to(device), sizes.to(device))
    return looked, [row[id(one)] for one in seen]


# ---------------------------------------------------------------- VL-BERT


class ReleasedVLBert:
    """One of VL-BERT's networks for a task. Texts are token ids without special tokens."""

    to_last_pixel = True
    between_names = "and"
    sees_named_things_only = True

    def __init__(self, config: VLBertConfig, use: Use, vocabulary: Vocabulary) -> None:
        cls, sep, mask = vocabulary.cls, vocabulary.sep, vocabulary.mask
        self.config = config
        self.network: VLBertForVQA | VLBertForReferring | VLBertForVCR
        if use == "answer":
            self.network = VLBertForVQA(config, cls, sep, mask)
        elif use == "locate":
            self.network = VLBertForReferring(config, cls, sep)
        else:
            self.network = VLBertForVCR(config, cls, sep)
        self.renames: Renames = _VLBERT_TABLE[use].renames
        self.most_tokens = config.max_position_embeddings - 6  # special tokens, regions, [END]

    def see(self, looked: Looked) -> Visuals:
        """The visual embedding of each region."""
        states = self.network.region_embeddings(looked.boxes, looked.appearance, looked.sizes)
        return Visuals(states, looked.mask)

    def answer_logits(self, questions: Tensor, visuals: Visuals) -> Tensor:
        """questions (rows, words) with their visuals row by row -> (rows, answers)."""
        logits: Tensor = self.network(questions, visuals.states, visuals.mask)
        return logits

    def region_logits(self, expressions: Tensor, visuals: Visuals) -> Tensor:
        """(rows, words) -> (rows, regions); arbitrary where padded."""
        logits: Tensor = self.network(expressions, visuals.states, visuals.mask)
        return logits

    def choice_logits(self, asked: Sequence[TaggedChoices], visuals: Visuals) -> list[list[float]]:
        """A logit for each choice of each question, row by row with the visuals."""
        device = visuals.mask.device
        found = []
        for row, one in enumerate(asked):
            query, choices = self.within_limit(one)
            (ids,), (tags,) = _ids_and_rows([query], one.row_of)
            choice_ids, choice_tags = _ids_and_rows(choices, one.row_of)
            own = visuals.rows(torch.tensor([row], device=device))
            logits = self.network(
                *(part[None].to(device) for part in (ids, tags, choice_ids, choice_tags)),
                own.states,
                own.mask,
            )
            found.append([float(logit) for logit in logits[0].float().tolist()])
        return found

    @staticmethod
    def within_limit(one: TaggedChoices) -> tuple[Tagged, list[Tagged]]:
        """The query and the choices, cut from the end of the longer side, as the official code cuts
        them: what a long choice takes from the question is gone for all choices."""
        question, given = list(one.question), list(one.given)
        choices = [list(choice) for choice in one.choices]
        for choice in choices:
            while len(question) + len(given) + len(choice) > _VLBERT_VCR_TOKENS:
                if len(choice) > len(question) + len(given):
                    choice.pop()
                elif len(question) > 1:
                    question.pop()
                else:
                    given.pop()
        return question + given, choices

    def match_every_pair(self, texts: Tensor, visuals: Visuals) -> Tensor:
        raise NotImplementedError("VL-BERT was released without a head for pairs")


def _ids_and_rows(texts: Sequence[Tagged], row_of: Mapping[int, int]) -> tuple[Tensor, Tensor]:
    """Padded (texts, words): token ids, and rows of regions, 0 where nothing is named."""
    return (
        pad_texts([[id for id, _ in text] for text in texts]),
        pad_texts([[row_of.get(tag, 0) for _, tag in text] for text in texts]),
    )


# ---------------------------------------------------------------- ViLBERT


@dataclass(frozen=True)
class Release:
    """What a file's names tell of a ViLBERT: whether its classifier is weight-normed, as in
    vilbert_beta, whether it has a token for each task, as 12-in-1 has, and whether pairs are scored
    by `vil_logit` or, where that is absent, by pretraining's alignment."""

    weight_normed: bool = False
    task: int | None = None
    by_alignment: bool = False


class ReleasedViLBert:
    """ViLBERT under the head of a task. Texts are token ids without special tokens."""

    to_last_pixel = False
    between_names = ""
    sees_named_things_only = False
    renames: Renames = VILBERT_TASKS.renames

    def __init__(
        self, config: ViLBertConfig, use: Use, vocabulary: Vocabulary, release: Release
    ) -> None:
        self.config = replace(config, task_specific_tokens=release.task is not None)
        self.special = (vocabulary.cls, vocabulary.sep)
        self.release = release
        head = {"answer": "vil_prediction", "locate": "vision_logit"}.get(use, "vil_logit")
        if use == "match" and release.by_alignment:
            head = "cls"
        self.network = ViLBertForTasks(self.config, [head], release.weight_normed)
        most = {"answer": 16 if release.weight_normed else 23, "locate": 20, "match": 30}
        self.most_tokens = most.get(use, 60) - len(self.special)

    def see(self, looked: Looked) -> Visuals:
        """The image stream before the first co-attention."""
        image = self.network.bert.encode_image(
            looked.appearance, box_locations(looked.boxes, looked.sizes), looked.mask
        )
        return Visuals(image.states, image.mask)

    def answer_logits(self, questions: Tensor, visuals: Visuals) -> Tensor:
        """questions (rows, words) with their visuals row by row -> (rows, answers)."""
        return self.network.answer_logits(self._join(self._read_one(questions), visuals))

    def region_logits(self, expressions: Tensor, visuals: Visuals) -> Tensor:
        """(rows, words) -> (rows, regions)."""
        joined = self._join(self._read_one(expressions), visuals, pooled_only=False)
        return self.network.region_logits(joined)

    def match_every_pair(self, texts: Tensor, visuals: Visuals) -> Tensor:
        """(texts, words) -> (visuals, texts)."""
        image = StreamState(visuals.states, visuals.mask)
        return score_every_pair(
            self.network.bert, self._read_one(texts), image, self._pair_score, _PAIRS_AT_ONCE
        )

    def choice_logits(self, asked: Sequence[TaggedChoices], visuals: Visuals) -> list[list[float]]:
        """A logit for each choice of each question, row by row with the visuals. The task of a
        reason comes after that of an answer."""
        found = []
        for row, one in enumerate(asked):
            pairs = self.pairs_within_limit(one)
            second = 1 if one.given else 0
            text = self._read(pairs, second, visuals.mask.device)
            rows = torch.full((len(pairs),), row, device=visuals.mask.device)
            logits = self.network.match_logit(self._join(text, visuals.rows(rows)))
            found.append([float(logit) for logit in logits.float().tolist()])
        return found

    def pairs_within_limit(self, one: TaggedChoices) -> list[tuple[list[int], list[int]]]:
        """(query, choice) of each choice: at most 60 tokens, 80 for a reason, with [CLS] and two
        [SEP]; the longer side is cut, and the query stays cut for the choices after."""
        query = [id for id, _ in one.question]
        if one.given:
            query += [self.special[1], *(id for id, _ in one.given)]
        most = (80 if one.given else 60) - 3
        pairs = []
        for tagged in one.choices:
            choice = [id for id, _ in tagged]
            while len(query) + len(choice) > most:
                (query if len(query) > len(choice) else choice).pop()
            pairs.append((list(query), choice))
        return pairs

    def _read_one(self, texts: Tensor) -> StreamState:
        """[CLS] text [SEP] of token ids (rows, words), 0 = padding."""
        return self._read([(row[row > 0].tolist(), []) for row in texts], 0, texts.device)

    def _read(
        self, pairs: Sequence[tuple[list[int], list[int]]], later: int, device: torch.device
    ) -> StreamState:
        """The text stream before the first co-attention of "[CLS] first [SEP]", and "second [SEP]"
        in segment 1 where there is one; of the release's task, or so many tasks after it."""
        cls, sep = self.special
        firsts = [[cls, *first, sep] for first, _ in pairs]
        seconds = [[*second, sep] if second else [] for _, second in pairs]
        tokens = pad_texts([a + b for a, b in zip(firsts, seconds, strict=True)])
        segments = pad_texts(
            [[0] * len(a) + [1] * len(b) for a, b in zip(firsts, seconds, strict=True)]
        )
        task = None
        if self.release.task is not None:
            task = torch.full((len(pairs),), self.release.task + later, device=device)
        return self.network.bert.encode_text(
            tokens.to(device), segments.to(device), (tokens > 0).to(device), task
        )

    def _join(
        self, texts: StreamState, visuals: Visuals, pooled_only: bool = True
    ) -> ViLBertOutput:
        image = StreamState(visuals.states, visuals.mask)
        return self.network.bert.join(texts, image, pooled_only)

    def _pair_score(self, output: ViLBertOutput) -> Tensor:
        if not self.release.by_alignment:
            return self.network.match_logit(output)
        heads = self.network.get_submodule("cls")
        return alignment_score(heads.alignment(output))  # type: ignore[operator]
