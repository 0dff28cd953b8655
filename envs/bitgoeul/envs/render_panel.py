"""The words of a frame: the line above the map, the panel below it, and the same as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from .render_map import Colour
from .status import CrossingStatus, JunctionStatus, PhaseStatus

LAMP: dict[str, Colour] = {
    "green": (34, 197, 94),
    "yellow": (250, 204, 21),
    "red": (229, 62, 62),
    "right_on_red": (170, 58, 62),
    "walk": (52, 211, 120),
    "extend": (168, 85, 247),
    "flash": (250, 204, 21),
    "dark": (58, 64, 74),
}
"""Lamps, and the colour of an extension."""
LEVEL: dict[str, Colour] = {
    "none": (148, 158, 172),
    "within_clearance": (56, 189, 248),
    "within_maximum": (251, 191, 36),
    "beyond": (251, 113, 133),
}
"""A need by how far it reaches: no extension needed, one within its maximum, beyond."""
BACK: Colour = (17, 21, 28)
CARD: Colour = (28, 34, 44)
LINE: Colour = (48, 56, 69)
TEXT: Colour = (232, 236, 241)
SOFT: Colour = (146, 156, 171)
ROWS_N = 5
"""So many crossings or junctions fit into the panel."""
INDICATION_WORDS = {
    "walk": "walk",
    "clear": "clearance",
    "extend": "flashing on",
    "dont_walk": "don't walk",
    "dark": "dark",
}
CELLS_N = 4
"""So many phases stand in a line of text of 80 columns."""
BAR_N = 20
"""Length of a queue's bar as text: standing vehicles beyond are not drawn."""

AnyFont = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=64)
def _font(size_px: int) -> AnyFont:
    return ImageFont.load_default(size_px)


class Fonts:
    """Pillow's built-in font, sized for a frame.

    Parameters
    ----------
    unit : pixels a point of the 800-pixel layout.
    """

    def __init__(self, unit: float) -> None:
        self.unit = unit

    def plain(self, points: float) -> AnyFont:
        """Return the font at a size."""
        return _font(max(round(points * self.unit), 6))

    def bold(self, points: float) -> AnyFont:
        """Return the font a little larger, for what must be read at a glance."""
        return _font(max(round((points + 1) * self.unit), 7))


