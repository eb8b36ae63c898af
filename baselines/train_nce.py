"""Trains the dual encoder for any of its tasks, through transformers.Trainer, on any data set with
a training part. Writes a weights folder with its card. Knows no scoring but what its curve shows.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from harness.errors import BadInput
from harness.types import Dataset, ModelDescription, ReasonedQuestion, TrainRequest

from .checkpoints import last_whole_checkpoint, prepare_checkpoints
from .nce import (
    DualConfig,
    DualEncoder,
    Matching,
    RegionSetEncoder,
    hinge_loss,
    infonce_loss,
    nce_loss,
)
from .nce_examples import (
    Collator,
    Example,
    examples_of,
    moment_lengths,
    texts_of,
    with_labels,
    with_roles,
)
from .nce_folder import NceConfig, save_folder
from .nce_frozen import Frozen, fingerprints
from .nce_inputs import MOST_TOKENS, draw_captions, pad_texts, rows_of_tags
from .nce_model import NceModel
from .nce_recipes import Recipe, recipe_for
from .nce_validation import validate
from .region_encoder import RegionBatch, RegionConfig
from .visual_encoder import VisualConfig
from .vqa_examples import label_words_of
from .words import SPECIAL, Vocabulary, learn_vocabulary

# ---------------------------------------------------------------- learning


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
                grounded = [_grounding(fit, visuals["roles"], batch.mask[owners]) for fit in fits]
                loss = loss + self.recipe.grounding * (grounded[0] + grounded[1])
        else:
            whose = torch.cat([owners, owners[foil_of]])
            each = network.match_things(tokens, self.named[tokens], seen[whose], batch.mask[whose])
            loss = self._loss(*_beside_their_foils(each, len(owners), foil_of))
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


def _grounding(fits: Tensor, roles: Tensor, mask: Tensor) -> Tensor:
    """How well the first queries find what each phrase speaks of: fits (questions, queries,
    regions); roles (questions, phrases, regions), 1 where it does; mask (questions, regions)."""
    phrases = min(fits.shape[1], roles.shape[1])
    real = mask[:, None].expand(-1, phrases, -1)
    fits, roles = fits[:, :phrases][real], roles[:, :phrases][real]
    return phrases * binary_cross_entropy_with_logits(fits, roles)


def _beside_their_foils(
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


class CurveTrainer(Trainer):
    """Trainer whose evaluation is what validate() measures of the model as users have it."""

    def __init__(self, model_of: Any, validation: Dataset | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_of, self.validation = model_of, validation

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        assert self.model is not None
        assert self.validation is not None
        measured = validate(self.model_of(), self.validation)
        metrics = {"epoch": self.state.epoch or 0.0}
        metrics |= {f"eval_{name}": value for name, value in measured.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        self.model.train()
        return metrics


class PlainProgress(TrainerCallback):
    """One line an epoch."""

    def __init__(self) -> None:
        self.start, self.cpu = time.monotonic(), time.process_time()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        shown = {k: round(v, 4) for k, v in (logs or {}).items() if isinstance(v, int | float)}
        seconds = f"{time.monotonic() - self.start:6.0f} s, {time.process_time() - self.cpu:.0f}"
        print(f"{seconds} s of processor  {shown}", flush=True)


def train_nce(request: TrainRequest) -> None:
    """Trains for the request's task and writes the folder."""
    recipe = recipe_for(f"{request.task}/{request.dataset}", dict(request.options))
    _check_installed(recipe)
    checkpoints = prepare_checkpoints(request, {"recipe": asdict(recipe)})
    set_seed(request.seed)
    start = time.monotonic()
    # made once: several passes go over them
    train = replace(request.train, samples=list(request.train.samples))
    vocabulary = (
        Vocabulary(list(SPECIAL)) if recipe.text == "minilm" else learn_vocabulary(texts_of(train))
    )
    config = _config(request, recipe, vocabulary)
    network = DualEncoder(config.encoder)
    frozen = Frozen(request.device, keep=True)
    examples, collator = _examples(train, config, recipe, vocabulary, frozen)
    kept = [example for example in examples if example.claims]
    print(
        f"{time.monotonic() - start:6.0f} s  {len(kept)} visuals read, {len(examples) - len(kept)} "
        "without a text to learn from",
        flush=True,
    )
    if not kept:
        raise BadInput(f"{request.task}/{request.dataset}: no training example has a text")
    captions = "captioning" in request.task
    bank = draw_captions(train, recipe.bank, request.seed) if captions else []
    trainer = CurveTrainer(
        lambda: NceModel(
            network, vocabulary, config, ModelDescription(), request.device, bank, frozen
        ),
        request.validation,
        model=WithObjective(
            network,
            recipe,
            rows_of_tags(vocabulary),
            pad_texts([vocabulary.encode(answer, MOST_TOKENS) for answer in config.answers]),
            collator.labels,
        ),
        args=_arguments(request, recipe, bool(request.validation)),
        train_dataset=kept,
        eval_dataset=kept[:1],
        data_collator=collator,
        callbacks=[PlainProgress()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last_whole_checkpoint(checkpoints))
    save_folder(request.output, network, vocabulary, config, bank)
    curve = [entry for entry in trainer.state.log_history if any("eval" in key for key in entry)]
    (request.output / "curve.json").write_text(json.dumps(curve, indent=1) + "\n")
    _write_card(request, recipe, config, network, curve, time.monotonic() - start)
    shutil.rmtree(checkpoints, ignore_errors=True)


def _check_installed(recipe: Recipe) -> None:
    """BadInput, before anything is read, where a frozen network is not installed."""
    try:
        fingerprints((recipe.eye, recipe.text))
    except BadInput as error:
        raise BadInput(f"{error}; or do without: --set eye=pictures --set text=words") from None


def _examples(
    train: Dataset, config: NceConfig, recipe: Recipe, vocabulary: Vocabulary, frozen: Frozen
) -> tuple[list[Example], Collator]:
    """Examples, those of questions with what is annotated of their regions, and what makes batches
    of them."""
    matching = config.encoder.matching
    examples = examples_of(train, config, recipe.hard_negatives == "foils", frozen)
    words = label_words_of(train) if recipe.naming and matching != "vectors" else {}
    if words:
        examples = with_labels(examples, train, words)
    grounded = bool(recipe.grounding and train.groundings and matching == "question")
    if grounded:
        examples = with_roles(examples, train)
    collator = Collator(
        vocabulary, config, recipe.texts, recipe.foils, len(words), grounded, frozen
    )
    return examples, collator


def _config(request: TrainRequest, recipe: Recipe, vocabulary: Vocabulary) -> NceConfig:
    visual = VisualConfig(
        side=recipe.side,
        channels=tuple(map(int, recipe.channels.split(","))),
        stem=recipe.stem,
        size=recipe.size,
        narrow=recipe.narrow,
        frames=recipe.frames,
    )
    eye: Any = recipe.eye
    objective: Any = recipe.objective
    regions: Any = recipe.regions
    text: Any = recipe.text
    encoder = DualConfig(
        vocab_size=len(vocabulary.words),
        eye=eye,
        objective=objective,
        visual=visual,
        word_size=recipe.word_size,
        text_hidden=recipe.text_hidden,
        region_size=recipe.region_size,
        region_layers=recipe.region_layers,
        tagged=isinstance(request.train.samples[0].input, ReasonedQuestion),
        size=recipe.size,
        matching=_matching(request),
        queries=recipe.queries,
        text=text,
        dropout=recipe.dropout,
    )
    moments = request.task == "temporal-localization"
    return NceConfig(
        encoder,
        RegionConfig(kind=regions, side=encoder.region_side),
        trained_on=f"{request.task}/{request.dataset}",
        answers=request.train.answers,
        moment_lengths=moment_lengths(request.train, recipe.frames) if moments else (),
        frozen=fingerprints((recipe.eye, recipe.text)),
    )


def _matching(request: TrainRequest) -> Matching:
    if request.task != "vqa":
        return "vectors"
    return "things" if isinstance(request.train.samples[0].input, ReasonedQuestion) else "question"


def _arguments(request: TrainRequest, recipe: Recipe, evaluates: bool) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(request.output / "checkpoints"),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup_steps=recipe.warmup,
        lr_scheduler_type="cosine",
        max_grad_norm=2.0,
        seed=request.seed,
        use_cpu=request.device == "cpu",
        eval_strategy="epoch" if evaluates else "no",
        save_strategy="epoch",
        save_total_limit=2,
        logging_strategy="epoch",
        remove_unused_columns=False,
        label_names=["owners"],
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    # one device: the rows of a batch refer to its visuals and are not to be split
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def _write_card(
    request: TrainRequest,
    recipe: Recipe,
    config: NceConfig,
    network: DualEncoder,
    curve: list[dict[str, float]],
    seconds: float,
) -> None:
    parameters = sum(p.numel() for p in network.parameters())
    measured = {name[5:]: v for name, v in (curve[-1] if curve else {}).items() if "eval_" in name}
    at_the_end = ", ".join(f"{name} {100 * value:.1f} %" for name, value in measured.items())
    lines = [
        f"# {request.output.name}",
        "",
        f"A dual encoder over {config.encoder.eye}, trained to tell real pairs from mismatches "
        f"(objective {config.encoder.objective}), on {config.trained_on}, "
        f"{request.train.split}: {len(request.train.samples):,} samples, data sha256 "
        f"`{request.train.sha256}`.",
        "",
        f"- command: `{request.command}`",
        f"- seed {request.seed}, device {request.device}, {seconds:.0f} s with the reading of "
        "pictures (of the last start, if it was resumed)",
        f"- {parameters:,} parameters, stored in fp16, computed in fp32",
        *(
            f"- on top of {name}, frozen, which is not stored here: sha256 `{sha256}`"
            for name, sha256 in config.frozen.items()
        ),
        f"- recipe: {recipe}",
        f"- validation at the end: {at_the_end or 'not measured'} (every epoch in curve.json)",
        "",
    ]
    (request.output / "card.md").write_text("\n".join(lines), encoding="utf-8")
