"""The dual encoder as a model and its training: a folder that works for each task, what batches may
not change, and going on after a stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch

from harness.baselines.nce_examples import Claim, Collator, Example, examples_of, with_roles
from harness.baselines.nce_folder import read_folder
from harness.baselines.nce_learning import beside_their_foils, grounding_loss
from harness.baselines.nce_model import NceModel, load_nce
from harness.baselines.nce_recipes import recipe_for
from harness.baselines.text_inputs import choice_text, with_tags_as_words
from harness.baselines.train_nce import train_nce
from harness.baselines.training import CurveTrainer
from harness.errors import BadInput
from harness.types import Clip, Dataset, LoadRequest, MomentQuery, Picture, Question, TrainRequest

TINY = {
    "epochs": "2",
    "batch": "8",
    "size": "16",
    "word_size": "8",
    "text_hidden": "8",
    "channels": "8,8,8,8",
    "narrow": "4",
    "region_size": "16",
    "region_layers": "1",
    "bank": "10",
}
MODULES = {
    "retrieval/toybox": "retrieval",
    "captioning/toybox": "captions",
    "video-retrieval/toybox": "video_retrieval",
    "video-captioning/toybox": "video_captions",
    "vqa/toybox": "vqa",
    "vqa/toybox-vcr": "vcr",
    "spatial-localization/toybox": "expressions",
    "temporal-localization/toybox": "moments",
}


def part(task: str, split: str, count: int) -> Dataset:
    dataset: Dataset = import_module(f"harness.tasks.datasets.toybox.{MODULES[task]}").load(
        None, split
    )
    return replace(dataset, samples=dataset.samples[:count])


def request(output: Path, task: str = "spatial-localization/toybox", **changes: str) -> Any:
    tiny = dict(TINY)
    if "video" in task or "temporal" in task:
        tiny |= {"channels": "8,8", "side": "16", "frames": "8"}
    if task == "retrieval/toybox":
        tiny["eye"] = "pictures"
    name, _, dataset = task.partition("/")
    return TrainRequest(
        task=name,
        dataset=dataset,
        train=part(task, "train", 24),
        validation=part(task, "val", 6),
        output=output,
        command="harness train ...",
        options={**tiny, **changes},
    )


Trained = Callable[[str], Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Task -> a folder trained for it, once; to be copied before it is changed."""
    folders: dict[str, Path] = {}

    def train(task: str) -> Path:
        if task not in folders:
            folders[task] = tmp_path_factory.mktemp("trained") / "weights"
            train_nce(request(folders[task], task, epochs="1"))
        return folders[task]

    return train


def loaded(task: str, folder: Path) -> NceModel:
    name, _, dataset = task.partition("/")
    return load_nce(LoadRequest(name, dataset, weights=folder))


@pytest.mark.parametrize("task", MODULES)
def test_each_task_trains_a_folder_that_predicts(task: str, trained: Trained) -> None:
    written = {path.name for path in (trained(task)).iterdir()}
    bank = {"captions.txt"} if "captioning" in task else set()
    assert written == bank | {
        *("card.md", "config.json", "curve.json", "model.safetensors", "vocab.txt")
    }
    model = loaded(task, trained(task))
    inputs = [sample.input for sample in part(task, "val", 3).samples]
    visuals = [one.visual for one in inputs]
    if "retrieval" in task:
        assert np.allclose(np.linalg.norm(model.embed_visuals(visuals), axis=1), 1, atol=1e-5)
        assert model.embed_texts(inputs[0].texts).shape == (5, 16)
    elif "captioning" in task:
        lines = (trained(task) / "captions.txt").read_text().splitlines()
        assert set(model.caption(visuals)) <= set(lines)
        assert len(lines) == 10
    elif task == "vqa/toybox":
        found = model.answer(inputs)
        assert all(getattr(one, "text", None) in model.config.answers for one in found)
    elif task == "vqa/toybox-vcr":
        asked = [Question(i.visual, i.text, i.answers, objects=i.objects) for i in inputs]
        assert all(len(getattr(one, "scores", ())) == 4 for one in model.answer(asked))
    elif "spatial" in task:
        assert all(box and 0 <= box[0] < box[2] <= 96 for box in model.locate(inputs))
    else:
        moments = model.find_moments(inputs)
        assert all(len(some) == 5 for some in moments)
        assert all(0 <= start < end <= 8 for some in moments for start, end in some)


