"""SUMO's own NEMA controller on an empty four-leg junction: calls in, lamps out, step by step."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from timing_tables import LINKS, STEP_S

LEGS = "NESW"
_PLACES = {"N": (0, 200), "E": (200, 0), "S": (0, -200), "W": (-200, 0)}
BITS = tuple(1 << index for index in range(LINKS))


@cache
def network(folder):
    """Build the junction: two lanes in on each leg, so that each phase has its own link and detector."""
    import sumo

    node = '<node id="J" x="0" y="0" type="traffic_light"/>'
    node += "".join(f'<node id="{leg}" x="{x}" y="{y}"/>' for leg, (x, y) in _PLACES.items())
    edges = links = ""
    for index, leg in enumerate(LEGS):
        edges += f'<edge id="{leg}_in" from="{leg}" to="J" numLanes="2" speed="13.9"/>'
        edges += f'<edge id="{leg}_out" from="J" to="{leg}" numLanes="2" speed="13.9"/>'
        ahead, left = LEGS[(index + 2) % 4], LEGS[(index + 1) % 4]
        links += f'<connection from="{leg}_in" to="{ahead}_out" fromLane="0" toLane="0"/>'
        links += f'<connection from="{leg}_in" to="{left}_out" fromLane="1" toLane="1"/>'
    texts = {
        "nod": f"<nodes>{node}</nodes>",
        "edg": f"<edges>{edges}</edges>",
        "con": f"<connections>{links}</connections>",
    }
    for kind, text in texts.items():
        (folder / f"n.{kind}.xml").write_text(text)
    command = [
        Path(sumo.SUMO_HOME) / "bin" / "netconvert",
        "-n",
        "n.nod.xml",
        "-e",
        "n.edg.xml",
        "-x",
        "n.con.xml",
    ]
    command += ["-o", "n.net.xml", "--no-turnarounds", "--tls.default-type", "NEMA"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "n.net.xml"


@cache
def _folder():
    return Path(mkdtemp(prefix="oracle"))


class SumoCabinet:
    """The one simulation of this process, running a table's program."""

    def __init__(self, table):
        import libsumo

        net, program = network(_folder()), _folder() / "program.add.xml"
        program.write_text(f"<additional>{table.program()}</additional>")
        self._options = ["-n", str(net), "-a", str(program), "--step-length", str(STEP_S)]
        self._options += ["--no-step-log", "--no-warnings"]
        self._sumo = libsumo
        if not libsumo.isLoaded():
            libsumo.start(["sumo", *self._options])
        self.restart()
        self._detectors = {}
        for name in libsumo.lanearea.getIDList():
            number = (
                int(name.removeprefix("J_oracle_D").split(".")[0]) if name.startswith("J_oracle_D") else 0
            )
            if number:
                self._detectors[1 << (number - 1)] = name

    def restart(self):
        """Begin again at time 0."""
        self._sumo.load(self._options)
        self.calls = -1

    def step(self, calls):
        """Let one step pass under these calls; return (green, yellow) as phase masks."""
        sumo = self._sumo
        changed = calls ^ self.calls
        if changed:
            for bit, name in self._detectors.items():
                if changed & bit:
                    sumo.lanearea.overrideVehicleNumber(name, 1 if calls & bit else 0)
            self.calls = calls
        sumo.simulationStep()
        return _masks(sumo.trafficlight.getRedYellowGreenState("J"))


@cache
def _masks(state):
    green = sum(bit for bit, letter in zip(BITS, state, strict=True) if letter == "G")
    yellow = sum(bit for bit, letter in zip(BITS, state, strict=True) if letter == "y")
    return green, yellow
