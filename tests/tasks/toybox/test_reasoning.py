"""Toybox in the manner of VCR: one answer is right, one reason is true, and the texts tell nobody
which."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from statistics import mean

import numpy as np
import pytest

from harness.errors import BadInput
from harness.tasks.datasets.toybox import vcr
from harness.tasks.datasets.toybox.justifying import Item
from harness.tasks.datasets.toybox.reasoning import (
    KINDS,
    REASONS,
    claims,
    holds,
    parse_question,
    parse_reason,
    solve,
)
from harness.tasks.datasets.toybox.scenes import (
    HELD_OUT,
    PICTURES,
    SPLITS,
    Scene,
    Thing,
    make_scene,
)
from harness.tasks.datasets.toybox.vcr import SHA256, checksum, items_about, load
from harness.types import NamedBox, ReasonedQuestion

Posed = list[tuple[Scene, tuple[Thing, ...], Item]]


@pytest.fixture(scope="module")
def posed() -> dict[str, Posed]:
    """Scenes of each split, more of train, with the things by tag and the questions about them."""
    found: dict[str, Posed] = {}
    for split in SPLITS:
        scenes = [make_scene(split, index) for index in range(1500 if split == "train" else 500)]
        told = [(scene, *items_about(scene)) for scene in scenes]
        found[split] = [(scene, things, item) for scene, things, items in told for item in items]
    return found


def objects_of(things: tuple[Thing, ...]) -> list[NamedBox]:
    return [NamedBox(thing.box, thing.shape) for thing in things]


# ---------------------------------------------------------------- right and wrong


@pytest.mark.parametrize("split", SPLITS)
def test_the_oracle_finds_what_is_right(split: str, posed: dict[str, Posed]) -> None:
    for scene, things, item in posed[split]:
        solved = solve(item.text, item.answers, item.reasons, objects_of(things), scene)
        assert solved == (item.answer, item.reason)


@pytest.mark.parametrize("split", SPLITS)
def test_no_two_answers_or_reasons_are_the_same(split: str, posed: dict[str, Posed]) -> None:
    for _, _, item in posed[split]:
        assert len({*item.answers, *item.reasons}) == 8


def is_so(thing: Thing, word: str) -> bool:
    return word in (thing.colour, thing.pattern, thing.size, "thing")


@pytest.mark.parametrize("split", SPLITS)
def test_the_right_reason_is_true_by_hand(split: str, posed: dict[str, Posed]) -> None:
    """Reads "[0] is red", "[0,1] are both red" and "the red thing is [0]" without the parser."""
    for scene, things, item in posed[split]:
        reason = item.reasons[item.reason]
        for tag, words in re.findall(r"\[(\d)\] is (\w+(?: and \w+)?)[,. ]", reason):
            if not words.startswith("the"):
                assert all(is_so(things[int(tag)], word) for word in words.split(" and "))
        for a, b, words in re.findall(r"\[(\d),(\d)\] are both (\w+(?: and \w+)?)[,.]", reason):
            for tag, word in ((tag, word) for tag in (a, b) for word in words.split(" and ")):
                assert is_so(things[int(tag)], word)
        for words, tag in re.findall(r"[Tt]he ((?:\w+ )+thing) is \[(\d)\]", reason):
            such = [t for t in scene.things if all(is_so(t, word) for word in words.split())]
            assert such == [things[int(tag)]]


def test_answers_are_right_by_hand(posed: dict[str, Posed]) -> None:
    for _, things, item in posed["test"]:
        right = item.answers[item.answer]
        tags = [things[int(tag)] for tag in re.findall(r"\d", item.text)]
        if item.kind == "difference":
            a, b = tags
            words = [w for w in ("colour", "pattern") if getattr(a, w) != getattr(b, w)]
            told = {0: "In neither.", 2: "In both."}
            assert right == told.get(len(words), f"Only in {''.join(words)}.")
        if item.kind == "match":
            of_one = [things[int(tag)].colour for tag in re.findall(r"\d", right)]
            assert len(set(of_one)) == (1 if of_one else 0)
            assert len({thing.colour for thing in tags}) == (2 if of_one else 3)
        if item.kind == "attribute":
            (such,) = [thing for thing in tags if is_so(thing, item.text.split()[4])]
            assert right == f"It is {such.colour}."


@pytest.mark.parametrize("split", SPLITS)
def test_texts_can_be_read_back(split: str, posed: dict[str, Posed]) -> None:
    for _, things, item in posed[split]:
        assert parse_question(item.text)[0] == item.kind
        for reason in item.reasons:
            kind, slots = parse_reason(reason)
            assert REASONS[kind][0].format(**slots) == reason
        tags = re.findall(r"\d", " ".join((item.text, *item.answers, *item.reasons)))
        assert all(int(tag) < len(things) for tag in tags)


@pytest.mark.parametrize("text", ["", "What colour is [0]?", "[0] is nice.", "[a] is red."])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a Toybox question or reason"):
        parse_question(text)
    with pytest.raises(ValueError, match="not a Toybox question or reason"):
        parse_reason(text)


def test_a_reason_must_be_true_in_every_part() -> None:
    red = Thing("red", "cross", "small", "plain", 20, 20, 8)
    blue = Thing("blue", "cross", "small", "striped", 60, 60, 8)
    scene, things = Scene("test", 0, (blue, red)), (red, blue)
    for reason, true in {
        "[0] is plain and red, and [1] is striped and blue.": True,
        "[0] is plain and red, and [1] is striped and pink.": False,
        "[0] is plain and red, and [1] is plain and blue.": False,
        "The red thing is [0], and the blue thing is [1].": True,
        "The red thing is [1], and the blue thing is [0].": False,
        "The small thing is [0], and the blue thing is [1].": False,
        "[1] is the small thing to the right of [0], which is red.": True,
        "[1] is the small thing to the left of [0], which is red.": False,
    }.items():
        assert holds(reason, things, scene) == true


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_held_out_pairs_are_not_spoken_of(split: str, posed: dict[str, Posed]) -> None:
    """Nothing is ever said, even falsely, to be of a colour that its shape is not shown in."""
    for _, things, item in posed[split]:
        for reason in item.reasons:
            assert all((word, things[tag].shape) not in HELD_OUT for tag, word in claims(reason))
        if item.kind in ("attribute", "relation"):
            thing = things[colour_asked_of(item)]
            said = {answer.removeprefix("It is ").removesuffix(".") for answer in item.answers}
            assert not any((colour, thing.shape) in HELD_OUT for colour in said)


def colour_asked_of(item: Item) -> int:
    """The tag of the thing whose colour an "attribute" or "relation" asks for."""
    return int(item.reasons[item.reason][1])


# ---------------------------------------------------------------- balance


@pytest.mark.parametrize("split", SPLITS)
def test_each_kind_has_its_share(split: str, posed: dict[str, Posed]) -> None:
    kinds = Counter(item.kind for _, _, item in posed[split])
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) > 0.1 * sum(kinds.values())


def test_the_right_ones_stand_anywhere(posed: dict[str, Posed]) -> None:
    places = Counter((item.answer, item.reason) for _, _, item in posed["train"])
    assert len(places) == 16
    assert all(abs(n / len(posed["train"]) - 1 / 16) < 0.02 for n in places.values())


def test_no_tag_says_when_a_thing_was_drawn(posed: dict[str, Posed]) -> None:
    first = [scene.things.index(things[0]) for scene, things, _ in posed["train"]]
    threes = [i for i, (s, _, _) in zip(first, posed["train"], strict=True) if len(s.things) == 3]
    assert all(abs(threes.count(place) / len(threes) - 1 / 3) < 0.06 for place in range(3))


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\d|\w+", text.lower()))


def hits(score: Callable[[str], float], choices: tuple[str, ...], right: int) -> float:
    """How likely the best by a score is right, ties broken by lot."""
    scores = [score(choice) for choice in choices]
    best = max(scores)
    return (scores[right] == best) / scores.count(best)


def test_length_gives_nothing_away(posed: dict[str, Posed]) -> None:
    items = [item for _, _, item in posed["train"]]
    for sign in (-1, 1):
        for choices, right in (("answers", "answer"), ("reasons", "reason")):
            found = [
                hits(
                    lambda text, sign=sign: sign * len(text),  # type: ignore[misc]
                    getattr(item, choices),
                    getattr(item, right),
                )
                for item in items
            ]
            assert mean(found) < 0.29


def test_words_shared_with_the_answer_or_the_other_reasons_give_nothing_away(
    posed: dict[str, Posed],
) -> None:
    items = [item for _, _, item in posed["train"]]
    by_answer, by_others = [], []
    for item in items:
        given = words(item.text) + words(item.answers[item.answer])
        rest = sum(map(words, item.reasons), Counter[str]())
        by_answer.append(
            hits(lambda text, w=given: (words(text) & w).total(), item.reasons, item.reason)  # type: ignore[misc]
        )
        by_others.append(
            hits(lambda text, w=rest: sum(w[x] for x in words(text)), item.reasons, item.reason)  # type: ignore[misc]
        )
    assert mean(by_answer) < 0.3
    assert mean(by_others) < 0.3


@pytest.mark.parametrize(("choices", "right"), [("answers", "answer"), ("reasons", "reason")])
@pytest.mark.parametrize("tags", ["as they are", "left out"])
def test_what_was_often_right_in_training_gives_little_away(
    choices: str, right: str, tags: str, posed: dict[str, Posed]
) -> None:
    """Chooses the text, or the text without its tags, that was most often right in train."""

    def key(item: Item, text: str) -> tuple[str, str]:
        return item.kind, re.sub(r"\d", "#", text) if tags == "left out" else text

    shown, was_right = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for _, _, item in posed["train"]:
        for place, text in enumerate(getattr(item, choices)):
            shown[key(item, text)] += 1
            was_right[key(item, text)] += place == getattr(item, right)
    rate = {text: (was_right[text] + 1) / (n + 4) for text, n in shown.items()}
    found = [
        hits(
            lambda text, item=item: rate.get(key(item, text), 0.25),  # type: ignore[misc]
            getattr(item, choices),
            getattr(item, right),
        )
        for _, _, item in posed["test"]
    ]
    assert mean(found) < 0.31


# ---------------------------------------------------------------- as a data set


@pytest.mark.parametrize("split", SPLITS)
def test_what_is_drawn_and_asked_under_this_name_never_changes(split: str) -> None:
    assert checksum(split) == SHA256[split] == load(None, split).sha256


def test_the_checksum_covers_pictures_and_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PICTURES, "val", 3)
    before = checksum("val")
    original = vcr.items_about
    with monkeypatch.context() as patch:
        patch.setattr(
            vcr, "items_about", lambda scene: (original(scene)[0], original(scene)[1][:1])
        )
        assert checksum("val") != before
    with monkeypatch.context() as patch:
        patch.setattr(
            vcr, "items_about", lambda scene: (original(scene)[0][::-1], original(scene)[1])
        )
        assert checksum("val") != before
    with monkeypatch.context() as patch:
        patch.setattr(
            "harness.tasks.datasets.toybox.drawing.draw", lambda scene: np.zeros(3, dtype=np.uint8)
        )
        assert checksum("val") != before
    assert checksum("val") == before


def test_two_questions_about_each_of_a_thousand_pictures() -> None:
    dataset = load(None, "test")
    assert (dataset.name, dataset.split, len(dataset.samples)) == ("toybox-vcr", "test", 2000)
    sample = dataset.samples[2 * 17 + 1]
    things, items = items_about(make_scene("test", 17))
    question, item = sample.input, items[1]
    assert isinstance(question, ReasonedQuestion)
    assert sample.id == "test-00017-1"
    assert (question.text, question.answers, question.reasons) == (
        item.text,
        item.answers,
        item.reasons,
    )
    assert question.given == item.answers[sample.target.answer]
    assert list(question.objects) == objects_of(things)
    assert (sample.target.answer, sample.target.reason) == (item.answer, item.reason)
    assert sample.tags == {"question_type": question.kind} == {"question_type": item.kind}
    assert sample.group == question.visual.id


@pytest.mark.parametrize("split", ["", "tset", "Train"])
def test_an_unknown_split_is_refused(split: str) -> None:
    with pytest.raises(BadInput, match="train, val, test, test-comp"):
        load(None, split)