def test_whole_pictures_can_be_seen_by_their_regions(tmp_path: Path) -> None:
    task = "retrieval/toybox"
    train_nce(request(tmp_path / "weights", task, epochs="1", eye="regions"))
    model = loaded(task, tmp_path / "weights")
    assert model.config.encoder.eye == "regions"
    visuals = [sample.input.visual for sample in part(task, "val", 5).samples]
    alone = np.concatenate([loaded(task, tmp_path / "weights").embed_visuals([v]) for v in visuals])
    assert np.allclose(model.embed_visuals(visuals), alone, atol=1e-5)


@pytest.mark.parametrize(
    "task", ["retrieval/toybox", "vqa/toybox-vcr", "temporal-localization/toybox"]
)
def test_bfloat16_stays_near_float32(task: str, trained: Trained) -> None:
    name, _, dataset = task.partition("/")
    asked = LoadRequest(name, dataset, weights=trained(task))
    wide, narrow = load_nce(asked), load_nce(replace(asked, dtype="bfloat16"))
    one = part(task, "val", 1).samples[0].input
    texts = ["a red star", "a blue cross moves up"]
    assert np.allclose(wide.embed_texts(texts), narrow.embed_texts(texts), atol=0.05)
    if task == "retrieval/toybox":
        seen, again = (model.embed_visuals([one.visual]) for model in (wide, narrow))
        assert np.allclose(seen, again, atol=0.05)
    elif task == "vqa/toybox-vcr":
        question = Question(one.visual, one.text, one.answers, objects=one.objects)
        assert len(narrow.answer([question])) == 1
    else:
        assert len(narrow.find_moments([one])[0]) == 5


def test_a_batch_gives_what_its_members_give_alone(trained: Trained) -> None:
    task = "spatial-localization/toybox"
    inputs = [sample.input for sample in part(task, "val", 9).samples]
    together = loaded(task, trained(task)).locate(inputs)
    alone = [loaded(task, trained(task)).locate([one])[0] for one in inputs]
    assert together == alone


