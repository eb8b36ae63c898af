"""Progress of a run on standard error: a bar with rate and time left on a terminal, a plain line
now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from harness.evaluate import Stage

_EVERY = 5.0  # seconds between plain lines


@contextlib.contextmanager
def shown_progress(quiet: bool) -> Iterator[Stage]:
    if quiet:
        yield lambda what, done, total: None
    elif sys.stderr.isatty():
        with _bar() as stage:
            yield stage
    else:
        yield _plain()


@contextlib.contextmanager
def _bar() -> Iterator[Stage]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f}/s" if task.speed else "")

    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    bars: dict[str, int] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def stage(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total or None)
            progress.update(bars[what], completed=done, total=total or None)  # type: ignore[arg-type]

        yield stage


def _plain() -> Stage:
    began: dict[str, float] = {}
    said: dict[str, float] = {}

    def stage(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if not total:  # no telling how much there is to do
            print(f"{what} ...", file=sys.stderr)
            return
        start = began.setdefault(what, now)
        if done == total or now - said.get(what, 0.0) >= _EVERY:
            said[what] = now
            print(f"{what}: {done:,} of {total:,}, {now - start:.0f} s", file=sys.stderr)

    return stage
