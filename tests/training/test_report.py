import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from bitgoeul.training.compare import Comparison, never_extends, run_here
from bitgoeul.training.figures import MARKERS, PALETTE, looks
from bitgoeul.training.intervals import summarise
from bitgoeul.training.report import ReportInput, headline, render
from bitgoeul.training.store import RunStore

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Checker(HTMLParser):
    """Checks nesting; gathers ids, references and tables."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.references, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        self.references += [v for name, v in attrs if name in {"src", "href", "xlink:href", "action"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    monkeypatch = pytest.MonkeyPatch()
    from pathlib import Path

    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import fake_runs

    comparison = Comparison(
        sites=("bukmun_5", "bukmun_5_zone"),
        controllers=("fixed", "gwangju5", "eta"),
        seeds=(10_000, 10_001, 10_002),
        detectors=("camera_day", "perfect"),
        hour="peak",
        minutes=60,
        extension_maxima_s=(0.0, None, 45.0),
    )
    specs = comparison.specs(never_extends=never_extends)
    store = RunStore(folder=tmp_path_factory.mktemp("report"), version="1")
    run_here(specs, store, run=fake_runs.run, on_done=lambda _: None)
    rows = store.read("rows", specs)
    yield ReportInput(
        summaries=tuple(summarise(rows)),
        rows=rows,
        events=store.read("events", specs),
        strips={(s.site, s.controller): strip for s in specs if (strip := store.strip(s))},
        command="bitgoeul compare bukmun_5 --controllers 'fixed,<eta>'",
        code_version="0123",
    )
    monkeypatch.undo()


@pytest.fixture(scope="module")
def page(source):
    return render(source)


@pytest.fixture(scope="module")
def parsed(page):
    checker = Checker()
    checker.feed(page)
    checker.close()
    return checker


def test_the_page_is_well_formed_and_ids_are_unique(parsed):
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))


def test_the_page_needs_nothing_from_elsewhere(page, parsed):
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert not re.search(r"https?://|//[a-z]+\.|@import|@font-face", without_names)
    assert all(reference.startswith("#") for reference in parsed.references)
    assert {reference[1:] for reference in parsed.references} <= set(parsed.ids)
    assert "<script" not in page


def test_places_controllers_and_command_are_named(page):
    assert "장애인복지회관" in page
    assert 'lang="ko"' in page
    for name in ("fixed", "gwangju5", "eta"):
        assert f"<strong>{name}</strong>" in page
    assert "&lt;eta&gt;" in page


def test_walkers_are_shown_by_class_entry_length_and_crossing(page):
    for words in ("mobility class", "entry", "length of the crossing", "crossing"):
        assert page.count(f"<caption>By {words}, all seeds together</caption>") == 2
    assert '<th scope="row">frail, eta</th>' in page
    for words in ("unserved need (s/h)", "extension wasted (s/h)", "Jain index"):
        assert words in page


def test_every_figure_has_words_and_every_axis_a_name(page, parsed):
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 2 * 5
    images = [attributes for tag, attributes in parsed.tags if attributes.get("role") == "img"]
    assert len(images) == len(drawings)
    assert all(len(attributes["aria-label"]) > 40 for attributes in images)
    texts = [
        " ".join(node.text or "" for node in ET.fromstring(drawing).iter() if node.text)
        for drawing in drawings
    ]
    for words in (
        "Residual walkers per 10,000 crossings of the class",
        "Vehicle delay, mean (s per vehicle)",
        "(person-hours per hour)",
        "Extension maximum (s)",
        "Wait before entering the crossing (s)",
        "(m from kerb A)",
        "Time (s after",
    ):
        assert sum(words in text for text in texts) >= 2


def test_text_stays_text_in_fonts_with_korean(page):
    assert "Noto Sans CJK KR" in page
    assert "DejaVu" not in page
    assert "currentColor" in page


def test_table_heads_have_a_scope(parsed):
    heads = [attributes for tag, attributes in parsed.tags if tag == "th"]
    assert heads
    assert all(attributes.get("scope") in {"col", "row"} for attributes in heads)


def test_verdicts_give_intervals_and_the_share_kept(page):
    verdict = page[page.index('aria-label="Verdict"') : page.index("</ul>")]
    assert re.search(r"\d+ % \(\d+ to \d+\) fewer than fixed", verdict)
    assert re.search(r"eta with camera_day keeps \d+ % of the reduction", verdict)
    assert re.search(r"vehicle delay \+\d+\.\d \(\+\d+\.\d to \+\d+\.\d\) s", verdict)


def test_the_same_input_gives_the_same_page(source, page):
    assert render(source) == page


def test_the_headline_is_the_plans_own_maximum_with_the_first_detector(source):
    shown = headline(s for s in source.summaries if s.condition["site"] == "bukmun_5")
    assert [summary.controller for summary in shown] == ["fixed", "gwangju5", "eta"]
    assert {summary.condition["extension_max_s"] for summary in shown} == {None}
    assert {summary.condition["detector"] for summary in shown} == {"camera_day"}


def test_a_single_seed_makes_a_page_without_intervals(source):
    one = source.rows.filter(pl.col("seed") == 10_000)
    small = ReportInput(
        summaries=tuple(summarise(one)),
        rows=one,
        events=source.events.filter(pl.col("seed") == 10_000),
        strips={},
        command="x",
        code_version="0123",
    )
    assert "one seed, no interval" in render(small)


def test_six_controllers_look_different():
    look = looks(["a", "b", "c", "d", "e", "f"])
    assert len({each.colour for each in look.values()}) == len(PALETTE) == 6
    assert len({each.marker for each in look.values()}) == 6
    assert len({each.dash for each in look.values()}) == 6
    assert len(MARKERS) >= 6
