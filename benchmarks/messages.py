"""Eight cameras over TLS through a real broker into the need estimate: loss, delay, what is dropped.

The cameras run in a process of their own and stamp each picture with the time it was taken. The controller
takes each message in as it arrives and works out the need of its crossings; the delay is from the picture to
the need. The broker is stopped and started twice on the way, and broken messages are mixed in.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from threading import Timer
from typing import Any

import numpy as np

from bitgoeul.controller.catalogs import find_plan
from bitgoeul.controller.field_sources import FieldSource, whole_view_sources
from bitgoeul.controller.inbox import Arrival
from bitgoeul.controller.messages import Drop
from bitgoeul.controller.mqtt import Broker, Line, MqttSource, monotonic_ds, utc_ms
from bitgoeul.controller.need import NeedEstimator
from bitgoeul.controller.plan import SitePlan

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "field"))
from made_messages import broken, person, picture, view
from mosquitto import MISSING, Mosquitto

SITE = "bukmun_5"
CAMERAS = 8
PEOPLE = 25
PERIOD_S = 0.1
BROKEN = 1_000
DOWN_S = 1.0
"""How long the broker stays away. [s]"""
WINDOW_MS = 3_000
"""A restart's window: from the stop until this long after the start. [ms]"""
SHORTEST_MIN, LONGEST_MIN = 0.2, 60.0
"""Two restarts of the broker fit into the one; the other is an hour. [min]"""
SETTLE_S = 8.0
"""After the last picture, wait so long for what still waits somewhere. [s]"""


