"""What several test files share: the command line in this process, plug-in packages, a small
Toybox, run folders without a model, tiny weights, a tiny VQA v2 folder and golden vectors."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from harness.types import Json, Sample

Cli = Callable[..., CompletedProcess[str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """`harness ARGUMENTS` in this process, from the empty folder tmp_path. An exception that main()
    lets through, which a user would see as a traceback, fails the test."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> CompletedProcess[str]:
        from harness.cli import main

        words = [str(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["harness", *words])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return CompletedProcess(words, code, out, err)

    return run


@pytest.fixture
def write_plugin(tmp_path: Path) -> Callable[[str, str, Mapping[str, Mapping[str, str]]], Path]:
    """Writes an installed-looking package: (name, source, group -> entry point -> value) -> the
    folder to put on the path."""

    def write(name: str, source: str, entries: Mapping[str, Mapping[str, str]]) -> Path:
        site = tmp_path / f"site-{name}"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text(source, encoding="utf-8")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = []
        for group, points in entries.items():
            lines += [f"[{group}]", *(f"{point} = {value}" for point, value in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return site

    return write


@pytest.fixture
def plugin(
    write_plugin: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., None]]:
    """As write_plugin, and installed in this process until the test ends."""
    names: list[str] = []

    def install(name: str, source: str, entries: Mapping[str, Mapping[str, str]]) -> None:
        names.append(name)
        monkeypatch.syspath_prepend(str(write_plugin(name, source, entries)))
        importlib.invalidate_caches()

    yield install
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def answerer_plugin(plugin: Callable[..., None]) -> Callable[[str], None]:
    """Installs a model named `fake` whose method `answer(self, questions)` has this body."""

    def install(body: str) -> None:
        indented = "".join(f"        {line}\n" for line in body.splitlines())
        plugin(
            "fakepackage",
            "from harness.specs import ModelSpec\n"
            "from harness.types import Answer, ModelDescription\n"
            "FAKE = ModelSpec('fake', 'made up', ('answer',), 'fakepackage:load')\n"
            "class Fake:\n"
            "    description = ModelDescription()\n"
            "    def answer(self, questions):\n"
            f"{indented}"
            "def load(request):\n"
            "    return Fake()\n",
            {"harness.models": {"fake": "fakepackage:FAKE"}},
        )

    return install


@pytest.fixture
def small_toybox(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same Toybox with fewer pictures and clips: to fit a floor and score in no time."""
    from harness.tasks.datasets.toybox.clips import CLIPS
    from harness.tasks.datasets.toybox.scenes import PICTURES

    for split, count in {"train": 300, "val": 50, "test": 120, "test-comp": 60}.items():
        monkeypatch.setitem(PICTURES, split, count)
        monkeypatch.setitem(CLIPS, split, count)


@pytest.fixture
def saved_run(small_toybox: None, tmp_path: Path) -> Callable[..., Path]:
    """Writes a run folder: (name, predict(number, sample) -> prediction or None, ...) -> folder.
    Words given by name change run.json."""

    def write(
        name: str,
        predict: Callable[[int, Sample], Json | None],
        *,
        task: str = "vqa/toybox",
        model: str = "fake",
        split: str = "test",
        limit: int | None = None,
        rules: Mapping[str, str] | None = None,
        dtype: str = "float32",
        backwards: bool = False,
        data_dir: Path | None = None,
        **changes: Any,
    ) -> Path:
        from harness.registry import find_task, load_attribute
        from harness.score import report, score, write_rows
        from harness.store import Record, append, write_json

        task_spec, data_spec = find_task(task)
        code = load_attribute(task_spec.load)
        dataset = load_attribute(data_spec.load)(data_dir, split)
        samples = list(dataset.samples[:limit])
        given = {sample.id: predict(number, sample) for number, sample in enumerate(samples)}
        if backwards:
            samples.reverse()
        records = {}
        for sample in samples:
            prediction = given[sample.id]
            reason = "failed" if prediction is None else code.invalid(prediction)
            records[sample.id] = Record(sample.id, sample.group, prediction, reason is None, reason)
        scored = score(code, dataset, samples, records, rules=rules or {})
        folder = tmp_path / name
        folder.mkdir(parents=True)
        with (folder / "samples.jsonl").open("ab") as log:
            append(log, list(records.values()))
        write_rows(folder / "rows.parquet", scored, records)
        data = {"dataset": dataset.name, "split": split, "sha256": dataset.sha256}
        result: Json = {
            "schema": 1,
            "status": "failed" if scored.coverage.failed else "complete",
            "task": task_spec.name,
            "data": {**data, "n": len(samples), "notes": []},
            "model": {"name": model, "weights_sha256": None, "parameters": 0},
            "request": {
                "rules": dict(rules or {}),
                "data_dir": None if data_dir is None else str(data_dir),
                "output": str(tmp_path),
            },
            "started_at": "2024-01-01T00:00:00Z",
            **report(task_spec, dataset, scored, dtype),
            **changes,
        }
        write_json(folder / "run.json", result)
        return folder

    return write


@pytest.fixture
def right() -> Callable[[Sample], Json]:
    """The answer that most annotators of a question gave."""

    def answer(sample: Sample) -> Json:
        answers = list(sample.target.answers)
        return {"answer": max(sorted(set(answers)), key=answers.count)}

    return answer


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a weights folder of a tiny untrained VL-BERT: (regions="segments", trained_on=
    ("vqa/toybox",), **changes of the architecture) -> folder."""

    def write(
        regions: Any = "segments", trained_on: Sequence[str] = ("vqa/toybox",), **changes: Any
    ) -> Path:
        import torch

        from harness.baselines.multitask_folder import MultitaskConfig, build, save_folder
        from harness.baselines.multitask_vision import VisionConfig
        from harness.baselines.region_encoder import RegionConfig
        from harness.baselines.vlbert import VLBertConfig
        from harness.baselines.words import learn_vocabulary

        answers = ("yes", "no", "red", "2", "circle")
        vocabulary = learn_vocabulary(["Is there a red thing to the left of it? How many?"])
        sizes: dict[str, Any] = {
            "vocab_size": len(vocabulary.words),
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 128,
            "appearance_size": 8,
            "geometry_size": 16,
            "initializer_range": 0.3,
            "visual_scale_text_init": 0.5,  # else pictures contribute nothing yet
            "visual_scale_object_init": 0.5,
            "answers": len(answers),
        }
        network = VLBertConfig(**(sizes | changes))
        cut = RegionConfig(kind=regions, side=16, channels=(4, 4, 4), rows=2, columns=2)
        config = MultitaskConfig(
            model="vlbert",
            network=network,
            vision=VisionConfig(cut, appearance_size=network.appearance_size),
            answers=answers,
            trained_on=tuple(trained_on),
        )
        folder = tmp_path_factory.mktemp("weights")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            save_folder(folder, build(config, vocabulary), vocabulary, config)
        return folder

    return write


@pytest.fixture
def vqav2_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder in VQA v2's official layout with a val part, and a train part if asked for:
    three pictures with four questions each, all answered "yes"."""

    def write(train: bool = False) -> Path:
        root = tmp_path / "vqav2"
        for split in ("val", "train") if train else ("val",):
            _write_split(root, split)
        return root

    return write


def _write_split(root: Path, split: str) -> None:
    from PIL import Image

    folder = root / f"{split}2014"
    folder.mkdir(parents=True)
    questions, annotations = [], []
    for image in (1, 2, 3):
        pixels = np.full((24, 32, 3), 40 * image, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"COCO_{split}2014_{image:012d}.jpg")
        for number in range(4):
            both = {"question_id": 10 * image + number, "image_id": image}
            questions.append(both | {"question": f"Is this {number}?"})
            annotations.append(
                both
                | {
                    "question_type": "is this",
                    "answer_type": "yes/no",
                    "multiple_choice_answer": "yes",
                    "answers": [{"answer": "yes", "answer_id": i + 1} for i in range(10)],
                }
            )
    files: dict[str, dict[str, object]] = {
        f"v2_OpenEnded_mscoco_{split}2014_questions.json": {"questions": questions},
        f"v2_mscoco_{split}2014_annotations.json": {"annotations": annotations},
    }
    for name, content in files.items():
        (root / name).write_text(json.dumps(content), encoding="utf-8")


class _Golden:
    """VL-BERT for questions with official weights, the inputs and the official outputs."""

    def __init__(self, tensors: dict[str, Any], heads: int, special: dict[str, int]) -> None:
        from harness.baselines.vlbert import VLBertConfig, VLBertForVQA

        parts = ("inputs.", "outputs.")
        self.outputs = {k: v for k, v in tensors.items() if k.startswith("outputs.")}
        weights = {k: v for k, v in tensors.items() if not k.startswith(parts)}
        boxes = tensors["inputs.boxes"]
        words, hidden = weights["vlbert.word_embeddings.weight"].shape
        appearance = boxes.shape[-1] - 4
        both = weights["image_feature_extractor.obj_downsample.1.weight"].shape[1]
        layers = {name.split(".")[3] for name in weights if ".encoder.layer." in name}
        config = VLBertConfig(
            vocab_size=words,
            hidden_size=hidden,
            num_hidden_layers=len(layers),
            num_attention_heads=heads,
            intermediate_size=len(weights["vlbert.encoder.layer.0.intermediate.dense.bias"]),
            max_position_embeddings=len(weights["vlbert.position_embeddings.weight"]),
            type_vocab_size=len(weights["vlbert.token_type_embeddings.weight"]),
            appearance_size=appearance,
            geometry_size=both - appearance,
            answers=len(weights["final_mlp.2.bias"]),
        )
        self.model = VLBertForVQA(config, **special).eval()
        self.model.load_state_dict(weights, strict=True)
        self.question = tensors["inputs.question"]
        self.boxes, self.appearance = boxes[..., :4], boxes[..., 4:]
        self.size = tensors["inputs.im_info"][:, :2]
        self.mask = boxes[..., 0] > -1.5

    def logits(self) -> Any:
        import torch

        with torch.inference_mode():
            visuals = self.model.region_embeddings(self.boxes, self.appearance, self.size)
            return self.model(self.question, visuals, self.mask)


@pytest.fixture
def load_golden() -> Callable[[Path], _Golden]:
    """Golden vectors from a folder in their layout, or from a copy that is one file."""

    def load(path: Path) -> _Golden:
        from safetensors import safe_open
        from safetensors.torch import load_file

        if path.is_dir():
            sizes = json.loads((path / "config.json").read_text(encoding="utf-8"))
            files = (path / f"{name}.safetensors" for name in ("weights", "io"))
            tensors = {name: tensor for file in files for name, tensor in load_file(file).items()}
            return _Golden(tensors, sizes["num_attention_heads"], {})
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
        special = {name: int(about[name]) for name in ("cls", "sep", "mask")}
        return _Golden(load_file(path), int(about["num_attention_heads"]), special)

    return load
