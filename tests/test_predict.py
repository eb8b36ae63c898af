"""The predict loop with a made-up task and model: batches, kills, failures."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BadInput
from harness.predict import predict, predict_set
from harness.store import Record, read_log
from harness.types import Dataset, Json, Metric, Sample, Shown


class Target:
    """Must never be seen outside."""


SAMPLES = [
    Sample(f"s{i:02d}", f"input {i}", Target(), f"group {i // 3}", {"kind": "x"}) for i in range(20)
]


class FakeModel:
    """Answers with the length of its input and what it is called with, and does as told before."""

    def __init__(self, before: Callable[[Sequence[Any]], None] = lambda inputs: None) -> None:
        self.before = before
        self.seen: list[Any] = []

    def answer(self, inputs: Sequence[Any]) -> list[str]:
        self.before(inputs)
        self.seen += inputs
        return [f"about {one}\u2028" for one in inputs]


class FakeTask:
    def predict(self, model: FakeModel, inputs: Sequence[Any]) -> Sequence[Json]:
        return [{"answer": text} for text in model.answer(inputs)]

    def invalid(self, prediction: Json) -> str | None:
        return "about 7" if "input 7" in prediction["answer"] else None

    def metrics(self, dataset: Dataset, rules: Mapping[str, str]) -> Sequence[Metric]:
        raise NotImplementedError

    def read_results(self, path: Path, dataset: Dataset) -> dict[str, Json]:
        raise NotImplementedError

    def show(self, sample: Sample) -> Shown:
        raise NotImplementedError


def run(
    folder: Path, model: FakeModel | None = None, batch_size: int = 7, **options: Any
) -> dict[str, Record]:
    log = folder / "samples.jsonl"
    return predict(FakeTask(), model or FakeModel(), SAMPLES, log, batch_size=batch_size, **options)


def logged(folder: Path) -> bytes:
    return (folder / "samples.jsonl").read_bytes()


def fail_on(*bad: str) -> Callable[[Sequence[Any]], None]:
    def before(inputs: Sequence[Any]) -> None:
        if set(bad) & set(inputs):
            raise RuntimeError("cannot\nread that")

    return before


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The log of a run that nothing befell."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder)
    return logged(folder)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_batch_size_does_not_change_a_record(
    tmp_path: Path, whole: bytes, batch_size: int
) -> None:
    records = run(tmp_path, batch_size=batch_size)
    assert logged(tmp_path) == whole
    assert list(records) == [sample.id for sample in SAMPLES]
    assert records == read_log(tmp_path / "samples.jsonl")


def test_a_record_holds_the_prediction_and_whether_it_is_valid(tmp_path: Path) -> None:
    records = run(tmp_path)
    assert records["s03"] == Record("s03", "group 1", {"answer": "about input 3\u2028"})
    assert records["s07"] == Record(
        "s07", "group 2", {"answer": "about input 7\u2028"}, False, "about 7"
    )


def test_the_model_gets_the_inputs_and_nothing_else(tmp_path: Path) -> None:
    model = FakeModel()
    run(tmp_path, model)
    assert len(model.seen) == len(SAMPLES)
    assert all(seen is sample.input for seen, sample in zip(model.seen, SAMPLES, strict=True))
    assert b"Target" not in logged(tmp_path)


def test_a_finished_log_is_not_predicted_again(tmp_path: Path, whole: bytes) -> None:
    run(tmp_path)
    model = FakeModel()
    assert len(run(tmp_path, model)) == len(SAMPLES)
    assert model.seen == []
    assert logged(tmp_path) == whole


@settings(max_examples=30)
@given(st.lists(st.integers(0, 6), max_size=3), st.sampled_from([1, 3, 7]))
def test_killed_at_any_batch_up_to_three_times_the_log_is_the_same(
    whole: bytes, kills: list[int], batch_size: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kill in kills:
            calls = Counter[str]()

            def before(
                inputs: Sequence[Any], calls: Counter[str] = calls, kill: int = kill
            ) -> None:
                calls["answer"] += 1
                if calls["answer"] > kill:
                    raise KeyboardInterrupt

            try:
                run(folder, FakeModel(before), batch_size)
            except KeyboardInterrupt:
                # what was done before the kill is on the disk
                assert len(read_log(folder / "samples.jsonl")) >= min(20, kill * batch_size)
        run(folder, batch_size=batch_size)
        assert logged(folder) == whole


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=3))
def test_torn_at_any_byte_up_to_three_times_the_log_is_the_same(
    whole: bytes, places: list[float]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place in places:
            run(folder)
            torn = logged(folder)[: round(place * len(whole))]
            (folder / "samples.jsonl").write_bytes(torn)
        model = FakeModel()
        run(folder, model)
        assert logged(folder) == whole
        ids = [json.loads(line)["id"] for line in logged(folder).splitlines()]
        assert ids == [sample.id for sample in SAMPLES]  # each exactly once


def test_only_batches_with_something_missing_are_predicted_again(
    tmp_path: Path, whole: bytes
) -> None:
    run(tmp_path)
    ninth = whole.index(b'{"id": "s09"')
    (tmp_path / "samples.jsonl").write_bytes(whole[:ninth])
    model = FakeModel()
    run(tmp_path, model)
    # batches are cut where they were cut before, so that padding is what it would have been
    assert model.seen == [sample.input for sample in SAMPLES[7:]]
    assert logged(tmp_path) == whole


def test_a_failing_model_ends_the_run_in_one_line_with_what_is_done_kept(
    tmp_path: Path, whole: bytes
) -> None:
    with pytest.raises(BadInput) as caught:
        run(tmp_path, FakeModel(fail_on("input 10")))
    text = str(caught.value)
    assert "\n" not in text
    assert "s07 to s13" in text
    assert "RuntimeError: cannot read that" in text
    assert list(read_log(tmp_path / "samples.jsonl")) == [sample.id for sample in SAMPLES[:7]]
    run(tmp_path)
    assert logged(tmp_path) == whole


def test_with_keep_going_the_others_go_on_and_the_failed_one_is_recorded(tmp_path: Path) -> None:
    model = FakeModel(fail_on("input 10"))
    records = run(tmp_path, model, keep_going=True)
    assert records == read_log(tmp_path / "samples.jsonl")
    assert list(records) == [sample.id for sample in SAMPLES]
    failed = Record("s10", "group 3", None, False, "RuntimeError: cannot read that")
    assert records["s10"] == failed
    assert [record.id for record in records.values() if record.prediction is None] == ["s10"]


def test_a_failed_sample_is_tried_again_next_time(tmp_path: Path) -> None:
    run(tmp_path, FakeModel(fail_on("input 10")), keep_going=True)
    records = run(tmp_path)
    assert records["s10"] == Record("s10", "group 3", {"answer": "about input 10\u2028"})
    assert Counter(read_log(tmp_path / "samples.jsonl").keys()) == Counter(s.id for s in SAMPLES)


def test_a_bad_picture_ends_the_run_with_its_own_message(tmp_path: Path) -> None:
    def before(inputs: Sequence[Any]) -> None:
        raise BadInput("a.png: there is no such picture")

    with pytest.raises(BadInput, match=r"^a\.png: there is no such picture$"):
        run(tmp_path, FakeModel(before))
    records = run(tmp_path, FakeModel(before), keep_going=True)
    assert {record.reason for record in records.values()} == {"a.png: there is no such picture"}


@pytest.mark.parametrize("keep_going", [False, True])
def test_a_kill_is_no_failure_of_a_sample(tmp_path: Path, keep_going: bool) -> None:
    def before(inputs: Sequence[Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, FakeModel(before), keep_going=keep_going)
    assert logged(tmp_path) == b""


@pytest.mark.parametrize("change", [lambda made: made[:-1], lambda made: [*made, made[0]]])
def test_too_few_or_too_many_predictions_are_refused(
    tmp_path: Path, change: Callable[[list[Json]], list[Json]]
) -> None:
    class Miscounting(FakeTask):
        def predict(self, model: FakeModel, inputs: Sequence[Any]) -> Sequence[Json]:
            return change(list(super().predict(model, inputs)))

    log = tmp_path / "samples.jsonl"
    with pytest.raises(BadInput, match=r"predictions for 7 samples \(s00"):
        predict(Miscounting(), FakeModel(), SAMPLES, log, batch_size=7)
    assert log.read_bytes() == b""


def test_a_prediction_that_json_cannot_hold_is_a_failure_of_the_model(tmp_path: Path) -> None:
    """As a NumPy number is: models hand those out all the time."""

    class Numeric(FakeTask):
        def predict(self, model: FakeModel, inputs: Sequence[Any]) -> Sequence[Json]:
            return [{"answer": "x", "confidence": complex(1)} for _ in inputs]

    log = tmp_path / "samples.jsonl"
    with pytest.raises(BadInput, match="s00 to s06"):
        predict(Numeric(), FakeModel(), SAMPLES, log, batch_size=7)
    assert log.read_bytes() == b""


def test_progress_and_timing_are_told_batch_by_batch(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    run(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told == [(7, 20), (14, 20), (20, 20)]
    lines = [json.loads(line) for line in (tmp_path / "timing.jsonl").read_text().splitlines()]
    assert [(line["start"], line["samples"]) for line in lines] == [(0, 7), (7, 7), (14, 6)]
    assert all(line["seconds"] >= 0 for line in lines)


# ---------------------------------------------------------------- tasks that need the whole set


class FakeSetTask(FakeTask):
    """Keeps each batch's answers in the folder and numbers all of them at the end."""

    def predict_set(
        self,
        model: FakeModel,
        samples: Sequence[Sample],
        folder: Path,
        batch_size: int,
        progress: Callable[[int, int], None],
        known: Path | None = None,
    ) -> Sequence[Json]:
        answers: list[str] = []
        for start in range(0, len(samples), batch_size):
            part = folder / f"{start}.json"
            if not part.exists():
                inputs = [sample.input for sample in samples[start : start + batch_size]]
                part.write_text(json.dumps(model.answer(inputs)))
            answers += json.loads(part.read_text())
            progress(len(answers), len(samples))
        return [{"answer": answer, "of": len(answers)} for answer in answers]


