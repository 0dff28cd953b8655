"""Pictures of a running junction without a display: `rgb_array` and `ansi`."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, copysign, cos, hypot, radians, sin, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from bitgoeul.controller.need import SURE

from .layout import CrossingLayout, Point
from .render_map import SMOOTHING, Colour, MapPainter, along, box, fit_view, junction_points, length_of
from .render_panel import LAMP, LEVEL, Fonts, Panel, text_panel
from .status import JunctionStatus, StatusReader, need_level

if TYPE_CHECKING:
    from bitgoeul.sim_scenarios.catalog import Site

    from .world import JunctionDriver

HEADER_SHARE, PANEL_SHARE = 0.06, 0.265
"""Of the picture's height: the line above the map, the panel below it."""
SIZE_PX = 800
"""Width and height of a frame."""
TILES_IN_ROW = 3
"""So many junctions stand side by side; more are stacked in rows."""
TILE_FONT = 0.85
"""Size of the words on the map of one junction among several."""
STOP_LAMP_M = 0.9
"""Thickness of a movement's lamp across its stop line. [m] [A]"""
WALKER_M = 0.6
"""Radius of a walker's dot. [m] [A]"""
RING_M = 1.15
"""Radius of the ring around a person the detector reports. [m] [A]"""
BLINK_DS = 5
"""A flashing lamp is on for so long, and off for as long. [0.1 s] [A]"""
STANDING_MPS = 0.1
BRAKE_LIGHT = 8
"""Bit of SUMO's vehicle signals."""

LETTERS: dict[str, Colour] = {
    "G": LAMP["green"],
    "g": LAMP["green"],
    "y": LAMP["yellow"],
    "Y": LAMP["yellow"],
    "o": LAMP["yellow"],
    "s": LAMP["right_on_red"],
    "r": LAMP["red"],
}
"""Colour of a vehicle movement's lamp by SUMO's letter."""
CARS: tuple[Colour, ...] = (
    (238, 240, 243),
    (203, 208, 215),
    (148, 163, 184),
    (96, 122, 158),
    (214, 200, 176),
)
BODIES: dict[str, Colour] = {
    "bus": (46, 138, 122),
    "coach": (46, 138, 122),
    "truck": (196, 142, 72),
    "delivery": (196, 142, 72),
    "trailer": (196, 142, 72),
    "motorcycle": (190, 92, 120),
    "emergency": (214, 69, 65),
}
"""Colour by SUMO's vehicle class; a car has one of `CARS`."""
GLASS: Colour = (44, 52, 66)
WALKER: Colour = (29, 78, 216)
WHITE: Colour = (255, 255, 255)


def make_renderer(
    site: Site | Sequence[Site], driver: JunctionDriver | Sequence[JunctionDriver], *, size_px: int = SIZE_PX
) -> Renderer:
    """Return a renderer of a running junction, or of several in one network.

    Parameters
    ----------
    site : the site, or one a junction.
    driver : the running junction, or all of them.
    size_px : width and height of a frame, at least 400.

    Raises
    ------
    ValueError : no driver, or a smaller frame.
    """
    return Renderer(site, driver, size_px=size_px)


class Renderer:
    """Draws what happens at a junction now.

    Walkers are dots at their true place, all alike. What the controller knows is drawn over them: a ring
    where the detector has somebody on the crossing, with the seconds that person surely needs; a dot
    without a ring is not seen, a ring without a dot is nobody. Colours tell seconds, never who they are.

    Parameters
    ----------
    site, driver, size_px : see `make_renderer`.

    Notes
    -----
    A frame is a function of the simulation's state alone and changes nothing in it.
    """

    def __init__(
        self,
        site: Site | Sequence[Site],
        driver: JunctionDriver | Sequence[JunctionDriver],
        *,
        size_px: int = SIZE_PX,
    ) -> None:
        self._drivers = tuple(driver) if isinstance(driver, Sequence) else (driver,)
        sites = tuple(site) if isinstance(site, Sequence) else (site,)
        if not self._drivers:
            raise ValueError("a renderer needs at least one running junction")
        if size_px < SIZE_PX // 2:
            raise ValueError(f"size_px = {size_px}: a frame is at least {SIZE_PX // 2} pixels wide")
        is_one = len(self._drivers) == 1
        self._title = sites[0].plan.site.name if is_one else " · ".join(each.name for each in sites)
        self._size_px = size_px
        self._readers = tuple(StatusReader(each) for each in self._drivers)
        self._scenes: tuple[Scene, ...] = ()
        self._panel: Panel | None = None

    def rgb_array(self) -> npt.NDArray[np.uint8]:
        """Return the present moment as a picture, `(size_px, size_px, 3)`."""
        return np.asarray(self.image(), dtype=np.uint8)

    def image(self) -> Image.Image:
        """Return the present moment as a Pillow image."""
        size = self._size_px
        top, bottom = round(size * HEADER_SHARE), round(size * PANEL_SHARE)
        tiles = _tiles(len(self._drivers), size, size - top - bottom)
        if self._panel is None:
            self._panel = Panel(size, top, bottom)
            unit = size / SIZE_PX * (1.0 if len(tiles) == 1 else TILE_FONT)
            self._scenes = tuple(
                Scene(driver, reader, (right - left, low - high), unit)
                for driver, reader, (left, high, right, low) in zip(
                    self._drivers, self._readers, tiles, strict=True
                )
            )
        statuses = self._statuses()
        frame = Image.new("RGB", (size, size), (17, 21, 28))
        for scene, status, (left, high, _, _) in zip(self._scenes, statuses, tiles, strict=True):
            frame.paste(scene.paint(status), (left, top + high))
        self._panel.paint(frame, self._title, statuses)
        return frame

    def ansi(self) -> str:
        """Return the present moment as text, one block a junction."""
        return "\n\n".join(text_panel(status) for status in self._statuses())

    def _statuses(self) -> tuple[JunctionStatus, ...]:
        return tuple(reader.read() for reader in self._readers)


