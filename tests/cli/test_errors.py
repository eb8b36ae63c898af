"""Whatever is wrong with the input, the user gets one line that says what, and exit code 2."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

Cli = Callable[..., CompletedProcess[str]]
QUESTIONS = "v2_OpenEnded_mscoco_val2014_questions.json"
ANNOTATIONS = "v2_mscoco_val2014_annotations.json"
pytestmark = pytest.mark.usefixtures("small_toybox")
READS_PICTURES = "return [Answer(str(question.visual.read().mean())) for question in questions]"


def line_of(done: CompletedProcess[str]) -> str:
    """The one line of an error."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("harness: ")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("\n")
    return done.stderr.removeprefix("harness: ").strip()


# ---------------------------------------------------------------- names and options


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evla"], "did you mean eval?"),
        (["evaluate-everything"], "there are: eval, score, ls, train"),
        (["--no-such-option"], "--no-such-option"),
        (["eval"], "--task"),
        (["eval", "--task", "vqa"], "--model"),
        (["eval", "--task", "vqa", "--model", "prior", "--limt", "3"], "--limit"),
        (["eval", "--task", "vqa", "--model", "prior", "--limit", "three"], "'three'"),
        (["eval", "--task", "vqa", "--model", "prior", "--limit", "0"], "--limit"),
        (["eval", "--task", "vqa", "--model", "prior", "--batch-size", "0"], "--batch-size"),
        (["eval", "--task", "vqa", "--model", "prior", "--dtype", "float8"], "float8"),
        (["eval", "--task", "vqa", "--model", "prior", "--controls", "some"], "some"),
        (["eval", "--task", "vqa", "--model", "prior", "extra"], "extra"),
        (["eval", "--task", "vqaa", "--model", "prior"], "did you mean vqa?"),
        (["eval", "--task", "", "--model", "prior"], "there are: captioning, "),
        (["eval", "--task", "vqa/toybx", "--model", "prior"], "did you mean toybox?"),
        (["eval", "--task", "vqa", "--model", "vlbret"], "did you mean vlbert?"),
        (["eval", "--task", "vqa", "--model", "vl\nbret"], "did you mean vlbert?"),
        (["eval", "--task", "vqa", "--model", "prior", "--split", "tset"], "test-comp"),
        (["eval", "--task", "vqa/vqav2", "--model", "prior"], "--data-dir"),
        (["eval", "--task", "vqa/vqav2", "--model", "prior", "--data-dir", "gone"], "gone"),
        (["eval", "--task", "vqa/vqav2", "--model", "oracle", "--data-dir", "."], "oracle"),
        (["score"], "PREDICTIONS"),
        (["score", "gone.jsonl", "--task", "vqa"], "gone.jsonl"),
        (["score", "gone.json", "--task", "vqaa"], "did you mean vqa?"),
        (["score", ".", "--task", "vqa"], "is a folder"),
        (["train", "--task", "vqa", "--model", "prior"], "cannot be trained"),
        (["train", "--task", "vqa", "--model", "vlbret"], "did you mean vlbert?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_arguments_get_one_line(
    cli: Cli, tmp_path: Path, arguments: list[str], said: str
) -> None:
    assert said in line_of(cli(*arguments))
    assert not (tmp_path / "runs").exists()


def test_without_a_verb_the_help_is_shown_as_it_stands(cli: Cli) -> None:
    """Not squeezed into one line of an error."""
    done = cli()
    shown = done.stdout + done.stderr
    assert "\n  eval " in shown
    assert "harness: Usage" not in shown


def test_cuda_where_there_is_none_gets_one_line(cli: Cli) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert "--device cpu" in line_of(
        cli("eval", "--task", "vqa", "--model", "vlbert", "--device", "cuda")
    )


def test_an_output_folder_that_cannot_be_made_gets_one_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = line_of(
        cli("eval", "--task", "vqa", "--model", "chance", "--limit", "5", "-o", "file/runs")
    )
    assert "file/runs" in said
    assert "-o" in said


