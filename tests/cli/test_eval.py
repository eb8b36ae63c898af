"""`harness eval` and `harness score` from end to end, from an empty folder."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

Cli = Callable[..., CompletedProcess[str]]
pytestmark = pytest.mark.usefixtures("small_toybox")

QUESTIONS = "v2_OpenEnded_mscoco_val2014_questions.json"
ANNOTATIONS = "v2_mscoco_val2014_annotations.json"
READS_PICTURES = "return [Answer(str(question.visual.read().mean())) for question in questions]"


def evaluate(cli: Cli, model: str, *more: object, task: str = "vqa") -> dict[str, Any]:
    """The result of an evaluation that succeeds."""
    done = cli("eval", "--task", task, "--model", model, "--device", "cpu", "--json", *more)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def lines(result: dict[str, Any], name: str = "samples.jsonl") -> list[dict[str, Any]]:
    content = (Path(result["run"]) / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in content.splitlines()]


def answers(result: dict[str, Any], name: str = "samples.jsonl") -> dict[str, str]:
    return {line["id"]: line["prediction"]["answer"] for line in lines(result, name)}


# ---------------------------------------------------------------- what is shown


@pytest.mark.parametrize("model", ["oracle", "prior", "chance"])
def test_the_table_holds_what_a_number_needs_beside_it(cli: Cli, model: str) -> None:
    done = cli("eval", "--task", "vqa", "--model", model, "--limit", "50")
    assert done.returncode == 0
    result = json.loads(next(Path("runs").glob("*/*/*/run.json")).read_text())
    accuracy = result["metrics"]["accuracy"]
    low, high = accuracy["ci95"]
    shown = " ".join(done.stdout.split())
    assert f"{model} on vqa/toybox test, 50 samples" in shown
    for value in (accuracy["value"], low, high):
        assert f"{100 * value:.1f}" in shown
    assert "accuracy by question type" in shown
    assert "spatial" in shown
    assert "coverage 50 scored, 0 missing, 0 failed, 0 invalid" in shown
    assert f"signature {accuracy['signature']}" in shown
    run = shown.split()[-1]
    assert (Path(run) / "samples.jsonl").is_file()


def test_the_oracle_is_right_and_chance_and_prior_are_not(cli: Cli) -> None:
    values = {
        model: evaluate(cli, model, "--limit", 500)["metrics"]["accuracy"]["value"]
        for model in ("oracle", "prior", "chance")
    }
    assert values["oracle"] > 0.98
    assert 0.2 < values["prior"] < 0.45
    assert 0 < values["chance"] < 0.1


def test_a_model_stands_beside_floors_ceiling_and_controls(
    cli: Cli, answerer_plugin: Callable[[str], None]
) -> None:
    answerer_plugin("return [Answer('yes') for question in questions]")
    done = cli("eval", "--task", "vqa", "--model", "fake", "--limit", "50", "--device", "cpu")
    shown = done.stdout
    result = json.loads(next(Path("runs").glob("*/*/*/run.json")).read_text())
    assert set(result["floors"]) == {"chance", "prior"}
    assert set(result["ceilings"]) == {"oracle"}
    for entry in (*result["floors"].values(), *result["ceilings"].values()):
        assert f"{100 * entry['accuracy']['value']:.1f}" in shown
    for name in ("chance", "prior", "oracle", "shuffled", "blind"):
        assert f"    {name} " in shown
    # a model that looks at nothing gains nothing
    assert "does not beat shuffled" in shown
    assert "does not beat blind" in shown
    for control in result["controls"].values():
        assert control["accuracy"]["gain"] == {"value": 0.0, "ci95": [0.0, 0.0]}


def test_the_floors_beside_a_model_are_what_they_score_themselves(
    cli: Cli, answerer_plugin: Callable[[str], None]
) -> None:
    answerer_plugin("return [Answer('yes') for question in questions]")
    beside = evaluate(cli, "fake", "--limit", 50)
    for model, kind in (("chance", "floors"), ("prior", "floors"), ("oracle", "ceilings")):
        own = evaluate(cli, model, "--limit", 50)["metrics"]["accuracy"]
        shown = beside[kind][model]["accuracy"]
        gain = shown.pop("gain", None)
        assert {key: own[key] for key in ("value", "ci95", "n")} == shown
        if kind == "ceilings":
            assert gain is None
        else:
            difference = beside["metrics"]["accuracy"]["value"] - own["value"]
            assert gain["value"] == pytest.approx(difference, abs=1e-12)
            assert gain["ci95"][0] < difference < gain["ci95"][1]


def test_json_prints_the_result_and_nothing_else(cli: Cli) -> None:
    done = cli("eval", "--task", "vqa", "--model", "oracle", "--limit", "50", "--json")
    result = json.loads(done.stdout)
    run = Path(result.pop("run"))
    assert result == json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert done.stderr == ""


# ---------------------------------------------------------------- the run folder


def test_the_run_folder_holds_what_the_design_says(
    cli: Cli, answerer_plugin: Callable[[str], None]
) -> None:
    answerer_plugin("return [Answer('yes') for question in questions]")
    result = evaluate(cli, "fake", "--limit", 50, "--seed", 3)
    run = Path(result["run"])
    assert run.parts[:3] == ("runs", "vqa--toybox", "fake")
    kept = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert kept["status"] == "complete"
    assert kept["task"] == "vqa"
    assert kept["data"] | {"sha256": ""} == {
        "dataset": "toybox",
        "split": "test",
        "sha256": "",
        "n": 50,
        "groups": 10,
        "notes": [],
    }
    assert {"name", "weights_sha256", "parameters", "options"} <= set(kept["model"])
    assert set(kept["metrics"]) == {"accuracy", "accuracy-always-normalise"}
    for metric in kept["metrics"].values():
        assert {"value", "ci95", "n", "invalid", "signature"} <= set(metric)
        assert metric["ci95"][0] <= metric["value"] <= metric["ci95"][1]
    assert set(kept["breakdowns"]) == {"question_type", "answer_type"}
    for parts in kept["breakdowns"].values():
        assert sum(part["n"] for part in parts.values()) == 50
        mean = sum(part["n"] * part["value"] for part in parts.values()) / 50
        assert mean == pytest.approx(kept["metrics"]["accuracy"]["value"], abs=1e-12)
    assert set(kept["controls"]) == {"shuffled", "blind"}
    assert kept["coverage"] | {"samples": 50} == {
        "samples": 50,
        "scored": 50,
        "missing": 0,
        "failed": 0,
        "invalid": 0,
    }
    assert (kept["seed"], kept["device"], kept["dtype"]) == (3, "cpu", "float32")
    assert {"version", "git_commit", "dirty"} <= set(kept["code"])
    assert {"numpy", "torch"} <= set(kept["packages"])
    assert kept["timing"]["predict_seconds"] >= 0


def test_samples_jsonl_holds_what_was_predicted_and_nothing_else(cli: Cli) -> None:
    result = evaluate(cli, "oracle", "--limit", 50)
    logged = lines(result)
    assert len({line["id"] for line in logged}) == 50
    for line in logged:
        assert set(line) == {"id", "group", "prediction", "valid", "reason"}
        assert set(line["prediction"]) <= {"answer", "confidence"}
        assert line["valid"] is True
    assert lines(result, "timing.jsonl")[0]["seconds"] >= 0


def test_rows_parquet_gives_the_metric_back(cli: Cli) -> None:
    import pandas as pd

    result = evaluate(cli, "chance", "--limit", 50)
    rows = pd.read_parquet(Path(result["run"]) / "rows.parquet")
    assert list(rows["id"]) == [line["id"] for line in lines(result)]
    assert {"group", "valid", "tag:question_type", "tag:answer_type"} <= set(rows.columns)
    for name, metric in result["metrics"].items():
        value = rows[f"{name}.0"].sum() / rows[f"{name}.1"].sum()
        assert value == pytest.approx(metric["value"], abs=1e-12)


def test_a_signature_says_how_the_number_was_made(cli: Cli) -> None:
    result = evaluate(cli, "oracle", "--limit", 50, "--split", "val")
    said = dict(
        part.split(":", 1) for part in result["metrics"]["accuracy"]["signature"].split("|")
    )
    assert said["metric"] == "accuracy"
    assert said["variant"] == "official"
    assert said["data"] == "vqa/toybox"
    assert said["split"] == "val"
    assert said["n"] == "50"
    assert said["dtype"] == "float32"
    assert said["sha256"], "numbers on other data must have another signature"


# ---------------------------------------------------------------- going on and starting anew


@pytest.mark.parametrize("model", ["oracle", "prior", "chance"])
def test_the_same_command_twice_gives_two_runs_with_the_same_samples(cli: Cli, model: str) -> None:
    first, second = (evaluate(cli, model, "--limit", 50) for _ in range(2))
    assert first["run"].endswith("-1")
    assert second["run"] == first["run"][:-1] + "2"
    contents = [(Path(r["run"]) / "samples.jsonl").read_bytes() for r in (first, second)]
    assert contents[0] == contents[1]
    assert first["metrics"] == second["metrics"]


def test_the_run_id_is_another_for_each_thing_that_decides_and_for_nothing_else(cli: Cli) -> None:
    def key(*more: object, model: str = "chance") -> str:
        return str(Path(evaluate(cli, model, *more)["run"]).name.rpartition("-")[0])

    base = key("--limit", 5)
    decisive = [
        key("--limit", 6),
        key("--limit", 5, "--seed", 1),
        key("--limit", 5, "--split", "val"),
        key("--limit", 5, "--dtype", "bfloat16"),
        key("--limit", 5, model="prior"),
        key("--limit", 5, model="oracle"),
    ]
    assert len({base, *decisive}) == len(decisive) + 1
    assert key("--limit", 5, "--batch-size", 2) == base
    assert key("--limit", 5, "--keep-going") == base
    assert key("--limit", 5, "-o", "elsewhere") == base


def test_other_weights_and_another_config_are_another_run(
    cli: Cli, tiny_weights: Callable[..., Path]
) -> None:
    def key(folder: Path) -> str:
        options = ("--weights", folder, "--limit", 5, "--controls", "none")
        return str(Path(evaluate(cli, "vlbert", *options)["run"]).name.rpartition("-")[0])

    folder, other = tiny_weights(), tiny_weights(num_hidden_layers=3)
    base = key(folder)
    assert key(shutil.copytree(folder, folder / "moved")) == base  # where they lie does not matter
    assert key(other) != base
    config = json.loads((folder / "config.json").read_text())
    config["vision"]["regions"]["most"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    assert key(folder) != base


def test_a_run_that_was_stopped_goes_on(
    cli: Cli, answerer_plugin: Callable[[str], None], tmp_path: Path
) -> None:
    answerer_plugin(
        "import pathlib\n"
        "if len(questions) == 7 and pathlib.Path('stop').exists():\n"
        "    pathlib.Path('stop').unlink()\n"
        "    raise KeyboardInterrupt\n"
        "return [Answer(question.text) for question in questions]"
    )
    command = ("eval", "--task", "vqa", "--model", "fake", "--limit", "20", "--batch-size", "7")
    (tmp_path / "stop").write_text("")
    stopped = cli(*command, "--device", "cpu")
    assert stopped.returncode == 130
    assert "goes on" in stopped.stderr
    run = next(Path("runs").glob("*/*/*"))
    assert json.loads((run / "run.json").read_text())["status"] == "failed"
    gone_on = evaluate(cli, "fake", "--limit", 20, "--batch-size", 7)
    assert Path(gone_on["run"]) == run
    assert gone_on["status"] == "complete"
    assert gone_on["timing"]["resumed"] is True
    assert len(answers(gone_on)) == 20


def test_controls_that_were_stopped_go_on_with_the_pictures_of_the_new_request(
    cli: Cli, answerer_plugin: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sample and the full set are dealt other pictures: predictions of one must not serve for the
    other."""
    monkeypatch.setattr("harness.controls.SHARE", 20)
    answerer_plugin(
        "import pathlib\n"
        "if pathlib.Path('stop').exists() and questions[0].visual.id.startswith('mean'):\n"
        "    raise KeyboardInterrupt\n"
        "return [Answer(question.visual.id) for question in questions]"
    )
    Path("stop").write_text("")
    command = ("eval", "--task", "vqa", "--model", "fake", "--limit", "60", "--device", "cpu")
    assert cli(*command).returncode == 130  # in the second control, after the first
    Path("stop").unlink()
    gone_on = evaluate(cli, "fake", "--limit", 60, "--controls", "full")
    straight = evaluate(cli, "fake", "--limit", 60, "--controls", "full", "-o", "straight")
    dealt = [answers(result, "controls/shuffled-60.jsonl") for result in (gone_on, straight)]
    assert dealt[0] == dealt[1]


