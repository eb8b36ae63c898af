"""Released VL-BERT and ViLBERT from the command line, on tiny files in every released format: what
is predicted is what the network says when it is fed by hand, and what does not fit is refused in
one line."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from harness.baselines import vilbert_config, vlbert
from harness.baselines.official_inputs import (
    RegionSource,
    encode_tagged,
    names_of_things,
    read_answers,
    read_bert_vocabulary,
    tags_in,
)
from harness.baselines.official_networks import (
    Release,
    ReleasedViLBert,
    ReleasedVLBert,
    TaggedChoices,
)
from harness.baselines.vilbert import ViLBertConfig, box_locations, with_whole_picture
from harness.baselines.vilbert_heads import ViLBertForPretraining, ViLBertForTasks
from harness.baselines.vlbert import VLBertConfig, VLBertForVQA
from harness.baselines.vlbert_pretraining import VLBertForPretraining
from harness.baselines.vlbert_refcoco import VLBertForReferring
from harness.baselines.vlbert_vcr import VLBertForVCR
from harness.errors import BadInput
from harness.types import NamedBox, Picture

Cli = Callable[..., CompletedProcess[str]]
State = dict[str, Tensor]

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "is", "this", "?", "0", "1", "2", "3"]
WORDS += ["left", "man", "dog", "casey", "riley", "car", "and", "why", "yes", "no", "runs", "."]
ID = {word: place for place, word in enumerate(WORDS)}
ANSWERS = ("yes", "no", "blue")
WIDTH = 6  # of a feature
SIZE = (32, 24)
VLBERT = VLBertConfig(
    vocab_size=len(WORDS),
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=12,
    max_position_embeddings=90,
    appearance_size=WIDTH,
    geometry_size=16,
    answers=len(ANSWERS),
    region_classes=5,
)
VILBERT = ViLBertConfig(
    vocab_size=len(WORDS),
    hidden_size=8,
    num_hidden_layers=3,
    num_attention_heads=2,
    intermediate_size=12,
    max_position_embeddings=90,
    v_feature_size=WIDTH,
    v_target_size=5,
    v_hidden_size=12,
    v_num_hidden_layers=2,
    v_num_attention_heads=2,
    v_intermediate_size=10,
    bi_hidden_size=16,
    bi_num_attention_heads=2,
    v_biattention_id=(0, 1),
    t_biattention_id=(1, 2),
    answers=len(ANSWERS),
)


@pytest.fixture(autouse=True)
def tiny_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vlbert.CONFIGS, "tiny", VLBERT)
    monkeypatch.setitem(vlbert.CONFIGS, "tiny-1", replace(VLBERT, num_hidden_layers=1))
    monkeypatch.setitem(vilbert_config.CONFIGS, "tiny", VILBERT)
    smaller = replace(VILBERT, v_num_hidden_layers=1, v_biattention_id=(0,), t_biattention_id=(2,))
    monkeypatch.setitem(vilbert_config.CONFIGS, "tiny-1", smaller)


def randomised(model: nn.Module, seed: int = 0) -> Any:
    """Weights at which scores differ, and not by so much that rounding shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(noise * 1.5 / parameter.shape[-1] ** 0.5)
            else:
                parameter.copy_(0.3 * noise + (0 if name.endswith("bias") else 1))
    return model.eval()


# ---------------------------------------------------------------- files


@dataclass(frozen=True)
class Regions:
    boxes: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]


def some_regions(number: int, count: int = 3) -> Regions:
    chance = np.random.default_rng(number)
    corners = chance.integers(0, 10, (count, 2))
    boxes = np.concatenate([corners, corners + chance.integers(4, 12, (count, 2))], axis=1)
    features = chance.standard_normal((count, WIDTH))
    return Regions(boxes.astype(np.float32), features.astype(np.float32))