def crossing_of(camera: int) -> str:
    """Return what a camera looks at: two cameras a crossing."""
    return find_plan(SITE).crossings[camera // 2].id


class Crowd:
    """People walking one behind the other, each with a number of their own, back and forth for ever."""

    def __init__(self, length_m: float) -> None:
        self._length_m = length_m

    def seen(self, at_s: float, now_ms: int) -> list[dict[str, Any]]:
        """Return everyone as a camera sees them."""
        people = []
        for index in range(PEOPLE):
            speed_mps = 0.6 + 0.04 * index
            lap, x_m = divmod(at_s * speed_mps + index * self._length_m / PEOPLE, self._length_m)
            first_ms = now_ms - round(1_000 * x_m / speed_mps)
            number = f"{index}-{int(lap)}"
            people.append(
                person(number, x_m=round(x_m, 2), vx_mps=round(speed_mps, 2), first_seen_ms=first_ms)
            )
        return people


def run_cameras(folder: Path, port: int, minutes: float) -> None:
    """Send eight cameras' pictures, staggered; print how many each sent."""
    lines, views = [], []
    for camera in range(CAMERAS):
        user = f"cam_{camera}"
        broker = Broker(
            host="localhost",
            port=port,
            ca=folder / "ca.crt",
            certificate=folder / f"{user}.crt",
            key=folder / f"{user}.key",
        )
        lines.append(Line(broker, SITE, user))
        lines[-1].open(wait_s=10)
        views.append((crossing_of(camera), Crowd(find_plan(SITE).crossing(crossing_of(camera)).length_m)))
    random = Random(1)  # noqa: S311 - no secret
    begun_s = time.monotonic()
    pictures = round(60 * minutes / PERIOD_S)
    breaks = set(random.sample(range(pictures * CAMERAS), min(BROKEN, pictures * CAMERAS)))
    for sequence in range(pictures):
        for camera, (line, (crossing, crowd)) in enumerate(zip(lines, views, strict=True)):
            at_s = (sequence + camera / CAMERAS) * PERIOD_S
            time.sleep(max(begun_s + at_s - time.monotonic(), 0.0))
            now_ms = utc_ms()
            message = picture(
                [view(crossing, crowd.seen(at_s, now_ms))],
                sender=line.user,
                session_ms=line.session_ms,
                sequence=sequence,
                measured_ms=now_ms,
            )
            line.publish("detections", json.dumps(message).encode())
            if sequence * CAMERAS + camera in breaks:
                line.publish("detections", broken(message, random))
    time.sleep(SETTLE_S)
    for line in lines:
        line.close()
    print(json.dumps({"sent": pictures, "late_s": round(time.monotonic() - begun_s - 60 * minutes, 1)}))


class TimedSource(MqttSource):
    """Notes crossing and time of measurement of each picture that is used."""

    def __init__(self, plan: SitePlan, sources: tuple[FieldSource, ...], broker: Broker) -> None:
        super().__init__(plan, sources, broker)
        names = [crossing.id for crossing in plan.crossings]
        self.used: list[tuple[int, int]] = []
        deliver = self.inbox.deliver

        def noted(arrival: Arrival) -> Drop | None:
            dropped = deliver(arrival)
            if dropped is None and arrival.topic.endswith("/detections"):
                message = json.loads(arrival.payload)
                self.used += [
                    (names.index(view["crossing"]), message["measured_ms"]) for view in message["crossings"]
                ]
            return dropped

        self.inbox.deliver = noted  # type: ignore[method-assign]


class Bench:
    """Broker and controller of one run.

    Parameters
    ----------
    folder : for certificates and the broker's store.
    minutes : how long the cameras send. [min]
    """

    def __init__(self, folder: Path, minutes: float) -> None:
        self._folder, self._minutes, self._plan = folder, minutes, find_plan(SITE)
        self._mosquitto = Mosquitto(folder, SITE)
        users = {f"cam_{camera}": (crossing_of(camera),) for camera in range(CAMERAS)}
        for user in users:
            self._mosquitto.broker(user)
        self._source = TimedSource(
            self._plan, whole_view_sources(users), self._mosquitto.broker("controller")
        )
        self._windows: list[tuple[int, int]] = []
        self._delays: list[tuple[int, float]] = []

    def run(self) -> dict[str, Any]:
        """Run it all; return what came of it."""
        self._mosquitto.start()
        self._source.open(wait_s=10)
        given = [str(self._folder), str(self._mosquitto.port), str(self._minutes)]
        command = [sys.executable, __file__, "--cameras", *given]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as cameras:
            self._listen(cameras)
            told = json.loads(cameras.communicate()[0])
        self._source.close()
        self._mosquitto.stop()
        return self._summary(told["sent"])

    def _restart(self) -> None:
        """Stop the broker for a second and start it again; note when."""
        stopped_ms = utc_ms()
        self._mosquitto.stop()
        time.sleep(DOWN_S)
        self._mosquitto.start()
        self._windows.append((stopped_ms, utc_ms() + WINDOW_MS))

    def _listen(self, cameras: subprocess.Popen[str]) -> None:
        """Take messages in as they come, and note how long after each picture the need was known."""
        needs, source, begun_s, told = NeedEstimator(self._plan), self._source, time.monotonic(), 0
        restarts = [Timer(60 * self._minutes * share, self._restart) for share in (1 / 3, 2 / 3)]
        for each in restarts:
            each.start()
        while cameras.poll() is None:
            if not source.arrived.wait(0.05):
                continue
            now_ds = int(monotonic_ds())
            needs.update(source.frames(now_ds))
            if not source.used:
                continue
            for index in {index for index, _ in source.used}:
                needs.need(index, now_ds)
            known_ms = time.time_ns() / 1e6
            self._delays += [(measured_ms, known_ms - measured_ms) for _, measured_ms in source.used]
            source.used.clear()
            if time.monotonic() - begun_s > 30 * (told + 1):
                told += 1
                print(f"{30 * told} s: {len(self._delays)} pictures used", file=sys.stderr)
        for each in restarts:
            each.join()

    def _summary(self, pictures: int) -> dict[str, Any]:
        """Return loss, delays and counts."""
        inbox, delays = self._source.inbox, self._delays
        numbers = [state.numbers["detections"] for state in inbox.sources.values()]
        quiet = [
            delay
            for measured_ms, delay in delays
            if not any(start_ms <= measured_ms <= end_ms for start_ms, end_ms in self._windows)
        ]
        return {
            "pictures_sent": CAMERAS * pictures,
            "lost": sum(pictures - (each.newest + 1 - each.missed) for each in numbers),
            "used": len(delays),
            "used_in_restart_windows": len(delays) - len(quiet),
            "dropped": {reason.value: count for reason, count in inbox.dropped.items() if count},
            "delay_ms_all": percentiles([delay for _, delay in delays]),
            "delay_ms_outside_restarts": percentiles(quiet),
            "connections": self._source.line.connections,
            "controller_cpu_s": round(time.process_time(), 1),
            "load": [round(each, 2) for each in os.getloadavg()],
        }


def percentiles(delays: list[float]) -> dict[str, float]:
    """Return the middle, the 99th percentile and the longest of some delays. [ms]"""
    p50, p99, longest = np.percentile(delays, [50, 99, 100])
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(float(longest), 1)}


def time_to_run(text: str) -> float:
    """Return the length of a measurement: long enough for two restarts of the broker. [min]"""
    value = float(text)
    if not SHORTEST_MIN <= value <= LONGEST_MIN:
        raise argparse.ArgumentTypeError(f"{text} is not within {SHORTEST_MIN:g} and {LONGEST_MIN:g}")
    return value


def main() -> None:
    """Run one side or the whole."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Example: python benchmarks/messages.py --minutes 10 (needs mosquitto and openssl)",
    )
    parser.add_argument("--minutes", type=time_to_run, default=1.0, help="%(default)s unless told; 0.2 to 60")
    parser.add_argument("--cameras", nargs=3, metavar=("FOLDER", "PORT", "MINUTES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cameras:
        run_cameras(Path(options.cameras[0]), int(options.cameras[1]), float(options.cameras[2]))
        return
    if MISSING:
        sys.exit(f"not installed: {MISSING} (Debian: apt-get install mosquitto openssl)")
    with tempfile.TemporaryDirectory() as folder:
        result = Bench(Path(folder), options.minutes).run()
    print(json.dumps(result, indent=2))
    sys.exit(result["lost"] != 0)


if __name__ == "__main__":
    main()
