"""Region features from tiny files of every form, equal across forms, and every way in which they
can be wrong."""

from __future__ import annotations

import base64
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from harness.errors import BadInput
from harness.media.region_features import (
    RegionFeatures,
    open_region_features,
    verify_region_features,
)


@dataclass(frozen=True)
class Drawn:
    """What the tests put in a record."""

    boxes: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    width: int = 640
    height: int = 480


def drawn(seed: int, count: int = 3, size: int = 5) -> Drawn:
    random = np.random.default_rng(seed)
    near = random.uniform(0, 200, (count, 2))
    boxes = np.concatenate([near, near + random.uniform(1, 200, (count, 2))], axis=1)
    return Drawn(boxes.astype(np.float32), random.normal(size=(count, size)).astype(np.float32))


IMAGES = {"42": drawn(1), "7": drawn(2, count=5), "100": drawn(3, count=1)}


def text(values: npt.NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def line(id: str, image: Drawn, **changes: str) -> str:
    columns = {
        "image_id": id,
        "image_w": str(image.width),
        "image_h": str(image.height),
        "num_boxes": str(len(image.boxes)),
        "boxes": text(image.boxes),
        "features": text(image.features),
    }
    return "\t".join({**columns, **changes}.values())


def write_tsv(path: Path, images: Mapping[str, Drawn]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(line(id, image) + "\n" for id, image in images.items()), newline="")
    return path


def npz_arrays(image: Drawn) -> dict[str, Any]:
    return {
        "x": image.features,
        "bbox": image.boxes,
        "num_bbox": len(image.boxes),
        "image_w": image.width,
        "image_h": image.height,
    }


def write_npz(folder: Path, images: Mapping[str, Drawn]) -> Path:
    folder.mkdir(exist_ok=True)
    for id, image in images.items():
        np.savez_compressed(folder / f"{id}.npz", **npz_arrays(image))
    return folder


def record(id: str, image: Drawn) -> dict[str, Any]:
    return {
        "image_id": id,
        "image_w": image.width,
        "image_h": image.height,
        "num_boxes": len(image.boxes),
        "boxes": text(image.boxes),
        "features": text(image.features),
    }


def write_json(folder: Path, images: Mapping[str, Drawn]) -> Path:
    folder.mkdir(exist_ok=True)
    for id, image in images.items():
        (folder / f"{id}.json").write_text(json.dumps(record(id, image)))
    return folder


def write_zip(path: Path, images: Mapping[str, Drawn]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for id, image in images.items():
            archive.writestr(f"train/{id}.json", json.dumps(record(id, image)))
    return path


def write_lmdb(folder: Path, records: Mapping[str, bytes], keys: bytes | None = None) -> Path:
    lmdb = pytest.importorskip("lmdb")
    environment = lmdb.open(str(folder), map_size=1 << 24)
    with environment.begin(write=True) as transaction:
        for id, content in records.items():
            transaction.put(id.encode(), content)
        listed = pickle.dumps([id.encode() for id in records]) if keys is None else keys
        transaction.put(b"keys", listed)
    environment.close()
    return folder


def pickled(images: Mapping[str, Drawn]) -> dict[str, bytes]:
    """As ViLBERT's files have them: base64 as bytes."""
    return {
        id: pickle.dumps(
            {
                name: value.encode() if name in ("boxes", "features") else value
                for name, value in record(id, image).items()
            }
        )
        for id, image in images.items()
    }


WRITERS: Mapping[str, Callable[[Path, Mapping[str, Drawn]], Path]] = {
    "tsv": lambda root, images: write_tsv(root / "features.tsv", images),
    "npz": lambda root, images: write_npz(root / "npz", images),
    "json": lambda root, images: write_json(root / "json", images),
    "zip": lambda root, images: write_zip(root / "features.zip", images),
    "lmdb": lambda root, images: write_lmdb(root / "lmdb", pickled(images)),
}


def assert_holds(regions: RegionFeatures, image: Drawn) -> None:
    assert_array_equal(regions.boxes, image.boxes)
    assert_array_equal(regions.features, image.features)
    assert regions.boxes.dtype == regions.features.dtype == np.float32
    assert (regions.width, regions.height) == (image.width, image.height)


def message_of(path: Path, id: str | None = None) -> str:
    """The one line with which opening, or reading image `id`, ends."""
    features = {} if id is None else open_region_features(path)
    with pytest.raises(BadInput) as caught:
        open_region_features(path) if id is None else features[id]
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize("form", WRITERS)
def test_every_form_gives_back_exactly_what_was_written(tmp_path: Path, form: str) -> None:
    features = open_region_features(WRITERS[form](tmp_path, IMAGES))
    assert set(features) == set(IMAGES)
    assert len(features) == 3
    for id, image in IMAGES.items():
        assert_holds(features[id], image)
        assert features[id].scores is None
    assert verify_region_features(WRITERS[form](tmp_path, IMAGES)) == []


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), count=st.integers(1, 12), size=st.integers(1, 9))
def test_any_number_of_boxes_and_features_survives(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, size: int
) -> None:
    image = drawn(seed, count, size)
    root = tmp_path_factory.mktemp("forms")
    for form in ("tsv", "npz", "json"):
        assert_holds(open_region_features(WRITERS[form](root, {"1": image}))["1"], image)