class Panel:
    """Draws header and panel of a frame.

    Parameters
    ----------
    size_px : width and height of the frame.
    top_px, bottom_px : heights of the header and of the panel.
    """

    def __init__(self, size_px: int, top_px: int, bottom_px: int) -> None:
        self._size, self._top, self._bottom = size_px, top_px, bottom_px
        self._fonts = Fonts(size_px / 800)
        self._draw: ImageDraw.ImageDraw

    def paint(self, frame: Image.Image, title: str, statuses: Sequence[JunctionStatus]) -> None:
        """Draw onto a frame."""
        self._draw = ImageDraw.Draw(frame, "RGBA")
        unit, size = self._fonts.unit, self._size
        self._draw.rectangle((0, 0, size, self._top), fill=BACK)
        self._draw.rectangle((0, size - self._bottom, size, size), fill=BACK)
        middle = self._top / 2
        self._words((16 * unit, middle), title, 17, TEXT)
        clock = clock_words(statuses[0].now_s)
        self._words((size - 16 * unit, middle), clock, 19, TEXT, anchor="rm")
        if not statuses[0].is_warm:
            self._words((size - 130 * unit, middle), "warm-up", 13, LAMP["yellow"], anchor="rm")
        self._legend()
        top = size - self._bottom + 12 * unit
        if len(statuses) == 1:
            self._phases(statuses[0], top)
            if statuses[0].crossings:
                self._crossings(statuses[0].crossings, top)
        else:
            self._junctions(statuses, top)

    def _words(
        self, at: tuple[float, float], words: str, points: float, colour: Colour, anchor: str = "lm"
    ) -> None:
        self._draw.text(at, words, fill=colour, font=self._fonts.plain(points), anchor=anchor)

    def _legend(self) -> None:
        """Explain rings and colours at the map's lower edge."""
        unit = self._fonts.unit
        y, x = self._size - self._bottom - 14 * unit, 12 * unit
        self._draw.rounded_rectangle(
            (6 * unit, y - 11 * unit, 540 * unit, y + 9 * unit), radius=6 * unit, fill=(17, 21, 28, 205)
        )
        self._ring(x + 5 * unit, y, (29, 78, 216), is_full=True)
        self._words((x + 15 * unit, y), "walker", 11, TEXT)
        x += 62 * unit
        for level, words in (
            ("within_clearance", "detected: needs no extension"),
            ("within_maximum", "an extension, within its maximum"),
            ("beyond", "beyond it"),
        ):
            self._ring(x + 5 * unit, y, LEVEL[level])
            self._words((x + 15 * unit, y), words, 11, TEXT)
            x += 27 * unit + self._draw.textlength(words, font=self._fonts.plain(11))

    def _ring(self, x: float, y: float, colour: Colour, *, is_full: bool = False) -> None:
        radius = 4.5 * self._fonts.unit
        outline = (255, 255, 255) if is_full else colour
        self._draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius),
            fill=colour if is_full else None,
            outline=outline,
            width=max(round(1.5 * self._fonts.unit), 1),
        )

    # --- one junction -----------------------------------------------------------------------------

    def _phases(self, status: JunctionStatus, top: float) -> None:
        """Draw a chip for each phase, ring below ring in the order of service; queues under them."""
        unit, left = self._fonts.unit, 14 * self._fonts.unit
        rings = by_ring(status.phases)
        longest = max(len(ring) for ring in rings)
        wide = (360 * unit) / longest
        high = min(62 * unit, (self._bottom - 76 * unit) / len(rings))
        for row, ring in enumerate(rings):
            for place, phase in enumerate(ring):
                x, y = left + place * wide, top + row * high
                self._chip(phase, (x, y, x + wide - 6 * unit, y + high - 6 * unit))
        y = top + len(rings) * high + 12 * unit
        self._words((left, y), "standing", 12, SOFT)
        x = left + 62 * unit
        room = 298 * unit / max(len(status.queues), 1)
        most = max(10, *(count for _, count in status.queues)) if status.queues else 10
        for leg, count in status.queues:
            self._words((x, y), leg, 12, SOFT)
            bar = (room - 52 * unit) * count / most
            self._draw.rectangle((x + 16 * unit, y - 4 * unit, x + 16 * unit + bar, y + 4 * unit), fill=SOFT)
            self._words((x + 20 * unit + bar, y), str(count), 12, TEXT)
            x += room
        self._words((left, y + 24 * unit), status_line(status), 12, SOFT)

    def _chip(self, phase: PhaseStatus, edges: tuple[float, float, float, float]) -> None:
        unit = self._fonts.unit
        x0, y0, x1, y1 = edges
        is_served = phase.lamp != "red"
        colour = LAMP[phase.lamp]
        self._draw.rounded_rectangle(
            edges,
            radius=6 * unit,
            fill=CARD,
            outline=colour if is_served else LINE,
            width=max(round(unit * 1.5), 1),
        )
        dot = 7 * unit
        x, y = x0 + 14 * unit, y0 + 16 * unit
        self._draw.ellipse((x - dot, y - dot, x + dot, y + dot), fill=colour)
        self._words((x0 + 28 * unit, y), str(phase.number), 17, TEXT)
        self._words((x1 - 7 * unit, y), f"{phase.elapsed_s:.0f} s", 12, TEXT if is_served else SOFT, "rm")
        self._words((x0 + 8 * unit, y1 - 11 * unit), " ".join(phase.movements), 11, SOFT)

    def _crossings(self, crossings: Sequence[CrossingStatus], top: float) -> None:
        unit = self._fonts.unit
        left, right = 396 * unit, self._size - 14 * unit
        columns = [left + offset * unit for offset in (8, 42, 138, 180, 218)]
        for x, words in zip(columns, ("", "head", "wait", "on", "need"), strict=True):
            self._words((x, top + 4 * unit), words, 11, SOFT)
        bar_left = left + 262 * unit
        self._words((bar_left, top + 4 * unit), "extension / maximum", 11, SOFT)
        room = (self._bottom - 38 * unit) / min(max(len(crossings), 4), ROWS_N)
        for row, crossing in enumerate(crossings[:ROWS_N]):
            y0 = top + 16 * unit + row * room
            y = y0 + (room - 6 * unit) / 2
            is_held = crossing.extension_s > 0
            self._draw.rounded_rectangle(
                (left, y0, right, y0 + room - 6 * unit),
                radius=6 * unit,
                fill=CARD,
                outline=LAMP["extend"] if is_held else LINE,
                width=max(round(unit * 1.5), 1),
            )
            self._words((columns[0], y), crossing.crossing, 15, TEXT)
            colour = LAMP["red"] if crossing.indication == "dont_walk" else LAMP["walk"]
            self._words((columns[1], y), head_words(crossing), 13, colour)
            self._words((columns[2] + 8 * unit, y), str(crossing.waiting_n), 14, TEXT, "mm")
            self._words((columns[3] + 4 * unit, y), str(crossing.crossing_n), 14, TEXT, "mm")
            words = f"{crossing.need_s:.0f} s" if crossing.need_s > 0 else "-"
            self._words((columns[4], y), words, 14, LEVEL[crossing.level])
            self._bar(crossing, (bar_left, y - 9 * unit, right - 8 * unit, y - 2 * unit), y + 7 * unit)

    def _bar(self, crossing: CrossingStatus, edges: tuple[float, float, float, float], y: float) -> None:
        x0, y0, x1, y1 = edges
        radius = (y1 - y0) / 2
        self._draw.rounded_rectangle(edges, radius=radius, fill=LINE)
        if crossing.extension_s > 0 and crossing.extension_max_s > 0:
            share = min(crossing.extension_s / crossing.extension_max_s, 1.0)
            reach = max(x0 + (x1 - x0) * share, x0 + 2 * radius)
            self._draw.rounded_rectangle((x0, y0, reach, y1), radius=radius, fill=LAMP["extend"])
        words = f"{crossing.extension_s:.0f} / {crossing.extension_max_s:.0f} s"
        self._words((x0, y), words, 11, TEXT if crossing.extension_s > 0 else SOFT)
        self._words((x1, y), crossing.reason, 11, LAMP["extend"] if crossing.extension_s else SOFT, "rm")

    # --- several junctions ------------------------------------------------------------------------

    def _junctions(self, statuses: Sequence[JunctionStatus], top: float) -> None:
        """Write a row for each junction: phases in service, heads, standing vehicles, need, extension."""
        unit, left = self._fonts.unit, 14 * self._fonts.unit
        right = self._size - left
        room = (self._bottom - 22 * unit) / max(min(len(statuses), ROWS_N), 3)
        for row, status in enumerate(statuses[:ROWS_N]):
            y0 = top + row * room
            y = y0 + (room - 6 * unit) / 2
            busiest = max(status.crossings, key=lambda each: (each.extension_s, each.need_s))
            is_held = busiest.extension_s > 0
            self._draw.rounded_rectangle(
                (left, y0, right, y0 + room - 6 * unit),
                radius=6 * unit,
                fill=CARD,
                outline=LAMP["extend"] if is_held else LINE,
                width=max(round(unit * 1.5), 1),
            )
            self._words((left + 10 * unit, y), status.site, 15, TEXT)
            self._words((left + 120 * unit, y), status_line(status), 13, TEXT)
            x = left + 330 * unit
            for crossing in status.crossings:
                colour = LAMP["red"] if crossing.indication == "dont_walk" else LAMP["walk"]
                self._words((x, y), crossing.crossing, 13, colour)
                x += 14 * unit + self._draw.textlength(crossing.crossing, font=self._fonts.plain(13))
            standing = sum(count for _, count in status.queues)
            self._words((left + 480 * unit, y), f"{standing} standing", 13, SOFT)
            words, colour = "nobody on a crossing", SOFT
            if is_held:
                seconds = f"+{busiest.extension_s:.0f} / {busiest.extension_max_s:.0f} s"
                words = f"{busiest.crossing} {seconds} {busiest.reason}"
                colour = LAMP["extend"]
            elif busiest.need_s > 0:
                words, colour = f"{busiest.crossing} needs {busiest.need_s:.0f} s", LEVEL[busiest.level]
            self._words((right - 10 * unit, y), words, 13, colour, "rm")