def test_debug_shows_where_an_error_comes_from(cli: Cli) -> None:
    from harness.errors import BadInput

    with pytest.raises(BadInput):
        cli("--debug", "eval", "--task", "vqaa", "--model", "prior")


# ---------------------------------------------------------------- models


def test_a_model_that_cannot_do_the_task_gets_one_line(
    cli: Cli, plugin: Callable[..., None]
) -> None:
    plugin(
        "taggers",
        "from harness.specs import ModelSpec\nSPEC = ModelSpec('tagger', 'tags', ('tag',), 'x:y')",
        {"harness.models": {"tagger": "taggers:SPEC"}},
    )
    said = line_of(cli("eval", "--task", "vqa", "--model", "tagger"))
    assert "tagger cannot do task vqa" in said
    assert "chance, nce, oracle, prior, vilbert, vlbert, vlbert-blind" in said


def test_a_broken_package_gets_one_line(cli: Cli, plugin: Callable[..., None]) -> None:
    plugin("broken", "import no_such_module", {"harness.models": {"b": "broken:SPEC"}})
    assert line_of(cli("ls")).startswith("broken: entry point b = broken:SPEC")


@pytest.mark.parametrize(
    "loads",
    ["no_such_module:load", "theirs:no_such_function", "theirs:load"],
    ids=["no module", "no function", "function that fails"],
)
def test_a_model_that_fails_to_load_gets_one_line(
    cli: Cli, plugin: Callable[..., None], loads: str
) -> None:
    plugin(
        "theirs",
        f"from harness.specs import ModelSpec\nSPEC = ModelSpec('m', 'm', ('answer',), '{loads}')\n"
        "def load(request):\n    import no_such_module\n",
        {"harness.models": {"m": "theirs:SPEC"}},
    )
    said = line_of(cli("eval", "--task", "vqa", "--model", "m", "--limit", "3"))
    assert "m" in said.split()


def test_a_model_that_fails_gets_one_line(cli: Cli, answerer_plugin: Callable[[str], None]) -> None:
    answerer_plugin("raise ValueError('two\\nlines')")
    said = line_of(cli("eval", "--task", "vqa", "--model", "fake", "--limit", "3"))
    assert "ValueError: two lines" in said
    assert "test-00000-0" in said


# ---------------------------------------------------------------- weights


def evaluate_weights(cli: Cli, folder: Path) -> str:
    return line_of(
        cli(
            *("eval", "--task", "vqa", "--model", "vlbert", "--weights", folder, "--limit", "6"),
            *("--controls", "none"),
        )
    )


def change_config(folder: Path, change: Callable[[Any], object]) -> None:
    path = folder / "config.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_an_absent_weights_folder_gets_one_line(cli: Cli, tmp_path: Path) -> None:
    assert f"{tmp_path / 'gone'}: no such folder" in evaluate_weights(cli, tmp_path / "gone")


@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "model.safetensors"])
def test_a_weights_folder_that_lacks_a_file_gets_one_line(
    cli: Cli, tiny_weights: Callable[..., Path], name: str
) -> None:
    folder = tiny_weights()
    (folder / name).unlink()
    assert str(folder / name) in evaluate_weights(cli, folder)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_truncated_weights_get_one_line(
    cli: Cli, tiny_weights: Callable[..., Path], share: float
) -> None:
    path = tiny_weights() / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert str(path) in evaluate_weights(cli, path.parent)