class Scene:
    """The map of one junction and everything that moves or glows on it.

    Parameters
    ----------
    driver : the running junction.
    reader : of its state.
    size_px : width and height of the finished map.
    unit : pixels a point of its words.
    """

    def __init__(
        self, driver: JunctionDriver, reader: StatusReader, size_px: tuple[int, int], unit: float
    ) -> None:
        self._driver, self._reader, self._connection = driver, reader, driver.connection
        plan = driver.plan
        edges = [crossing.sumo_edge for crossing in plan.crossings]
        points = junction_points(self._connection, plan.sumo.junction, edges)
        self._view = fit_view(points, *size_px)
        self._heads = _stop_lamps(driver)
        self._map = MapPainter(self._connection, self._view, _turns(driver)).paint()
        self._fonts = Fonts(unit * SMOOTHING)
        self._bodies: dict[str, tuple[float, float, Colour]] = {}
        self._draw = ImageDraw.Draw(self._map, "RGBA")

    def paint(self, status: JunctionStatus) -> Image.Image:
        """Return the map with lamps, vehicles and people as they are now."""
        canvas = self._map.copy()
        self._draw = ImageDraw.Draw(canvas, "RGBA")
        self._tint_crossings(status)
        self._vehicles()
        self._lamps()
        self._walkers()
        self._beliefs(status)
        self._pills(status)
        return canvas.reduce(SMOOTHING)

    # --- lamps ------------------------------------------------------------------------------------

    def _lamps(self) -> None:
        signal = self._driver.plan.sumo.traffic_light
        state = self._connection.trafficlight.getRedYellowGreenState(signal)
        for number, corners in self._heads:
            outline = self._view.line(corners)
            self._draw.polygon(outline, fill=LETTERS.get(state[number], LAMP["dark"]))
            self._draw.line([*outline, outline[0]], fill=(20, 22, 26), width=2)

    def _tint_crossings(self, status: JunctionStatus) -> None:
        """Edge each crossing in its head's colour; fill it while an extension runs."""
        driver = self._driver
        for layout, crossing, of_plan in zip(
            driver.walkers.layouts, status.crossings, driver.plan.crossings, strict=True
        ):
            shape = (layout.start_xy, layout.end_xy)
            centre, angle = along(shape, length_of(shape) / 2)
            corners = self._view.line(box(centre, angle, length_of(shape), of_plan.width_m))
            if crossing.extension_s > 0:
                self._draw.polygon(corners, fill=(*LAMP["extend"], 105))
            colour = _head_colour(crossing.indication, status.now_s)
            for ends in ((corners[0], corners[3]), (corners[1], corners[2])):
                self._draw.line(ends, fill=colour, width=max(round(0.4 * self._view.scale), 2))

    def _pills(self, status: JunctionStatus) -> None:
        """Write each crossing's name, countdown and need beside the end where its lane begins."""
        driver = self._driver
        centre = self._connection.junction.getPosition(driver.plan.sumo.junction)
        for layout, crossing in zip(driver.walkers.layouts, status.crossings, strict=True):
            colour = _head_colour(crossing.indication, status.now_s)
            x, y = self._view.px(_outside(layout, centre))
            if crossing.countdown_s is not None:
                words = f"{crossing.crossing}  {crossing.countdown_s}"
            else:
                words = crossing.crossing
            if crossing.need_s > 0:
                words += f"  need {crossing.need_s:.0f} s"
            font = self._fonts.bold(13)
            wide = self._draw.textlength(words, font=font)
            x += copysign(wide / 2, x - self._view.px(layout.start_xy)[0])
            high, dot = 22 * self._fonts.unit, 6 * self._fonts.unit
            box_px = (x - wide / 2 - 2.6 * dot, y - high / 2, x + wide / 2 + 1.2 * dot, y + high / 2)
            self._draw.rounded_rectangle(
                box_px, radius=high / 2, fill=(18, 22, 29, 235), outline=(255, 255, 255, 200), width=2
            )
            left = box_px[0] + 1.5 * dot
            self._draw.ellipse((left - dot, y - dot, left + dot, y + dot), fill=colour)
            self._draw.text((left + 1.6 * dot, y), words, fill=WHITE, font=font, anchor="lm")

    # --- what moves -------------------------------------------------------------------------------

    def _vehicles(self) -> None:
        vehicle = self._connection.vehicle
        for each in vehicle.getIDList():
            front = vehicle.getPosition(each)
            if not self._view.shows(front):
                continue
            length_m, width_m, colour = self._body(each)
            angle = radians(90.0 - vehicle.getAngle(each))
            is_braking = vehicle.getSignals(each) & BRAKE_LIGHT or vehicle.getSpeed(each) < STANDING_MPS
            ahead = (cos(angle), sin(angle))
            middle = (front[0] - ahead[0] * length_m / 2, front[1] - ahead[1] * length_m / 2)
            self._draw.polygon(
                self._view.line(_hull(middle, angle, length_m, width_m)), fill=colour, outline=(30, 34, 42)
            )
            for at_m, glass_m in ((length_m * 0.19, length_m * 0.13), (-length_m * 0.32, length_m * 0.09)):
                pane = (middle[0] + ahead[0] * at_m, middle[1] + ahead[1] * at_m)
                self._draw.polygon(self._view.line(box(pane, angle, glass_m, width_m * 0.74)), fill=GLASS)
            if is_braking:
                rear_m = length_m / 2 - 0.15
                rear = (middle[0] - ahead[0] * rear_m, middle[1] - ahead[1] * rear_m)
                self._draw.polygon(self._view.line(box(rear, angle, 0.3, width_m * 0.8)), fill=LAMP["red"])

    def _body(self, each: str) -> tuple[float, float, Colour]:
        known = self._bodies.get(each)
        if known is None:
            vehicle = self._connection.vehicle
            colour = BODIES.get(vehicle.getVehicleClass(each), CARS[sum(each.encode()) % len(CARS)])
            known = self._bodies[each] = vehicle.getLength(each), vehicle.getWidth(each), colour
        return known

    def _walkers(self) -> None:
        person = self._connection.person
        for each in person.getIDList():
            place = person.getPosition(each)
            if self._view.shows(place):
                self._dot(place, WALKER_M, fill=WALKER, outline=WHITE)

    def _dot(self, place: Sequence[float], radius_m: float, **style: Any) -> None:
        x, y = self._view.px(place)
        radius = radius_m * self._view.scale
        self._draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius), width=2 if "fill" in style else 4, **style
        )

    def _beliefs(self, status: JunctionStatus) -> None:
        """Ring everyone the controller believes on a crossing, with the seconds they surely need."""
        driver = self._driver
        needs, now_ds = driver.loop.needs, driver.now_ds
        position = self._connection.person.getPosition
        for index, layout in enumerate(driver.walkers.layouts):
            truth = [position(each) for each in driver.walkers.on_crossing[index]]
            now = status.crossings[index]
            clear_in_s, left_s = self._reader.clear_in_s(index), now.extension_max_s - now.extension_s
            quantiles = needs.needs(index, now_ds, (SURE,))
            for person, (need_s,) in zip(needs.people(index), quantiles, strict=True):
                place = _believed_place(layout, max(person.expected_m(now_ds), 0.0), truth)
                colour = LEVEL[need_level(need_s, clear_in_s, left_s)]
                self._dot(place, RING_M, outline=colour)
                x, y = self._view.px(place)
                self._draw.text(
                    (x + RING_M * 1.15 * self._view.scale, y - RING_M * self._view.scale),
                    f"{need_s:.0f}",
                    fill=colour,
                    font=self._fonts.bold(15),
                    anchor="lm",
                    stroke_width=round(2 * self._fonts.unit),
                    stroke_fill=(18, 22, 29),
                )


