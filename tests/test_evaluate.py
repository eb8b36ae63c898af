"""Evaluations from end to end that the single steps do not show: floors fitted on given files, the
rules of metrics, and every embedded task in one table."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from harness.errors import BadInput
from harness.evaluate import EvalRequest, Finished, evaluate
from harness.media.checksums import sha256_of_files
from harness.registry import embedded_tasks
from harness.rescore import ScoreRequest, score_predictions
from harness.types import Json

Cli = Callable[..., CompletedProcess[str]]
DIDEMO = "temporal-localization/didemo"


def moments(ids: range, *times: tuple[int, int]) -> list[Json]:
    """Records of a DiDeMo file about as many videos, each with these times."""
    return [
        {
            "annotation_id": id,
            "description": f"event {id}",
            "video": f"v{id}.avi",
            "num_segments": 6,
            "times": [list(time) for time in times],
        }
        for id in ids
    ]


@pytest.fixture
def didemo(tmp_path: Path) -> Path:
    """A folder with DiDeMo's val and test parts, and no train part; annotators of the test part
    agree with two thirds of the val part's."""
    folder = tmp_path / "didemo"
    folder.mkdir()
    val = moments(range(8), *[(1, 2)] * 4) + moments(range(8, 12), *[(5, 5)] * 4)
    test = moments(range(100, 110), (1, 2), (1, 2), (1, 2), (0, 0))
    for split, records in (("val", val), ("test", test)):
        (folder / f"{split}_data.json").write_text(json.dumps(records))
    return folder


def prior(folder: Path, *prior_from: Path, **more: Any) -> Finished:
    fields: dict[str, Any] = {"split": "val", "data_dir": folder, "output": folder / "runs"}
    return evaluate(EvalRequest(DIDEMO, "prior", prior_from=prior_from, **(fields | more)))


def refusal(call: Callable[..., object], *arguments: Any, **more: Any) -> str:
    with pytest.raises(BadInput) as caught:
        call(*arguments, **more)
    text = str(caught.value)
    assert "\n" not in text
    return text


# ---------------------------------------------------------------- floors fitted on given files


def test_a_floor_is_fitted_on_the_files_given(didemo: Path) -> None:
    result = prior(didemo, didemo / "test_data.json").result
    values = {name: metric["value"] for name, metric in result["metrics"].items()}
    assert values["rank@1"] == pytest.approx(8 / 12)
    assert values["rank@5"] == pytest.approx(8 / 12)  # (5, 5) was never chosen there
    assert values["mIoU"] == pytest.approx(8 / 12)


def test_which_files_these_were_is_recorded(didemo: Path) -> None:
    file = didemo / "test_data.json"
    result = prior(didemo, file).result
    sha256 = sha256_of_files([file])
    for metric in result["metrics"].values():
        assert f"|prior-from:{sha256[:12]}|" in metric["signature"]
    assert result["model"]["options"]["train_sha256"] == sha256
    assert "test_data.json" in result["model"]["options"]["fitted_on"]
    assert result["request"]["prior_from"] == [str(file)]


def test_files_of_other_content_are_another_run(didemo: Path) -> None:
    other = didemo / "other.json"
    other.write_text(json.dumps(moments(range(200, 203), *[(5, 5)] * 4)))
    first, second = prior(didemo, didemo / "test_data.json"), prior(didemo, other)
    assert first.path.name.partition("-")[0] != second.path.name.partition("-")[0]
    assert second.result["metrics"]["rank@1"]["value"] == pytest.approx(4 / 12)


def test_without_them_the_train_part_is_needed(didemo: Path) -> None:
    assert "train_data.json" in refusal(prior, didemo)


@pytest.mark.parametrize("name", ["val_data.json", "copy.json"])
def test_the_very_samples_of_the_evaluation_are_refused(didemo: Path, name: str) -> None:
    file = didemo / name
    if not file.exists():
        shutil.copy(didemo / "val_data.json", file)
    text = refusal(prior, didemo, file)
    assert "holds the very samples of this evaluation" in text
    assert name in text


def test_another_number_of_files_is_refused_with_their_roles(didemo: Path) -> None:
    file = didemo / "test_data.json"
    text = refusal(prior, didemo, file, file)
    assert "didemo needs 1 files, in this order: annotations" in text


def test_a_file_that_is_absent_or_broken_is_named(didemo: Path) -> None:
    assert "absent.json" in refusal(prior, didemo, didemo / "absent.json")
    (didemo / "broken.json").write_text("[{")
    assert "broken.json" in refusal(prior, didemo, didemo / "broken.json")


