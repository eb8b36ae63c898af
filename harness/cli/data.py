"""`harness data show` and `harness data verify`: a sample as a picture, and a data set's files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.specs import DatasetSpec, TaskSpec
    from harness.types import Sample


@click.group("data")
def command() -> None:
    """Look at a data set's samples, or check its files."""


@command.command("show")
@click.argument("dataset")
@click.option("--task", required=True, metavar="TASK", help="Whose samples to show.")
@click.option("--split", default="", help="Part of the data set; its test part unless given.")
@click.option("--index", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--id", "id", default="", help="A sample's id, in place of --index.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of a data set's files.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Picture to write (.png, .jpg); of a clip a contact sheet, and beside it a .gif.",
)
def show(
    dataset: str,
    task: str,
    split: str,
    index: int,
    id: str,
    data_dir: Path | None,
    output: Path | None,
) -> None:
    """Show a sample of DATASET with its targets: as text, and with -o as a picture."""
    from harness.errors import BadInput
    from harness.media.contact_sheet import animate_clip, draw_sample
    from harness.registry import find_task, load_attribute
    from harness.types import Clip

    named = task.partition("/")[2]
    if named not in ("", dataset):
        raise BadInput(f"--task {task} names {named}, not {dataset}; name one")
    if output is not None and output.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise BadInput(f"{output}: name a .png, .jpg or .webp file")
    task_spec, data_spec = find_task(f"{task.partition('/')[0]}/{dataset}")
    opened, sample = _find(data_spec, data_dir, split or data_spec.test_split, index, id)
    shown = load_attribute(task_spec.load).show(sample)
    click.echo(f"{task_spec.name}/{data_spec.name} {opened}, sample {sample.id}")
    for key, value in sample.tags.items():
        click.echo(f"  {key.replace('_', ' ')}: {value}")
    for what, text in shown.lines:
        click.echo(f"  {what}: {text}")
    for what, box in shown.boxes:
        click.echo(f"  {what}: box {', '.join(f'{number:g}' for number in box)}")
    for what, start, end in shown.moments:
        click.echo(f"  {what}: {start:g} to {end:g} s of {sample.input.visual.duration:g} s")
    if output is None:
        return
    visual = sample.input.visual
    written = [output]
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        draw_sample(visual, shown).save(output)
        if isinstance(visual, Clip):
            written.append(output.with_suffix(".gif"))
            animate_clip(visual, written[-1], shown)
    except (OSError, ValueError) as error:
        raise BadInput(f"{output}: cannot be written ({error}); name a .png file") from None
    for path in written:
        click.echo(f"wrote {path}")


def _find(
    spec: DatasetSpec, root: Path | None, split: str, index: int, id: str
) -> tuple[str, Sample]:
    from harness.errors import BadInput
    from harness.evaluate import check_data

    check_data(spec, root, split)
    from harness.registry import load_attribute

    dataset = load_attribute(spec.load)(root, split)
    if id:
        found = [sample for sample in dataset.samples if sample.id == id]
        if not found:
            raise BadInput(f"{spec.name} {split} has no sample {id!r}")
        return split, found[0]
    if index >= len(dataset.samples):
        raise BadInput(f"{spec.name} {split} has {len(dataset.samples):,} samples, from 0 on")
    return split, dataset.samples[index]


@command.command("verify")
@click.argument("dataset")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the data set's files.")
def verify(dataset: str, data_dir: Path | None) -> None:
    """Check the files of DATASET (or TASK/DATASET): what each part holds, and every missing or odd
    thing at once. Exits with 2 if there is any."""
    from harness.errors import BAD_INPUT, HarnessError
    from harness.evaluate import check_data
    from harness.registry import load_attribute

    problems: dict[str, None] = {}  # in order, each once: two tasks share a data set's files
    for task_spec, spec in _named(dataset):
        check_data(spec, data_dir, spec.test_split)
        click.echo(f"{task_spec.name}/{spec.name}")
        opened = 0
        for split in spec.splits:
            try:
                part = load_attribute(spec.load)(data_dir, split)
            except HarnessError as error:
                click.echo(f"  {split:<10}not here: {error}")
                continue
            opened += 1
            groups = len({sample.group for sample in part.samples})
            click.echo(f"  {split:<10}{len(part.samples):,} samples, {groups:,} visuals")
            for note in part.notes:
                click.echo(f"  {'':<10}{note}")
        if spec.verify:
            problems |= dict.fromkeys(load_attribute(spec.verify)(data_dir))
        if not opened:
            problems[f"{spec.name}: no part can be read; `docs/data.md` says what goes where"] = (
                None
            )
    for line in problems:
        click.echo(f"problem: {line}")
    click.echo(_count(len(problems)))
    if problems:
        raise SystemExit(BAD_INPUT)


def _named(dataset: str) -> Iterator[tuple[TaskSpec, DatasetSpec]]:
    """The data set in every task that has it, or in the one that is named."""
    from harness.errors import BadInput
    from harness.registry import find_task, task_specs

    if "/" in dataset:
        yield find_task(dataset)
        return
    tasks = [
        f"{task.name}/{one.name}"
        for task in task_specs().values()
        for one in task.datasets
        if one.name == dataset
    ]
    if not tasks:
        from difflib import get_close_matches

        known = {one.name for task in task_specs().values() for one in task.datasets}
        near = get_close_matches(dataset, sorted(known), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(known))}"
        raise BadInput(f"no data set {dataset!r}; {hint}")
    yield from map(find_task, tasks)


def _count(problems: int) -> str:
    if problems == 0:
        return "no problems"
    return "1 problem" if problems == 1 else f"{problems:,} problems"
