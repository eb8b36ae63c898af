"""Trains the dual encoder for any of its tasks, through transformers.Trainer, on any data set with
a training part. Writes a weights folder with its card. Knows no scoring but what its curve shows.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from harness.errors import BadInput
from harness.store import write_json
from harness.types import Dataset, ModelDescription, ReasonedQuestion, TrainRequest

from .nce import DualConfig, DualEncoder, hinge_loss, infonce_loss, nce_loss
from .nce_examples import Collator, examples_of, moment_lengths, texts_of
from .nce_model import NceConfig, NceModel, save_folder
from .nce_recipes import Recipe, recipe_for
from .nce_validation import validate
from .region_encoder import RegionBatch, RegionConfig
from .train_vlbert import _last_whole_checkpoint
from .visual_encoder import VisualConfig
from .words import Vocabulary, learn_vocabulary

# ---------------------------------------------------------------- learning


class WithObjective(nn.Module):
    """A dual encoder and the loss of a batch, as Collator makes it."""

    def __init__(self, network: DualEncoder, recipe: Recipe) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe

    def forward(
        self,
        tokens: Tensor,
        owners: Tensor,
        foil_of: Tensor,
        parts: Tensor,
        **visuals: Tensor,
    ) -> dict[str, Tensor]:
        """tokens (texts + foils, longest); owners (texts,) the visual of each text; foil_of
        (foils,) the text that each foil stands against; parts (texts,) as Claim's."""
        texts = self.network.embed_texts(tokens)
        seen = self._see(visuals)
        real, foils = texts[: len(owners)], texts[len(owners) :]
        if self.network.config.eye == "moments" or bool((parts >= 0).any()):
            loss = self._among_parts(seen, real, owners, parts, visuals.get("mask"))
        else:
            whole = seen[:, 0] if seen.dim() == 3 else seen
            loss = self._among_wholes(whole, real, foils, owners, foil_of)
        return {"loss": loss}

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
    recipe = recipe_for(request.task, dict(request.options))
    checkpoints = _prepare_checkpoints(request, recipe)
    set_seed(request.seed)
    start = time.monotonic()
    vocabulary = learn_vocabulary(texts_of(request.train))
    config = _config(request, recipe, vocabulary)
    network = DualEncoder(config.encoder)
    examples = examples_of(request.train, config, recipe.hard_negatives == "foils")
    kept = [example for example in examples if example.claims]
    print(
        f"{time.monotonic() - start:6.0f} s  {len(kept)} visuals read, {len(examples) - len(kept)} "
        "without a text to learn from",
        flush=True,
    )
    if not kept:
        raise BadInput(f"{request.task}/{request.dataset}: no training example has a text")
    bank = _bank(request, recipe)
    trainer = CurveTrainer(
        lambda: NceModel(network, vocabulary, config, ModelDescription(), request.device, bank),
        request.validation,
        model=WithObjective(network, recipe),
        args=_arguments(request, recipe, bool(request.validation)),
        train_dataset=kept,
        eval_dataset=kept[:1],
        data_collator=Collator(vocabulary, config, recipe.texts, recipe.foils),
        callbacks=[PlainProgress()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=_last_whole_checkpoint(checkpoints))
    save_folder(request.output, network, vocabulary, config, bank)
    curve = [entry for entry in trainer.state.log_history if any("eval" in key for key in entry)]
    (request.output / "curve.json").write_text(json.dumps(curve, indent=1) + "\n")
    _write_card(request, recipe, config, network, curve, time.monotonic() - start)
    shutil.rmtree(checkpoints, ignore_errors=True)


def _prepare_checkpoints(request: TrainRequest, recipe: Recipe) -> Path:
    """The folder of checkpoints, emptied on --restart. BadInput if it holds those of another
    training, which must not go on as this one."""
    folder = request.output / "checkpoints"
    asked = {
        "task": f"{request.task}/{request.dataset}",
        "recipe": asdict(recipe),
        "seed": request.seed,
        "data_sha256": request.train.sha256,
        "samples": len(request.train.samples),
    }
    if not request.resume:
        shutil.rmtree(folder, ignore_errors=True)
    noted = folder / "request.json"
    if noted.is_file():
        try:
            same = json.loads(noted.read_text(encoding="utf-8")) == asked
        except ValueError:
            same = False
        if not same:
            raise BadInput(f"{folder}: of another training that was stopped; give --restart or -o")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(noted, asked)
    return folder


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
    )
    moments = request.task == "temporal-localization"
    return NceConfig(
        encoder,
        RegionConfig(kind=regions, side=encoder.region_side),
        trained_on=f"{request.task}/{request.dataset}",
        answers=request.train.answers,
        moment_lengths=moment_lengths(request.train, recipe.frames) if moments else (),
    )


def _bank(request: TrainRequest, recipe: Recipe) -> list[str]:
    """One caption each of some visuals of the train part, for captioning."""
    if "captioning" not in request.task:
        return []
    chance = np.random.Generator(np.random.Philox(request.seed))
    chosen = chance.permutation(len(request.train.samples))[: recipe.bank]
    captions = []
    for place in sorted(chosen.tolist()):
        references = request.train.samples[place].target.references
        captions.append(references[int(chance.integers(len(references)))])
    return captions


def _arguments(request: TrainRequest, recipe: Recipe, evaluates: bool) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(request.output / "checkpoints"),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup_steps=100,
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
        f"- recipe: {recipe}",
        f"- validation at the end: {at_the_end or 'not measured'} (every epoch in curve.json)",
        "",
    ]
    (request.output / "card.md").write_text("\n".join(lines), encoding="utf-8")