@pytest.mark.parametrize(
    ("changes", "tensor"),
    [
        ({"hidden_size": 32}, "alignment.weight"),
        ({"intermediate_size": 64}, "intermediate.dense"),
        ({"num_hidden_layers": 3}, "encoder.layer.2"),
        ({"vocab_size": 99}, "word_embeddings"),
        ({"appearance_size": 4}, "obj_downsample"),
        ({"answers": 6}, "final_mlp.2"),
    ],
    ids=str,
)
def test_weights_of_another_shape_get_one_line(
    cli: Cli, tiny_weights: Callable[..., Path], changes: dict[str, int], tensor: str
) -> None:
    folder, other = tiny_weights(), tiny_weights(**changes)
    shutil.copy(other / "model.safetensors", folder)
    said = evaluate_weights(cli, folder)
    assert f"{folder / 'model.safetensors'}: network." in said
    assert tensor in said
    assert "shape" in said or "is not in the model" in said


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.clear(),
        lambda content: content["network"].update(layers=3),
        lambda content: content["network"].update(hidden_size="16"),
        lambda content: content["network"].update(num_attention_heads=3),
        lambda content: content["vision"]["regions"].update(kind="bubbles"),
        lambda content: content["answers"].pop(),
        lambda content: content["answers"].append("more"),
    ],
    ids=[
        "empty",
        "unknown size",
        "text as size",
        "heads",
        "regions",
        "few answers",
        "many answers",
    ],
)
def test_a_config_that_does_not_fit_gets_one_line(
    cli: Cli, tiny_weights: Callable[..., Path], change: Callable[[Any], object]
) -> None:
    folder = tiny_weights()
    change_config(folder, change)
    assert str(folder) in evaluate_weights(cli, folder)


@pytest.mark.parametrize("content", ["", "{", "[]", '"config"', "\ufeff{}"])
def test_a_broken_config_gets_one_line(
    cli: Cli, tiny_weights: Callable[..., Path], content: str
) -> None:
    folder = tiny_weights()
    (folder / "config.json").write_text(content, encoding="utf-8")
    assert str(folder) in evaluate_weights(cli, folder)


@pytest.mark.parametrize("content", ["", "a\nb\n", "[PAD]\n[UNK]\n"])
def test_a_broken_vocabulary_gets_one_line(
    cli: Cli, tiny_weights: Callable[..., Path], content: str
) -> None:
    folder = tiny_weights()
    (folder / "vocab.txt").write_text(content)
    assert str(folder) in evaluate_weights(cli, folder)


def test_a_vocabulary_of_another_model_gets_one_line(
    cli: Cli, tiny_weights: Callable[..., Path]
) -> None:
    folder = tiny_weights()
    with (folder / "vocab.txt").open("a") as file:
        file.writelines(f"word{number}\n" for number in range(9))
    assert str(folder / "vocab.txt") in evaluate_weights(cli, folder)


# ---------------------------------------------------------------- data


def evaluate_vqav2(cli: Cli, root: Path) -> str:
    return line_of(
        cli(
            *("eval", "--task", "vqa/vqav2", "--model", "fake", "--data-dir", root),
            *("--device", "cpu"),
        )
    )


def test_a_missing_picture_gets_one_line(
    cli: Cli, vqav2_folder: Callable[..., Path], answerer_plugin: Callable[[str], None]
) -> None:
    answerer_plugin(READS_PICTURES)
    path = vqav2_folder() / "val2014" / "COCO_val2014_000000000002.jpg"
    path.unlink()
    assert f"{path}: there is no such picture" in evaluate_vqav2(cli, path.parents[1])


def test_a_truncated_picture_gets_one_line(
    cli: Cli, vqav2_folder: Callable[..., Path], answerer_plugin: Callable[[str], None]
) -> None:
    answerer_plugin(READS_PICTURES)
    path = vqav2_folder() / "val2014" / "COCO_val2014_000000000002.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    assert f"{path}: the picture cannot be read" in evaluate_vqav2(cli, path.parents[1])


def test_no_folder_of_pictures_gets_one_line(
    cli: Cli, vqav2_folder: Callable[..., Path], answerer_plugin: Callable[[str], None]
) -> None:
    answerer_plugin(READS_PICTURES)
    root = vqav2_folder()
    shutil.rmtree(root / "val2014")
    assert "COCO_val2014_000000000001.jpg" in evaluate_vqav2(cli, root)