def test_a_data_set_without_official_files_takes_none(didemo: Path, small_toybox: None) -> None:
    request = EvalRequest("vqa/toybox", "prior", prior_from=(didemo / "test_data.json",))
    assert "toybox is not read from separate files" in refusal(evaluate, request)


def test_the_floors_beside_saved_predictions_are_fitted_on_them_too(cli: Cli, didemo: Path) -> None:
    saved = didemo / "saved.jsonl"
    lines = [{"id": str(id), "prediction": {"moments": [[0, 0]]}} for id in range(12)]
    saved.write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = ("score", saved, "--task", DIDEMO, "--split", "val", "--data-dir", didemo, "--json")
    done = cli(*command, "--prior-from", didemo / "test_data.json")
    floors = json.loads(done.stdout)["floors"]
    assert floors["prior"]["rank@1"]["value"] == pytest.approx(8 / 12)
    without = json.loads(cli(*command).stdout)["floors"]
    assert "train_data.json" in without["prior"]["reason"]
    assert without["chance"]["rank@1"] == floors["chance"]["rank@1"]


def test_the_command_line_takes_them(cli: Cli, didemo: Path) -> None:
    command = ["eval", "--task", DIDEMO, "--model", "prior", "--split", "val", "--json"]
    command += ["--data-dir", str(didemo)]
    done = cli(*command, "--prior-from", didemo / "test_data.json")
    assert json.loads(done.stdout)["metrics"]["rank@1"]["value"] == pytest.approx(8 / 12)
    done = cli(*command, "--prior-from", didemo / "val_data.json")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_name_that_no_file_can_hold_is_refused_before_anything_is_computed(didemo: Path) -> None:
    path = didemo / "val_data.json"
    records = json.loads(path.read_text())
    records[3]["video"] = "half\ud83d.avi"
    path.write_text(json.dumps(records))
    request = EvalRequest(DIDEMO, "chance", split="val", data_dir=didemo, output=didemo / "runs")
    assert "holds half of a surrogate pair" in refusal(evaluate, request)
    assert not (didemo / "runs").exists()
    results = didemo / "results.json"
    results.write_text("[]")
    asked = ScoreRequest(results, DIDEMO, split="val", data_dir=didemo)
    assert "holds half of a surrogate pair" in refusal(score_predictions, asked)


def test_didemos_prior_of_test_on_val_is_what_its_authors_report(tmp_path: Path) -> None:
    """Counted with their own code (LocalizingMoments) it is .186842, .697368 and .252216."""
    folder = Path(os.environ.get("HARNESS_DATA", "")) / "didemo"
    if "HARNESS_DATA" not in os.environ or not (folder / "val_data.json").is_file():
        pytest.skip("DiDeMo's files are not there: HARNESS_DATA/didemo/{val,test}_data.json")
    result = prior(folder, folder / "test_data.json", output=tmp_path).result
    values = {name: metric["value"] for name, metric in result["metrics"].items()}
    assert values == pytest.approx(
        {"rank@1": 0.186842, "rank@5": 0.697368, "mIoU": 0.252216}, abs=5e-7
    )


# ---------------------------------------------------------------- rules


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"box": "exclusive"}, "has no rule 'box'; its rules: box-convention, at-half"),
        ({"box-convention": "inclusive"}, "is no 'inclusive'; choose exclusive, plus-one, mattnet"),
    ],
)
def test_a_rule_that_there_is_not_is_refused_in_one_line(rules: Any, said: str) -> None:
    request = EvalRequest("spatial-localization", "chance", rules=rules)
    assert said in refusal(evaluate, request)


def test_a_task_without_rules_says_so() -> None:
    request = EvalRequest("vqa", "chance", rules={"tokenizer": "ptb"})
    assert "vqa has no rule 'tokenizer'; its rules: none" in refusal(evaluate, request)


def test_a_rule_moves_the_score_and_stands_in_the_signature(
    small_toybox: None, tmp_path: Path
) -> None:
    metrics = []
    for rules in ({}, {"box-convention": "plus-one"}):
        request = EvalRequest("spatial-localization", "chance", rules=rules, output=tmp_path)
        metrics.append(evaluate(request).result["metrics"]["mean-iou"])
    assert metrics[0]["value"] < metrics[1]["value"]  # each side is a pixel longer
    assert "variant:boxes=exclusive" in metrics[0]["signature"]
    assert "variant:boxes=plus-one" in metrics[1]["signature"]