def test_the_same_seed_trains_the_same_weights(tmp_path: Path) -> None:
    for name in ("first", "second"):
        train_nce(request(tmp_path / name))
    first, second = (read_folder(tmp_path / name)[0].state_dict() for name in ("first", "second"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_stopped_training_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_nce(request(tmp_path / "straight"))
    seen: list[float] = []
    evaluate_epoch = CurveTrainer.evaluate

    def stop_in_the_second_epoch(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(float(self.state.epoch))
        if seen == [1.0, 2.0]:
            raise KeyboardInterrupt
        return evaluate_epoch(self, *args, **kwargs)

    monkeypatch.setattr(CurveTrainer, "evaluate", stop_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        train_nce(request(tmp_path / "stopped"))
    with pytest.raises(BadInput, match="--restart"):
        train_nce(replace(request(tmp_path / "stopped"), seed=1))
    train_nce(request(tmp_path / "stopped"))
    assert seen == [1.0, 2.0, 2.0]  # the second start did not train the first epoch again
    straight, stopped = (
        read_folder(tmp_path / name)[0].state_dict() for name in ("straight", "stopped")
    )
    assert all(torch.allclose(straight[n], stopped[n], atol=1e-3) for n in straight)
    curve = json.loads((tmp_path / "stopped" / "curve.json").read_text())
    assert [entry["epoch"] for entry in curve] == [1.0, 2.0]


@pytest.mark.parametrize("objective", ["nce", "infonce", "hinge", "hinge-sum"])
def test_each_objective_trains_with_foils(objective: str, tmp_path: Path) -> None:
    asked = request(
        tmp_path / "weights",
        "retrieval/toybox",
        epochs="1",
        objective=objective,
        hard_negatives="foils",
    )
    train_nce(asked)
    model = loaded("retrieval/toybox", tmp_path / "weights")
    assert model.description.options["objective"] == objective
    assert f"objective {objective}" in (tmp_path / "weights" / "card.md").read_text()


def test_weights_for_retrieval_choose_captions_of_the_train_part(trained: Trained) -> None:
    asked = LoadRequest(
        "captioning",
        "toybox",
        weights=trained("retrieval/toybox"),
        train=lambda: part("captioning/toybox", "train", 7),
    )
    known = {
        text
        for sample in part("captioning/toybox", "train", 7).samples
        for text in sample.target.references
    }
    model, again = load_nce(asked), load_nce(asked)
    visuals = [sample.input.visual for sample in part("captioning/toybox", "val", 5).samples]
    assert set(model.caption(visuals)) <= known
    assert model.description == again.description
    fewer = replace(asked, train=lambda: part("captioning/toybox", "train", 6))
    assert load_nce(fewer).description != model.description
    with pytest.raises(BadInput, match="nothing to choose captions from"):
        load_nce(replace(asked, train=None))


@pytest.mark.parametrize("task", ["vqa/toybox", "vqa/toybox-vcr"])
def test_questions_together_are_answered_as_alone(task: str, trained: Trained) -> None:
    model = loaded(task, trained(task))
    asked = [sample.input for sample in part(task, "val", 7).samples]
    if task == "vqa/toybox-vcr":
        asked = [
            Question(i.visual, i.text, i.reasons, objects=i.objects, given=i.given) for i in asked
        ]
    together: list[Any] = list(model.answer(asked))
    alone: list[Any] = [model.answer([one])[0] for one in asked]
    if task == "vqa/toybox":
        assert together == alone
    else:
        for one, other in zip(together, alone, strict=True):
            assert np.allclose(one.scores, other.scores, atol=1e-4)


def test_the_words_for_regions_teach_and_are_not_kept(tmp_path: Path, trained: Trained) -> None:
    task = "vqa/toybox-vcr"
    train_nce(request(tmp_path / "weights", task, epochs="1", naming="0"))
    with_them, without = read_folder(trained(task))[0], read_folder(tmp_path / "weights")[0]
    assert with_them.state_dict().keys() == without.state_dict().keys()
    pairs = zip(with_them.state_dict().values(), without.state_dict().values(), strict=True)
    assert not all(torch.equal(one, other) for one, other in pairs)


# ---------------------------------------------------------------- examples


def test_foils_stand_against_their_own_text_only(trained: Trained) -> None:
    network, vocabulary, config = read_folder(trained("retrieval/toybox"))
    assert network.config.eye == "pictures"
    pixels = np.zeros((96, 96, 3), dtype=np.uint8)
    examples = [
        Example(pixels, (Claim("a red star", ("a blue star",)),)),
        Example(pixels, (Claim("a cross"), Claim("a square", ("a circle", "a star")))),
    ]
    batch = Collator(vocabulary, config, texts=2, foils=1)(examples)
    assert batch["owners"].tolist() == [0, 1, 1]
    assert len(batch["foil_of"]) == 2
    assert len(batch["tokens"]) == 5
    words = [vocabulary.words[i] for i in batch["tokens"][3 + 1].tolist() if i]
    owner = batch["tokens"][batch["foil_of"][1]].tolist()
    assert words[-1] in {"circle", "star"}
    assert owner[:2] == vocabulary.encode("a square", 9)


def test_without_hard_negatives_no_foil_is_learned_from(trained: Trained) -> None:
    config = read_folder(trained("retrieval/toybox"))[2]
    train = part("retrieval/toybox", "train", 3)
    assert not any(c.foils for e in examples_of(train, config, foils=False) for c in e.claims)
    assert any(c.foils for e in examples_of(train, config, foils=True) for c in e.claims)


def test_tags_become_words_of_their_own() -> None:
    assert with_tags_as_words("[0,2] are red, [11] is not.") == "tag0 tag2 are red, tag11 is not."
    question = Question(
        Picture("p", lambda: np.zeros((1, 1, 3), np.uint8)), "Why?", ("[1] is.",), given="Yes."
    )
    assert choice_text(question, "[1] is.") == "Why? Yes. tag1 is."


def test_an_answer_is_told_from_all_that_no_one_gave(trained: Trained) -> None:
    _, vocabulary, config = read_folder(trained("vqa/toybox"))
    (example, *_) = examples_of(part("vqa/toybox", "train", 5), config, foils=False)
    claims = (replace(example.claims[0], answer=3, also=(1, 2)), example.claims[1])
    batch = Collator(vocabulary, config, texts=9, foils=0)([replace(example, claims=claims)])
    row = batch["answers"].tolist().index(3)
    assert batch["options"].shape == (2, len(config.answers))
    assert batch["options"][row].logical_not().nonzero()[:, 0].tolist() == [1, 2]


def test_what_phrases_speak_of_is_told_to_the_first_queries() -> None:
    fits = torch.zeros(1, 2, 3)
    fits[0, 0] = torch.tensor([-9.0, 9.0, 5.0])
    fits[0, 1] = torch.tensor([9.0, -9.0, 5.0])
    roles = torch.tensor([[[0.0, 1, 0], [1.0, 0, 0], [0, 1.0, 0]]])
    real = torch.tensor([[True, True, False]])
    assert grounding_loss(fits, roles, real).item() < 1e-3
    assert grounding_loss(fits.flip(1), roles, real).item() > 5
    assert grounding_loss(fits, roles, torch.ones_like(real)).item() > 1


def test_a_question_knows_the_regions_that_its_phrases_speak_of(trained: Trained) -> None:
    _, vocabulary, config = read_folder(trained("vqa/toybox"))
    train = part("vqa/toybox", "train", 5)
    (example,) = with_roles(examples_of(train, config, foils=False), train)
    batch = Collator(vocabulary, config, texts=9, foils=0, grounded=True)([example])
    assert batch["roles"].shape == (len(example.claims), 3, batch["mask"].shape[1])
    assert batch["roles"].sum() > 0
    assert batch["roles"][:, :, 0].sum() == 0  # no phrase speaks of the whole picture


def test_each_text_stands_before_its_own_foils() -> None:
    scores = torch.tensor([1.0, 2.0, 3.0, 10.0, 30.0, 31.0])
    table, real, mask = beside_their_foils(scores, 3, torch.tensor([0, 2, 2]))
    assert table.tolist() == [[1, 10, 0], [2, 0, 0], [3, 30, 31]]
    assert mask.tolist() == [[True, True, False], [True, False, False], [True, True, True]]
    assert real.tolist() == [0, 0, 0]


def test_candidates_of_a_query_are_ranked_and_none_is_left_out(trained: Trained) -> None:
    task = "temporal-localization/toybox"
    model = loaded(task, trained(task))
    candidates = ((0.0, 2.0), (2.0, 4.0), (0.0, 4.0), (0.0, 2.1))
    clip = Clip("c", lambda count: np.zeros((count, 20, 30, 3), np.uint8), 4.0)
    (ranked,) = model.find_moments([MomentQuery(clip, "a star moves", candidates)])
    assert sorted(ranked) == sorted(candidates)


# ---------------------------------------------------------------- refusals


def test_a_picture_without_regions_has_no_box(trained: Trained) -> None:
    task = "spatial-localization/toybox"
    model = loaded(task, trained(task))
    query = replace(
        part(task, "val", 1).samples[0].input,
        visual=Picture("grey", lambda: np.full((50, 60, 3), 128, np.uint8)),
    )
    assert model.locate([query]) == [None]


def test_weights_of_another_task_are_refused(trained: Trained) -> None:
    with pytest.raises(BadInput, match="trained for spatial-localization/toybox"):
        loaded("retrieval/toybox", trained("spatial-localization/toybox"))


def test_a_torn_or_missing_file_is_named(tmp_path: Path, trained: Trained) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        loaded("retrieval/toybox", tmp_path / "none")
    folder = tmp_path / "weights"
    copytree(trained("spatial-localization/toybox"), folder)
    (folder / "model.safetensors").write_bytes(b"half")
    with pytest.raises(BadInput, match=r"model\.safetensors: unreadable"):
        loaded("spatial-localization/toybox", folder)
    (folder / "vocab.txt").unlink()
    with pytest.raises(BadInput, match=r"vocab\.txt: no such file"):
        loaded("spatial-localization/toybox", folder)


@pytest.mark.parametrize(
    "option",
    [
        *("sizes=3", "epochs=many", "epochs=0", "objective=triplet", "correction=maybe"),
        *(
            "naming=-1",
            "grounding=-1",
            "queries=0",
            "channels=8,x",
            "side=50",
            "size=15",
            "hard_negatives=all",
            "region_size=15",
        ),
        "eye=clips",
    ],
)
def test_an_unknown_or_unreadable_option_is_named(option: str) -> None:
    name, _, value = option.partition("=")
    with pytest.raises(BadInput, match=f"--set {name}"):
        recipe_for("retrieval", {name: value})


def test_a_task_that_it_cannot_do_is_named() -> None:
    with pytest.raises(BadInput, match="cannot be trained for dancing"):
        recipe_for("dancing", {})
