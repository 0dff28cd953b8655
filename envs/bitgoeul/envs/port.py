"""Waiting for a SUMO of its own to listen."""

from __future__ import annotations

import socket
import subprocess

from bitgoeul.controller.errors import ScenarioError


def await_port(port: int, process: subprocess.Popen[bytes], *, tries: int = 200) -> None:
    """Wait until SUMO listens.

    Raises
    ------
    ScenarioError : it ended instead.
    """
    for _ in range(tries):
        if process.poll() is not None:
            hint = "; sumo-gui needs a display" if "sumo-gui" in str(process.args) else ""
            raise ScenarioError(f"SUMO ended at start with code {process.returncode}{hint}")
        with socket.socket() as probe:
            probe.settimeout(0.1)
            # A bound port refuses a second bind: SUMO accepts one connection only, so none is made.
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return
        process.poll()
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
    raise ScenarioError(f"SUMO did not open port {port}")