# ---------------------------------------------------------------- every embedded task


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without Java, which takes seconds to start."""
    for name in ("meteor", "spice"):
        monkeypatch.setattr(f"harness.tasks.captioning.{name}_reason", lambda: "no Java")


@pytest.mark.parametrize("model", ["chance", "prior", "oracle"])
def test_every_embedded_task_is_in_one_table(
    cli: Cli, small_toybox: None, no_java: None, model: str
) -> None:
    done = cli("eval", "--task", "all", "--model", model, "--limit", "50", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["reasons"] == {}
    names = [f"{run['task']}/{run['data']['dataset']}" for run in found["runs"]]
    assert names == embedded_tasks()
    for run in found["runs"]:
        primary = run["metrics"][run["primary"]]
        assert run["status"] == "complete"
        assert (run["data"]["n"], run["coverage"]["scored"]) == (50, 50)
        low, high = primary["ci95"]
        assert low - 1e-12 <= primary["value"] <= high + 1e-12
        assert (primary["value"] > 0.95) == (model == "oracle")
        assert json.loads((Path(run["run"]) / "run.json").read_text())["status"] == "complete"


def test_the_table_has_a_line_for_every_task(cli: Cli, small_toybox: None, no_java: None) -> None:
    done = cli("eval", "--task", "all", "--model", "chance", "--limit", "20")
    lines = [line.split() for line in done.stdout.splitlines() if "/toybox" in line]
    assert [line[0] for line in lines if line[0] != "run"] == embedded_tasks()


def test_what_a_model_cannot_do_and_what_fails_is_named_there(
    cli: Cli, small_toybox: None, answerer_plugin: Callable[[str], None]
) -> None:
    answerer_plugin("raise ValueError('no\\nway')")
    done = cli("eval", "--task", "all", "--model", "fake", "--limit", "20", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 2
    assert found["runs"] == []
    assert set(found["reasons"]) == {"vqa/toybox"}
    assert found["cannot"] == [name for name in embedded_tasks() if name != "vqa/toybox"]
    assert "ValueError: no way" in found["reasons"]["vqa/toybox"]


def test_all_takes_no_options_of_a_single_task(cli: Cli, didemo: Path) -> None:
    for option in (("--data-dir", didemo), ("--rule", "a=b"), ("--prior-from", didemo)):
        done = cli("eval", "--task", "all", "--model", "chance", *option)
        assert done.returncode == 2
        assert "--task all runs the embedded tasks as they are" in done.stderr


# ---------------------------------------------------------------- not yet so


def test_captions_are_taken_from_given_files_as_well(tmp_path: Path) -> None:
    for split, caption in (("train2017", "a cat ."), ("val2017", "a dog .")):
        content = {
            "images": [{"id": n, "file_name": f"{n}.jpg"} for n in (1, 2)],
            "annotations": [
                {"id": n, "image_id": 1 + n % 2, "caption": caption} for n in range(10)
            ],
        }
        (tmp_path / f"captions_{split}.json").write_text(json.dumps(content))
    request = EvalRequest(
        "captioning/coco",
        "prior",
        split="val2017",
        data_dir=tmp_path,
        rules={"java-metrics": "off"},
        prior_from=(tmp_path / "captions_train2017.json",),
        output=tmp_path / "runs",
    )
    finished = evaluate(request)
    log = (finished.path / "samples.jsonl").read_text()
    assert log.count("a cat .") == 2


def test_a_run_of_retrieval_keeps_its_scores(small_toybox: None, tmp_path: Path) -> None:
    finished = evaluate(EvalRequest("retrieval", "chance", limit=20, output=tmp_path))
    assert (finished.path / "scores.npy").is_file()


# ---------------------------------------------------------------- artifacts


def test_where_a_captioner_looked_is_kept_for_the_first_samples(
    plugin: Callable[..., None], small_toybox: None, tmp_path: Path
) -> None:
    plugin(
        "lookingpackage",
        "from harness.specs import ModelSpec\nfrom harness.types import ModelDescription\n"
        "SPEC = ModelSpec('looking', 'made up', ('caption',), 'lookingpackage:load')\n"
        "class Looking:\n"
        "    description = ModelDescription()\n"
        "    def caption(self, visuals):\n"
        "        return ['A red circle.' for _ in visuals]\n"
        "    def artifacts(self, visuals):\n"
        "        return [{'words': ['a'], 'alphas': [[1.0]], 'grid': [1, 1]} for _ in visuals]\n"
        "def load(request):\n"
        "    return Looking()\n",
        {"harness.models": {"looking": "lookingpackage:SPEC"}},
    )
    request = EvalRequest(
        "captioning",
        "looking",
        limit=5,
        controls="none",
        rules={"java-metrics": "off"},
        output=tmp_path,
    )
    path = evaluate(request).path / "artifacts" / "attention.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines] == [f"test-0000{i}" for i in range(5)]
    assert lines[0]["words"] == ["a"]
