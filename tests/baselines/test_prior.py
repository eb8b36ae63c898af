"""The floor prior: what was most frequent in the train part, from the finest context it has seen to
the coarsest, and nothing of the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.baselines.chance import load_chance
from harness.baselines.prior import (
    PriorAnswers,
    PriorBoxes,
    PriorCaption,
    PriorChoices,
    PriorMoments,
    PriorTexts,
    load_prior,
)
from harness.errors import BadInput
from harness.registry import embedded_tasks, find_task, load_attribute
from harness.tasks.datasets.didemo import CANDIDATES
from harness.tasks.retrieval import IMAGES
from harness.tasks.targets import (
    BoxTarget,
    CaptionTarget,
    ChunkTarget,
    MomentTarget,
    RetrievalTarget,
    VcrTarget,
    VqaTarget,
)
from harness.types import (
    CaptionedVisual,
    Choice,
    Clip,
    Dataset,
    Expression,
    LoadRequest,
    MomentQuery,
    Picture,
    Question,
    ReasonedQuestion,
    Sample,
    Uncaptioned,
)


def never(*arguments: object) -> Any:
    raise AssertionError("a floor decodes nothing")


PICTURE = Picture("p", never, size=(100, 50))
CLIP = Clip("c", never, 20.0)


def train(*entries: tuple[Any, Any]) -> Dataset:
    """A train part of these inputs and targets."""
    samples = [Sample(str(n), entry, target, "p") for n, (entry, target) in enumerate(entries)]
    return Dataset("set", "train", samples, "sha")


# ---------------------------------------------------------------- answers


def asked(text: str, kind: str) -> Question:
    return Question(PICTURE, text, kind=kind)


def answered(text: str, kind: str, *answers: str) -> tuple[Question, VqaTarget]:
    return asked(text, kind), VqaTarget(answers)


def test_answers_back_off_from_the_question_to_its_type_to_all() -> None:
    prior = PriorAnswers(
        train(
            answered("Is it red?", "is it", *("yes",) * 10),
            answered("Is it blue?", "is it", *("no",) * 10),
            answered("Is it green?", "is it", *("no",) * 10),
            answered("What is it?", "what", *("cat",) * 10, *("dog",) * 30),
        )
    )
    cases = {
        "yes": asked(" is it RED? ", "is it"),  # the question itself
        "no": asked("Is it pink?", "is it"),  # its type
        "dog": asked("Why?", "why"),  # all
    }
    assert [answer.text for answer in prior.answer(list(cases.values()))] == list(cases)


def test_of_equally_frequent_answers_the_first_seen_is_taken() -> None:
    prior = PriorAnswers(train(answered("Q?", "k", "b", "a"), answered("Q?", "k", "a", "b")))
    assert prior.answer([asked("Q?", "k")])[0].text == "b"


# ---------------------------------------------------------------- choices


def reasoned(text: str, kind: str, answers: str, reasons: str) -> ReasonedQuestion:
    return ReasonedQuestion(PICTURE, text, tuple(answers), tuple(reasons), (), "", kind)


def choices(text: str, kind: str, offered: str) -> Question:
    return Question(PICTURE, text, tuple(offered), kind)


def test_choices_back_off_from_the_question_to_its_type_to_all() -> None:
    prior = PriorChoices(
        train(
            (reasoned("Why red?", "why", "abcd", "efgh"), VcrTarget(0, 1)),  # a, f
            (reasoned("Why blue?", "why", "abcd", "efgh"), VcrTarget(1, 1)),  # b, f
            (reasoned("Why green?", "why", "abcd", "efgh"), VcrTarget(1, 3)),  # b, h
            *[(reasoned("Where?", "where", "wxyz", "efgh"), VcrTarget(3, 2))] * 5,  # z, g
        )
    )
    asked = [
        (choices(" why RED? ", "why", "dcba"), 3),  # "a" was right for this very question
        (choices("Why pink?", "why", "dcba"), 2),  # "b" for its type
        (choices("Who?", "who", "fbza"), 2),  # "z" over all
        (choices("Why red?", "why", "hzgb"), 3),  # "b": of its type, before "z" and "g" of others
        (choices("Why red?", "why", "hgef"), 3),  # reasons are counted too
        (choices("Who?", "who", "1234"), 0),  # never seen
    ]
    given = prior.answer([question for question, _ in asked])
    assert [choice.index for choice in given] == [right for _, right in asked]
    assert all(isinstance(choice, Choice) for choice in given)


# ---------------------------------------------------------------- captions


def captioned(*references: str) -> tuple[Uncaptioned, CaptionTarget]:
    return Uncaptioned(PICTURE), CaptionTarget(references)


def test_the_caption_is_the_most_frequent_one_whatever_is_shown() -> None:
    prior = PriorCaption(train(captioned("a", "b"), captioned("b", "c"), captioned("c", "a")))
    assert prior.caption([PICTURE, CLIP]) == ["a", "a"]  # the first seen of three with two each
    prior = PriorCaption(train(captioned("a", "b"), captioned("b", "c")))
    assert prior.caption([PICTURE]) == ["b"]


def searched(*texts: str, foils: tuple[str, ...] = ()) -> tuple[CaptionedVisual, RetrievalTarget]:
    return CaptionedVisual(PICTURE, texts, foils), RetrievalTarget(
        len(texts), sum(map(bool, foils))
    )


def scores(prior: PriorTexts, visual: Picture, texts: Sequence[str]) -> list[float]:
    row: list[float] = (prior.embed_visuals([visual]) @ prior.embed_texts(texts).T)[0].tolist()
    return row


def test_texts_of_frequent_words_score_higher_and_for_every_visual_the_same() -> None:
    prior = PriorTexts(train(searched("A cat .", "a dog ."), searched("a cat .")))
    texts = ["a cat .", "A CAT .", "a dog .", "a zebra ."]
    found = scores(prior, PICTURE, texts)
    assert found[0] == found[1] > found[2] > found[3]
    other = Picture("q", never)
    np.testing.assert_array_equal(scores(prior, other, texts), found)
    assert np.isfinite(scores(prior, PICTURE, [""])).all()


words = st.lists(
    st.sampled_from(["a", "red", "blue", "star", "cross", "above", "the", "unseen"]), max_size=20
)


@given(words, st.randoms(use_true_random=False))
def test_a_foil_of_the_same_words_ties_exactly(text: list[str], order: Any) -> None:
    prior = PriorTexts(train(searched("a red star above the blue cross"), searched("the star")))
    mixed = text.copy()
    order.shuffle(mixed)
    one, other = scores(prior, PICTURE, [" ".join(text), " ".join(mixed)])
    assert one == other


def test_in_the_binding_probe_that_is_a_half(tmp_path: Path) -> None:
    entry, target = searched(
        "a red star above a blue cross", foils=("a blue star above a red cross",)
    )
    samples = [Sample(str(n), entry, target, str(n)) for n in range(3)]
    dataset = Dataset("x", "test", samples, "")
    prior = PriorTexts(train(searched("a red star", "a cross")))
    predictions = IMAGES.predict_set(prior, samples, tmp_path, 2, lambda done, total: None)
    binding = next(m for m in IMAGES.metrics(dataset, {}) if m.name == "binding")
    rows = binding.rows(predictions, [target] * 3)
    np.testing.assert_array_equal(rows, [[0.5, 1.0]] * 3)


# ---------------------------------------------------------------- boxes


def boxed(
    text: str, *box: float, size: tuple[int, int] = (100, 50)
) -> tuple[Expression, BoxTarget]:
    x1, y1, x2, y2 = box
    return Expression(Picture("p", never, size=size), text), BoxTarget((x1, y1, x2, y2))


def test_a_box_is_the_mean_of_its_most_frequent_cell_as_a_share_of_the_picture() -> None:
    prior = PriorBoxes(
        train(
            boxed("left", 0, 0, 20, 20),
            boxed("left", 2, 1, 18, 19),  # the same cell of tenths
            boxed("left", 50, 0, 90, 40),
            *[boxed("right", 60, 10, 100, 50, size=(100, 50))] * 2,
            boxed("right", 120, 20, 200, 100, size=(200, 100)),  # the same shares
        )
    )
    wide = Picture("w", never, size=(1000, 500))
    left, right, other = prior.locate([Expression(wide, t) for t in (" LEFT ", "right", "top")])
    assert left == pytest.approx((10, 5, 190, 195))  # means of shares 0 to .02, ..., 20 to 19 of 50
    assert right == pytest.approx((600, 100, 1000, 500))
    assert other == right  # not seen: the most frequent of all


def test_a_picture_of_unknown_size_is_refused_by_name() -> None:
    prior = PriorBoxes(train(boxed("left", 0, 0, 20, 20)))
    with pytest.raises(BadInput, match="picture q: its size"):
        prior.locate([Expression(Picture("q", never), "left")])


# ---------------------------------------------------------------- moments


def moment(
    text: str, *moments: tuple[float, float], duration: float = 10.0
) -> tuple[MomentQuery, MomentTarget]:
    return MomentQuery(Clip("c", never, duration), text), MomentTarget(moments)


def test_moments_are_ranked_by_how_often_they_were_right_for_the_sentence_then_for_all() -> None:
    prior = PriorMoments(
        train(
            moment("He sits.", (0, 1), (0, 1.2)),  # one cell, whose mean is (0, 1.1)
            moment("He sits.", (5, 9)),
            moment("He runs.", *[(2, 4)] * 3),
            moment("He runs.", (10, 20), duration=20),  # the second half
        )
    )
    asked = [MomentQuery(CLIP, text) for text in (" he sits. ", "He sleeps.")]
    sits, sleeps = prior.find_moments(asked)
    np.testing.assert_allclose(sits, [(0, 2.2), (10, 18), (4, 8), (10, 20)])
    np.testing.assert_allclose(sleeps, [(4, 8), (0, 2.2), (10, 18), (10, 20)])


def test_no_more_than_five_moments_are_given() -> None:
    prior = PriorMoments(train(*[moment("x", (n, n + 1)) for n in range(9)]))
    (found,) = prior.find_moments([MomentQuery(CLIP, "x")])
    np.testing.assert_allclose(found, [(2 * n, 2 * n + 2) for n in range(5)])


def test_a_moment_that_ends_after_its_clip_stretches_it() -> None:
    prior = PriorMoments(train(moment("x", (5, 20), duration=10)))
    np.testing.assert_allclose(prior.find_moments([MomentQuery(CLIP, "x")]), [[(5, 20)]])


def test_candidates_are_ranked_by_how_often_annotators_chose_them() -> None:
    def chosen(*times: tuple[int, int]) -> tuple[MomentQuery, ChunkTarget]:
        return MomentQuery(CLIP, f"{times}", CANDIDATES), ChunkTarget(times)

    prior = PriorMoments(train(chosen((5, 5), (1, 2), (1, 2)), chosen((0, 0), (1, 2), (5, 5))))
    query = MomentQuery(CLIP, "(5, 5)", CANDIDATES)
    (found,) = prior.find_moments([query])
    assert found[:3] == [(5.0, 15.0), (25.0, 30.0), (0.0, 5.0)]
    # those never chosen stand in the data set's order
    assert found[3:] == [moment for moment in CANDIDATES if moment not in found[:3]]


# ---------------------------------------------------------------- all kinds


KINDS: list[tuple[type, tuple[Any, Any]]] = [
    (PriorAnswers, answered("Q?", "k", "a")),
    (PriorChoices, (reasoned("Q?", "k", "abcd", "abcd"), VcrTarget(0, 0))),
    (PriorCaption, captioned("a")),
    (PriorTexts, searched("a")),
    (PriorBoxes, boxed("a", 0, 0, 1, 1)),
    (PriorMoments, moment("a", (0, 1))),
]


@pytest.mark.parametrize(("kind", "entry"), KINDS, ids=[kind.__name__ for kind, _ in KINDS])
def test_the_train_parts_inputs_say_which_prior_it_is(kind: type, entry: tuple[Any, Any]) -> None:
    prior: Any = load_prior(LoadRequest("task", "set", train=lambda: train(entry)))
    assert type(prior).__name__ == kind.__name__
    assert prior.description.options == {"fitted_on": "set/train", "train_sha256": "sha"}


def test_without_a_training_part_there_is_no_prior() -> None:
    with pytest.raises(BadInput, match="no training part"):
        load_prior(LoadRequest("vqa", "x"))


def test_inputs_of_another_kind_are_refused() -> None:
    with pytest.raises(BadInput, match="prior cannot do rhyming, which asks for str"):
        load_prior(LoadRequest("rhyming", "x", train=lambda: train(("moon", None))))


def unread(dataset: Dataset) -> Dataset:
    """The data set with pictures and clips that cannot be read, nor their scenes."""
    samples = [
        replace(s, input=replace(s.input, visual=replace(s.input.visual, read=never, scene=None)))
        for s in dataset.samples
    ]
    return replace(dataset, samples=samples)


@pytest.mark.parametrize("load", [load_chance, load_prior], ids=["chance", "prior"])
@pytest.mark.parametrize("name", embedded_tasks())
def test_floors_decode_nothing_and_read_no_scene(
    name: str, load: Callable[[LoadRequest], Any], small_toybox: None, tmp_path: Path
) -> None:
    task_spec, data_spec = find_task(name)
    task, open_part = load_attribute(task_spec.load), load_attribute(data_spec.load)
    fitted_on, asked_about = (unread(open_part(None, split)) for split in ("val", "test-comp"))
    model = load(LoadRequest(task_spec.name, data_spec.name, train=lambda: fitted_on))
    samples = list(asked_about.samples)
    if task_spec.whole_set:
        given = task.predict_set(model, samples, tmp_path, 16, lambda done, total: None)
    else:
        given = task.predict(model, [sample.input for sample in samples])
    assert [task.invalid(prediction) for prediction in given] == [None] * len(samples)
