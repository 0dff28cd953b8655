"""A site plan as one SVG figure: rings and barriers, timing bars, and what each phase serves.

All three parts follow from the plan alone. The first two share one scale of time, so that a box in the
ring diagram stands above its bars; the third draws the junction once per phase.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from . import svg
from .junction_sketch import Sketch, draw_walker
from .pattern_times import Lamp, PatternTimes, PhaseTimes, Span, pattern_times
from .plan import SitePlan

WIDTH, MARGIN = 1400.0, 24.0
BARS_FROM, BARS_TO = 210.0, 1090.0
"""Left and right end of the scale of time. [px]"""
TABLE_FROM, COLUMN = 1112.0, 45.0
TITLE_HEIGHT = 84.0
HEADING = 40.0
RING_HEIGHT, RING_GAP = 196.0, 14.0
ROW_HEIGHT, CAR_BAR, WALKER_BAR = 44.0, 18.0, 14.0
AXIS_HEIGHT = 30.0
CELLS_PER_ROW = 4
CELL_HEIGHT = 280.0
BESIDE_SPLIT = 50.0
"""What a phase's number and the margins take beside its split; a narrower box goes without a name. [px]"""
TICKS_S = (1, 2, 5, 10, 20, 30, 60, 120)
MOST_TICKS = 16
LAMP_NAMES: dict[Lamp, str] = {
    "green": "green",
    "yellow": "yellow",
    "red_clear": "red clearance",
    "walk": "walk",
    "ped_clear": "pedestrian clearance (flashing green)",
}
COLUMNS: tuple[tuple[str, Lamp | None], ...] = (
    ("split", None),
    ("green", "green"),
    ("yellow", "yellow"),
    ("red c.", "red_clear"),
    ("walk", "walk"),
    ("ped c.", "ped_clear"),
)


def draw_plan(plan: SitePlan, pattern: int | None = None) -> str:
    """Draw a plan.

    Parameters
    ----------
    plan : a checked plan.
    pattern : number of the pattern whose splits are drawn; None: the plan's first.

    Returns
    -------
    The text of an SVG file: the same for the same plan, wherever it is drawn.

    Raises
    ------
    ValueError : the plan has no such pattern.
    """
    return _Figure(plan, pattern_times(plan, pattern)).draw()


def _seconds(ds: float) -> str:
    return f"{ds / 10:g}"


