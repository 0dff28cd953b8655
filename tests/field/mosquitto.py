"""A real mosquitto for tests and benchmarks: TLS, client certificates as user names, an access list."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from bitgoeul.controller.messages import TOPIC_ROOT
from bitgoeul.controller.mqtt import Broker


def _found(name: str) -> str | None:
    """Return the path of a program; Debian keeps the broker where only root looks."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


MISSING = ", ".join(name for name in ("mosquitto", "openssl") if _found(name) is None)
"""Programs that are not installed here; empty if a broker can be started."""


NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"


class Mosquitto:
    """A broker on a free port, its authority and its users' certificates, all in one folder.

    Parameters
    ----------
    folder : empty; holds certificates, configuration, log and the broker's own store.
    site : whose topics the access list opens.
    reader : user who may read all of the site.
    """

    def __init__(self, folder: Path, site: str, reader: str = "controller") -> None:
        self.folder, self.port = folder, _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._openssl(f"req -x509 {NEW_KEY} -keyout ca.key -out ca.crt -days 2 -subj /CN=authority")
        self._certificate("localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        root = f"{TOPIC_ROOT}/{site}"
        acl = [f"pattern write {root}/%u/{kind}" for kind in ("detections", "requests", "status")]
        acl += ["", f"user {reader}", f"topic read {root}/#"]
        (folder / "acl").write_text("\n".join(acl) + "\n", encoding="utf-8")
        (folder / "acl").chmod(0o600)
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"cafile {folder}/ca.crt",
            f"certfile {folder}/localhost.crt",
            f"keyfile {folder}/localhost.key",
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",
            f"acl_file {folder}/acl",
            "persistence true",
            f"persistence_location {folder}/",
            "max_queued_messages 20000",
            "max_queued_bytes 0",
            "set_tcp_nodelay true",
            f"log_dest file {folder}/log",
            "log_type all" if os.environ.get("BITGOEUL_BROKER_LOG") else "log_type error",
        ]
        if os.geteuid() == 0:
            lines.append("user root")
        (folder / "conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def broker(self, user: str) -> Broker:
        """Return how a user reaches this broker, with a certificate made for it."""
        if not (self.folder / f"{user}.crt").exists():
            self._certificate(user)
        return Broker(
            host="localhost",
            port=self.port,
            ca=self.folder / "ca.crt",
            certificate=self.folder / f"{user}.crt",
            key=self.folder / f"{user}.key",
        )

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(
            [_found("mosquitto"), "-c", str(self.folder / "conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"mosquitto does not listen on {self.port}: {(self.folder / 'log').read_text()}")

    def stop(self) -> None:
        """Stop it as a service manager does; it stores what waits."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(10)
            self._process = None

    def _certificate(self, name: str, extension: str = "") -> None:
        self._openssl(f"req -new {NEW_KEY} -keyout {name}.key -out {name}.csr -subj /CN={name}")
        (self.folder / "extension").write_text(extension + "\n", encoding="utf-8")
        self._openssl(
            f"x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out {name}.crt -days 2 "
            "-extfile extension"
        )

    def _openssl(self, arguments: str) -> None:
        command = [str(_found("openssl")), *arguments.split()]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
