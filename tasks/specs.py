"""The specs of the bundled tasks, as the entry points name them. Imports nothing heavy: `harness
ls` reads this."""

from __future__ import annotations

from dataclasses import replace

from harness.specs import DatasetSpec, TaskSpec, TaskVariant

_DATASETS = "harness.tasks.datasets"


def _toybox(summary: str, module: str) -> DatasetSpec:
    return DatasetSpec(
        name="toybox",
        summary=summary,
        load=f"{_DATASETS}.toybox.{module}:load",
        splits=("train", "val", "test", "test-comp"),
        where="embedded",
        also_measured=("test-comp",),
    )


def _files(name: str, summary: str, module: str, splits: tuple[str, ...]) -> DatasetSpec:
    """A data set in one official file of annotations a split, read by the module's `load`,
    `load_files` and `verify`."""
    return DatasetSpec(
        name=name,
        summary=summary,
        load=f"{_DATASETS}.{module}:load",
        splits=splits,
        where="data-dir",
        files=("annotations",),
        load_files=f"{_DATASETS}.{module}:load_files",
        verify=f"{_DATASETS}.{module}:verify",
    )


def _captioned(dataset: DatasetSpec, module: str, function: str) -> DatasetSpec:
    """The same, for a module that serves captioning and retrieval by functions of their own."""
    load = f"{_DATASETS}.{module}:{function}"
    return replace(dataset, load=load, load_files=f"{load}_files")


# ---------------------------------------------------------------- questions

_CHOOSE = TaskVariant(
    capability="choose",
    metrics=("Q->A", "QA->R", "Q->AR"),
    load="harness.tasks.vcr:TASK",
    breakdowns=("question_type",),
)

VQA = TaskSpec(
    name="vqa",
    summary="answer a question about a picture",
    capability="answer",
    metrics=("accuracy", "accuracy-always-normalise"),
    load="harness.tasks.vqa:TASK",
    breakdowns=("question_type", "answer_type"),
    datasets=(
        _toybox("5,000 questions in six families about 1,000 drawn pictures", "vqa"),
        replace(
            _toybox("questions about drawn pictures with four answers and four reasons", "vcr"),
            name="toybox-vcr",
            variant=_CHOOSE,
        ),
        DatasetSpec(
            name="easy-vqa",
            summary="9,673 questions about 1,000 pictures of one shape, from PyPI",
            load=f"{_DATASETS}.easy_vqa:load",
            splits=("train", "val", "trainval", "test"),
            where="package",
            package="easy_vqa",
            extra="easy-vqa",
            prior_split="trainval",
        ),
        replace(
            _files("vqav2", "214,354 questions about COCO val2014", "vqav2", ("train", "val")),
            test_split="val",
            validation_split="",
            files=("questions", "annotations"),
            load_files=f"{_DATASETS}.vqav2:load_questions_and_annotations",
        ),
        replace(
            _files("vcr", "26,534 questions about film scenes, with reasons", "vcr", ()),
            splits=("train", "val"),
            test_split="val",
            validation_split="",
            variant=_CHOOSE,
        ),
    ),
)

# ---------------------------------------------------------------- captions