def _head_colour(indication: str, now_s: float) -> Colour:
    """Return what a walkers' head shows; flashing green is dark every other half second."""
    if indication in ("clear", "extend"):
        return LAMP["walk"] if int(now_s * 10) // BLINK_DS % 2 == 0 else LAMP["dark"]
    return {"walk": LAMP["walk"], "dark": LAMP["dark"]}.get(indication, LAMP["red"])


def _hull(middle: Point, angle: float, length_m: float, width_m: float) -> list[Point]:
    """Return a vehicle's outline from above, its corners cut."""
    cut_m = min(0.28 * width_m, 0.5)
    half_l, half_w = length_m / 2, width_m / 2
    corners = (
        (half_l, half_w - cut_m), (half_l, cut_m - half_w),
        (half_l - cut_m, -half_w), (0.3 * cut_m - half_l, -half_w),
        (-half_l, 0.3 * cut_m - half_w), (-half_l, half_w - 0.3 * cut_m),
        (0.3 * cut_m - half_l, half_w), (half_l - cut_m, half_w),
    )  # fmt: skip
    cos_a, sin_a = cos(angle), sin(angle)
    return [(middle[0] + u * cos_a - v * sin_a, middle[1] + u * sin_a + v * cos_a) for u, v in corners]


def _outside(layout: CrossingLayout, centre: Sequence[float]) -> Point:
    """Return a place for a crossing's label: past its first end, and away from the junction's middle."""
    (x0, y0), (x1, y1) = layout.start_xy, layout.end_xy
    span_m = hypot(x1 - x0, y1 - y0)
    unit = ((x0 - x1) / span_m, (y0 - y1) / span_m)
    out = (x0 - centre[0], y0 - centre[1])
    far_m = hypot(*out) or 1.0
    return x0 + unit[0] * 4.5 + out[0] / far_m * 5.5, y0 + unit[1] * 4.5 + out[1] / far_m * 5.5


