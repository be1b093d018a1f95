"""styles.csv, and how a style joins a prompt."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from easel_contract.errors import ContractError
from easel_contract.styles import MAX_BYTES, Style, StyleBook, apply_styles

STYLES = {
    style.name: style
    for style in (
        Style("Ink", "ink drawing, monochrome", "colour"),
        Style("Photo", "photo of {prompt}, 35mm", "{prompt}, drawing"),
        Style("Clean", "", "blurry"),
        Style("Twice", "{prompt} and {prompt}"),
    )
}


@pytest.mark.parametrize(
    ("prompt", "negative", "names", "expected"),
    [
        ("a cat", "", ["Ink"], ("a cat, ink drawing, monochrome", "colour")),
        ("a cat", "dog", ["Photo"], ("photo of a cat, 35mm", "dog, drawing")),
        ("a cat", "", ["Clean"], ("a cat", "blurry")),
        ("", "", ["Ink"], ("ink drawing, monochrome", "colour")),
        (
            "a cat ",
            "",
            ["Ink", "Photo"],
            ("photo of a cat, ink drawing, monochrome, 35mm", "colour, drawing"),
        ),
        (
            "a cat",
            "",
            ["Photo", "Ink"],
            ("photo of a cat, 35mm, ink drawing, monochrome", ", drawing, colour"),
        ),
        (" a cat ", " x ", [], (" a cat ", " x ")),
        (" a cat ", "", ["None", ""], (" a cat ", "")),
        ("a cat", "", [" ink "], ("a cat, ink drawing, monochrome", "colour")),
        ("a", "", ["Twice", "Twice"], ("a and a and a and a", "")),
    ],
)
def test_joining(prompt: str, negative: str, names: list[str], expected: tuple[str, str]) -> None:
    assert apply_styles(prompt, negative, names, STYLES) == expected


def test_an_unknown_name_is_an_error_or_passed_over() -> None:
    with pytest.raises(ContractError, match=r"styles: no style 'Oil' in styles.csv; there are: Ink, Photo"):
        apply_styles("a cat", "", ["Oil"], STYLES)
    assert apply_styles("a cat", "", ["Oil", "Clean"], STYLES, strict=False) == ("a cat", "blurry")


def test_placeholders_cannot_multiply_without_end() -> None:
    with pytest.raises(ContractError, match="with the style 'Twice' the prompt has") as caught:
        apply_styles("a cat", "", ["Twice"] * 100, STYLES)
    assert caught.value.kind == "too_large"


def test_a_file_is_read_and_read_again(tmp_path: Path) -> None:
    book = StyleBook(tmp_path / "styles.csv")
    assert book.styles() == {}
    book.path.write_text(
        '\ufeffname,prompt,negative_prompt\nInk,"ink, {prompt}",colour\n'
        'None,,\n,x,y\n"Two\nlines",a,\nshort\n',
        encoding="utf-8",
    )
    assert list(book.styles().values()) == [
        Style("Ink", "ink, {prompt}", "colour"),
        Style("Two\nlines", "a"),
        Style("short"),
    ]
    book.path.write_text("name,text\nInk,old column\nInk,later row\n", encoding="utf-8")
    os.utime(book.path, ns=(1, 1))
    assert book.styles() == {"Ink": Style("Ink", "later row")}
    book.path.unlink()
    assert book.styles() == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe\x00n", "can't decode"),
        (b"name,prompt\nx," + b"y" * 200_000, "field larger"),
        (b" " * (MAX_BYTES + 1), "at most 4194304 are read"),
    ],
    ids=["not UTF-8", "a huge field", "a huge file"],
)
def test_a_file_that_is_no_list_has_no_styles(
    content: bytes, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    book = StyleBook(tmp_path / "styles.csv")
    book.path.write_bytes(content)
    assert book.styles() == book.styles() == {}
    assert [reason in record.message for record in caplog.records] == [True]