def test_with_keep_going_a_failed_sample_makes_the_run_incomplete_until_it_is_mended(
    cli: Cli, answerer_plugin: Callable[[str], None]
) -> None:
    answerer_plugin(
        "import pathlib\n"
        "if pathlib.Path('broken').exists() and any('test/3' in q.visual.id for q in questions):\n"
        "    raise ValueError('broken')\n"
        "return [Answer('yes') for question in questions]"
    )
    options = ("--limit", "30", "--device", "cpu", "--controls", "none", "--json")
    command = ("eval", "--task", "vqa", "--model", "fake", *options)
    Path("broken").write_text("")
    assert cli(*command).returncode == 2
    done = cli(*command, "--keep-going")
    result = json.loads(done.stdout)
    assert done.returncode == 4
    assert result["status"] == "failed"
    assert result["coverage"]["failed"] == 5
    assert result["metrics"]["accuracy"]["n"] == 30  # the failed count as wrong
    worst, best = result["metrics"]["accuracy"]["bounds"]
    shown = cli(*command[:-1], "--keep-going").stdout
    assert "warning: 5 failed of 30 samples count as wrong" in shown
    assert f"{100 * worst:.1f} if the rest is wrong, {100 * best:.1f} if it is right" in shown
    Path("broken").unlink()
    mended = cli(*command)
    assert mended.returncode == 0
    assert json.loads(mended.stdout)["run"] == result["run"]
    assert json.loads(mended.stdout)["status"] == "complete"