def by_ring(phases: Sequence[PhaseStatus]) -> list[list[PhaseStatus]]:
    """Return the phases of each ring, barrier by barrier."""
    rings: dict[int, list[PhaseStatus]] = {}
    for phase in sorted(phases, key=lambda each: (each.ring, each.barrier, each.number)):
        rings.setdefault(phase.ring, []).append(phase)
    return list(rings.values())


def clock_words(now_s: float) -> str:
    """Return a simulation time as hours, minutes, seconds and tenths.

    Examples
    --------
    >>> clock_words(3725.5)
    '1:02:05.5'
    """
    tenths = round(now_s * 10)
    return f"{tenths // 36_000}:{tenths // 600 % 60:02d}:{tenths // 10 % 60:02d}.{tenths % 10}"


def head_words(crossing: CrossingStatus) -> str:
    """Return what a crossing's head shows, with its countdown."""
    words = INDICATION_WORDS[crossing.indication]
    return words if crossing.countdown_s is None else f"{words} {crossing.countdown_s}"


def status_line(status: JunctionStatus) -> str:
    """Return one line on the phases in service: `phases 2+6 green 12 s`, `all red`."""
    parts = []
    for lamp in ("green", "yellow", "flash"):
        served = [phase for phase in status.phases if phase.lamp == lamp]
        if served:
            numbers = "+".join(str(phase.number) for phase in served)
            parts.append(f"{numbers} {lamp} {min(phase.elapsed_s for phase in served):.0f} s")
    return "phases " + ", ".join(parts) if parts else "all red"


