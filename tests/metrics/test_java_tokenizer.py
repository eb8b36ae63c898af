"""The Java tokenizer: equal to pycocoevalcap's where there is a Java, whole where that goes wrong,
and, with a stand-in for Java, what happens when it misbehaves."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.metrics.java import JavaFailed
from harness.metrics.java_tokenizer import java_tokenizer_reason, tokenize_all_with_java

FakeJava = Callable[..., Path]
DATA = Path(os.environ.get("HARNESS_DATA", "/nowhere")) / "coco-val2017"

needs_java = pytest.mark.skipif(
    bool(java_tokenizer_reason()), reason=java_tokenizer_reason() or "Java is there"
)

CAPTIONS = [
    "A man's T-shirt isn't (very) clean.",
    "Two dogs, one cat & a bird...",
    "",
    "  ",
    "...",
    "The U.S. flag at 5 p.m.",
    'He said: "Hello!" - twice; why?',
    "a cat on | a ||| mat",
    "caf\u00e9 \u2019s \u00bd price, \u00a35",
    "call 555 123 4567",
    "NUL \x00 and \x85 and \ufeff",
    "it ends with etc.",
]


def _official(captions: list[str]) -> list[str]:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokens = PTBTokenizer().tokenize({n: [{"caption": text}] for n, text in enumerate(captions)})
    return [tokens[number][0] for number in range(len(captions))]


@needs_java
def test_tokens_are_those_of_pycocoevalcap() -> None:
    tokens = tokenize_all_with_java(CAPTIONS)
    assert tokens == _official(CAPTIONS)
    assert tokens[0] == "a man 's t-shirt is n't -lrb- very -rrb- clean"
    assert tokens[2:5] == ["", "", ""]


@needs_java
@pytest.mark.skipif(not DATA.is_dir(), reason="HARNESS_DATA has no coco-val2017")
def test_tokens_of_coco_captions_are_those_of_pycocoevalcap() -> None:
    records = json.loads((DATA / "captions_val2017.json").read_text())["annotations"]
    captions = [record["caption"] for record in records[:2000]]
    assert tokenize_all_with_java(captions) == _official(captions)


@needs_java
def test_no_character_shifts_the_captions_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every control character, space and separator, and under a German locale."""
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=de -Dfile.encoding=ISO-8859-1")
    codes = [*range(0x21), *range(0x7F, 0xA1), 0x1680, *range(0x2000, 0x2030), 0x3000, 0xD800]
    codes += [0xFEFF, 0xFFFE, 0xFFFF]
    captions = [
        text for code in codes for text in (f"a{chr(code)}", f"\u00e9{code} \r\n", f"z{code}")
    ]
    tokens = tokenize_all_with_java(captions)
    assert len(tokens) == len(captions)
    assert [text.split(" ")[-1] for text in tokens[1::3]] == [f"\u00e9{code}" for code in codes]
    assert tokens[2::3] == [f"z{code}" for code in codes]


@needs_java
def test_empty_captions_at_the_end_are_kept() -> None:
    assert tokenize_all_with_java(["a", "", ""]) == ["a", "", ""]
    assert tokenize_all_with_java([""]) == [""]


# ---------------------------------------------------------------- when Java misbehaves


def test_line_breaks_are_spaces_before_java_sees_them(fake_java: FakeJava) -> None:
    folder = fake_java("sys.stdout.write(sys.stdin.read())")
    captions = ["a\nb", "c\rd", "e\x0bf\x0cg", "h\u2028i\u2029j", "k ||| l", ""]
    assert tokenize_all_with_java(captions) == [
        "a b",
        "c d",
        "e f g",
        "h i j",
        "k ||| l",
        "",
    ]
    call = json.loads((folder / "call.json").read_text())
    assert call["arguments"][-3:] == [
        "edu.stanford.nlp.process.PTBTokenizer",
        "-preserveLines",
        "-lowerCase",
    ]
    assert Path(call["cwd"]).name == "tokenizer"


def test_nothing_is_written_beside_the_jar(fake_java: FakeJava) -> None:
    folder = fake_java(
        "(folder / 'seen').write_text(json.dumps(sorted(os.listdir('.'))))\n"
        "sys.stdout.write(sys.stdin.read())"
    )
    tokenize_all_with_java(["a"])
    seen = json.loads((folder / "seen").read_text())
    assert [name for name in seen if name.startswith("tmp")] == []


def test_punctuation_is_removed_and_brackets_stay(fake_java: FakeJava) -> None:
    fake_java("sys.stdout.write(sys.stdin.read())")
    line = "-lrb- a '' ' `` ` . ? ! , : - -- ... ; !! 's -rrb-"
    assert tokenize_all_with_java([line]) == ["-lrb- a !! 's -rrb-"]


def test_no_captions_need_no_java(no_java: None) -> None:
    assert tokenize_all_with_java([]) == []


def test_a_missing_java_is_said(no_java: None) -> None:
    assert java_tokenizer_reason() == "no Java: no `java` on the PATH"
    with pytest.raises(JavaFailed, match=r"^the Java tokenizer: no Java"):
        tokenize_all_with_java(["a"])


def test_a_failing_java_is_noticed(fake_java: FakeJava) -> None:
    fake_java("print('a'); print('Error: no memory', file=sys.stderr); sys.exit(1)")
    with pytest.raises(JavaFailed, match=r"tokenizer: Java ended with code 1: Error: no memory$"):
        tokenize_all_with_java(["a", "b"])


def test_a_hanging_java_is_stopped(fake_java: FakeJava) -> None:
    fake_java("time.sleep(60)")
    start = time.monotonic()
    with pytest.raises(JavaFailed, match=r"not done after 0.5 s"):
        tokenize_all_with_java(["a"], timeout=0.5)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(("body", "lines"), [("print('x')", 2), ("print('x\\n' * 9)", 11)])
def test_another_number_of_lines_is_an_error(fake_java: FakeJava, body: str, lines: int) -> None:
    fake_java(body)
    with pytest.raises(JavaFailed, match=f"gave {lines} lines for 3 captions"):
        tokenize_all_with_java(["a", "b", "c"])