# ---------------------------------------------------------------- controls and floors


def test_shuffled_pictures_and_one_mean_picture_reach_the_model(
    cli: Cli, answerer_plugin: Callable[[str], None]
) -> None:
    answerer_plugin("return [Answer(question.visual.id) for question in questions]")
    result = evaluate(cli, "fake", "--limit", 50)
    own, shuffled, blind = (
        answers(result, name)
        for name in ("samples.jsonl", "controls/shuffled-50.jsonl", "controls/blind-50.jsonl")
    )
    assert all(shuffled[id] != picture for id, picture in own.items())
    assert set(shuffled.values()) == set(own.values())
    assert set(blind.values()) == {"mean/toybox/train"}


def test_controls_none_makes_none(cli: Cli, answerer_plugin: Callable[[str], None]) -> None:
    answerer_plugin("return [Answer('yes') for question in questions]")
    result = evaluate(cli, "fake", "--limit", 50, "--controls", "none")
    assert result["controls"] == {}
    assert not (Path(result["run"]) / "controls").exists()


def test_where_the_train_pictures_are_absent_the_mean_is_of_the_evaluated_ones(
    cli: Cli, vqav2_folder: Callable[..., Path], answerer_plugin: Callable[[str], None]
) -> None:
    """Train annotations without train pictures: all that val's vocabulary and prior need."""
    root = vqav2_folder(train=True)
    shutil.rmtree(root / "train2014")
    answerer_plugin(READS_PICTURES)
    result = evaluate(cli, "fake", "--data-dir", root, task="vqa/vqav2")
    log = f"controls/blind-{result['data']['n']}.jsonl"
    levels = [float(level) for level in answers(result, log).values()]
    assert levels == pytest.approx([80] * len(levels), abs=2)