def text_panel(status: JunctionStatus) -> str:
    """Return a junction as a block of text, for terminals and logs.

    Parameters
    ----------
    status : the junction now.

    Returns
    -------
    Lines without colour codes: time and phases in service; each ring with its phases' lamps (`G`, `y`, `r`,
    `*` flash) and seconds; each crossing with head, persons detected waiting, those believed crossing, need,
    extension of its maximum and the guard's reason; a bar of standing vehicles for each leg.
    """
    letter = {"green": "G", "yellow": "y", "red": "r", "flash": "*"}
    warm = "" if status.is_warm else "  (warm-up)"
    lines = [f"{status.site}  {clock_words(status.now_s)}  {status_line(status)}{warm}"]
    for number, ring in enumerate(by_ring(status.phases), start=1):
        cells = [f"{p.number:>2} {letter[p.lamp]} {p.elapsed_s:>4.0f} s" for p in ring]
        for first in range(0, len(cells), CELLS_N):
            name = "" if first else f"ring {number}"
            lines.append(f"{name:<9}" + "  |  ".join(cells[first : first + CELLS_N]))
    if status.crossings:
        lines.append("crossing  head          waiting  on  need    extension  reason")
    for each in status.crossings:
        need = f"{each.need_s:.0f} s" if each.need_s > 0 else "-"
        extension = f"{each.extension_s:.0f}/{each.extension_max_s:.0f} s"
        lines.append(
            f"{each.crossing:<9} {head_words(each):<13} {each.waiting_n:>7} {each.crossing_n:>3}  "
            f"{need:<7} {extension:<10} {each.reason}".rstrip()
        )
    for leg, count in status.queues:
        lines.append(f"queue {leg:<3} {count:>3} {'#' * min(count, BAR_N)}".rstrip())
    return "\n".join(lines)