def write_regions(path: Path, regions: Mapping[str, Regions], size: tuple[int, int] = SIZE) -> Path:
    """A bottom-up .tsv."""
    path.parent.mkdir(exist_ok=True)
    lines = []
    for name, one in regions.items():
        encoded = [base64.b64encode(part.tobytes()).decode() for part in (one.boxes, one.features)]
        lines.append("\t".join([name, *map(str, size), str(len(one.boxes)), *encoded]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@dataclass(frozen=True)
class Given:
    """What a user gives beside the weights, written."""

    folder: Path
    regions: dict[str, Regions]

    def options(self, config: str | None = "tiny", labels: bool = True, **other: Any) -> list[Any]:
        given: dict[str, Any] = {
            "config": config,
            "vocab": self.folder / "vocab.txt",
            "answers": self.folder / "answers.json" if labels else None,
            "regions": self.folder / "regions.tsv",
            **other,
        }
        return [word for k, v in given.items() if v is not None for word in (f"--{k}", v)]


@pytest.fixture
def given(tmp_path: Path) -> Given:
    regions = {str(number): some_regions(number, 2 + number) for number in (1, 2, 3)}
    write_regions(tmp_path / "regions.tsv", regions)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    (tmp_path / "answers.json").write_text(json.dumps(ANSWERS), encoding="utf-8")
    return Given(tmp_path, regions)


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Path]:
    def write(content: Any) -> Path:
        path = tmp_path / "pytorch_model_19.bin"
        torch.save(content, path)
        return path

    return write


def evaluate(cli: Cli, task: str, model: str, weights: Path, *options: Any) -> tuple[Any, str]:
    """run.json and what was said beside."""
    done = cli("eval", "--task", task, "--model", model, "--weights", weights, "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def predictions(folder: Path) -> dict[str, Any]:
    """Of the run that is there."""
    (log,) = folder.glob("runs/**/samples.jsonl")
    lines = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    return {line["id"]: line["prediction"] for line in lines}


def refusal(cli: Cli, task: str, model: str, weights: Path, *options: Any) -> str:
    done = cli("eval", "--task", task, "--model", model, "--weights", weights, *options)
    assert done.returncode == 2, done.stdout
    lines = done.stderr.splitlines()
    report = "  missing     0"  # the last line of what loading says
    if report in lines:
        lines = lines[lines.index(report) + 1 :]
    (line,) = lines
    return line


def with_whole(one: Regions, edge: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes, features, size and mask of one picture, the whole first."""
    whole = np.array([[0, 0, SIZE[0] - edge, SIZE[1] - edge]], dtype=np.float32)
    boxes = torch.from_numpy(np.concatenate([whole, one.boxes]))[None]
    mean = one.features.mean(axis=0, keepdims=True)
    features = torch.from_numpy(np.concatenate([mean, one.features]))[None]
    return (
        boxes,
        features,
        torch.tensor([SIZE], dtype=torch.float32),
        torch.ones(1, len(one.boxes) + 1, dtype=torch.bool),
    )


def ids(text: str) -> Tensor:
    return torch.tensor([[ID[word] for word in text.split()]])


# ---------------------------------------------------------------- questions (VQA v2)


def old_layer_norms(state: State) -> State:
    return {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in state.items()
    }


def with_optimizer(state: State) -> dict[str, Any]:
    part = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(part.parameters())
    part(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return {"state_dict": state, "optimizer": optimizer.state_dict(), "epoch": 19}


FORMATS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "under state_dict": lambda state: {"state_dict": state},
    "module. before names": lambda state: {f"module.{k}": v for k, v in state.items()},
    "gamma and beta": old_layer_norms,
    "optimizer inside": with_optimizer,
}


def vilbert_answers(model: ViLBertForTasks, given: Given) -> dict[str, tuple[str, float]]:
    """What the network itself says to the twelve questions of the folder, by their ids."""
    found = {}
    for name, one in given.regions.items():
        features, boxes = torch.from_numpy(one.features)[None], torch.from_numpy(one.boxes)[None]
        locations = box_locations(boxes, torch.tensor([SIZE], dtype=torch.float32))
        mask = torch.ones(1, len(one.boxes), dtype=torch.bool)
        image = with_whole_picture(features, locations, mask)
        for number in range(4):
            tokens = ids(f"[CLS] is this {number} ? [SEP]")
            task = torch.tensor([1]) if model.config.task_specific_tokens else None
            with torch.inference_mode():
                real = torch.ones_like(tokens, dtype=torch.bool)
                output = model(tokens, torch.zeros_like(tokens), real, *image, task)
                logits = model.answer_logits(output)[0]
            best = int(logits.argmax())
            found[f"{10 * int(name) + number}"] = (ANSWERS[best], float(logits[best].sigmoid()))
    return found


def assert_answers(found: Mapping[str, Any], expected: Mapping[str, tuple[str, float]]) -> None:
    assert found.keys() == expected.keys()
    for id, (answer, confidence) in expected.items():
        assert found[id]["answer"] == answer, id
        assert found[id]["confidence"] == pytest.approx(confidence, abs=2e-6)


@pytest.mark.parametrize("kind", FORMATS)
def test_vilbert_answers_as_the_network_fed_by_hand(
    cli: Cli,
    vqav2_folder: Callable[..., Path],
    given: Given,
    save: Callable[[Any], Path],
    tmp_path: Path,
    kind: str,
) -> None:
    model = randomised(ViLBertForTasks(VILBERT, ["cls", "vil_prediction", "vil_logit"]))
    weights = save(FORMATS[kind](dict(model.state_dict())))
    result, said = evaluate(
        cli, "vqa/vqav2", "vilbert", weights, "--data-dir", vqav2_folder(), *given.options()
    )
    expected = vilbert_answers(model, given)
    assert len({round(confidence, 5) for _, confidence in expected.values()}) == 12
    assert_answers(predictions(tmp_path), expected)
    assert "pytorch_model_19.bin" in said
    assert "loaded" in said
    options = result["model"]["options"]
    assert options["config"] == "tiny"
    assert options["unused_names"] > 0
    for what in ("vocabulary", "answers", "regions"):
        assert len(options[f"{what}_sha256"]) == 64
    assert len(result["model"]["weights_sha256"]) == 64
    assert set(result["controls"]) == {"shuffled", "blind"}
    assert "reason" not in result["controls"]["blind"]


def test_the_classifier_and_the_task_token_are_those_of_the_file(
    cli: Cli,
    vqav2_folder: Callable[..., Path],
    given: Given,
    save: Callable[[Any], Path],
    tmp_path: Path,
) -> None:
    config = replace(VILBERT, task_specific_tokens=True)
    model = randomised(ViLBertForTasks(config, ["vil_prediction"], weight_normed=True))
    weights = save(dict(model.state_dict()))
    evaluate(cli, "vqa/vqav2", "vilbert", weights, "--data-dir", vqav2_folder(), *given.options())
    assert_answers(predictions(tmp_path), vilbert_answers(model, given))


def test_vlbert_answers_as_the_network_fed_by_hand(
    cli: Cli,
    vqav2_folder: Callable[..., Path],
    given: Given,
    save: Callable[[Any], Path],
    tmp_path: Path,
) -> None:
    model = randomised(VLBertForVQA(VLBERT, ID["[CLS]"], ID["[SEP]"], ID["[MASK]"]))
    weights = save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}})
    # no folder of pictures: features are all that is read
    data = vqav2_folder()
    for picture in data.rglob("*.jpg"):
        picture.unlink()
    result, _ = evaluate(cli, "vqa/vqav2", "vlbert", weights, "--data-dir", data, *given.options())
    expected = {}
    for name, one in given.regions.items():
        boxes, features, size, mask = with_whole(one, edge=1)
        with torch.inference_mode():
            visuals = model.region_embeddings(boxes, features, size)
            for number in range(4):
                logits = model(ids(f"is this {number} ?"), visuals, mask)[0]
                best = int(logits.argmax())
                answer = ANSWERS[best], float(logits[best].sigmoid())
                expected[f"{10 * int(name) + number}"] = answer
    assert_answers(predictions(tmp_path), expected)
    assert "accuracy" in result["controls"]["shuffled"]
    assert "no such picture" in result["controls"]["blind"]["reason"]


@pytest.mark.parametrize("name", ["vlbert", "vilbert"])
def test_half_precision_answers_nearly_the_same(
    cli: Cli,
    vqav2_folder: Callable[..., Path],
    given: Given,
    save: Callable[[Any], Path],
    tmp_path: Path,
    name: str,
) -> None:
    model: nn.Module = VLBertForVQA(VLBERT)
    if name == "vilbert":
        model = ViLBertForTasks(VILBERT, ["vil_prediction"])
    weights = save(dict(randomised(model).state_dict()))
    found = {}
    for dtype in ("float32", "bfloat16"):
        options = ["--data-dir", tmp_path / "vqav2", "--dtype", dtype, "--controls", "none"]
        if dtype == "float32":
            vqav2_folder()
        options += ["-o", tmp_path / dtype / "runs"]
        evaluate(cli, "vqa/vqav2", name, weights, *options, *given.options())
        found[dtype] = predictions(tmp_path / dtype)
    for id, prediction in found["bfloat16"].items():
        assert prediction["confidence"] == pytest.approx(
            found["float32"][id]["confidence"], abs=0.1
        )


def test_what_is_given_decides_the_run(
    cli: Cli, vqav2_folder: Callable[..., Path], given: Given, save: Callable[[Any], Path]
) -> None:
    model = randomised(ViLBertForTasks(VILBERT, ["vil_prediction"]))
    weights, data = save(dict(model.state_dict())), vqav2_folder()
    options = ["--data-dir", data, "--controls", "none", "--limit", "4", *given.options()]

    def run() -> Any:
        result, _ = evaluate(cli, "vqa/vqav2", "vilbert", weights, *options)
        return result["decides"]

    first = run()
    assert run() == first
    given.regions["2"].features[0, 0] += 1
    write_regions(given.folder / "regions.tsv", given.regions)
    second = run()
    (given.folder / "answers.json").write_text(json.dumps(ANSWERS[::-1]), encoding="utf-8")
    third = run()
    assert len({json.dumps(one) for one in (first, second, third)}) == 3


def test_a_picture_without_regions_fails_by_its_name(
    cli: Cli, vqav2_folder: Callable[..., Path], given: Given, save: Callable[[Any], Path]
) -> None:
    model = randomised(ViLBertForTasks(VILBERT, ["vil_prediction"]))
    weights, data = save(dict(model.state_dict())), vqav2_folder()
    write_regions(given.folder / "regions.tsv", {k: given.regions[k] for k in ("1", "3")})
    options = ["--data-dir", data, "--controls", "none", *given.options()]
    line = refusal(cli, "vqa/vqav2", "vilbert", weights, *options)
    assert "has no regions of picture vqav2/val/2" in line
    done = cli(
        *("eval", "--task", "vqa/vqav2", "--model", "vilbert", "--weights", weights),
        *("--json", "--keep-going", *options),
    )
    assert done.returncode == 4
    assert json.loads(done.stdout)["coverage"]["failed"] == 4


# ---------------------------------------------------------------- expressions (RefCOCO+)


def refcoco_folder(root: Path) -> Path:
    folder = root / "data" / "refcoco+"
    folder.mkdir(parents=True)
    refs, annotations, images = [], [], []
    for number, text in ((1, "left man"), (2, "dog"), (3, "man")):
        sentence = {"tokens": text.split(), "raw": text, "sent_id": number, "sent": text}
        refs.append(
            {
                "ref_id": number,
                "ann_id": number,
                "category_id": 1,
                "file_name": f"COCO_train2014_{number:012d}_{number}.jpg",
                "image_id": number,
                "split": "testA",
                "sent_ids": [number],
                "sentences": [sentence],
            }
        )
        box = {"id": number, "image_id": number, "category_id": 1, "bbox": [1, 2, 10, 9]}
        annotations.append(box | {"segmentation": []})
        name = f"COCO_train2014_{number:012d}.jpg"
        images.append({"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "supercategory": "person"}],
    }
    (folder / "instances.json").write_text(json.dumps(content), encoding="utf-8")
    return folder.parent


EXPRESSIONS = {"1": "left man", "2": "dog", "3": "man"}


@pytest.mark.parametrize("name", ["vlbert", "vilbert"])
def test_the_box_is_that_of_the_networks_best_region(
    cli: Cli, given: Given, save: Callable[[Any], Path], tmp_path: Path, name: str
) -> None:
    if name == "vlbert":
        model = randomised(VLBertForReferring(VLBERT, ID["[CLS]"], ID["[SEP]"]), seed=2)
    else:
        model = randomised(ViLBertForTasks(VILBERT, ["vision_logit"]), seed=2)
    weights = save(dict(model.state_dict()))
    options = [*given.options(labels=False), "--split", "testA", "--controls", "none"]
    evaluate(
        cli,
        "spatial-localization/refcoco+",
        *(name, weights, "--data-dir", refcoco_folder(tmp_path), *options),
    )
    found = predictions(tmp_path)
    best_rows = set()
    for number, text in EXPRESSIONS.items():
        boxes, features, size, mask = with_whole(given.regions[number], edge=int(name == "vlbert"))
        with torch.inference_mode():
            if name == "vlbert":
                logits = model(ids(text), model.region_embeddings(boxes, features, size), mask)
            else:
                tokens = ids(f"[CLS] {text} [SEP]")
                places = box_locations(boxes, size)
                real = torch.ones_like(tokens, dtype=torch.bool)
                output = model(tokens, torch.zeros_like(tokens), real, features, places, mask)
                logits = model.region_logits(output)
        best = int(logits[0].argmax())
        best_rows.add(best)
        assert found[number]["box"] == boxes[0, best].tolist()
    assert len(best_rows) > 1


def test_regions_of_another_picture_size_are_refused(
    cli: Cli, given: Given, save: Callable[[Any], Path], tmp_path: Path
) -> None:
    weights = save(dict(randomised(ViLBertForTasks(VILBERT, ["vision_logit"])).state_dict()))
    write_regions(given.folder / "regions.tsv", given.regions, size=(64, 48))
    line = refusal(
        cli,
        "spatial-localization/refcoco+",
        *("vilbert", weights, "--data-dir", refcoco_folder(tmp_path), "--split", "testA"),
        *given.options(labels=False),
    )
    assert "image 1 is 64 x 48, but picture coco/train2014/1 is 32 x 24" in line


# ---------------------------------------------------------------- choices (VCR)

CLIP = "lsmdc_1/1_00.00.01-00.00.02@0"


def vcr_folder(root: Path, things: Regions) -> Path:
    folder = root / "vcr"
    stem = folder / "vcr1images" / CLIP
    stem.parent.mkdir(parents=True)
    Image.new("RGB", SIZE).save(f"{stem}.jpg")
    boxes = [[*row, 0.9] for row in things.boxes.tolist()]
    Path(f"{stem}.json").write_text(json.dumps({"boxes": boxes}), encoding="utf-8")
    record = {
        "objects": ["car", "person", "dog", "person"],
        "img_fn": f"{CLIP}.jpg",
        "metadata_fn": f"{CLIP}.json",
        "question": ["Why", "is", [3], "?"],
        "answer_choices": [[[3, 1], "runs", "."], ["No", "."], [[0], "is", "left"], ["yes"]],
        "answer_label": 0,
        "rationale_choices": [["dog", "."], [[3], "."], ["this"], ["no", "man"]],
        "rationale_label": 3,
        "annot_id": "val-0",
    }
    (folder / "val.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    return folder


# tag 3 is named first: its row is 1, and the first made-up name is its
VCR_ANSWERS = ["casey and riley runs .", "no .", "car is left", "yes"]
VCR_ANSWER_ROWS = [[1, 0, 2, 0, 0], [0, 0], [3, 0, 0], [0]]
VCR_REASONS = ["dog .", "casey .", "this", "no man"]
VCR_REASON_ROWS = [[0, 0], [1, 0], [0], [0, 0]]


def padded(rows: list[list[int]]) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


def test_vlbert_chooses_with_the_regions_of_the_named_things(
    cli: Cli, given: Given, save: Callable[[Any], Path], tmp_path: Path
) -> None:
    things = some_regions(9, count=4)
    others = some_regions(10, count=5)
    both = Regions(
        np.concatenate([others.boxes + 15, things.boxes]),
        np.concatenate([others.features, things.features]),
    )
    data = vcr_folder(tmp_path, things)
    write_regions(given.folder / "regions.tsv", {Path(CLIP).name: both})
    model = randomised(VLBertForVCR(VLBERT, ID["[CLS]"], ID["[SEP]"]), seed=1)
    weights = save({f"module.{name}": value for name, value in model.state_dict().items()})
    options = [*given.options(labels=False), "--controls", "none"]
    evaluate(cli, "vqa/vcr", "vlbert", weights, "--data-dir", data, *options)
    found = predictions(tmp_path)["val-0"]
    boxes, features, size, _ = with_whole(both, edge=1)

    def logits(
        query: str, tags: list[int], texts: list[str], rows: list[list[int]], named: list[int]
    ) -> list[float]:
        kept = [0, *(len(others.boxes) + tag + 1 for tag in named)]
        visuals = model.region_embeddings(boxes[:, kept], features[:, kept], size)
        choices = padded([ids(text)[0].tolist() for text in texts])
        with torch.inference_mode():
            scores = model(
                ids(query),
                torch.tensor([tags]),
                choices[None],
                padded(rows)[None],
                visuals,
                torch.ones(1, len(kept), dtype=torch.bool),
            )
        return [float(score) for score in scores[0]]

    answers = logits("why is casey ?", [0, 0, 1, 0], VCR_ANSWERS, VCR_ANSWER_ROWS, [3, 1, 0])
    assert found["answer_scores"] == pytest.approx(answers, abs=1e-5)
    reasons = logits(
        "why is casey ? casey and riley runs .",
        [0, 0, 1, 0, 1, 0, 2, 0, 0],
        VCR_REASONS,
        VCR_REASON_ROWS,
        [3, 1],
    )
    assert found["reason_scores"] == pytest.approx(reasons, abs=1e-5)


def test_vilbert_chooses_by_vil_logit_of_each_pair(
    cli: Cli, given: Given, save: Callable[[Any], Path], tmp_path: Path
) -> None:
    things = some_regions(9, count=4)
    data = vcr_folder(tmp_path, things)
    write_regions(given.folder / "regions.tsv", {f"{Path(CLIP).name}.jpg": things})
    config = replace(VILBERT, task_specific_tokens=True)
    model = randomised(ViLBertForTasks(config, ["vil_logit"]), seed=1)
    options = [*given.options(labels=False), "--controls", "none"]
    weights = save(dict(model.state_dict()))
    evaluate(cli, "vqa/vcr", "vilbert", weights, "--data-dir", data, *options)
    found = predictions(tmp_path)["val-0"]
    boxes, features, size, mask = with_whole(things, edge=0)

    def logit(query: str, choice: str, task: int) -> float:
        first, second = f"[CLS] {query} [SEP]", f"{choice} [SEP]"
        tokens = ids(f"{first} {second}")
        segments = torch.tensor([[0] * len(first.split()) + [1] * len(second.split())])
        with torch.inference_mode():
            output = model(
                tokens,
                segments,
                torch.ones_like(tokens, dtype=torch.bool),
                features,
                box_locations(boxes, size),
                mask,
                torch.tensor([task]),
            )
            return float(model.match_logit(output))

    answers = [logit("why is casey ?", text.replace(" and", ""), 5) for text in VCR_ANSWERS]
    assert found["answer_scores"] == pytest.approx(answers, abs=1e-5)
    query = "why is casey ? [SEP] casey riley runs ."
    reasons = [logit(query, text, 6) for text in VCR_REASONS]
    assert found["reason_scores"] == pytest.approx(reasons, abs=1e-5)


def test_a_named_thing_without_a_region_is_refused_by_its_tag(
    cli: Cli, given: Given, save: Callable[[Any], Path], tmp_path: Path
) -> None:
    things = some_regions(9, count=4)
    data = vcr_folder(tmp_path, things)
    far = Regions(things.boxes + 100, things.features)
    write_regions(given.folder / "regions.tsv", {Path(CLIP).name: far})
    weights = save(dict(randomised(VLBertForVCR(VLBERT)).state_dict()))
    options = ["--data-dir", data, *given.options(labels=False)]
    line = refusal(cli, "vqa/vcr", "vlbert", weights, *options)
    assert "no region lies on the thing [3], a person" in line
    (data / "vcr1images" / f"{CLIP}.json").unlink()
    (data / "vcr1images" / f"{CLIP}.jpg").unlink()
    for folder in ((data / "vcr1images" / CLIP).parent, data / "vcr1images"):
        folder.rmdir()
    line = refusal(cli, "vqa/vcr", "vlbert", weights, *options)
    assert "the data set has no boxes of things" in line


def tagged(count: int, first: int = 5) -> list[tuple[int, int]]:
    return [(first + place % 10, -1) for place in range(count)]


def test_long_texts_are_cut_as_the_official_codes_cut_them() -> None:
    vocabulary = read_bert_vocabulary_of(WORDS)
    long = TaggedChoices(tagged(50), [], [tagged(20), tagged(70), tagged(3)])
    one = ReleasedViLBert(VILBERT, "choose", vocabulary, Release())
    lengths = [(len(a), len(b)) for a, b in one.pairs_within_limit(long)]
    assert lengths == [(37, 20), (29, 28), (29, 3)]
    reason = TaggedChoices(tagged(50), tagged(9), [tagged(20)])
    ((query, choice),) = one.pairs_within_limit(reason)
    assert (len(query), len(choice)) == (57, 20)
    assert query[50] == ID["[SEP]"]
    assert ReleasedViLBert(VILBERT, "answer", vocabulary, Release()).most_tokens == 21
    beta = ReleasedViLBert(VILBERT, "answer", vocabulary, Release(weight_normed=True))
    assert beta.most_tokens == 14
    single = ReleasedVLBert(VLBERT, "choose", vocabulary)
    cut = single.within_limit(TaggedChoices(tagged(40), tagged(20), [tagged(30), tagged(2)]))
    assert (len(cut[0]), [len(choice) for choice in cut[1]]) == (34, [30, 2])


def read_bert_vocabulary_of(words: list[str]) -> Any:
    from harness.baselines.words import Vocabulary

    return Vocabulary(words)


# ---------------------------------------------------------------- retrieval (Flickr30k)


def flickr_folder(root: Path) -> Path:
    folder = root / "flickr"
    (folder / "flickr30k-images").mkdir(parents=True)
    texts = {1: "left man", 2: "dog", 3: "this is no car"}
    images = []
    for number, text in texts.items():
        Image.new("RGB", SIZE).save(folder / "flickr30k-images" / f"{number}.jpg")
        sentences = [
            {"raw": f"{text} {word}", "tokens": []} for word in ("", "runs", "and", ".", "?")
        ]
        images.append({"filename": f"{number}.jpg", "split": "test", "sentences": sentences})
    (folder / "dataset_flickr30k.json").write_text(json.dumps({"images": images}))
    return folder


@pytest.mark.parametrize("head", ["vil_logit", "alignment"])
def test_pairs_are_scored_by_vil_logit_or_else_by_alignment(
    cli: Cli, given: Given, save: Callable[[Any], Path], tmp_path: Path, head: str
) -> None:
    model: Any
    if head == "vil_logit":
        model = randomised(ViLBertForTasks(VILBERT, ["cls", "vil_logit"]), seed=4)
    else:
        model = randomised(ViLBertForPretraining(VILBERT), seed=4)
    weights = save(dict(model.state_dict()))
    result, _ = evaluate(
        cli,
        "retrieval/flickr30k",
        *("vilbert", weights, "--data-dir", flickr_folder(tmp_path), "--controls", "none"),
        *given.options(labels=False),
    )
    assert result["model"]["options"]["scored_by"] == head
    (path,) = tmp_path.glob("runs/**/scores.npy")
    scores = np.load(path)
    assert scores.shape == (3, 15)
    boxes, features, size, mask = with_whole(given.regions["2"], edge=0)
    tokens = ids("[CLS] left man [SEP]")  # the first caption
    real = torch.ones_like(tokens, dtype=torch.bool)
    given_to = tokens, torch.zeros_like(tokens), real, features, box_locations(boxes, size), mask
    with torch.inference_mode():
        if head == "vil_logit":
            expected = float(model.match_logit(model(*given_to)))
        else:
            aligned, other = model(*given_to).alignment[0].tolist()
            expected = aligned - other
    assert scores[1, 0] == pytest.approx(expected, abs=1e-5)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("name", "model", "task", "head"),
    [
        ("vlbert", VLBertForPretraining(VLBERT), "vqa/vqav2", "final_mlp.2.weight"),
        ("vilbert", ViLBertForPretraining(VILBERT), "vqa/vqav2", "vil_prediction"),
    ],
)
def test_a_file_of_pretraining_has_no_head_for_a_task(
    cli: Cli,
    vqav2_folder: Callable[..., Path],
    given: Given,
    save: Callable[[Any], Path],
    name: str,
    model: nn.Module,
    task: str,
    head: str,
) -> None:
    weights = save(dict(model.state_dict()))
    options = ["--data-dir", vqav2_folder(), *given.options()]
    line = refusal(cli, task, name, weights, *options)
    assert f"is of pretraining and has no head to answer with ({head})" in line


def test_vlbert_has_no_head_for_pairs(
    cli: Cli, given: Given, save: Callable[[Any], Path], tmp_path: Path
) -> None:
    weights = save(dict(VLBertForPretraining(VLBERT).state_dict()))
    options = ["--data-dir", flickr_folder(tmp_path), *given.options(labels=False)]
    line = refusal(cli, "retrieval/flickr30k", "vlbert", weights, *options)
    assert "trained no head that scores a caption with a picture" in line


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("vlbert", VLBertForVQA(VLBERT)),
        ("vilbert", ViLBertForTasks(VILBERT, ["vil_prediction"])),
    ],
)
def test_the_sizes_of_another_model_are_refused(
    cli: Cli,
    vqav2_folder: Callable[..., Path],
    given: Given,
    save: Callable[[Any], Path],
    name: str,
    model: nn.Module,
) -> None:
    """A smaller model finds all its names in the file; the layers left over give it away."""
    data, weights = vqav2_folder(), save(dict(model.state_dict()))
    line = refusal(cli, "vqa/vqav2", name, weights, "--data-dir", data, *given.options("tiny-1"))
    assert "of layers that --config tiny-1 lacks" in line
    wider = "base" if name == "vlbert" else "base-2"
    monster = refusal(cli, "vqa/vqav2", name, weights, "--data-dir", data, *given.options("tiny-9"))
    assert f"--config tiny-9: no sizes of {name}" in monster
    assert wider in monster


def test_what_does_not_belong_to_the_file_is_refused(
    cli: Cli, vqav2_folder: Callable[..., Path], given: Given, save: Callable[[Any], Path]
) -> None:
    weights = save(dict(ViLBertForTasks(VILBERT, ["vil_prediction"]).state_dict()))
    data = ["--data-dir", vqav2_folder()]

    def line(**other: Any) -> str:
        return refusal(cli, "vqa/vqav2", "vilbert", weights, *data, *given.options(**other))

    assert "needs --config (base-2" in line(config=None)
    assert "--regions (region features) too" in line(regions=None)
    assert "does not say what its labels stand for; give --answers" in line(answers=None)
    vocabulary = given.folder / "short.txt"
    vocabulary.write_text("\n".join(WORDS[:-1]) + "\n", encoding="utf-8")
    assert "has 23 lines, but pytorch_model_19.bin embeds 24 words" in line(vocab=vocabulary)
    vocabulary.write_text("{}")
    assert "is no vocab.txt of BERT" in line(vocab=vocabulary)
    answers = given.folder / "two.txt"
    answers.write_text("yes\nno\n")
    assert "has 2 answers, but pytorch_model_19.bin has 3 labels" in line(answers=answers)
    narrow = {k: Regions(v.boxes, v.features[:, :5]) for k, v in given.regions.items()}
    regions = write_regions(given.folder / "narrow.tsv", narrow)
    assert "features of 5 numbers, the model reads 6" in line(regions=regions)
    assert "there is nothing there" in line(regions=given.folder / "none.tsv")


@pytest.mark.parametrize("option", ["config", "vocab", "answers", "regions"])
def test_the_options_of_a_released_file_want_one(
    cli: Cli, given: Given, tmp_path: Path, option: str
) -> None:
    for weights in ([], ["--weights", tmp_path]):
        done = cli("eval", "--task", "vqa", "--model", "vilbert", *weights, f"--{option}", "x")
        assert done.returncode == 2
        assert f"--{option} goes with a released file in --weights" in done.stderr


def test_answers_belong_to_open_questions_alone(
    cli: Cli, given: Given, save: Callable[[Any], Path], tmp_path: Path
) -> None:
    weights = save(dict(ViLBertForTasks(VILBERT, ["vil_logit"]).state_dict()))
    options = ["--data-dir", flickr_folder(tmp_path), *given.options()]
    line = refusal(cli, "retrieval/flickr30k", "vilbert", weights, *options)
    assert "no answers are chosen from here; leave it out" in line


# ---------------------------------------------------------------- the order of answers

BY_LABEL = {"yes": 0, "blue": 2, "no": 1}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps(ANSWERS).encode()),
        ("a.json", json.dumps(BY_LABEL).encode()),
        ("a.txt", b"yes\nno\nblue\n"),
        ("answers_vqa.txt", b"yes\r\nno\r\nblue"),
        ("trainval_label2ans.pkl", pickle.dumps(list(ANSWERS), protocol=2)),
        ("trainval_ans2label.pkl", pickle.dumps(BY_LABEL, protocol=4)),
        ("label2ans.pkl", pickle.dumps({2: "blue", 0: "yes", 1: "no"})),
    ],
)
def test_answers_are_read_in_the_order_of_labels(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_answers(tmp_path / name) == ANSWERS


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json", b"{", "is not JSON"),
        ("a.json", b"3", "holds no list of answers"),
        ("a.json", b"[]", "holds no list of answers"),
        ("a.json", b'["yes", 3]', "label 1 is no text"),
        ("a.json", b'{"yes": 0, "no": 2}', "labels are not 0 to 1"),
        ("a.json", b'{"yes": 0, "no": 0}', "labels are not 0 to 1"),
        ("a.txt", b"yes\n\nno\n", "label 1 is no text"),
        ("a.txt", b"yes\nno\nyes\n", "has 'yes' 2 times"),
        ("a.txt", b"\xff\xfe", "no text in UTF-8"),
        ("a.pkl", b"\x80\x02cos\nsystem\nq\x00.", "which is not data"),
    ],
)
def test_unreadable_answers_are_refused(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadInput, match=reason) as caught:
        read_answers(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- regions and names


def test_a_vocabulary_is_split_at_line_feeds_alone(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes("\r\n".join([*WORDS, "a\u2028b", "\x85"]).encode())
    assert read_bert_vocabulary(path).words == [*WORDS, "a\u2028b", "\x85"]


@pytest.mark.parametrize(
    ("id", "name"),
    [
        ("vqav2/val/42", "42"),
        ("vqav2/val/42", "COCO_val2014_000000000042"),
        ("flickr30k/7_a.jpg", "7_a.jpg"),
        ("flickr30k/7_a.jpg", "7_a"),
        ("flickr30k/1000092795.jpg", "1000092795"),
        ("folder/COCO_val2014_000000000042.jpg", "42"),
    ],
)
def test_regions_are_found_by_the_names_that_extractions_give(
    tmp_path: Path, id: str, name: str
) -> None:
    path = write_regions(tmp_path / "r.tsv", {"other": some_regions(1), name: some_regions(5)})
    seen = RegionSource(path, WIDTH, to_last_pixel=False)(Picture(id, read=lambda: None))  # type: ignore[arg-type, return-value]
    assert (seen.boxes[1:] == some_regions(5).boxes).all()
    assert seen.boxes[0].tolist() == [0, 0, *SIZE]


def test_regions_of_pictures_of_other_sizes_are_other_regions(tmp_path: Path) -> None:
    """The box of the whole picture differs, and with it every score."""
    regions = {"1": some_regions(1)}
    sizes = {"a": (640, 480), "b": (320, 240)}
    paths = [write_regions(tmp_path / name / "r.tsv", regions, sizes[name]) for name in sizes]
    first, second = (RegionSource(path, WIDTH, True).sha256 for path in paths)
    assert first != second


def test_a_hundred_regions_are_seen_and_the_mean_is_of_all(tmp_path: Path) -> None:
    many = some_regions(3, count=120)
    source = RegionSource(write_regions(tmp_path / "r.tsv", {"1": many}), WIDTH, True)
    seen = source(Picture("1", read=lambda: None))  # type: ignore[arg-type, return-value]
    assert seen.boxes.shape == (101, 4)
    assert seen.boxes[0].tolist() == [0, 0, SIZE[0] - 1, SIZE[1] - 1]
    np.testing.assert_allclose(seen.features[0], many.features.mean(axis=0), rtol=1e-6)
    assert (seen.features[1:] == many.features[:100]).all()


def test_persons_get_names_in_the_order_in_which_they_are_named() -> None:
    vocabulary = read_bert_vocabulary_of(WORDS)
    tags = tags_in(["why is [3] ?", "[0,3] and [1]"])
    assert tags == [3, 0, 1]
    box = (0.0, 0.0, 1.0, 1.0)
    kinds = {0: "car", 1: "person", 3: "person"}
    names = names_of_things({tag: NamedBox(box, kinds[tag]) for tag in tags})
    assert names == {3: "casey", 0: "car", 1: "riley"}
    tokens = encode_tagged(vocabulary, "[0,3] runs", names, "and")
    expected = [("car", 0), ("and", -1), ("casey", 3), ("runs", -1)]
    assert tokens == [(ID[word], tag) for word, tag in expected]
    assert encode_tagged(vocabulary, "[0,3]", names, "") == [(ID["car"], 0), (ID["casey"], 3)]