def test_where_the_train_part_is_absent_prior_says_so_and_the_rest_stands(
    cli: Cli, vqav2_folder: Callable[..., Path], answerer_plugin: Callable[[str], None]
) -> None:
    root = vqav2_folder()
    answerer_plugin(READS_PICTURES)
    result = evaluate(cli, "fake", "--data-dir", root, task="vqa/vqav2")
    assert "train" in result["floors"]["prior"]["reason"]
    # a vocabulary of the evaluated answers would give some away
    assert "vocabulary" in result["floors"]["chance"]["reason"]


def test_a_data_set_too_small_for_an_answer_vocabulary_is_evaluated_all_the_same(
    cli: Cli, vqav2_folder: Callable[..., Path], answerer_plugin: Callable[[str], None]
) -> None:
    root = vqav2_folder()
    for name, key in ((QUESTIONS, "questions"), (ANNOTATIONS, "annotations")):
        content = json.loads((root / name).read_text())
        (root / name).write_text(json.dumps({key: content[key][:5]}))
    answerer_plugin(READS_PICTURES)
    result = evaluate(cli, "fake", "--data-dir", root, task="vqa/vqav2")
    assert result["coverage"]["scored"] == 5
    assert "reason" in result["floors"]["chance"]


def test_a_blind_model_that_cannot_be_had_says_why(cli: Cli, plugin: Callable[..., None]) -> None:
    plugin(
        "theirs",
        "from harness.specs import ModelSpec\nfrom harness.types import Answer, ModelDescription\n"
        "SPEC = ModelSpec('m', 'm', ('answer',), 'theirs:load', blind='m-blind')\n"
        "class M:\n"
        "    description = ModelDescription()\n"
        "    def answer(self, questions): return [Answer('yes') for _ in questions]\n"
        "def load(request): return M()\n",
        {"harness.models": {"m": "theirs:SPEC"}},
    )
    result = evaluate(cli, "m", "--limit", 20)
    assert "m-blind" in result["controls"]["m-blind"]["reason"]