def _believed_place(layout: CrossingLayout, remaining_m: float, truth: Sequence[Sequence[float]]) -> Point:
    """Return where a detected person is drawn.

    A track says how far the far kerb is, not which kerb that is: of the two places the one with somebody
    nearer to it is taken, so a false track stands wherever it happens to.
    """
    shape = (layout.start_xy, layout.end_xy)
    scale = length_of(shape) / layout.length_m
    at_m = min(remaining_m, layout.length_m)
    places = (along(shape, at_m * scale)[0], along(shape, (layout.length_m - at_m) * scale)[0])
    if not truth:
        return places[0]
    return min(places, key=lambda place: min(hypot(place[0] - x, place[1] - y) for x, y, *_ in truth))


def _stop_lamps(driver: JunctionDriver) -> list[tuple[int, list[Point]]]:
    """Return each vehicle link's number and the corners of its lamp, side by side across their lane."""
    connection, plan = driver.connection, driver.plan
    links = connection.trafficlight.getControlledLinks(plan.sumo.traffic_light)
    order = {"left": 0, "u_turn": 0, "through": 1, "right": 2}
    by_lane: dict[str, list[tuple[int, int]]] = {}
    for movement in plan.movements:
        for number in movement.sumo_links:
            for lane, _, _ in links[number]:
                by_lane.setdefault(lane, []).append((order[movement.turn], number))
    lamps = []
    for lane, numbers in by_lane.items():
        shape, width_m = connection.lane.getShape(lane), connection.lane.getWidth(lane)
        (x, y), angle = along(shape, length_of(shape) - STOP_LAMP_M / 2)
        part_m = (width_m - 0.3) / len(numbers)
        for place, (_, number) in enumerate(sorted(numbers)):
            left_m = (width_m - 0.3) / 2 - part_m * (place + 0.5)
            at = (x - sin(angle) * left_m, y + cos(angle) * left_m)
            lamps.append((number, box(at, angle, STOP_LAMP_M, part_m - 0.1)))
    return lamps


def _turns(driver: JunctionDriver) -> dict[str, set[str]]:
    """Return the turns from each lane with a signal."""
    turns: dict[str, set[str]] = {}
    links = driver.connection.trafficlight.getControlledLinks(driver.plan.sumo.traffic_light)
    for movement in driver.plan.movements:
        for number in movement.sumo_links:
            for lane, _, _ in links[number]:
                turns.setdefault(lane, set()).add(movement.turn)
    return turns


def _tiles(count: int, width_px: int, height_px: int) -> list[tuple[int, int, int, int]]:
    """Return the places of the junctions' maps (left, top, right, bottom), row by row, a gap between."""
    columns = count if count <= TILES_IN_ROW else ceil(sqrt(count))
    rows = ceil(count / columns)
    gap_px = 4
    wide, high = (width_px + gap_px) / columns, (height_px + gap_px) / rows
    return [
        (
            round(column * wide),
            round(row * high),
            round((column + 1) * wide) - gap_px,
            round((row + 1) * high) - gap_px,
        )
        for row, column in (divmod(number, columns) for number in range(count))
    ]
