"""Pretraining: what is masked and how often, that nothing masked is seen, the soft classes, a whole
tiny pretraining that may be stopped, and what fine-tuning takes over from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.baselines import pretraining_batches
from harness.baselines.multitask_examples import Reader
from harness.baselines.multitask_folder import MultitaskConfig, build, read_folder
from harness.baselines.multitask_learning import Seer
from harness.baselines.multitask_vision import VisionConfig
from harness.baselines.pretraining_batches import (
    Pair,
    PretrainingBatch,
    PretrainingCollator,
    blank,
    choose,
    choose_some,
    mask_words,
    overlaps_of,
)
from harness.baselines.pretraining_learning import Pretraining, PretrainingVLBert, pretraining_of
from harness.baselines.pretraining_measures import Share, measure
from harness.baselines.pretraining_recipes import SIZES, pretraining_recipe_for
from harness.baselines.region_classes import (
    AnnotatedRegions,
    RegionClassifier,
    classes_of,
    count_right,
    fit_region_classes,
    soft_classes,
)
from harness.baselines.region_encoder import (
    PictureRegions,
    RegionBatch,
    RegionConfig,
    find_regions,
    pad_regions,
)
from harness.baselines.region_labels import label_words_of
from harness.baselines.starting_weights import read_start, start_from
from harness.baselines.train_multitask import network_config, train_vilbert, train_vlbert
from harness.baselines.train_pretraining import pretrain_vilbert, pretrain_vlbert
from harness.baselines.training import CurveTrainer
from harness.baselines.vlbert_pretraining import NOT_MASKED
from harness.baselines.words import SPECIAL, Vocabulary, learn_vocabulary
from harness.errors import BadInput
from harness.tasks.datasets.toybox import expressions, retrieval, vqa
from harness.types import Dataset, Picture, TrainPart, TrainRequest

MODELS = pytest.mark.parametrize("model", ["vlbert", "vilbert"])
PRETRAIN = {"vlbert": pretrain_vlbert, "vilbert": pretrain_vilbert}
TRAIN = {"vlbert": train_vlbert, "vilbert": train_vilbert}
SMALL = {
    "hidden_size": "16",
    "heads": "2",
    "layers": "2",
    "image_layers": "1",
    "intermediate_size": "16",
    "warmup": "2",
    "epochs": "1",
}
LOADS: dict[str, Callable[[Path | None, str], Dataset]] = {
    "retrieval": retrieval.load,
    "vqa": vqa.load,
    "spatial-localization": expressions.load,
}
GRID = RegionConfig(kind="grid", rows=2, columns=2, channels=(4, 4, 4))
VOCABULARY = learn_vocabulary(["a red circle is left of the big blue square"])
CLASSES = 3


def part(task: str, split: str, count: int) -> Dataset:
    dataset = LOADS[task](None, split)
    return replace(dataset, samples=dataset.samples[:count])


def request(output: Path, *tasks: str, validated: int = 0, **options: str) -> TrainRequest:
    parts = [
        TrainPart(task, "toybox", part(task, "train", 24), part(task, "val", validated) or None)
        for task in tasks or ("retrieval",)
    ]
    return TrainRequest(
        **vars(parts[0]),
        also=tuple(parts[1:]),
        output=output,
        command="harness train ...",
        options={**SMALL, **options},
    )


def pretraining(output: Path, *tasks: str, **options: Any) -> TrainRequest:
    return request(output, *tasks, **{"batch": "8", "class_pictures": "20", **options})


def picture(seed: int, side: int = 48) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Picture(f"random-{seed}", lambda: pixels)


def network_of(model: Any, vocabulary: Vocabulary = VOCABULARY) -> Pretraining:
    from harness.baselines.multitask_recipes import recipe_for

    recipe = recipe_for(model, SMALL)
    config = MultitaskConfig(
        model,
        network_config(model, recipe, len(vocabulary.words), 1),
        VisionConfig(GRID, None, recipe.hidden_size),
        (),
        ("pretraining/toybox",),
    )
    torch.manual_seed(0)
    return pretraining_of(build(config, vocabulary), CLASSES).eval()


def pair(regions: PictureRegions, caption: str) -> Pair:
    targets = np.full((len(regions.boxes), CLASSES), 1 / CLASSES, dtype=np.float32)
    targets[0] = 0
    return Pair(regions, targets, (tuple(VOCABULARY.encode(caption, 48)),))


def annotated(count: int, config: RegionConfig) -> tuple[list[AnnotatedRegions], Vocabulary]:
    dataset = part("retrieval", "train", count)
    vocabulary = learn_vocabulary(["one"])
    reader = Reader(vocabulary, VisionConfig(config), {}, label_words_of(dataset))
    found = []
    for example in reader.examples_of(dataset):
        assert isinstance(example.visual, PictureRegions)
        found.append(AnnotatedRegions(example.visual, example.labels))
    return found, vocabulary


# ---------------------------------------------------------------- masking


def test_words_are_masked_as_often_as_the_official_codes_mask_them() -> None:
    torch.manual_seed(0)
    tokens = torch.full((200, 200), len(SPECIAL))
    tokens[:, 100:] = 0  # padding
    chosen = choose(tokens > 0, 0.15)
    many = learn_vocabulary(" ".join(f"w{i}" for i in range(500)) for _ in "x")
    read, labels = mask_words(tokens, chosen, many)
    assert torch.equal(labels != NOT_MASKED, chosen)
    assert torch.equal(labels[chosen], tokens[chosen])
    assert torch.equal(read[~chosen], tokens[~chosen])
    assert not chosen[:, 100:].any()
    assert chosen[:, :100].float().mean() == pytest.approx(0.15, abs=0.01)
    assert (read[chosen] == many.mask).float().mean() == pytest.approx(0.8, abs=0.03)
    assert (read[chosen] == tokens[chosen]).float().mean() == pytest.approx(0.1, abs=0.03)
    others = read[chosen & (read != many.mask) & (read != tokens)]
    assert len(set(others.tolist())) > 100
    assert int(others.min()) >= len(SPECIAL)


def test_where_some_must_be_masked_no_row_is_left_out() -> None:
    real = torch.tensor([[True, False, False], [False, True, True], [False, False, False]])
    chosen = choose_some(real, 0.0, torch.Generator().manual_seed(0))
    assert chosen.sum(dim=1).tolist() == [1, 1, 0]
    assert not (chosen & ~real).any()


@pytest.mark.parametrize("swaps", [False, True])
def test_batches_mask_regions_and_swap_captions_at_the_official_rates(swaps: bool) -> None:
    torch.manual_seed(0)
    seen = find_regions(picture(1), GRID)
    pairs = [pair(seen, "a red circle"), pair(seen, "the big blue square")] * 200
    collate = PretrainingCollator(VOCABULARY, () if swaps else ((5, 6, 7),), swaps)
    batch = collate(pairs)["batch"]
    masked = batch.targets.sum(dim=-1) > 0.5
    assert not masked[:, 0].any()
    assert masked[:, 1:].float().mean() == pytest.approx(0.15, abs=0.03)
    assert not (batch.hidden & ~masked).any()
    assert batch.hidden[masked].float().mean() == pytest.approx(0.9, abs=0.05)
    assert (batch.aligned.float().mean() < 1.0) == swaps
    if swaps:
        assert batch.aligned.float().mean() == pytest.approx(0.5, abs=0.1)
        length = (batch.caption > 0).sum(dim=1)
        own = torch.where(torch.arange(len(pairs)) % 2 == 0, 5, 6)  # with [CLS] and [SEP]
        assert torch.equal(length, torch.where(batch.aligned, own, own.roll(-1)))
        assert batch.text is None
    else:
        assert batch.text is not None
        assert batch.text.shape == (400, 3)  # no [CLS], no [SEP]


def test_special_tokens_are_never_masked() -> None:
    torch.manual_seed(0)
    seen = find_regions(picture(1), GRID)
    batch = PretrainingCollator(VOCABULARY)([pair(seen, "a red circle")] * 300)["batch"]
    labels = batch.word_labels[batch.word_labels != NOT_MASKED]
    assert len(labels) > 50
    assert not torch.isin(labels, torch.tensor([VOCABULARY.cls, VOCABULARY.sep, 0])).any()


# ---------------------------------------------------------------- nothing masked is seen


def with_another_quarter(one: Picture, row: int, column: int) -> Picture:
    """The same picture but for the pixels of one region of the 2 x 2 grid."""
    pixels = one.read().copy()
    half = len(pixels) // 2
    pixels[half * row : half * (row + 1), half * column : half * (column + 1)] += 100
    return Picture("another", lambda: pixels)


@MODELS
def test_a_hidden_regions_pixels_reach_nothing(model: str) -> None:
    network = network_of(model)
    text = torch.tensor([[VOCABULARY.cls, VOCABULARY.mask, 7, VOCABULARY.sep]])
    told: dict[bool, list[Any]] = {}
    for hide in (True, False):
        hidden = torch.tensor([[False, False, False, False, hide]])
        told[hide] = []
        for one in (picture(1), with_another_quarter(picture(1), 1, 1)):
            batch = blank(pad_regions([find_regions(one, GRID)]), hidden)
            with torch.inference_mode():
                told[hide].append(network.tell(text, batch, hidden))
    for name in ("words", "regions", "alignment"):
        first, second = (getattr(one, name) for one in told[True])
        if first is not None:
            assert torch.equal(first, second)
            first, second = (getattr(one, name) for one in told[False])
            assert not torch.equal(first, second)


@MODELS
def test_a_hidden_region_is_not_read_even_if_its_pixels_are_there(model: str) -> None:
    network = network_of(model)
    text = torch.tensor([[VOCABULARY.cls, VOCABULARY.mask, VOCABULARY.sep]])
    batch = pad_regions([find_regions(picture(1), GRID)])
    hidden = torch.tensor([[False, False, True, False, False]])
    crops = batch.crops.clone()
    crops[:, 2] = 7
    with torch.inference_mode():
        first = network.tell(text, batch, hidden)
        second = network.tell(text, replace(batch, crops=crops), hidden)
    assert torch.equal(first.words, second.words)
    assert torch.equal(first.regions, second.regions)


def test_the_whole_picture_is_blank_where_a_hidden_region_is_and_nowhere_else() -> None:
    batch = pad_regions([find_regions(picture(2), GRID)])
    hidden = torch.tensor([[False, True, False, False, False]])
    blanked = blank(batch, hidden)
    half = batch.crops.shape[2] // 2
    assert not blanked.crops[0, 0, :half, :half].any()
    assert torch.equal(blanked.crops[0, 0, half:], batch.crops[0, 0, half:])
    assert torch.equal(blanked.crops[0, 0, :, half:], batch.crops[0, 0, :, half:])
    assert not blanked.crops[0, 1].any()
    assert torch.equal(blanked.crops[0, 2:], batch.crops[0, 2:])
    assert torch.equal(batch.crops, pad_regions([find_regions(picture(2), GRID)]).crops)


def test_what_overlaps_a_hidden_region_is_blank_in_vilberts_whole_picture() -> None:
    whole = [0.0, 0.0, 24.0, 24.0]
    boxes = torch.tensor([[whole, [0, 0, 12, 12], [0, 0, 12, 20], [0, 0, 6, 8], [20, 20, 24, 24]]])
    shares = overlaps_of(boxes)[0]
    assert shares[1, 2] == pytest.approx(0.6)
    assert shares[1, 3] == pytest.approx(1 / 3)
    assert shares[1, 4] == 0
    batch = RegionBatch(
        torch.full((1, 5, 24, 24, 4), 255, dtype=torch.uint8),
        boxes,
        torch.ones(1, 5, dtype=torch.bool),
        torch.tensor([[24.0, 24.0]]),
    )
    hidden = torch.tensor([[False, True, False, False, False]])
    assert blank(batch, hidden).crops[0, 0, 12:20, :12].all()
    blanked = blank(batch, hidden, 0.4).crops
    assert not blanked[0, 0, :20, :12].any()
    assert blanked[0, 0, 20:].all()
    assert blanked[0, 0, :, 12:].all()
    assert blanked[0, 2].all()  # its own crop stays


@MODELS
def test_masked_words_are_not_seen(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining_batches, "MASKED_SHARE", 1.0)
    network = network_of(model)
    seen = find_regions(picture(1), GRID)
    words = [VOCABULARY.encode(text, 9) for text in ("a red circle", "the big square")]

    def read(ids: list[int], share: float) -> tuple[PretrainingBatch, Tensor]:
        monkeypatch.setattr(pretraining_batches, "_AS_MASK", share)
        torch.manual_seed(0)
        one = replace(pair(seen, ""), captions=(tuple(ids),))
        batch = PretrainingCollator(VOCABULARY, (tuple(ids),))([one])["batch"]
        with torch.inference_mode():
            logits = network.tell(batch.caption, batch.regions, batch.hidden).words
            if isinstance(network, PretrainingVLBert):
                assert batch.text is not None
                text = network.network.read_text(batch.text)
                logits = torch.cat([logits.flatten(), text.flatten()])
        return batch, logits

    (first, told), (second, told_too) = (read(ids, 1.0) for ids in words)
    assert not torch.equal(first.word_labels, second.word_labels)
    assert torch.equal(told, told_too)
    # where masked words stay, as one in ten does, they are seen
    monkeypatch.setattr(pretraining_batches, "_AS_ANY_WORD", 0.0)
    assert not torch.equal(read(words[0], 0.0)[1], read(words[1], 0.0)[1])


# ---------------------------------------------------------------- the soft classes


def test_soft_classes_are_probabilities_and_better_than_chance() -> None:
    config = RegionConfig()
    pictures, _ = annotated(160, config)
    classes = classes_of(pictures)
    assert all(len(labels) == 4 for labels in classes)  # size, pattern, colour, shape
    state = torch.get_rng_state()
    classifier = fit_region_classes(pictures * 3, config, classes, 16, seed=0)
    assert torch.equal(state, torch.get_rng_state())
    right, total = count_right(classifier, pictures, classes)
    assert total > 300
    assert right / total > 10 / len(classes)
    for picture_, soft in zip(pictures, soft_classes(classifier, pictures), strict=True):
        assert soft.shape == (len(picture_.regions.boxes), len(classes))
        assert not soft[0].any()
        np.testing.assert_allclose(soft[1:].sum(axis=1), 1.0, atol=1e-5)
    again = fit_region_classes(pictures[:40], config, classes, 16, seed=0)
    same = fit_region_classes(pictures[:40], config, classes, 16, seed=0)
    for one, other in zip(again.parameters(), same.parameters(), strict=True):
        assert torch.equal(one, other)


def test_regions_without_a_known_class_are_not_counted() -> None:
    regions = find_regions(picture(1), GRID)
    one = AnnotatedRegions(regions, ((), (0, 1), (1, 0), (2,), ()))
    assert classes_of([one]) == ((0, 1), (2,))
    classifier = RegionClassifier(GRID, [(0, 1)], 8)
    assert count_right(classifier, [one], [(0, 1)]) == (2, 2)  # the only class there is


# ---------------------------------------------------------------- the networks


@MODELS
def test_what_is_learned_is_the_seers(model: str) -> None:
    network = network_of(model).train()
    before = {name: value.clone() for name, value in network.seer.state_dict().items()}
    seen = find_regions(picture(1), GRID)
    pairs = [pair(seen, "a red circle"), pair(seen, "the big blue square")] * 8
    torch.manual_seed(0)
    collate = PretrainingCollator(VOCABULARY, ((5, 6, 7),), model == "vilbert")
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    loss = network(**collate(pairs))["loss"]
    loss.backward()
    optimiser.step()
    table = next(v for n, v in network.seer.named_parameters() if "word_embeddings" in n)
    head: Any = network.network
    words = head.vlbert.mlm_head if model == "vlbert" else head.cls
    assert words.predictions.decoder.weight is table
    moved = {
        name
        for name, value in network.seer.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert any("word_embeddings" in name for name in moved)
    assert any("encoder" in name for name in moved)
    assert any("vision.crops" in name for name in moved)
    state = network.state_dict()
    places = [value.data_ptr() for value in state.values()]
    assert len(set(places)) == len(places)
    assert {f"seer.{name}" for name in before} <= state.keys()


def test_fine_tuning_of_vlbert_starts_from_its_heads() -> None:
    network = network_of("vlbert")
    assert isinstance(network, PretrainingVLBert)
    tasks: Any = network.seer.network
    heads = network.network.vlbert
    dense = heads.mlm_head.predictions.transform.dense.weight
    assert not torch.equal(tasks.answers.final_mlp[0].dense.weight, dense)
    network.hand_over()
    assert torch.equal(tasks.answers.final_mlp[0].dense.weight, dense)
    region = heads.mvrc_head.transform.dense.weight
    assert torch.equal(tasks.expressions.final_mlp[0].dense.weight, region)


@MODELS
def test_measuring_changes_nothing_and_is_the_same_each_time(model: str) -> None:
    network = network_of(model).train()
    pairs = [pair(find_regions(picture(i), GRID), "a red circle left of the") for i in range(5)]
    state = torch.get_rng_state()
    first = measure(network, pairs, VOCABULARY)
    assert torch.equal(state, torch.get_rng_state())
    assert network.training
    assert first == measure(network, pairs, VOCABULARY)
    assert ("alignment" in first) == (model == "vilbert")
    assert first["words"].total == first["words_black"].total == first["words_other"].total >= 5
    assert first["regions"].total == first["regions_no_text"].total >= 5


def test_intervals_are_wilsons() -> None:
    low, high = Share(8, 10).interval95()
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert Share(0, 20).interval95()[0] == 0.0
    assert str(Share(5, 10)) == "50.0 % [23.7, 76.3], 5 of 10"


# ---------------------------------------------------------------- whole trainings


@MODELS
def test_a_pretraining_goes_on_where_it_was_stopped(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(name: str) -> TrainRequest:
        return pretraining(
            tmp_path / name, "retrieval", "vqa", validated=4, epochs="2", dropout="0.1"
        )

    PRETRAIN[model](ask("straight"))
    evaluate = CurveTrainer.evaluate

    def stop_at_the_second(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.epoch > 1.5:
            raise KeyboardInterrupt
        return evaluate(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(CurveTrainer, "evaluate", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            PRETRAIN[model](ask("stopped"))
    assert list((tmp_path / "stopped" / "checkpoints").glob("checkpoint-*"))
    PRETRAIN[model](ask("stopped"))
    straight, stopped = (
        read_folder(tmp_path / name)[0].state_dict() for name in ("straight", "stopped")
    )
    assert all(torch.equal(straight[name], stopped[name]) for name in straight)
    curves = [
        json.loads((tmp_path / name / "curve.json").read_text()) for name in ("straight", "stopped")
    ]
    assert curves[0] == curves[1]
    card = (tmp_path / "straight" / "card.md").read_text()
    assert "masked words, with the picture" in card
    assert "masked regions, without the caption" in card
    assert ("own or another's" in card) == (model == "vilbert")
    assert not (tmp_path / "straight" / "checkpoints").exists()


@MODELS
def test_fine_tuning_starts_from_what_pretraining_learned(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PRETRAIN[model](pretraining(tmp_path / "start", "retrieval", "vqa"))
    capsys.readouterr()
    # with a learning rate of 0, training shows what it started from
    TRAIN[model](
        request(
            tmp_path / "tuned",
            "vqa",
            "spatial-localization",
            start=str(tmp_path / "start"),
            learning_rate="0",
        )
    )
    there, vocabulary, _ = read_folder(tmp_path / "start")
    here, same_vocabulary, _ = read_folder(tmp_path / "tuned")
    assert same_vocabulary.words == vocabulary.words
    before, after = there.state_dict(), here.state_dict()
    trunk = [name for name in before if "encoder" in name or "vision.crops" in name]
    heads = [name for name in before if "final_mlp.0" in name]
    assert len(trunk) > 20
    assert (len(heads) > 4) == (model == "vlbert")
    for name in [n for n in trunk if "_module.pooler" not in n] + heads:
        assert torch.equal(before[name], after[name]), name
    said = capsys.readouterr().out
    assert f"weights from {tmp_path / 'start'}; afresh: " in said
    assert "words of the texts are unknown there" in said  # expressions were not pretrained on
    assert "started from weights sha256 `" in (tmp_path / "tuned" / "card.md").read_text()


def test_choices_start_with_the_first_segment(tmp_path: Path) -> None:
    pretrain_vlbert(pretraining(tmp_path))
    start = read_start(str(tmp_path))
    assert start is not None

    def segments(seer: Seer) -> Tensor:
        network: Any = seer.network
        table: Tensor = network.choices.encoder.token_type_embeddings.weight
        return table

    for choices in (False, True):
        torch.manual_seed(1)
        seer = build(start.config, start.vocabulary)
        start_from(start, seer, choices)
        assert torch.equal(segments(seer)[0], segments(start.seer)[0])
        assert torch.equal(segments(seer)[1], segments(seer)[0]) == choices


# ---------------------------------------------------------------- refusals


def test_pretraining_has_the_sizes_of_fine_tuning() -> None:
    from harness.baselines.multitask_recipes import recipe_for

    assert {"hidden_size", "layers", "image_layers", "regions"} <= set(SIZES)
    for model in PRETRAIN:
        pretrained, tuned = pretraining_recipe_for(model, {}), recipe_for(model, {})
        for name in SIZES:
            assert getattr(pretrained, name) == getattr(tuned, name), (model, name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regions": "none"}, "regions=none"),
        ({"heads": "3"}, "multiple of heads"),
        ({"batch": "0"}, "batch=0"),
        ({"start": "x"}, "start: unknown"),
    ],
)
def test_what_cannot_be_pretrained_is_refused(
    options: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=message):
        pretrain_vlbert(pretraining(tmp_path, **options))


def test_pretraining_without_captions_or_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--task retrieval"):
        pretrain_vilbert(pretraining(tmp_path, "vqa", "spatial-localization"))
    asked = pretraining(tmp_path)
    bare = replace(asked, train=replace(asked.train, region_annotations=None))
    with pytest.raises(BadInput, match="no annotations"):
        pretrain_vlbert(bare)


def test_models_without_pretraining_say_so(cli: Callable[..., Any]) -> None:
    done = cli("train", "--pretrain", "--model", "nce", "--task", "retrieval", "-o", "out")
    assert done.returncode != 0
    assert "nce has no pretraining" in done.stderr


def test_the_command_line_pretrains(
    cli: Callable[..., Any], small_toybox: None, tmp_path: Path
) -> None:
    changes = [f"--set={k}={v}" for k, v in SMALL.items()]
    tasks = ["--task", "captioning", "--limit", "16"]
    done = cli("train", "--pretrain", "--model", "vilbert", *tasks, *changes, "-o", "out")
    assert done.returncode == 0, done.stderr
    assert "alignment" in done.stdout
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert "## Measured" not in (tmp_path / "out" / "card.md").read_text()


def test_a_start_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    pretrain_vlbert(pretraining(tmp_path / "start"))
    start = str(tmp_path / "start")
    tune = request(tmp_path / "tuned", "vqa", start=start)
    with pytest.raises(BadInput, match="its model is vlbert, this training's vilbert"):
        train_vilbert(tune)
    for option, value, name in (
        ("hidden_size", "32", "hidden_size is 16, this training's 32"),
        ("regions", "grid", "regions.kind is segments, this training's grid"),
    ):
        asked = replace(tune, output=tmp_path / option, options={**tune.options, option: value})
        with pytest.raises(BadInput, match=name):
            train_vlbert(asked)
    nowhere = {**tune.options, "start": str(tmp_path / "none")}
    with pytest.raises(BadInput, match="no such folder"):
        train_vlbert(replace(tune, options=nowhere))
    (tmp_path / "start" / "model.safetensors").unlink()
    with pytest.raises(BadInput, match="no such file"):
        train_vlbert(replace(tune, output=tmp_path / "again"))


def test_a_stopped_training_does_not_go_on_from_another_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = tmp_path / "start"
    pretrain_vlbert(pretraining(start))
    tune = request(tmp_path / "tuned", "vqa", validated=2, start=str(start), epochs="2")

    def stop(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.epoch == 2:  # that of the first epoch has its checkpoint
            raise KeyboardInterrupt
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(CurveTrainer, "evaluate", stop)
        with pytest.raises(KeyboardInterrupt):
            train_vlbert(tune)
    pretrain_vlbert(replace(pretraining(start), seed=1))  # other weights in the same folder
    with pytest.raises(BadInput, match="--restart"):
        train_vlbert(tune)