# ---------------------------------------------------------------- the bundled model, untrained


@pytest.mark.parametrize("batch_size", [1, 7])
def test_the_batch_size_does_not_change_the_result_of_vlbert(
    cli: Cli, tiny_weights: Callable[..., Path], batch_size: int
) -> None:
    options = ("--weights", tiny_weights(), "--limit", 40, "--controls", "none")
    whole = lines(evaluate(cli, "vlbert", *options, "--batch-size", 64))
    parts = lines(evaluate(cli, "vlbert", *options, "--batch-size", batch_size, "-o", "other"))
    assert [line["id"] for line in parts] == [line["id"] for line in whole]
    for one, other in zip(parts, whole, strict=True):
        assert one["prediction"]["answer"] == other["prediction"]["answer"]
        a, b = one["prediction"]["confidence"], other["prediction"]["confidence"]
        assert math.isclose(a, b, rel_tol=1e-6, abs_tol=1.2e-5)  # rounded to six places


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    ("model", "regions"), [("vlbert", "segments"), ("vlbert", "grid"), ("vlbert-blind", "none")]
)
def test_vlbert_runs_in_half_precision(
    cli: Cli, tiny_weights: Callable[..., Path], model: str, regions: str, dtype: str
) -> None:
    options = ("--weights", tiny_weights(regions), "--limit", 10, "--controls", "none")
    result = evaluate(cli, model, *options, "--dtype", dtype)
    assert result["coverage"]["scored"] == 10
    assert f"dtype:{dtype}" in result["metrics"]["accuracy"]["signature"]


def test_vlbert_is_evaluated_with_controls_from_a_weights_folder(
    cli: Cli, tiny_weights: Callable[..., Path]
) -> None:
    result = evaluate(cli, "vlbert", "--weights", tiny_weights(), "--limit", 20)
    assert set(result["controls"]) == {"shuffled", "blind"}
    assert result["model"]["weights_sha256"]
    assert result["model"]["parameters"] > 0


# ---------------------------------------------------------------- scoring what was predicted


def rescore(cli: Cli, *arguments: object, code: int = 0) -> dict[str, Any]:
    done = cli("score", *arguments, "--json")
    assert done.returncode == code, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("model", ["oracle", "chance"])
def test_scoring_saved_samples_gives_the_same_accuracy(cli: Cli, model: str) -> None:
    evaluated = evaluate(cli, model, "--split", "test-comp")
    log = Path(evaluated["run"]) / "samples.jsonl"
    scored = rescore(cli, log, "--task", "vqa", "--split", "test-comp", "--name", "again")
    for name, metric in evaluated["metrics"].items():
        for key in ("value", "ci95", "n", "invalid"):
            assert scored["metrics"][name][key] == metric[key]
    assert scored["breakdowns"] == evaluated["breakdowns"]
    assert Path(scored["run"]).parts[:3] == ("runs", "vqa--toybox", "again")
    assert (Path(scored["run"]) / "samples.jsonl").read_bytes() == log.read_bytes()
    assert (Path(scored["run"]) / "rows.parquet").is_file()


def test_samples_of_a_part_are_refused_as_the_whole(cli: Cli) -> None:
    log = Path(evaluate(cli, "oracle", "--limit", 50)["run"]) / "samples.jsonl"
    refused = cli("score", log, "--task", "vqa")
    assert refused.returncode == 2
    assert "550 of 600 ids have no prediction" in refused.stderr