def run_set(
    folder: Path, model: FakeModel | None = None, task: Any = None, **options: Any
) -> dict[str, Record]:
    return predict_set(
        task or FakeSetTask(),
        model or FakeModel(),
        SAMPLES,
        folder / "samples.jsonl",
        batch_size=7,
        **options,
    )


def test_a_set_is_predicted_as_a_whole_and_logged_at_the_end(tmp_path: Path) -> None:
    def before(inputs: Sequence[Any]) -> None:
        assert not (tmp_path / "samples.jsonl").exists()

    model = FakeModel(before)
    told: list[tuple[int, int]] = []
    records = run_set(tmp_path, model, progress=lambda done, total: told.append((done, total)))
    assert model.seen == [sample.input for sample in SAMPLES]
    assert records == read_log(tmp_path / "samples.jsonl")
    assert list(records) == [sample.id for sample in SAMPLES]
    assert records["s03"].prediction == {"answer": "about input 3\u2028", "of": 20}
    assert (records["s07"].valid, records["s07"].reason) == (False, "about 7")
    assert told == [(7, 20), (14, 20), (20, 20)]
    (line,) = (tmp_path / "timing.jsonl").read_text().splitlines()
    assert json.loads(line)["samples"] == 20
    # what the task kept to go on with is gone
    assert {path.name for path in tmp_path.iterdir()} == {"samples.jsonl", "timing.jsonl"}


