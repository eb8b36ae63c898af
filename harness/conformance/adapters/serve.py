"""The scorer's side of the protocol: a case a line in, an answer a line out. Knows no tool."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TypeAlias

from harness.types import Json

Score: TypeAlias = Callable[[Json], float]


class Unsupported(Exception):
    """The tool has no such metric, option or input; says which."""


def serve(score: Score) -> None:
    """Answers each case by `score`, until the input ends.

    What the tool prints goes to standard error, and the programs that it starts read nothing: the
    two streams are the protocol's. An exception of the tool is its refusal.
    """
    cases = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    for line in cases:
        request = json.loads(line)
        answer = {"id": request["id"], **_answer(score, request)}
        print(json.dumps(answer), file=answers, flush=True)


def _answer(score: Score, request: Json) -> Json:
    try:
        return {"scores": {request["metric"]: score(request)}}
    except Unsupported as why:
        return {"unsupported": str(why)}
    except Exception as error:  # the tool's own
        return {"error": f"{type(error).__name__}: {error}"}


def paired_captions(request: Json, tool: str) -> tuple[list[str], list[list[str]]]:
    """Captions and references in the same order, for a tool that takes lists. Unsupported where
    ids are missing, unknown or doubled: which belongs to which is the caller's there."""
    only_plain(request)
    pairs = paired(request, tool)
    return [one["caption"] for one, _ in pairs], [target["references"] for _, target in pairs]


def paired(request: Json, tool: str) -> list[tuple[Json, Json]]:
    """Each prediction with its target, in the order of the targets."""
    given = {one["id"]: one for one in request["predictions"]}
    ids = [one["id"] for one in request["targets"]]
    if sorted(ids) != sorted(one["id"] for one in request["predictions"]):
        raise Unsupported(f"{tool} takes lists and knows no ids")
    return [(given[one["id"]], one) for one in request["targets"]]


def only_plain(request: Json, own: tuple[str, ...] = ()) -> None:
    """Unsupported where missing predictions or a convention are asked for, but for the tool's
    `own` conventions."""
    strange = [str(choice) for choice in request["rules"].values() if choice not in own]
    if strange:
        raise Unsupported(f"no option for {', '.join(strange)}")
    if request["allow_missing"]:
        raise Unsupported("no option to count missing predictions as wrong")
