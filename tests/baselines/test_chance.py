"""The floor chance: exact where it can be, drawn alike from everything possible where it cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.baselines.chance import Chance, load_chance
from harness.errors import BadInput
from harness.score import score
from harness.store import Record
from harness.tasks import retrieval, vcr, vqa
from harness.tasks.datasets.didemo import CANDIDATES
from harness.tasks.targets import CaptionTarget, RetrievalTarget, VcrTarget, VqaTarget
from harness.types import (
    CaptionedVisual,
    Clip,
    Dataset,
    Expression,
    LoadRequest,
    MomentQuery,
    NamedBox,
    Picture,
    Question,
    ReasonedQuestion,
    Sample,
    Task,
    Uncaptioned,
    UniformAnswer,
)

WIDTH, HEIGHT, DURATION = 200, 100, 30.0


def never(*arguments: object) -> Any:
    raise AssertionError("a floor decodes nothing")


def picture(name: str = "p", size: tuple[int, int] | None = (WIDTH, HEIGHT)) -> Picture:
    return Picture(name, never, size=size)


def expressions(count: int) -> list[Expression]:
    return [Expression(picture(f"p{i // 3}"), f"thing {i}") for i in range(count)]


def queries(count: int, candidates: tuple[tuple[float, float], ...] = ()) -> list[MomentQuery]:
    clips = [Clip(f"c{i // 3}", never, DURATION) for i in range(count)]
    return [MomentQuery(clip, f"event {i}", candidates) for i, clip in enumerate(clips)]


def visuals(count: int) -> list[Picture]:
    return [picture(f"p{i}") for i in range(count)]


def captions() -> Dataset:
    samples = [
        Sample(f"{i}", Uncaptioned(picture(f"t{i}")), CaptionTarget((f"a {i}", f"b {i}")), f"{i}")
        for i in range(20)
    ]
    return Dataset("set", "train", samples, "sha")


def locate(seed: int, asked: Sequence[Any]) -> list[Any]:
    return Chance(seed).locate(asked)


def find_moments(seed: int, asked: Sequence[Any]) -> list[Any]:
    return Chance(seed).find_moments(asked)


def caption(seed: int, asked: Sequence[Any]) -> list[Any]:
    return Chance(seed, captions).caption(asked)


DRAWN = [
    pytest.param(locate, expressions(12), id="boxes"),
    pytest.param(find_moments, queries(12), id="moments"),
    pytest.param(find_moments, queries(12, CANDIDATES), id="candidates"),
    pytest.param(caption, visuals(12), id="captions"),
]
Draw = Callable[[int, Sequence[Any]], list[Any]]

# ---------------------------------------------------------------- what decides a draw


@pytest.mark.parametrize(("draw", "asked"), DRAWN)
def test_what_is_drawn_does_not_depend_on_order_or_batch(draw: Draw, asked: list[Any]) -> None:
    @given(st.permutations(range(len(asked))), st.integers(0, len(asked)))
    def check(order: list[int], cut: int) -> None:
        mixed = [asked[place] for place in order]
        given = draw(7, mixed[:cut]) + draw(7, mixed[cut:])
        assert given == [whole[place] for place in order]

    whole = draw(7, asked)
    check()


@pytest.mark.parametrize(("draw", "asked"), DRAWN)
def test_what_is_drawn_depends_on_the_seed_and_on_what_is_asked(
    draw: Draw, asked: list[Any]
) -> None:
    first, other = draw(1, asked), draw(2, asked)
    assert first == draw(1, asked)
    assert first != other
    assert len({repr(one) for one in first}) > len(asked) / 2


def test_the_seed_is_the_runs() -> None:
    asked = expressions(3)
    request = LoadRequest("spatial-localization", "x", seed=5)
    assert load_chance(request).locate(asked) == Chance(5).locate(asked) != Chance(0).locate(asked)


# ---------------------------------------------------------------- what is drawn


def test_boxes_lie_in_the_picture_and_their_corners_anywhere_alike() -> None:
    boxes = np.array(Chance().locate(expressions(4000)))
    x1, y1, x2, y2 = boxes.T
    assert ((x1 >= 0) & (x1 <= x2) & (x2 <= WIDTH)).all()
    assert ((y1 >= 0) & (y1 <= y2) & (y2 <= HEIGHT)).all()
    # the lesser and the greater of two uniform draws, and both together uniform
    for low, high, side in ((x1, x2, WIDTH), (y1, y2, HEIGHT)):
        assert low.mean() == pytest.approx(side / 3, abs=0.015 * side)
        assert high.mean() == pytest.approx(2 * side / 3, abs=0.015 * side)
        shares, _ = np.histogram(np.concatenate([low, high]), bins=10, range=(0, side))
        np.testing.assert_allclose(shares / 8000, 0.1, atol=0.015)
    assert abs(np.corrcoef(x1, y1)[0, 1]) < 0.06


def test_a_picture_of_unknown_size_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match="picture p9: its size is not in the annotations"):
        Chance().locate([Expression(picture("p9", None), "it")])


def test_five_moments_lie_in_the_clip_and_their_ends_anywhere_alike() -> None:
    found = Chance().find_moments(queries(1000))
    assert {len(moments) for moments in found} == {5}
    starts, ends = np.array(found).reshape(-1, 2).T
    assert ((starts >= 0) & (starts <= ends) & (ends <= DURATION)).all()
    shares, _ = np.histogram(np.concatenate([starts, ends]), bins=10, range=(0, DURATION))
    np.testing.assert_allclose(shares / 10_000, 0.1, atol=0.015)
    assert starts.mean() == pytest.approx(DURATION / 3, abs=0.5)


def test_where_there_are_candidates_their_order_is_drawn() -> None:
    found = Chance().find_moments(queries(2100, CANDIDATES))
    assert all(sorted(moments) == sorted(CANDIDATES) for moments in found)
    first = Counter(moments[0] for moments in found)
    assert set(first) == set(CANDIDATES)
    assert max(first.values()) < 150  # 100 each, with a deviation of 10
    assert min(first.values()) > 55


def test_a_caption_is_any_of_the_train_parts() -> None:
    drawn = Counter(Chance(0, captions).caption(visuals(2000)))
    references = {text for s in captions().samples for text in s.target.references}
    assert set(drawn) == references
    assert max(drawn.values()) < 90  # 50 each, with a deviation of 7


def test_without_a_train_part_there_are_no_captions() -> None:
    with pytest.raises(BadInput, match="no training part"):
        load_chance(LoadRequest("captioning", "x")).caption(visuals(1))


# ---------------------------------------------------------------- what is exact


def scored(task: Task, samples: list[Sample], dataset: Dataset) -> dict[str, float | None]:
    predictions = task.predict(Chance(), [sample.input for sample in samples])
    assert [task.invalid(prediction) for prediction in predictions] == [None] * len(samples)
    records = {
        sample.id: Record(sample.id, sample.group, prediction)
        for sample, prediction in zip(samples, predictions, strict=True)
    }
    values = score(task, dataset, samples, records).values
    return {name: value.value for name, value in values.items()}


def test_an_open_question_is_right_one_time_in_as_many_as_there_are_answers() -> None:
    asked = [Question(picture(), "What?"), Question(picture("q"), "Why?")]
    assert Chance().answer(asked) == [UniformAnswer()] * 2
    answers = tuple(f"answer {i}" for i in range(8))
    samples = [
        Sample(f"{i}", one, VqaTarget(("answer 3",) * 10), f"{i}") for i, one in enumerate(asked)
    ]
    values = scored(vqa.TASK, samples, Dataset("x", "test", samples, "", answers=answers))
    assert values["accuracy"] == 1 / 8


def test_four_choices_are_right_one_time_in_four_and_both_one_in_sixteen() -> None:
    four = ("a", "b", "c", "d")
    objects = (NamedBox((0, 0, 1, 1), "star"),)
    samples = [
        Sample(
            f"{i}",
            ReasonedQuestion(picture(f"p{i}"), "Why?", four, four, objects, four[i % 4]),
            VcrTarget(i % 4, i % 3),
            f"{i}",
        )
        for i in range(5)
    ]
    values = scored(vcr.TASK, samples, Dataset("x", "test", samples, ""))
    assert values == {"Q->A": 1 / 4, "QA->R": 1 / 4, "Q->AR": 1 / 16}


def test_retrieval_is_exactly_what_a_random_order_gives_on_average(tmp_path: Path) -> None:
    entries, each = 30, 3
    samples = [
        Sample(
            f"{i}",
            CaptionedVisual(
                picture(f"p{i}"),
                tuple(f"caption {i} {n}" for n in range(each)),
                foils=tuple(f"foil {i} {n}" for n in range(each)),
            ),
            RetrievalTarget(each, foils=each),
            f"{i}",
        )
        for i in range(entries)
    ]
    dataset = Dataset("x", "test", samples, "")
    task = retrieval.IMAGES
    predictions = task.predict_set(Chance(), samples, tmp_path, 7, lambda done, total: None)
    records = {s.id: Record(s.id, s.group, p) for s, p in zip(samples, predictions, strict=True)}
    values = {name: v.value for name, v in score(task, dataset, samples, records).values.items()}
    texts = entries * each
    for k in (1, 5, 10):
        assert values[f"text-to-image R@{k}"] == pytest.approx(k / entries, abs=1e-12)
        none_right = comb(texts - each, k) / comb(texts, k)
        assert values[f"image-to-text R@{k}"] == pytest.approx(1 - none_right, abs=1e-12)
    for rank in ("mean rank", "median rank"):
        assert values[f"text-to-image {rank}"] == pytest.approx((entries + 1) / 2)
        assert values[f"image-to-text {rank}"] == pytest.approx((texts + 1) / (each + 1))
    assert values["binding"] == 0.5