def test_tsv_keeps_the_order_of_its_lines_and_reads_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "features.tsv"
    path.write_text("".join(line(i, v) + "\r\n" for i, v in IMAGES.items()) + "\r\n", newline="")
    features = open_region_features(path)
    assert list(features) == ["42", "7", "100"]
    assert_holds(features["7"], IMAGES["7"])


def test_a_folder_of_tsv_parts_counts_as_one_and_equal_repeats_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "trainval"
    write_tsv(folder / "trainval.tsv.0", {id: IMAGES[id] for id in ("42", "7")})
    write_tsv(folder / "trainval.tsv.1", {id: IMAGES[id] for id in ("7", "100")})
    features = open_region_features(folder)
    assert list(features) == ["42", "7", "100"]
    assert_holds(features["100"], IMAGES["100"])
    assert features.notes == ("1 record repeats an earlier one byte for byte and counts once",)
    assert verify_region_features(folder) == []


def test_an_image_that_comes_twice_with_other_content_is_refused(tmp_path: Path) -> None:
    write_tsv(tmp_path / "features.tsv.0", IMAGES)
    write_tsv(tmp_path / "features.tsv.1", {"7": drawn(9)})
    message = message_of(tmp_path)
    assert "tsv.1: line 1: image '7' is also in features.tsv.0, line 2" in message
    assert verify_region_features(tmp_path) == [message]


def test_opening_ten_thousand_images_decodes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "features.tsv"
    with path.open("w") as file:
        for number in range(10_000):
            file.write(f"{number}\t640\t480\t1\tnot base64\tnor this\n")
        file.write(line("10000", IMAGES["42"]))
    decoded: list[bytes] = []
    decode = base64.b64decode

    def counting(content: bytes, **options: Any) -> bytes:
        decoded.append(content)
        return decode(content, **options)

    monkeypatch.setattr(base64, "b64decode", counting)
    features = open_region_features(path)
    assert len(features) == 10_001
    assert "777" in features
    assert "777777" not in features
    assert decoded == []
    assert_holds(features["10000"], IMAGES["42"])
    assert len(decoded) == 2


def test_lxmert_lines_have_ids_and_confidences_of_objects(tmp_path: Path) -> None:
    image = IMAGES["42"]
    ids = np.array([5, 1599, 0], dtype=np.int64)
    confidences = np.array([0.5, 0.25, 0.125], dtype=np.float32)
    columns = ["COCO_val2014_000000000042", "480", "640"]
    columns += [text(ids), text(confidences), text(ids), text(confidences)]
    columns += ["3", text(image.boxes), text(image.features)]
    (tmp_path / "obj36.tsv").write_text("\t".join(columns) + "\n")
    regions = open_region_features(tmp_path / "obj36.tsv")["42"]
    assert_holds(regions, image)
    assert regions.object_ids is not None
    assert regions.object_confidences is not None
    assert_array_equal(regions.object_ids, ids)
    assert_array_equal(regions.object_confidences, confidences)


@pytest.mark.parametrize("name", ["classes", "cls_prob"])
def test_class_probabilities_are_read_where_the_file_has_them(tmp_path: Path, name: str) -> None:
    scores = np.random.default_rng(0).dirichlet(np.ones(7), 3).astype(np.float32)
    fields = record("42", IMAGES["42"]) | {name: text(scores)}
    (tmp_path / "42.json").write_text(json.dumps(fields))
    found = open_region_features(tmp_path)["42"].scores
    assert found is not None
    assert_array_equal(found, scores)


def test_npz_features_on_their_side_are_told_by_the_number_of_boxes(tmp_path: Path) -> None:
    image = drawn(4, count=3, size=8)
    arrays = npz_arrays(image)
    np.savez(tmp_path / "1.npz", **arrays)
    np.savez(tmp_path / "2.npz", **{**arrays, "x": image.features.T})
    features = open_region_features(tmp_path)
    assert_holds(features["1"], image)
    assert_holds(features["2"], image)
    assert features["2"].features.flags.c_contiguous


