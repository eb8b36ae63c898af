"""VL-BERT and ViLBERT as models: folders of weights, and predictions that batches do not move."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from harness.baselines.multitask_folder import (
    ModelName,
    MultitaskConfig,
    build,
    read_folder,
    save_folder,
)
from harness.baselines.multitask_learning import Seer
from harness.baselines.multitask_model import MOMENTS, MultitaskModel, load_vilbert, load_vlbert
from harness.baselines.multitask_vision import Vision, VisionConfig
from harness.baselines.region_encoder import RegionConfig, find_regions
from harness.baselines.vilbert import ViLBertConfig
from harness.baselines.visual_encoder import VisualConfig
from harness.baselines.vlbert import VLBertConfig
from harness.baselines.words import Vocabulary, learn_vocabulary
from harness.errors import BadInput
from harness.types import (
    Answer,
    Choice,
    Expression,
    LoadRequest,
    Model,
    ModelDescription,
    NamedBox,
    Picture,
    Question,
)

ANSWERS = ("yes", "no", "red", "2", "circle")
TRAINED_ON = ("vqa/toybox", "retrieval/toybox")
NAMES: list[ModelName] = ["vlbert", "vilbert"]
TEXT = (
    "is there a red thing to the left of it how many tag0 tag1 tag2 tag3 the big blue small circle "
    "square triangle moves then and what color are green yellow things above , ? ."
)


def config_of(name: ModelName, words: int, **changes: Any) -> MultitaskConfig:
    sizes: dict[str, Any] = {
        "vocab_size": words,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 128,
        "initializer_range": 0.3,
        "answers": len(ANSWERS),
    }
    network: VLBertConfig | ViLBertConfig
    if name == "vlbert":
        network = VLBertConfig(
            num_hidden_layers=2,
            appearance_size=8,
            geometry_size=16,
            visual_scale_text_init=0.5,
            visual_scale_object_init=1.0,
            **sizes,
        )
    else:
        network = ViLBertConfig(
            num_hidden_layers=3,
            v_feature_size=8,
            v_hidden_size=16,
            v_num_hidden_layers=2,
            v_num_attention_heads=2,
            v_intermediate_size=16,
            bi_hidden_size=16,
            bi_num_attention_heads=2,
            v_biattention_id=(0, 1),
            t_biattention_id=(1, 2),
            **sizes,
        )
    vision = VisionConfig(
        RegionConfig(side=16, channels=(4, 4, 4)),
        VisualConfig(side=16, channels=(4, 8), stem=4, size=8, narrow=4, frames=8),
        appearance_size=8,
        moment_lengths=(2, 3, 5),
        frames=2,
    )
    return replace(MultitaskConfig(name, network, vision, ANSWERS, TRAINED_ON), **changes)


def seer_of(name: ModelName, **changes: Any) -> tuple[Seer, Vocabulary, MultitaskConfig]:
    vocabulary = learn_vocabulary([TEXT])
    config = config_of(name, len(vocabulary.words), **changes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(config, vocabulary), vocabulary, config


def model_of(name: ModelName, dtype: torch.dtype = torch.float32, **changes: Any) -> MultitaskModel:
    seer, vocabulary, config = seer_of(name, **changes)
    return MultitaskModel(seer.to(dtype), vocabulary, config, ModelDescription())


def blind(name: ModelName) -> dict[str, Any]:
    vision = config_of(name, 1).vision
    return {"vision": replace(vision, regions=replace(vision.regions, kind="none"), clips=None)}


def inputs_of(module: str, count: int) -> list[Any]:
    dataset = import_module(f"harness.tasks.datasets.toybox.{module}").load(None, "val")
    return [sample.input for sample in dataset.samples[:count]]


def choosing(count: int) -> list[Question]:
    """The odd ones with fewer choices, and with what is given."""
    return [
        Question(i.visual, i.text, i.reasons[:3], objects=i.objects, given=i.given)
        if place % 2
        else Question(i.visual, i.text, i.answers, objects=i.objects)
        for place, i in enumerate(inputs_of("vcr", count))
    ]


def plain_picture() -> Picture:
    """Of one colour: nothing stands out."""
    return Picture("plain", lambda: np.full((40, 50, 3), 90, dtype=np.uint8))


def scores_of(model: MultitaskModel, questions: list[Question]) -> list[list[float]]:
    return [list(cast(Choice, found).scores) for found in model.answer(questions)]


def predictions(model: MultitaskModel) -> list[Any]:
    """One of everything, as numbers that can be compared."""
    retrieval, clips = inputs_of("retrieval", 3), inputs_of("video_retrieval", 2)
    return [
        model.answer(inputs_of("vqa", 4)),
        scores_of(model, choosing(3)),
        model.locate(inputs_of("expressions", 3)),
        model.find_moments(inputs_of("moments", 2)),
        model.score_pairs([i.visual for i in retrieval], [t for i in retrieval for t in i.texts]),
        model.score_pairs([i.visual for i in clips], [i.texts[0] for i in clips]),
    ]


def assert_equal(found: list[Any], wanted: list[Any]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


# ---------------------------------------------------------------- predictions


@pytest.mark.parametrize("name", NAMES)
def test_predictions_have_their_shapes_and_come_again(name: ModelName) -> None:
    first, again = predictions(model_of(name)), predictions(model_of(name))
    assert_equal(first, again)
    answers, choices, boxes, moments, pairs, clip_pairs = first
    assert all(isinstance(one, Answer) and one.text in ANSWERS for one in answers)
    assert all(0 <= one.confidence <= 1 for one in answers)
    assert [len(scores) for scores in choices] == [4, 3, 4]
    assert all(x1 < x2 and y1 < y2 for x1, y1, x2, y2 in boxes)
    for some, query in zip(moments, inputs_of("moments", 2), strict=True):
        assert 0 < len(some) <= MOMENTS
        assert all(0 <= start < end <= query.visual.duration for start, end in some)
    texts = sum(len(i.texts) for i in inputs_of("retrieval", 3))
    assert pairs.shape == (3, texts)
    assert clip_pairs.shape == (2, 2)
    for scores in (pairs, clip_pairs):
        assert np.isfinite(scores).all()
        assert scores.std() > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_answers_do_not_depend_on_the_batch(name: ModelName) -> None:
    model = model_of(name)
    questions = [*inputs_of("vqa", 12), Question(plain_picture(), "is there ?")]
    together = cast(list[Answer], model.answer(questions))
    for question, answer in zip(questions, together, strict=True):
        alone = cast(Answer, model.answer([question])[0])
        assert alone.text == answer.text
        assert alone.confidence == pytest.approx(answer.confidence, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_choices_do_not_depend_on_the_batch(name: ModelName) -> None:
    """Nor on tags of things that the picture has not, nor on longer texts beside."""
    model = model_of(name)
    objects = (NamedBox((3.0, 4.0, 20.0, 30.0), "thing"),)
    missing = Question(plain_picture(), "is [0] red, [3]?", ("[2] is", "", "no"), objects=objects)
    nothing = Question(plain_picture(), "is [0] red?", ("it is", "[1] is"))
    questions = [*choosing(5), missing, nothing, *inputs_of("vqa", 1)]
    together = model.answer(questions)
    for question, found in zip(questions, together, strict=True):
        alone = model.answer([question])[0]
        assert type(alone) is type(found)
        if isinstance(found, Choice):
            assert cast(Choice, alone).scores == pytest.approx(found.scores, abs=1e-5)
            assert found.index == int(np.argmax(found.scores))


@pytest.mark.parametrize("name", NAMES)
def test_boxes_and_moments_do_not_depend_on_the_batch(name: ModelName) -> None:
    model = model_of(name)
    expressions, queries = inputs_of("expressions", 6), inputs_of("moments", 4)
    assert model.locate(expressions) == [model.locate([one])[0] for one in expressions]
    assert model.find_moments(queries) == [model.find_moments([one])[0] for one in queries]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("module", ["retrieval", "video_retrieval"])
def test_scores_of_pairs_do_not_depend_on_what_is_beside(name: ModelName, module: str) -> None:
    model, asked = model_of(name), inputs_of(module, 3)
    visuals, texts = [i.visual for i in asked], [*(t for i in asked for t in i.texts[:2]), ""]
    together = model.score_pairs(visuals, texts)
    turned = model.score_pairs(visuals[::-1], texts[::-1])
    assert np.allclose(turned, together[::-1, ::-1], rtol=1e-6, atol=1e-5)
    alone = [[model.score_pairs([v], [t])[0, 0] for t in texts] for v in visuals]
    assert np.allclose(together, alone, rtol=1e-6, atol=1e-5)
    assert model.score_pairs(visuals, []).shape == (3, 0)
    assert model.score_pairs([], texts).shape == (0, len(texts))


@pytest.mark.parametrize("name", NAMES)
def test_given_candidates_are_all_ranked(name: ModelName) -> None:
    query = inputs_of("moments", 1)[0]
    third = query.visual.duration / 3
    candidates = ((0.0, third), (third, 2 * third), (0.0, 3 * third))
    found = model_of(name).find_moments([replace(query, candidates=candidates)])[0]
    assert sorted(found) == sorted(candidates)


@pytest.mark.parametrize("name", NAMES)
def test_the_likeliest_window_comes_first(name: ModelName, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole clip, row 0, is no moment, however likely."""
    model, query = model_of(name), inputs_of("moments", 1)[0]
    monkeypatch.setattr(
        model.seer.network, "region_logits", lambda *_: torch.tensor([[9.0, 1.0, 3.0, 2.0]])
    )
    candidates = ((0.0, 1.0), (1.0, 2.0), (2.0, 3.0))
    found = model.find_moments([replace(query, candidates=candidates)])[0]
    assert found == [candidates[1], candidates[2], candidates[0]]