@pytest.mark.parametrize("name", [QUESTIONS, ANNOTATIONS])
@pytest.mark.parametrize("content", [None, b"", b'{"questions": [', b"\xff\xfe", b"[1]"])
def test_a_broken_questions_or_annotations_file_gets_one_line(
    cli: Cli,
    vqav2_folder: Callable[..., Path],
    answerer_plugin: Callable[[str], None],
    name: str,
    content: bytes | None,
) -> None:
    answerer_plugin(READS_PICTURES)
    root = vqav2_folder()
    if content is None:
        (root / name).unlink()
    else:
        (root / name).write_bytes(content)
    assert str(root / name) in evaluate_vqav2(cli, root)


# ---------------------------------------------------------------- predictions to score

RESULTS = [{"question_id": 10 * i + n, "answer": "yes"} for i in (1, 2, 3) for n in range(4)]


def score(cli: Cli, root: Path, predictions: Path, *more: str) -> str:
    files = ("--questions", root / QUESTIONS, "--annotations", root / ANNOTATIONS)
    return line_of(cli("score", predictions, "--task", "vqa", *files, *more))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "line 1"),
        ("{", "line 1"),
        ('[\n{"question_id": 10, "answer": "yes"},\n]', "line 3"),
        ("{}", "must be a list"),
        ("[" * 100_000, "results.json"),
        ('[{"question_id": 10}]', "record 0"),
        ('[{"question_id": 10, "answer": "yes"}, ["yes"]]', "record 1"),
        ('[{"question_id": 10, "answer": 1}]', "record 0"),
        (json.dumps([*RESULTS, RESULTS[5]]), "question_id 21 comes a second time"),
        (json.dumps(RESULTS[1:]), "1 of 12 ids have no prediction, the first is '10'"),
        (json.dumps([*RESULTS, {"question_id": 99, "answer": "yes"}]), "'99'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_wrong_results_get_one_line(
    cli: Cli, vqav2_folder: Callable[..., Path], content: str, said: str
) -> None:
    root = vqav2_folder()
    results = root / "results.json"
    results.write_text(content)
    line = score(cli, root, results)
    assert str(results) in line
    assert said in line


def test_results_that_are_no_text_get_one_line(cli: Cli, vqav2_folder: Callable[..., Path]) -> None:
    root = vqav2_folder()
    for name in ("results.json", "results.jsonl"):
        (root / name).write_bytes(b"[\xff\xfe]")
        assert name in score(cli, root, root / name)


GOOD = '{"id": "10", "prediction": {"answer": "yes"}}\n'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (GOOD + '{"id": "11", "predic', "line 2"),
        (GOOD + '{"id": "11"}\n', "line 2"),
        (GOOD + "[]\n", "line 2"),
        (GOOD + '{"id": 11, "prediction": {}}\n', "line 2"),
        (GOOD + '{"id": "11", "prediction": "yes"}\n', "line 2"),
        (GOOD + GOOD, "line 2: id '10' comes a second time"),
        (GOOD + "[" * 100_000 + "\n", "line 2"),
        (GOOD, "11 of 12 ids have no prediction, the first is '11'"),
        ("", "12 of 12 ids have no prediction"),
    ],
    ids=lambda value: str(value)[-30:],
)
def test_wrong_lines_of_predictions_get_one_line(
    cli: Cli, vqav2_folder: Callable[..., Path], content: str, said: str
) -> None:
    root = vqav2_folder()
    log = root / "samples.jsonl"
    log.write_text(content)
    line = score(cli, root, log)
    assert str(log) in line
    assert said in line


def test_one_of_two_official_files_gets_one_line(
    cli: Cli, vqav2_folder: Callable[..., Path]
) -> None:
    root = vqav2_folder()
    (root / "r.json").write_text(json.dumps(RESULTS))
    said = line_of(cli("score", root / "r.json", "--task", "vqa", "--questions", root / QUESTIONS))
    assert "--annotations" in said