def test_the_pickled_info_of_npz_is_never_opened(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    info = np.array({"evil": Evil(str(target))}, dtype=object)
    np.savez(tmp_path / "1.npz", **npz_arrays(IMAGES["42"]), info=info)
    assert_holds(open_region_features(tmp_path)["1"], IMAGES["42"])
    assert not target.exists()


def test_lmdb_records_may_hold_arrays(tmp_path: Path) -> None:
    image = IMAGES["42"]
    fields = record("42", image) | {"boxes": image.boxes, "features": image.features}
    path = write_lmdb(tmp_path / "features.lmdb", {"42": pickle.dumps(fields)})
    assert_holds(open_region_features(path)["42"], image)


def test_a_number_finds_the_only_name_that_ends_in_it(tmp_path: Path) -> None:
    one, other = IMAGES["42"], IMAGES["7"]
    names = {"COCO_val2014_000000000042": one, "a_7": other, "b_007": one, "8": other}
    features = open_region_features(write_json(tmp_path, names))
    assert_holds(features["42"], one)
    assert_holds(features["000042"], one)
    assert_holds(features["COCO_val2014_000000000042"], one)
    assert_holds(features["8"], other)
    assert "42" in features
    assert "7" not in features  # two names end in it
    assert "42" not in set(features)
    assert "COCO_42" not in features


def test_a_missing_image_is_bad_input_and_a_key_error(tmp_path: Path) -> None:
    features = open_region_features(WRITERS["tsv"](tmp_path, IMAGES))
    assert features.get("1") is None
    with pytest.raises(KeyError):
        features["1"]
    assert "features.tsv: there is no image '1' among its 3" in message_of(
        tmp_path / "features.tsv", "1"
    )


def test_numbers_out_of_range_are_refused_in_a_line(tmp_path: Path) -> None:
    for number in (10**5000, [1], None, 1.5, float("nan"), True):
        fields = record("42", IMAGES["42"]) | {"image_w": number}
        path = write_lmdb(tmp_path / str(type(number)), {"42": pickle.dumps(fields)})
        assert "'image_w'" in message_of(path, "42")


def test_an_lmdb_can_be_open_twice(tmp_path: Path) -> None:
    path = WRITERS["lmdb"](tmp_path, IMAGES)
    one, other = open_region_features(path), open_region_features(path)
    assert_holds(one["42"], IMAGES["42"])
    assert_holds(other["42"], IMAGES["42"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
@pytest.mark.parametrize("form", ["zip", "lmdb"])
def test_a_forked_process_reads_on_its_own(tmp_path: Path, form: str) -> None:
    features = open_region_features(WRITERS[form](tmp_path, IMAGES))
    assert_holds(features["42"], IMAGES["42"])
    child = os.fork()
    if child == 0:
        same = bool((features["7"].features == IMAGES["7"].features).all())
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert_holds(features["100"], IMAGES["100"])


# ---------------------------------------------------------------- what is refused


class Evil:
    """A pickle of it makes a file when opened by an unrestricted unpickler."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_malicious_pickles_are_refused_and_do_not_run(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    evil = pickle.dumps(Evil(str(target)))
    in_record = write_lmdb(tmp_path / "a", {"42": evil})
    assert "42" in message_of(in_record, "42")
    assert len(verify_region_features(in_record)) == 1
    in_keys = write_lmdb(tmp_path / "b", {}, keys=evil)
    assert "keys" in message_of(in_keys)
    assert not target.exists()


def test_object_arrays_are_refused_and_do_not_run(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    arrays = npz_arrays(IMAGES["42"]) | {"x": np.array([Evil(str(target))], dtype=object)}
    np.savez(tmp_path / "1.npz", **arrays)
    assert "1.npz: the npz cannot be read ('x' holds pickled objects" in message_of(tmp_path, "1")
    assert not target.exists()


WRONG: Mapping[str, tuple[Drawn, str]] = {
    "a NaN": (
        replace(IMAGES["7"], features=np.full((5, 5), np.nan, dtype=np.float32)),
        "features of region 0 hold a NaN",
    ),
    "an inverted box": (
        replace(IMAGES["7"], boxes=IMAGES["7"].boxes[:, [2, 3, 0, 1]]),
        "not x1 y1 x2 y2",
    ),
    "another size": (drawn(5, size=6), "6 features a region, where image '42' has 5"),
    "no boxes": (drawn(5, count=0), "there are no boxes"),
    "no width": (replace(IMAGES["7"], width=0), "'image_w' is 0"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("form", WRITERS)
def test_a_wrong_record_is_named_and_the_others_are_read(
    tmp_path: Path, form: str, wrong: str
) -> None:
    image, expected = WRONG[wrong]
    images = {"42": IMAGES["42"], "7": image}
    path = WRITERS[form](tmp_path, images)
    features = open_region_features(path)
    assert_holds(features["42"], images["42"])
    with pytest.raises(BadInput) as caught:
        features["7"]
    assert expected in str(caught.value)
    assert "7" in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(verify_region_features(path)) == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_boxes": "4"}, "said to be 4, but 'boxes' has 3"),
        ({"num_boxes": "three"}, "'num_boxes' is b'three', not a whole number"),
        ({"image_h": "-480"}, "'image_h' is b'-480', not a whole number"),
        ({"boxes": text(IMAGES["42"].boxes[:, :3])}, "'boxes' is 9 numbers, not four a box"),
        ({"features": text(IMAGES["42"].features)[:-8]}, "'features' is 54 bytes, not a multiple"),
        ({"features": text(np.ones(4, np.float32))}, "4 numbers, which does not fit 3 boxes"),
        ({"features": "?" * 8}, "'features' is not base64"),
        ({"features": ""}, "'features' is 0 numbers"),
    ],
)
def test_fields_that_do_not_fit_are_named(
    tmp_path: Path, changes: dict[str, str], expected: str
) -> None:
    path = tmp_path / "features.tsv"
    path.write_text(line("42", IMAGES["42"], **changes) + "\n")
    message = message_of(path, "42")
    assert message.startswith(f"{path}: line 1: image '42': ")
    assert expected in message


def test_a_line_that_ends_early_is_refused_on_opening(tmp_path: Path) -> None:
    path = write_tsv(tmp_path / "features.tsv", IMAGES)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b"\t") - 3])
    assert "features.tsv: line 3 has 5 columns" in message_of(path)
    assert len(verify_region_features(path)) == 1


def test_damaged_files_are_refused_in_a_line(tmp_path: Path) -> None:
    npz = WRITERS["npz"](tmp_path, IMAGES) / "42.npz"
    npz.write_bytes(npz.read_bytes()[:200])
    assert "42.npz: the npz cannot be read" in message_of(npz.parent, "42")
    document = WRITERS["json"](tmp_path, IMAGES) / "42.json"
    document.write_bytes(document.read_bytes()[:200])
    assert "42.json: the json cannot be read" in message_of(document.parent, "42")
    archive = WRITERS["zip"](tmp_path, IMAGES)
    archive.write_bytes(archive.read_bytes()[:200])
    assert "the archive cannot be opened" in message_of(archive)
    database = tmp_path / "lmdb"
    database.mkdir()
    (database / "data.mdb").write_bytes(b"\0" * 8192)
    assert "the lmdb cannot be opened" in message_of(database)


def test_a_record_without_a_field_is_named(tmp_path: Path) -> None:
    for absent in ("boxes", "features", "image_w"):
        fields = record("1", IMAGES["42"])
        del fields[absent]
        (tmp_path / "1.json").write_text(json.dumps(fields))
        assert f"1.json: there is no '{absent}'" in message_of(tmp_path, "1")
    (tmp_path / "1.json").write_text("[1]")
    assert "it is not an object" in message_of(tmp_path, "1")


def test_places_without_features_are_refused(tmp_path: Path) -> None:
    assert "there is nothing there" in message_of(tmp_path / "absent")
    assert "there is no image in it" in message_of(tmp_path)
    (tmp_path / "features.h5").write_bytes(b"")
    assert "files of this name are not read" in message_of(tmp_path / "features.h5")
    (tmp_path / "1.json").write_text("{}")
    assert "give the folder" in message_of(tmp_path / "1.json")
    (tmp_path / "1.npz").write_bytes(b"")
    assert "files of more than one form" in message_of(tmp_path)
    (tmp_path / "trainval.tsv.zip").write_bytes(b"")
    assert "the archive cannot be opened" in message_of(tmp_path / "trainval.tsv.zip")


def test_an_lmdb_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = WRITERS["lmdb"](tmp_path, IMAGES)
    monkeypatch.setitem(__import__("sys").modules, "lmdb", None)
    assert "pip install 'harness[lmdb]'" in message_of(path)


def test_an_lmdb_without_its_list_or_a_listed_record_is_refused(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "a", {}, keys=pickle.dumps([b"42"]))
    assert "image '42' is in the list 'keys' but has no record" in message_of(path, "42")
    path = write_lmdb(tmp_path / "b", {}, keys=pickle.dumps({"42": 1}))
    assert "'keys' is not a list of image ids" in message_of(path)


def test_verification_counts_every_kind_and_names_the_first(tmp_path: Path) -> None:
    broken = {
        "1": drawn(1),
        "2": WRONG["a NaN"][0],
        "3": WRONG["a NaN"][0],
        "4": WRONG["an inverted box"][0],
        "5": replace(drawn(2), width=100, height=400),
    }
    problems = verify_region_features(write_npz(tmp_path, broken))
    assert len(problems) == 3
    assert problems[0].startswith("2 times features that are not finite; the first: ")
    assert "2.npz: " in problems[0]
    assert "4.npz: " in problems[1]
    assert "are width and height swapped?" in problems[2]
    assert not any("\n" in problem for problem in problems)
