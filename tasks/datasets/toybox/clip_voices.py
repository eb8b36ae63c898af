"""How each of Toybox's five captioners puts a clip into a sentence, and the verbs for what happens.

Knows words only: no clip, no chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

# kind -> what can be said of it: "it ..." and "... it", a voice's favourite by its number
VERBS: dict[str, tuple[tuple[str, str], ...]] = {
    "moves": (("moves {}", "moving {}"), ("goes {}", "going {}"), ("slides {}", "sliding {}")),
    "grows": (
        ("grows", "growing"),
        ("gets bigger", "getting bigger"),
        ("gets larger", "getting larger"),
    ),
    "shrinks": (
        ("shrinks", "shrinking"),
        ("gets smaller", "getting smaller"),
        ("becomes smaller", "becoming smaller"),
    ),
    "turns": (("turns {}", "turning {}"), ("becomes {}", "becoming {}"), ("goes {}", "going {}")),
    "appears": (
        ("appears", "appearing"),
        ("shows up", "showing up"),
        ("fades in", "fading in"),
    ),
    "leaves": (
        ("disappears", "disappearing"),
        ("vanishes", "vanishing"),
        ("fades away", "fading away"),
    ),
}


@dataclass(frozen=True, slots=True)
class Clause:
    """One event in words, from which a voice makes its own."""

    noun: str  # "small red circle"
    finite: str  # "moves left", as in "a small red circle moves left"
    gerund: str  # "moving left"


def with_a(noun: str) -> str:
    return f"an {noun}" if noun.startswith("orange") else f"a {noun}"


def with_the(noun: str) -> str:
    return f"the {noun}"


def _and(nouns: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c" """
    return " and ".join(filter(None, (", ".join(nouns[:-1]), nouns[-1])))


def sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _say_plainly(events: list[Clause], others: list[str]) -> str:
    happens = [f"{with_a(event.noun)} {event.finite}" for event in events]
    text = ", then ".join(happens)
    if others:
        text += f", while {_and([with_a(noun) for noun in others])} {_verb(others, 'stand')} still"
    return sentence(text)


def _say_in_order(events: list[Clause], others: list[str]) -> str:
    happens = [f"{with_the(event.noun)} {event.finite}" for event in events]
    if len(happens) == 1:
        text = f"only {happens[0]}"
    else:
        text = ", ".join(map(" ".join, zip(("first", "next", "last"), happens, strict=False)))
    if others:
        text += f"; {_and([with_the(noun) for noun in others])} {_verb(others, 'stay')} put"
    return sentence(text)


def _say_who_waits(events: list[Clause], others: list[str]) -> str:
    text = " and later ".join(f"{with_a(event.noun)} {event.finite}" for event in events)
    if others:
        text = f"{_and([with_a(noun) for noun in others])} {_verb(others, 'wait')} while {text}"
    return sentence(text)


def _say_what_is_seen(events: list[Clause], others: list[str]) -> str:
    text = ", followed by ".join(f"{with_a(event.noun)} {event.gerund}" for event in events)
    if others:
        text += f", with {_and([with_a(noun) for noun in others])} at rest"
    return sentence(text)


def _say_in_detail(events: list[Clause], others: list[str]) -> str:
    happens = [f"{with_a(event.noun)} {event.finite}" for event in events]
    text = f"we see how {' before '.join(happens[:2])}"
    if len(happens) == 3:
        text += f" and finally {happens[2]}"
    if others:
        text += f"; {_and([with_a(noun) for noun in others])} {_verb(others, 'keep')} still"
    return sentence(text)


def _verb(subjects: list[str], verb: str) -> str:
    return verb if len(subjects) > 1 else verb + "s"


@dataclass(frozen=True, slots=True)
class Voice:
    """One of the people who caption. `say`: the sentence for the events, by time, and the nouns of
    what stands still; `favourite`: which verb of each kind it prefers; `detailed`: whether it names
    the size of what it need not; `laconic`: whether it passes over what stands still where more
    than one thing happens."""

    name: str
    say: Callable[[list[Clause], list[str]], str]
    favourite: int
    detailed: bool = False
    laconic: bool = False


VOICES = (
    Voice("plain", _say_plainly, favourite=0),
    Voice("ordered", _say_in_order, favourite=1),
    Voice("waiting", _say_who_waits, favourite=0),
    Voice("laconic", _say_what_is_seen, favourite=2, laconic=True),
    Voice("detailed", _say_in_detail, favourite=0, detailed=True),
)