def test_a_finished_set_is_not_predicted_again(tmp_path: Path) -> None:
    first = run_set(tmp_path)
    before = logged(tmp_path)
    model = FakeModel()
    assert run_set(tmp_path, model) == first
    assert model.seen == []
    assert logged(tmp_path) == before


@pytest.mark.parametrize("kill", [0, 1, 2])
def test_a_set_that_is_killed_goes_on_with_what_the_task_kept(tmp_path: Path, kill: int) -> None:
    (tmp_path / "whole").mkdir()
    run_set(tmp_path / "whole")
    calls = Counter[str]()

    def before(inputs: Sequence[Any]) -> None:
        calls["answer"] += 1
        if calls["answer"] > kill:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_set(tmp_path, FakeModel(before))
    assert not (tmp_path / "samples.jsonl").exists()
    model = FakeModel()
    run_set(tmp_path, model)
    assert model.seen == [sample.input for sample in SAMPLES[7 * kill :]]
    assert logged(tmp_path) == logged(tmp_path / "whole")


def test_the_log_of_a_set_that_is_torn_is_the_same_again(tmp_path: Path) -> None:
    run_set(tmp_path)
    whole = logged(tmp_path)
    (tmp_path / "samples.jsonl").write_bytes(whole[: len(whole) // 2])
    records = run_set(tmp_path)
    assert logged(tmp_path) == whole
    assert records == read_log(tmp_path / "samples.jsonl")


def test_a_model_that_fails_on_a_set_ends_the_run_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        run_set(tmp_path, FakeModel(fail_on("input 10")))
    text = str(caught.value)
    assert "\n" not in text
    assert "s00 to s19" in text
    assert "RuntimeError: cannot read that" in text
    assert not (tmp_path / "samples.jsonl").exists()
    model = FakeModel()
    assert len(run_set(tmp_path, model)) == 20
    assert model.seen == [sample.input for sample in SAMPLES[7:]]  # the first batch was kept


def test_a_bad_picture_in_a_set_ends_the_run_with_its_own_message(tmp_path: Path) -> None:
    def before(inputs: Sequence[Any]) -> None:
        raise BadInput("a.png: there is no such picture")

    with pytest.raises(BadInput, match=r"^a\.png: there is no such picture$"):
        run_set(tmp_path, FakeModel(before))


@pytest.mark.parametrize("change", [lambda made: made[:-1], lambda made: [*made, made[0]]])
def test_too_few_or_too_many_predictions_of_a_set_are_refused(
    tmp_path: Path, change: Callable[[list[Json]], list[Json]]
) -> None:
    class Miscounting(FakeSetTask):
        def predict_set(self, *arguments: Any) -> Sequence[Json]:
            return change(list(super().predict_set(*arguments)))

    with pytest.raises(BadInput, match="predictions for 20 samples"):
        run_set(tmp_path, task=Miscounting())
    assert not (tmp_path / "samples.jsonl").exists()


def test_two_logs_of_one_folder_keep_their_parts_apart(tmp_path: Path) -> None:
    """As a control's and the model's own do."""

    class Asking(FakeSetTask):
        def predict_set(
            self, model: FakeModel, samples: Any, folder: Path, *more: Any
        ) -> Sequence[Json]:
            folders.append(folder)
            return super().predict_set(model, samples, folder, *more)

    folders: list[Path] = []
    for name in ("shuffled-20.jsonl", "blind-20.jsonl"):
        predict_set(Asking(), FakeModel(), SAMPLES, tmp_path / name, batch_size=7)
    assert len(set(folders)) == 2