_FLICKR_SPLITS = ("train", "val", "test", "all")
_COCO = replace(
    _files("coco", "5 captions of each COCO image, Karpathy's or the official split", "coco", ()),
    splits=("train", "val", "test", "train2014", "val2014", "train2017", "val2017"),
)
_FLICKR8K = replace(
    _files("flickr8k", "5 captions of each of 8,000 photographs", "flickr", _FLICKR_SPLITS),
    verify=f"{_DATASETS}.flickr:verify_flickr8k",
    optional_files=("names",),
)
_FLICKR30K = replace(
    _files("flickr30k", "5 captions of each of 31,000 photographs", "flickr", _FLICKR_SPLITS),
    verify=f"{_DATASETS}.flickr:verify_flickr30k",
    optional_files=("names",),
)
_MSVD = replace(
    _files("msvd", "some 40 descriptions of each of 1,970 short videos", "msvd", _FLICKR_SPLITS),
    optional_files=("mapping",),
)
_MSRVTT = _files(
    "msrvtt", "20 captions of each of 10,000 short videos", "msrvtt", ("train", "val", "test")
)
_CAPTION_METRICS = (
    *("CIDEr", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"),
    *("ROUGE-L", "METEOR", "SPICE"),
)
_CAPTION_RULES = {"tokenizer": ("ptb", "java"), "java-metrics": ("on", "off")}

CAPTIONING = TaskSpec(
    name="captioning",
    summary="describe a picture in a sentence",
    capability="caption",
    metrics=_CAPTION_METRICS,
    load="harness.tasks.captioning:TASK",
    breakdowns=("things",),
    rules=_CAPTION_RULES,
    datasets=(
        _toybox("five captions of each of 1,000 drawn pictures", "captions"),
        _captioned(_FLICKR8K, "flickr", "load_flickr8k_captioning"),
        _captioned(_FLICKR30K, "flickr", "load_flickr30k_captioning"),
        _captioned(_COCO, "coco", "load_captioning"),
    ),
)
VIDEO_CAPTIONING = TaskSpec(
    name="video-captioning",
    summary="describe a clip in a sentence",
    capability="caption-clips",
    metrics=_CAPTION_METRICS,
    load="harness.tasks.captioning:TASK",
    breakdowns=("events",),
    rules=_CAPTION_RULES,
    datasets=(
        _toybox("five captions of each of 1,000 drawn clips", "video_captions"),
        _captioned(_MSVD, "msvd", "load_captioning"),
        _captioned(_MSRVTT, "msrvtt", "load_captioning"),
    ),
)

# ---------------------------------------------------------------- retrieval

_TIES = {"ties": ("expected", "first", "last")}


def _recalls(visual: str) -> tuple[str, ...]:
    ways = (f"text-to-{visual}", f"{visual}-to-text")
    of_one = ("R@1", "R@5", "R@10", "mean rank", "median rank")
    return (*(f"{way} {name}" for way in ways for name in of_one), "rsum")


RETRIEVAL = TaskSpec(
    name="retrieval",
    summary="find the picture of a caption, and the captions of a picture",
    capability="match",
    metrics=_recalls("image"),
    load="harness.tasks.retrieval:IMAGES",
    rules=_TIES,
    whole_set=True,
    datasets=(
        _toybox("1,000 drawn pictures and their 5,000 captions, with a binding probe", "retrieval"),
        _captioned(_FLICKR8K, "flickr", "load_flickr8k_retrieval"),
        _captioned(_FLICKR30K, "flickr", "load_flickr30k_retrieval"),
        replace(_captioned(_COCO, "coco", "load_retrieval"), splits=(*_COCO.splits, "test-1k")),
    ),
)
VIDEO_RETRIEVAL = TaskSpec(
    name="video-retrieval",
    summary="find the clip of a caption, and the captions of a clip",
    capability="match-clips",
    metrics=_recalls("video"),
    load="harness.tasks.retrieval:VIDEOS",
    rules=_TIES,
    whole_set=True,
    datasets=(
        _toybox("1,000 drawn clips and their captions, with a binding probe", "video_retrieval"),
        _captioned(_MSVD, "msvd", "load_retrieval"),
        replace(
            _captioned(_MSRVTT, "msrvtt", "load_retrieval"),
            splits=("train", "val", "test", "1ka"),
            test_split="1ka",
        ),
    ),
)

# ---------------------------------------------------------------- places and moments


def _refcoco(name: str, function: str, test_split: str) -> DatasetSpec:
    """One of the three sets of referring expressions to COCO images."""
    splits = {"testA": ("train", "val", "testA", "testB"), "test": ("train", "val", "test")}
    return DatasetSpec(
        name=name,
        summary="expressions for things in COCO images, one sample a sentence",
        load=f"{_DATASETS}.refcoco:load_{function}",
        splits=splits[test_split],
        where="data-dir",
        test_split=test_split,
        files=("refs", "instances"),
        load_files=f"{_DATASETS}.refcoco:load_{function}_files",
        verify=f"{_DATASETS}.refcoco:verify_{function}",
    )


SPATIAL = TaskSpec(
    name="spatial-localization",
    summary="find the box that an expression speaks of",
    capability="locate",
    metrics=("accuracy", "mean-iou"),
    load="harness.tasks.spatial_localization:TASK",
    breakdowns=("form",),
    rules={
        "box-convention": ("exclusive", "plus-one", "mattnet"),
        "at-half": ("counts", "fails"),
    },
    datasets=(
        _toybox("3,000 expressions for things in 1,000 drawn pictures", "expressions"),
        _refcoco("refcoco", "refcoco", "testA"),
        _refcoco("refcoco+", "refcoco_plus", "testA"),
        _refcoco("refcocog", "refcocog", "test"),
    ),
)

_RECALLS_AT_IOU = (
    "R@1, IoU=0.5",
    *(f"R@{n}, IoU={m}" for n in (1, 5) for m in (0.3, 0.5, 0.7) if (n, m) != (1, 0.5)),
    "mIoU",
)
_DIDEMO = TaskVariant(
    capability="find-moments",
    metrics=("rank@1", "rank@5", "mIoU"),
    load="harness.tasks.temporal_localization:DIDEMO",
)

TEMPORAL = TaskSpec(
    name="temporal-localization",
    summary="find the moment of a clip that a sentence describes",
    capability="find-moments",
    metrics=_RECALLS_AT_IOU,
    load="harness.tasks.temporal_localization:TASK",
    breakdowns=("event",),
    rules={"moments": ("plain", "tall", "2d-tan")},
    datasets=(
        _toybox("1,000 sentences about moments of drawn clips", "moments"),
        replace(
            _files("charades-sta", "3,720 sentences about home videos", "charades_sta", ()),
            splits=("train", "test"),
            validation_split="",
            optional_files=("durations",),
        ),
        replace(
            _files("didemo", "4,021 descriptions of five-second chunks", "didemo", ()),
            splits=("train", "val", "test"),
            variant=_DIDEMO,
        ),
        replace(
            _files("activitynet-captions", "sentences about moments", "activitynet_captions", ()),
            splits=("train", "val", "test"),
        ),
        _files("tacos", "sentences about cooking videos", "tacos", ("train", "val", "test")),
    ),
)