@pytest.mark.parametrize("name", NAMES)
def test_the_likeliest_real_region_is_located(
    name: ModelName, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, expression = model_of(name), inputs_of("expressions", 1)[0]
    boxes = find_regions(expression.visual, model.config.vision.regions).boxes
    plain = Expression(plain_picture(), "it")
    logits = torch.arange(len(boxes)).float().expand(2, -1)
    monkeypatch.setattr(model.seer.network, "region_logits", lambda *_: logits)
    assert model.locate([expression, plain]) == [tuple(boxes[-1]), (0.0, 0.0, 50.0, 40.0)]


def test_windows_are_looked_at_in_their_order_after_the_whole_clip() -> None:
    vision = Vision(config_of("vlbert", 1).vision).eval()
    clips = torch.randint(0, 255, (2, 8, 16, 16, 3), dtype=torch.uint8)
    windows = torch.tensor([[0, 2], [3, 8]])
    with torch.no_grad():
        looked = vision.look_at_windows(clips, windows)
        alone = vision.look_at_windows(clips, windows[1:])
    for boxes in looked.boxes.tolist():
        assert boxes == [[0, 0, 8, 1], [0, 0, 2, 1], [3, 0, 8, 1]]
    assert looked.sizes.tolist() == [[8, 1], [8, 1]]
    assert looked.mask.all()
    for place, row in ((0, 0), (1, 2)):
        assert torch.allclose(alone.appearance[:, place], looked.appearance[:, row], atol=1e-5)
    assert not torch.allclose(looked.appearance[:, 1], looked.appearance[:, 2], atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_texts_longer_than_the_model_reads_are_cut(name: ModelName) -> None:
    model, picture = model_of(name), inputs_of("vqa", 1)[0].visual
    endless = "red " * 500
    chosen = Question(picture, endless, (endless, "no"), given=endless)
    found = model.answer([Question(picture, endless), chosen])
    assert [type(one) for one in found] == [Answer, Choice]
    assert np.isfinite(model.score_pairs([picture], [endless])).all()


@pytest.mark.parametrize("name", NAMES)
def test_who_chooses_sees_the_named_things_and_nothing_else(name: ModelName) -> None:
    """Not the regions that stand out, though nothing is named: so it was trained."""
    model, picture = model_of(name), inputs_of("vcr", 1)[0].visual
    seen, _ = model._see([Question(picture, "?", ("a", "b"))], named=True)
    assert seen.mask.shape == (1, 1)
    things = (NamedBox((1.0, 1.0, 9.0, 9.0), "a"), NamedBox((5.0, 5.0, 30.0, 30.0), "b"))
    seen, _ = model._see([Question(picture, "?", ("a", "b"), objects=things)], named=True)
    assert seen.mask.shape == (1, 3)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_predicts_near_what_float32_does(name: ModelName) -> None:
    whole, half = model_of(name), model_of(name, torch.bfloat16)
    asked = inputs_of("retrieval", 2)
    for model in (whole, half):
        predictions(model)
    scores = [m.score_pairs([i.visual for i in asked], asked[0].texts) for m in (whole, half)]
    assert np.abs(scores[0] - scores[1]).max() < 0.2
    assert not np.array_equal(scores[0], scores[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_the_blind_decode_no_picture(name: ModelName, dtype: torch.dtype) -> None:
    def refuse() -> Any:
        raise AssertionError("a picture was read")

    model = model_of(name, dtype, **blind(name))
    hidden = [
        replace(question, visual=replace(question.visual, read=refuse))
        for question in (*inputs_of("vqa", 3), *choosing(3))
    ]
    assert len(model.answer(hidden)) == 6


# ---------------------------------------------------------------- refusals


def test_weights_without_answers_say_so() -> None:
    words = len(learn_vocabulary([TEXT]).words)
    network = replace(config_of("vlbert", words).network, answers=1)
    trained_on = ("retrieval/toybox",)
    model = model_of("vlbert", network=network, answers=(), trained_on=trained_on)
    with pytest.raises(BadInput, match="trained on retrieval/toybox have no answers"):
        model.answer(inputs_of("vqa", 1))


def test_weights_that_see_no_clips_say_so() -> None:
    model = model_of(
        "vilbert", vision=replace(config_of("vilbert", 1).vision, clips=None, frames=0)
    )
    with pytest.raises(BadInput, match=r"see no clips; train .* --task temporal-localization"):
        model.find_moments(inputs_of("moments", 1))
    with pytest.raises(BadInput, match=r"see no clips; train .* --task video-retrieval"):
        model.score_pairs([inputs_of("video_retrieval", 1)[0].visual], ["red"])


LOADERS: dict[str, Callable[[LoadRequest], Model]] = {
    "vlbert": load_vlbert,
    "vilbert": load_vilbert,
}


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_refused_for_a_task_they_were_not_trained_for(
    name: ModelName, tmp_path: Path
) -> None:
    save_folder(tmp_path, *seer_of(name))
    assert LOADERS[name](LoadRequest("vqa", "toybox", weights=tmp_path)).description.parameters
    for task, dataset in (("spatial-localization", "toybox"), ("vqa", "toybox-vcr")):
        mend = f"harness train --task {task}/{dataset} --model {name}"
        with pytest.raises(BadInput, match=mend) as caught:
            LOADERS[name](LoadRequest(task, dataset, weights=tmp_path))
        assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- folders


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_gives_the_same_predictions_and_the_same_bytes_again(
    name: ModelName, tmp_path: Path
) -> None:
    save_folder(tmp_path / "first", *seer_of(name))
    first = read_folder(tmp_path / "first")
    save_folder(tmp_path / "second", *first)
    second = read_folder(tmp_path / "second")
    assert first[2] == second[2] == seer_of(name)[2]
    assert_equal(
        *(predictions(MultitaskModel(*some, ModelDescription())) for some in (first, second))
    )
    for file in ("config.json", "vocab.txt", "model.safetensors"):
        written = [(tmp_path / folder / file).read_bytes() for folder in ("first", "second")]
        assert written[0] == written[1], file
    near = model_of(name)  # before rounding to fp16
    asked = inputs_of("retrieval", 2)
    scores = [
        model.score_pairs([i.visual for i in asked], asked[0].texts)
        for model in (near, MultitaskModel(*first, ModelDescription()))
    ]
    assert np.abs(scores[0] - scores[1]).max() < 0.02


def test_what_tasks_share_stands_once_in_the_file(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    seer, vocabulary, config = seer_of("vlbert")
    save_folder(tmp_path, seer, vocabulary, config)
    state = load_file(str(tmp_path / "model.safetensors"))
    trunk = [name for name in state if name.endswith("word_embeddings.weight")]
    assert trunk == ["network.choices.vlbert._module.word_embeddings.weight"]
    parameters = {name for name, _ in seer.named_parameters()}
    assert state.keys() == parameters | {name for name, _ in seer.named_buffers() if name in state}
    again = read_folder(tmp_path)[0]
    network = cast(Any, again.network)
    assert network.answers.vlbert is network.choices.encoder
    for name, value in again.named_parameters():
        assert torch.equal(value, dict(seer.named_parameters())[name].half().float()), name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "vocab.txt"])
def test_a_torn_folder_is_refused_in_a_line(name: ModelName, file: str, tmp_path: Path) -> None:
    save_folder(tmp_path, *seer_of(name))
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadInput, match=file) as caught:
        read_folder(tmp_path)
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(BadInput, match=f"{file}: no such file"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"network": []},
        {"network": {"hidden_size": 17}},
        {"vision": {"regions": None}},
        {"model": "nce"},
        {"answers": ["yes"]},
        {"trained_on": 3},
        {"architecture": {}, "vision": None},
    ],
    ids=str,
)
def test_a_config_of_something_else_is_refused_in_a_line(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    save_folder(tmp_path, *seer_of("vlbert"))
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(content.get(name), dict)
        content[name] = content[name] | value if both else value
    path.write_text(json.dumps(content))
    with pytest.raises(BadInput, match=r"config\.json") as caught:
        read_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_weights_of_the_other_model_are_refused_in_a_line(tmp_path: Path) -> None:
    for name in NAMES:
        save_folder(tmp_path / name, *seer_of(name))
    wrong = (tmp_path / "vilbert" / "config.json").read_bytes()
    (tmp_path / "vlbert" / "config.json").write_bytes(wrong)
    with pytest.raises(BadInput, match=r"is missing|is not in the model") as caught:
        read_folder(tmp_path / "vlbert")
    assert "\n" not in str(caught.value)


def test_weights_of_other_sizes_are_refused_in_a_line(tmp_path: Path) -> None:
    save_folder(tmp_path, *seer_of("vlbert"))
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"intermediate_size": 16', '"intermediate_size": 24'))
    with pytest.raises(BadInput, match=r"has shape \(16,\), config\.json asks for \(24,\)"):
        read_folder(tmp_path)
