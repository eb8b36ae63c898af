"""VL-BERT as a question answerer: a weights folder in, answers about pictures out.

Joins the vocabulary, the region encoder and the network; knows no training and no scoring.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn

from harness.errors import BadInput
from harness.media.checksums import sha256_of_file, sha256_of_files
from harness.types import Answer, LoadRequest, ModelDescription, Question

from .region_encoder import (
    PictureRegions,
    RegionBatch,
    RegionCache,
    RegionCNN,
    RegionConfig,
    RegionKind,
    pad_regions,
)
from .vlbert import VLBertConfig, VLBertForVQA
from .words import Vocabulary, read_vocabulary

MOST_QUESTION_TOKENS = 32
BUNDLED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class AnswererConfig:
    """What config.json holds: sizes, how pictures are cut up, and the answers in logit order."""

    architecture: VLBertConfig
    regions: RegionConfig
    answers: tuple[str, ...]
    trained_on: str = ""


class VLBertOverCrops(nn.Module):
    """VL-BERT with its region features from a CNN over crops."""

    def __init__(self, config: AnswererConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        regions, architecture = config.regions, config.architecture
        self.sees_pictures = regions.kind != "none"
        if self.sees_pictures:
            self.cnn = RegionCNN(regions.side, regions.channels, architecture.appearance_size)
        self.appearance_size = architecture.appearance_size
        self.model = VLBertForVQA(
            architecture, cls=vocabulary.cls, sep=vocabulary.sep, mask=vocabulary.mask
        )

    def region_visuals(self, batch: RegionBatch) -> Tensor:
        """-> (pictures, regions, hidden)."""
        if self.sees_pictures:
            appearance = self.cnn(batch)
        else:
            weight = self.model.object_linguistic_embeddings.weight
            appearance = weight.new_zeros(*batch.mask.shape, self.appearance_size)
        return self.model.region_embeddings(batch.boxes, appearance, batch.size)

    def forward(
        self, question: Tensor, picture_of: Tensor, visuals: Tensor, mask: Tensor
    ) -> Tensor:
        """question (batch, words), picture_of (batch,) row of its picture, visuals (pictures,
        regions, hidden), mask (pictures, regions) -> logits (batch, answers)."""
        logits: Tensor = self.model(question, visuals[picture_of], mask[picture_of])
        return logits


def pad_questions(questions: Sequence[Sequence[int]]) -> Tensor:
    """(batch, longest) token ids, 0 = padding."""
    longest = max(1, *map(len, questions)) if questions else 1
    padded = torch.zeros(len(questions), longest, dtype=torch.long)
    for row, ids in enumerate(questions):
        padded[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
    return padded


class VLBertAnswerer:
    """Answers questions with the most probable answer of the vocabulary (an Answerer)."""

    def __init__(
        self,
        network: VLBertOverCrops,
        vocabulary: Vocabulary,
        config: AnswererConfig,
        description: ModelDescription,
        device: str = "cpu",
    ) -> None:
        self.network = network.eval().to(device)
        self.vocabulary = vocabulary
        self.config = config
        self.description = description
        self.device = device
        self.regions_of = RegionCache(config.regions)

    @torch.inference_mode()
    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        rows: dict[str, int] = {}
        pictures: list[PictureRegions] = []
        for question in questions:
            if question.visual.id not in rows:
                rows[question.visual.id] = len(pictures)
                pictures.append(self.regions_of(question.visual))
        batch = pad_regions(pictures).to(self.device)
        tokens = pad_questions(
            [self.vocabulary.encode(q.text, MOST_QUESTION_TOKENS) for q in questions]
        )
        picture_of = torch.tensor([rows[q.visual.id] for q in questions])
        visuals = self.network.region_visuals(batch)
        logits = self.network(
            tokens.to(self.device), picture_of.to(self.device), visuals, batch.mask
        )
        # the greatest logit, not the greatest sigmoid: several may round to 1
        best = logits.float().max(dim=1)
        scores = best.values.sigmoid().tolist()
        return [
            Answer(self.config.answers[index], round(score, 6))
            for index, score in zip(best.indices.tolist(), scores, strict=True)
        ]


# ---------------------------------------------------------------- folders of weights


def save_folder(
    folder: Path, network: VLBertOverCrops, vocabulary: Vocabulary, config: AnswererConfig
) -> None:
    """Writes config.json, vocab.txt and model.safetensors (stored in fp16: half the size; the card
    says what the stored weights score)."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(
        json.dumps(asdict(config), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    vocabulary.save(folder / "vocab.txt")
    state = {
        name: value.to("cpu", torch.float16).contiguous()
        for name, value in network.state_dict().items()
    }
    save_file(state, str(folder / "model.safetensors"))
    (folder / "model.safetensors").chmod(0o644)  # it comes out readable to its writer alone


def read_folder(folder: Path) -> tuple[VLBertOverCrops, Vocabulary, AnswererConfig]:
    """Reads what save_folder wrote; computes in fp32. BadInput names the file and the mend."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = [folder / name for name in ("config.json", "vocab.txt", "model.safetensors")]
    for path in files:
        if not path.is_file():
            raise BadInput(
                f"{path}: no such file; --weights takes a folder that `harness train` wrote"
            )
    try:
        config = _read_config(files[0])
        vocabulary = read_vocabulary(files[1])
        _check_sizes(config, vocabulary)
        network = VLBertOverCrops(config, vocabulary)
    except (ValueError, KeyError, TypeError, RuntimeError, ArithmeticError) as error:
        raise BadInput(
            f"{files[0]} and {files[1]} do not describe a VL-BERT answerer ({error}); take those "
            "it was trained with"
        ) from None
    try:
        state = {name: value.float() for name, value in load_file(str(files[2])).items()}
    except SafetensorError as error:
        raise BadInput(f"{files[2]}: unreadable ({error}); copy it again") from None
    _check_shapes(files[2], network.state_dict(), state)
    network.load_state_dict(state)
    return network, vocabulary, config


def _read_config(path: Path) -> AnswererConfig:
    content = json.loads(path.read_text(encoding="utf-8"))
    regions = content["regions"] | {"channels": tuple(content["regions"]["channels"])}
    return AnswererConfig(
        architecture=VLBertConfig(**content["architecture"]),
        regions=RegionConfig(**regions),
        answers=tuple(content["answers"]),
        trained_on=content.get("trained_on", ""),
    )


def _check_sizes(config: AnswererConfig, vocabulary: Vocabulary) -> None:
    """ValueError where the parts of a folder are not of one model."""
    architecture, kind = config.architecture, config.regions.kind
    if len(config.answers) != architecture.answers:
        raise ValueError(f"{len(config.answers)} answers for {architecture.answers} logits")
    if len(vocabulary.words) != architecture.vocab_size:
        raise ValueError(f"{len(vocabulary.words)} words for {architecture.vocab_size} embeddings")
    if kind not in get_args(RegionKind):
        raise ValueError(f"regions of the unknown kind {kind!r}")


def _check_shapes(path: Path, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            raise BadInput(f"{path}: {name} is missing; take the config.json it was trained with")
        if name not in wanted:
            raise BadInput(f"{path}: {name} is not in the model that config.json describes")
        if wanted[name].shape != found[name].shape:
            raise BadInput(
                f"{path}: {name} has shape {tuple(found[name].shape)}, config.json asks for "
                f"{tuple(wanted[name].shape)}; take the config.json it was trained with"
            )


def load_answerer(request: LoadRequest, name: str) -> VLBertAnswerer:
    """The bundled weights of `name` for the data set, or those of --weights."""
    folder = request.weights or BUNDLED / f"{name}--{request.task}--{request.dataset}"
    if not folder.is_dir():
        raise BadInput(
            f"{name} has no weights for {request.task}/{request.dataset}: train it "
            f"(harness train --task {request.task}/{request.dataset} --model {name} -o DIR) "
            "and give --weights DIR"
            if request.weights is None
            else f"{folder}: no such folder; --weights takes a folder that `harness train` wrote"
        )
    network, vocabulary, config = read_folder(folder)
    if request.device != "cpu":
        # TF32 would move scores by 1e-3 against the CPU's
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    dtype = getattr(torch, request.dtype)
    description = ModelDescription(
        weights_sha256=sha256_of_file(folder / "model.safetensors"),
        parameters=sum(p.numel() for p in network.parameters()),
        options={
            "config_sha256": sha256_of_files([folder / "config.json", folder / "vocab.txt"]),
            "regions": config.regions.kind,
        },
    )
    return VLBertAnswerer(network.to(dtype), vocabulary, config, description, request.device)


def load_vlbert(request: LoadRequest) -> VLBertAnswerer:
    return load_answerer(request, "vlbert")


def load_vlbert_blind(request: LoadRequest) -> VLBertAnswerer:
    return load_answerer(request, "vlbert-blind")