class _Figure:
    """One drawing in the making; `top` is where the next part starts. [px]"""

    def __init__(self, plan: SitePlan, times: PatternTimes) -> None:
        self.plan, self.times = plan, times
        self.scale = (BARS_TO - BARS_FROM) / times.cycle_ds
        order = [number for ring in plan.rings for barrier in ring for number in barrier]
        by_number = {each.phase: each for each in times.phases}
        self.ordered = [by_number[number] for number in order]
        self.rows_of_cells = -(-len(self.ordered) // CELLS_PER_ROW)

    def draw(self) -> str:
        """Return the finished drawing."""
        site = self.plan.site
        bars = HEADING + len(self.ordered) * ROW_HEIGHT + AXIS_HEIGHT + 62.0
        rings = HEADING + len(self.plan.rings) * (RING_HEIGHT + RING_GAP)
        cells = HEADING + self.rows_of_cells * CELL_HEIGHT
        description = f"Rings and barriers, times and movements of {site.name}, pattern {self.times.number}."
        root = svg.page(
            WIDTH, TITLE_HEIGHT + rings + bars + cells + MARGIN, f"{site.name_ko} ({site.name})", description
        )
        self._define_stripes(root)
        self._draw_title(root)
        self._draw_rings(svg.group(root, id="rings"), TITLE_HEIGHT)
        self._draw_bars(svg.group(root, id="times"), TITLE_HEIGHT + rings)
        self._draw_cells(svg.group(root, id="phases"), TITLE_HEIGHT + rings + bars)
        return svg.as_document(root)

    def _x(self, ds: float) -> float:
        return BARS_FROM + self.scale * ds

    def _define_stripes(self, root: ET.Element) -> None:
        size = {"width": "6", "height": "6", "patternUnits": "userSpaceOnUse"}
        turned = {"id": "flashing", "patternTransform": "rotate(45)"}
        stripes = ET.SubElement(ET.SubElement(root, "defs"), "pattern", {**turned, **size})
        svg.rect(stripes, (0, 0, 6, 6), fill=svg.COLOURS["ped_clear"])
        svg.rect(stripes, (0, 0, 2, 6), fill=svg.PAPER, fill_opacity="0.6")

    def _draw_title(self, root: ET.Element) -> None:
        site, pattern = self.plan.site, next(p for p in self.plan.patterns if p.number == self.times.number)
        title = svg.wrapped(f"{site.name_ko} · {site.name}", 24, WIDTH - 2 * MARGIN, 1)[0]
        svg.text(root, (MARGIN, 40), title, 24, font_weight="bold")
        hours = ", ".join(f"{first}-{last} h" for first, last in pattern.hours)
        parts = [
            f"plan {site.id}",
            f"pattern {pattern.number} {pattern.name} ({hours or 'by order only'})",
            f"cycle {pattern.cycle_s:g} s",
            f"offset {pattern.offset_s:g} s",
            pattern.mode,
        ]
        if pattern.coordinated:
            parts.append(f"coordinated phases {' '.join(map(str, pattern.coordinated))}")
        words = svg.wrapped(" · ".join(parts), 14, WIDTH - 2 * MARGIN, 1)[0]
        svg.text(root, (MARGIN, 64), words, 14, fill=svg.GREY)

    def _heading(self, parent: ET.Element, top: float, words: str, note: str = "") -> None:
        svg.text(parent, (MARGIN, top + 22), words, 16, font_weight="bold")
        x = MARGIN + svg.text_width(words, 16) + 24
        svg.text(parent, (max(x, BARS_FROM), top + 22), note, 12, fill=svg.GREY)

    # --- rings and barriers -----------------------------------------------------------------------

    def _draw_rings(self, parent: ET.Element, top: float) -> None:
        note = "Width by split, in seconds. All rings cross a double line, the barrier, together."
        self._heading(parent, top, "Rings and barriers", note)
        top += HEADING
        self._draw_signs(svg.group(parent, class_="signs"), top + 16)
        for ring in range(len(self.plan.rings)):
            y = top + ring * (RING_HEIGHT + RING_GAP)
            svg.text(parent, (MARGIN, y + RING_HEIGHT / 2 + 5), f"Ring {ring + 1}", 15, font_weight="bold")
            for start_ds, end_ds in self._rests(ring):
                self._draw_rest(parent, (start_ds, end_ds), y)
            for each in self.ordered:
                if each.ring == ring:
                    self._draw_box(parent, each, y)
        bottom = top + len(self.plan.rings) * (RING_HEIGHT + RING_GAP) - RING_GAP
        self._draw_barriers(parent, top - 7, bottom + 7)

    def _draw_signs(self, parent: ET.Element, y: float) -> None:
        """Say what the signs in the boxes and sketches mean."""
        x, words_at = TABLE_FROM, TABLE_FROM + 52
        for index, (words, dash) in enumerate((("movement", "none"), ("gives way to walkers", "7 4"))):
            at = y + 26 * index
            svg.line(parent, (x, at), (x + 32, at), stroke_width="2.4", stroke_dasharray=dash)
            svg.polygon(parent, [(x + 40, at), (x + 31, at - 5), (x + 31, at + 5)])
            svg.text(parent, (words_at, at + 4), words, 12)
        blue = svg.COLOURS["walk"]
        zebra = {"stroke": blue, "stroke_width": "12", "stroke_dasharray": "2.6 2.6"}
        svg.line(parent, (x, y + 52), (x + 40, y + 52), **zebra)
        svg.text(parent, (words_at, y + 56), "crossing with walk in this phase", 12)
        draw_walker(parent, (x + 20, y + 89), 18, blue)
        svg.text(parent, (words_at, y + 84), "its name", 12)

    def _rests(self, ring: int) -> Iterator[tuple[int, int]]:
        """Yield what no phase of a ring takes: there it rests in red."""
        at_ds = 0
        phases = [each for each in self.ordered if each.ring == ring]
        for each in phases:
            if each.from_ds > at_ds:
                yield at_ds, each.from_ds
            at_ds = each.to_ds
        if at_ds < self.times.cycle_ds:
            yield at_ds, self.times.cycle_ds

    def _draw_rest(self, parent: ET.Element, span_ds: tuple[int, int], y: float) -> None:
        x, right = self._x(span_ds[0]), self._x(span_ds[1])
        drawn = svg.group(parent, class_="rest")
        svg.rect(drawn, (x, y, right - x, RING_HEIGHT), fill="#f4f4f4", stroke=svg.PALE)
        middle = ((x + right) / 2, y + RING_HEIGHT / 2)
        words = svg.wrapped("rests in red", 13, right - x - 8, 1)[0]
        svg.text(drawn, middle, words, 13, text_anchor="middle", fill=svg.GREY)

    def _draw_barriers(self, parent: ET.Element, top: float, bottom: float) -> None:
        for at_ds in (0, *self.times.barriers_ds):
            x = self._x(at_ds)
            drawn = svg.group(parent, class_="barrier")
            svg.rect(drawn, (x - 3, top, 6, bottom - top), fill=svg.PAPER)
            for side in (-2.5, 2.5):
                svg.line(drawn, (x + side, top), (x + side, bottom), stroke_width="2")

    def _draw_box(self, parent: ET.Element, times: PhaseTimes, y: float) -> None:
        phase = self.plan.phase(times.phase)
        x, right = self._x(times.from_ds), self._x(times.to_ds)
        width, middle = right - x, (x + right) / 2
        box = svg.group(parent, class_="phase", data_phase=str(times.phase))
        svg.rect(box, (x, y, width, RING_HEIGHT), fill=svg.PAPER, stroke=svg.INK, stroke_width="1.5")
        split = f"{_seconds(times.to_ds - times.from_ds)} s"
        is_narrow = width < BESIDE_SPLIT + svg.text_width(split, 13)
        self._draw_number(box, (middle if is_narrow else x + 20, y + 19), times.phase, 12)
        if is_narrow:
            svg.text(box, (middle, y + 46), split, 12, text_anchor="middle")
        else:
            svg.text(box, (right - 9, y + 23), split, 13, text_anchor="end")
            for index, words in enumerate(svg.wrapped(phase.name, 12, width - 12, 2)):
                svg.text(box, (middle, y + 46 + 14 * index), words, 12, text_anchor="middle")
        sketch = Sketch(self.plan, (middle, y + 112), min(42.0, width / 2 - 6))
        sketch.draw(box, times.phase)
        self._draw_served(box, (middle, y + 168), times.phase, width - 10)

    def _draw_number(self, parent: ET.Element, centre: svg.Point, phase: int, radius: float) -> None:
        svg.circle(parent, centre, radius, fill=svg.INK)
        style = {"text_anchor": "middle", "fill": svg.PAPER, "font_weight": "bold"}
        at = (centre[0], centre[1] + 0.4 * radius)
        svg.text(parent, at, str(phase), 1.1 * radius, **style)

    def _draw_served(self, parent: ET.Element, at: svg.Point, phase: int, width: float) -> None:
        """Write the movements, then a walking person with the crossings, around a middle."""
        movements, crossings = " ".join(self.plan.movements_of(phase)), self.plan.phase(phase).crossings
        x, y = at
        if movements:
            words = svg.wrapped(movements, 11, width, 1)[0]
            svg.text(parent, (x, y), words, 11, text_anchor="middle")
        else:
            y -= 17
        if crossings:
            words = svg.wrapped(" ".join(crossings), 11, width - 16, 1)[0]
            left = x - (svg.text_width(words, 11) + 16) / 2
            draw_walker(parent, (left + 5, y + 20), 16, svg.COLOURS["walk"])
            svg.text(parent, (left + 16, y + 17), words, 11, fill=svg.COLOURS["walk"], font_weight="bold")

    # --- timing bars ------------------------------------------------------------------------------

    def _draw_bars(self, parent: ET.Element, top: float) -> None:
        note = "Every split used in full and every walk served; times in seconds."
        self._heading(parent, top, "One cycle", note)
        self._draw_key(parent, top + HEADING + 4)
        top += HEADING + 44
        for index, (title, _) in enumerate(COLUMNS):
            at = (TABLE_FROM + (index + 1) * COLUMN - 8, top - 8)
            svg.text(parent, at, title, 11, text_anchor="end", fill=svg.GREY)
        bottom = top + len(self.ordered) * ROW_HEIGHT
        self._draw_axis(parent, top, bottom)
        for index, times in enumerate(self.ordered):
            self._draw_row(parent, times, top + index * ROW_HEIGHT)
        for ring in range(1, len(self.plan.rings)):
            y = top + ROW_HEIGHT * sum(each.ring < ring for each in self.ordered)
            svg.line(parent, (MARGIN, y), (WIDTH - MARGIN, y), stroke=svg.INK)

    def _draw_key(self, parent: ET.Element, y: float) -> None:
        x = BARS_FROM
        for lamp, name in LAMP_NAMES.items():
            svg.rect(parent, (x, y - 11, 22, 14), fill=self._fill(lamp), stroke=svg.GREY, stroke_width="0.5")
            svg.text(parent, (x + 28, y), name, 12)
            x += 28 + svg.text_width(name, 12) + 20
        svg.line(parent, (x, y - 4), (x + 22, y - 4), stroke=svg.COLOURS["red_clear"], stroke_width="2.5")
        svg.text(parent, (x + 28, y), "red", 12)
        if not all(self.plan.movements_of(each.phase) for each in self.ordered):
            svg.rect(parent, (x + 70, y - 11, 22, 14), fill=svg.PAPER, stroke=svg.INK, stroke_width="0.6")
            svg.text(parent, (x + 98, y), "no vehicle heads", 12)

    def _fill(self, lamp: Lamp) -> str:
        return "url(#flashing)" if lamp == "ped_clear" else svg.COLOURS[lamp]

    def _draw_axis(self, parent: ET.Element, top: float, bottom: float) -> None:
        cycle_s = self.times.cycle_ds / 10
        step_s = next((each for each in TICKS_S if cycle_s / each <= MOST_TICKS), TICKS_S[-1])
        for at_s in range(0, int(cycle_s) + 1, step_s):
            x = self._x(at_s * 10)
            svg.line(parent, (x, top), (x, bottom + 5), stroke=svg.PALE, stroke_width="0.8")
            svg.text(parent, (x, bottom + 19), str(at_s), 11, text_anchor="middle", fill=svg.GREY)
        for at_ds in self.times.barriers_ds:
            for x in (self._x(at_ds) - 1.5, self._x(at_ds) + 1.5):
                svg.line(parent, (x, top), (x, bottom), stroke_width="1")
        svg.text(parent, (BARS_FROM - 12, bottom + 19), "s", 11, text_anchor="end", fill=svg.GREY)

    def _draw_row(self, parent: ET.Element, times: PhaseTimes, y: float) -> None:
        row = svg.group(parent, class_="row", data_phase=str(times.phase))
        self._draw_number(row, (MARGIN + 12, y + ROW_HEIGHT / 2), times.phase, 11)
        names = svg.wrapped(self.plan.phase(times.phase).name, 13, BARS_FROM - MARGIN - 46, 2)
        for index, words in enumerate(names):
            at = (MARGIN + 32, y + ROW_HEIGHT / 2 + 5 + 15 * index - 7.5 * (len(names) - 1))
            svg.text(row, at, words, 13)
        middle = y + 4 + CAR_BAR / 2
        has_heads = bool(self.plan.movements_of(times.phase))
        red = {"stroke": svg.COLOURS["red_clear"] if has_heads else svg.PALE, "stroke_width": "2.5"}
        svg.line(row, (BARS_FROM, middle), (BARS_TO, middle), **red)
        for span in times.vehicles:
            self._draw_span(row, span, (y + 4, CAR_BAR), has_heads=has_heads)
        for span in times.walkers:
            self._draw_span(row, span, (y + 5 + CAR_BAR, WALKER_BAR), has_heads=True)
        self._draw_figures(row, times, y + ROW_HEIGHT / 2 + 5)

    def _draw_span(self, row: ET.Element, span: Span, place: tuple[float, float], *, has_heads: bool) -> None:
        """Draw one indication at (y, height); pale where no vehicle has a head for it."""
        y, height = place
        if span.to_ds <= span.from_ds:
            return
        x, width = self._x(span.from_ds), self.scale * (span.to_ds - span.from_ds)
        at = {"data_from_s": _seconds(span.from_ds), "data_seconds": f"{span.seconds:g}"}
        drawn = svg.group(row, class_="span", data_lamp=span.lamp, **at)
        fill, ink = (self._fill(span.lamp), svg.ON_COLOURS[span.lamp]) if has_heads else (svg.PAPER, svg.GREY)
        svg.rect(drawn, (x, y, width, height), fill=fill, stroke=svg.INK, stroke_width="0.6")
        words, size = f"{span.seconds:g}", 11.0
        if svg.text_width(words, size) + 2 <= width:
            style = {"text_anchor": "middle", "fill": ink, "font_weight": "bold"}
            svg.text(drawn, (x + width / 2, y + height / 2 + 4), words, size, **style)

    def _draw_figures(self, row: ET.Element, times: PhaseTimes, y: float) -> None:
        for index, (_, lamp) in enumerate(COLUMNS):
            seconds = (times.to_ds - times.from_ds) / 10 if lamp is None else times.seconds(lamp)
            words = f"{seconds:g}" if seconds else "-"
            weight = "bold" if lamp is None else "normal"
            at = (TABLE_FROM + (index + 1) * COLUMN - 8, y)
            svg.text(row, at, words, 12, text_anchor="end", font_weight=weight)

    # --- phases -----------------------------------------------------------------------------------

    def _draw_cells(self, parent: ET.Element, top: float) -> None:
        self._heading(parent, top, "Phases", "What each phase serves, legs at their bearings, north up.")
        width = (WIDTH - 2 * MARGIN) / CELLS_PER_ROW
        for index, times in enumerate(sorted(self.ordered, key=lambda each: each.phase)):
            row, column = divmod(index, CELLS_PER_ROW)
            at = (MARGIN + column * width, top + HEADING + row * CELL_HEIGHT)
            self._draw_cell(parent, times.phase, at, width - 12)

    def _draw_cell(self, parent: ET.Element, number: int, at: svg.Point, width: float) -> None:
        x, y = at
        cell = svg.group(parent, class_="legend", data_phase=str(number))
        svg.rect(cell, (x, y, width, CELL_HEIGHT - 12), fill=svg.PAPER, stroke=svg.PALE)
        self._draw_number(cell, (x + 20, y + 19), number, 12)
        name = svg.wrapped(self.plan.phase(number).name, 14, width - 50, 1)[0]
        svg.text(cell, (x + 40, y + 24), name, 14, font_weight="bold")
        sketch = Sketch(self.plan, (x + width / 2, y + 130), 80)
        sketch.draw(cell, number)
        sketch.label(cell, 12)
        self._draw_served(cell, (x + width / 2, y + 243), number, width - 16)
