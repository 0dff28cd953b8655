"""A small hand at drawing: shapes and text as SVG elements, colours that everybody can tell apart."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

SVG_NAMESPACE = "http://www.w3.org/2000/svg"
FONTS = "Noto Sans, Noto Sans CJK KR, Noto Sans KR, Malgun Gothic, Apple SD Gothic Neo, Arial, sans-serif"

INK = "#1a1a1a"
GREY = "#6b6b6b"
PALE = "#d9d9d9"
PAPER = "#ffffff"
COLOURS: Mapping[str, str] = {
    "green": "#009e73",
    "yellow": "#f0e442",
    "red_clear": "#d55e00",
    "walk": "#0072b2",
    "ped_clear": "#8ecdf2",
}
"""Fill per lamp: the palette of Okabe and Ito (2008), told apart in any colour vision."""
ON_COLOURS: Mapping[str, str] = {
    "green": PAPER,
    "yellow": INK,
    "red_clear": PAPER,
    "walk": PAPER,
    "ped_clear": INK,
}
"""Colour of text on each fill."""

WIDE_EM = 1.0
"""Width of a Hangul syllable. [em]"""
NARROW_EM = 0.56
"""Mean width of a Latin letter, somewhat generous. [em]"""

Point = tuple[float, float]


def number(value: float) -> str:
    """Return a coordinate as text: two decimals at most, the same on every machine."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text


def points_text(points: Sequence[Point]) -> str:
    """Return points as `x,y x,y ...`."""
    return " ".join(f"{number(x)},{number(y)}" for x, y in points)


def page(width: float, height: float, title: str, description: str) -> ET.Element:
    """Return an empty white drawing with the title and description that screen readers speak."""
    ET.register_namespace("", SVG_NAMESPACE)
    root = ET.Element(
        "svg",
        {
            "xmlns": SVG_NAMESPACE,
            "viewBox": f"0 0 {number(width)} {number(height)}",
            "width": number(width),
            "height": number(height),
            "role": "img",
            "font-family": FONTS,
            "fill": INK,
        },
    )
    ET.SubElement(root, "title").text = _printable(title)
    ET.SubElement(root, "desc").text = _printable(description)
    rect(root, (0, 0, width, height), fill=PAPER)
    return root


def group(parent: ET.Element, **attributes: str) -> ET.Element:
    """Add a group; `data_phase="2"` becomes `data-phase="2"`."""
    return ET.SubElement(parent, "g", _named(attributes))


def rect(parent: ET.Element, box: tuple[float, float, float, float], **attributes: str) -> ET.Element:
    """Add a rectangle given as (x, y, width, height)."""
    names = ("x", "y", "width", "height")
    place = {name: number(value) for name, value in zip(names, box, strict=True)}
    return ET.SubElement(parent, "rect", {**place, **_named(attributes)})


def line(parent: ET.Element, start: Point, end: Point, **attributes: str) -> ET.Element:
    """Add a straight line."""
    place = {"x1": number(start[0]), "y1": number(start[1]), "x2": number(end[0]), "y2": number(end[1])}
    return ET.SubElement(parent, "line", {"stroke": INK, **place, **_named(attributes)})


def polygon(parent: ET.Element, points: Sequence[Point], **attributes: str) -> ET.Element:
    """Add a filled shape."""
    return ET.SubElement(parent, "polygon", {"points": points_text(points), **_named(attributes)})


def path(parent: ET.Element, steps: str, **attributes: str) -> ET.Element:
    """Add an open path, not filled."""
    return ET.SubElement(parent, "path", {"d": steps, "fill": "none", "stroke": INK, **_named(attributes)})


def circle(parent: ET.Element, centre: Point, radius: float, **attributes: str) -> ET.Element:
    """Add a circle."""
    place = {"cx": number(centre[0]), "cy": number(centre[1]), "r": number(radius)}
    return ET.SubElement(parent, "circle", {**place, **_named(attributes)})


def text(parent: ET.Element, at: Point, words: str, size: float = 12, **attributes: str) -> ET.Element:
    """Add one line of text; `at` is the left end of its base line unless `text_anchor` says otherwise."""
    place = {"x": number(at[0]), "y": number(at[1]), "font-size": number(size)}
    element = ET.SubElement(parent, "text", {**place, **_named(attributes)})
    element.text = _printable(words)
    return element


def as_document(root: ET.Element) -> str:
    """Return a drawing as the text of an SVG file."""
    ET.indent(root, space=" ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _printable(words: str) -> str:
    """Return a text without what XML cannot hold."""
    return "".join(letter if letter.isprintable() else "�" for letter in words)


def text_width(words: str, size: float) -> float:
    """Return about how wide a line of text is. [px]"""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in words)
    return size * (wide * WIDE_EM + (len(words) - wide) * NARROW_EM)


def wrapped(words: str, size: float, width: float, lines: int) -> list[str]:
    """Return a text broken into at most so many lines; what is too long ends in an ellipsis.

    Parameters
    ----------
    words : the text; broken at spaces.
    size : of the letters. [px]
    width : that a line may take. [px]
    lines : most lines, >= 1.
    """
    made: list[str] = []
    for word in words.split():
        longer = f"{made[-1]} {word}" if made else word
        if made and text_width(longer, size) <= width:
            made[-1] = longer
        else:
            made.append(word)
    if len(made) > lines:
        made = [*made[: lines - 1], " ".join(made[lines - 1 :])]
    return [_shortened(each, size, width) for each in made]


def _shortened(words: str, size: float, width: float) -> str:
    if text_width(words, size) <= width:
        return words
    while words and text_width(f"{words}…", size) > width:
        words = words[:-1]
    return f"{words.rstrip()}…"


def _named(attributes: Mapping[str, str]) -> dict[str, str]:
    return {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