def test_failed_samples_make_a_score_incomplete(
    cli: Cli, vqav2_folder: Callable[..., Path], tmp_path: Path
) -> None:
    root = vqav2_folder()
    log = tmp_path / "samples.jsonl"
    ids = [str(10 * image + number) for image in (1, 2, 3) for number in range(4)]
    written = [{"id": id, "prediction": {"answer": "yes"}} for id in ids[1:]]
    failed = {"id": ids[0], "prediction": None, "valid": False, "reason": "boom"}
    log.write_text("".join(json.dumps(line) + "\n" for line in [failed, *written]))
    result = rescore(cli, log, "--task", "vqa/vqav2", "--data-dir", root, code=4)
    assert result["coverage"]["failed"] == 1
    assert result["coverage"]["scored"] == 11


def official(root: Path) -> tuple[object, ...]:
    return ("--questions", root / QUESTIONS, "--annotations", root / ANNOTATIONS)


# question -> (what ten annotators wrote, the prediction, official accuracy, always normalised)
CASES: dict[int, tuple[list[str], str, float, float]] = {
    10: (["yes"] * 10, "yes", 1, 1),
    11: (["yes"] * 10, "Yes", 0, 1),
    12: (["red"] * 3 + ["blue"] * 7, "red", 0.9, 0.9),
    13: (["red"] * 2 + ["blue"] * 8, "red", 0.6, 0.6),
    20: (["red"] * 1 + ["blue"] * 9, "red", 0.3, 0.3),
    21: (["red"] * 5 + ["blue"] * 5, "green", 0, 0),
    22: (["2"] * 5 + ["two"] * 5, "two", 1, 1),
    23: (["half eaten apple"] * 9 + ["apple"], "The Half-eaten apple.", 1, 1),
    30: (["yes"] * 10, "no", 0, 0),
    31: (["yes"] * 10, "", 0, 0),
    32: (["yes"] * 10, "yes yes", 0, 0),
    33: (["yes"] * 10, "\ud83e\udd8a", 0, 0),
}


@pytest.fixture
def official_root(vqav2_folder: Callable[..., Path]) -> Path:
    root = vqav2_folder()
    content = json.loads((root / ANNOTATIONS).read_text())
    for record in content["annotations"]:
        written = CASES[record["question_id"]][0]
        record["answers"] = [{"answer": text} for text in written]
    (root / ANNOTATIONS).write_text(json.dumps(content))
    return root


def test_official_results_get_the_accuracy_counted_by_hand(cli: Cli, official_root: Path) -> None:
    results = official_root / "results.json"
    results.write_text(
        json.dumps([{"question_id": id, "answer": case[1]} for id, case in CASES.items()])
    )
    scored = rescore(cli, results, "--task", "vqa", *official(official_root))
    assert scored["metrics"]["accuracy"]["value"] == pytest.approx(4.8 / 12, abs=1e-12)
    always = scored["metrics"]["accuracy-always-normalise"]["value"]
    assert always == pytest.approx(5.8 / 12, abs=1e-12)
    assert scored["data"]["dataset"] == "vqav2"
    assert scored["coverage"]["scored"] == 12
    assert Path(scored["run"]).parts[:3] == ("runs", "vqa--vqav2", "results")


def test_missing_ids_are_refused_or_counted_as_wrong(cli: Cli, official_root: Path) -> None:
    results = official_root / "results.json"
    some = {id: case for id, case in CASES.items() if id != 10}
    results.write_text(
        json.dumps([{"question_id": id, "answer": case[1]} for id, case in some.items()])
    )
    refused = cli("score", results, "--task", "vqa", *official(official_root))
    assert refused.returncode == 2
    assert "1 of 12 ids" in refused.stderr
    arguments = (results, "--task", "vqa", *official(official_root), "--allow-missing")
    scored = rescore(cli, *arguments, code=4)
    assert scored["metrics"]["accuracy"]["value"] == pytest.approx(3.8 / 12, abs=1e-12)
    assert scored["metrics"]["accuracy"]["n"] == 12
    assert scored["coverage"]["missing"] == 1


def test_a_name_cannot_lead_out_of_the_folder_of_runs(cli: Cli, official_root: Path) -> None:
    results = official_root / "results.json"
    results.write_text(
        json.dumps([{"question_id": id, "answer": case[1]} for id, case in CASES.items()])
    )
    cli("score", results, "--task", "vqa", *official(official_root), "--name", "../../../out")
    assert {path.name for path in Path().resolve().iterdir()} <= {"vqav2", "runs"}
    assert not (Path().resolve().parent / "out").exists()
