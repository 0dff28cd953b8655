"""The SUMO network of a site: netconvert on its plain-XML sources at first use, then kept in a cache."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree as ET

import platformdirs

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.plan import SitePlan

from .catalog import Site
from .files import new_folder, write_text
from .matrix import check_relations_once
from .program import fixed_program

NETWORK_FILE = "network.net.xml"
ADDITIONAL_FILE = "detectors.add.xml"
CHECKSUM_FILE = "sha256.txt"
BUILD_RECIPE = 1
"""Counts changes of this module that change its output: part of the cache's key."""
SOURCE_SUFFIXES = {".nod.xml": "--node-files", ".edg.xml": "--edge-files", ".con.xml": "--connection-files"}
NETCONVERT_OPTIONS = (
    "--walkingareas",
    "--no-turnarounds",
    "--offset.disable-normalization",
    "--tls.default-type=static",
    "--xml-validation=never",
)
NETCONVERT_LIMIT_S = 60
"""A junction takes under a second; after this long something is wrong. [s] [A]"""
INSTALL_HINT = "install SUMO with: pip install 'bitgoeul[sim]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltNetwork:
    """Files that SUMO can load.

    Parameters
    ----------
    net_path : the network, with the plan's fixed timing as its own signal program.
    additional_path : the passage detectors as induction loops.
    content_hash : of all sources, the timing and SUMO's version; names the cache folder.
    """

    net_path: Path
    additional_path: Path
    content_hash: str


def netconvert_path() -> Path:
    """Return SUMO's netconvert (`find_netconvert`).

    Raises
    ------
    ScenarioError : there is none; the message has the install line.
    """
    found = find_netconvert()
    if found is None:
        raise ScenarioError(f"netconvert is not there; {INSTALL_HINT}")
    return found


def find_netconvert() -> Path | None:
    """Return SUMO's netconvert: the one of the installed wheel, else the one on the path, else None."""
    spec = importlib.util.find_spec("sumo")
    if spec is not None and spec.origin is not None:
        for name in ("netconvert", "netconvert.exe"):
            candidate = Path(spec.origin).parent / "bin" / name
            if candidate.is_file():
                return candidate
    found = shutil.which("netconvert")
    return None if found is None else Path(found)


def network_sources(site: Site) -> dict[str, Path]:
    """Return the plain-XML sources of a site by netconvert option.

    Raises
    ------
    ScenarioError : one kind is missing or stands twice.
    """
    sources: dict[str, Path] = {}
    for suffix, option in SOURCE_SUFFIXES.items():
        found = sorted(site.network_folder.glob(f"*{suffix}"))
        if len(found) != 1:
            raise ScenarioError(
                f"{site.network_folder}: {len(found)} files *{suffix}; a site needs exactly one"
            )
        sources[option] = found[0]
    return sources


def content_hash(site: Site) -> str:
    """Return the hash of everything a built network depends on, as 16 hexadecimal digits."""
    digest = hashlib.sha256(f"{BUILD_RECIPE} {NETCONVERT_OPTIONS} {netconvert_version()}".encode())
    for path in network_sources(site).values():
        digest.update(path.read_bytes())
    digest.update(programs_digest((site.plan,)).encode())
    digest.update(detectors_xml((site.plan,)).encode())
    return digest.hexdigest()[:16]


def netconvert_version() -> str:
    """Return the version of the SUMO wheel, or what tells one installed netconvert from another."""
    try:
        return metadata.version("eclipse-sumo")
    except metadata.PackageNotFoundError:
        found = netconvert_path().stat()
        return f"{found.st_size} {found.st_mtime_ns}"


def build_network(site: Site) -> BuiltNetwork:
    """Build a site's network, or find it in the user's cache.

    Returns
    -------
    Paths below the user's cache folder. Two processes may build at once: each writes a folder of its
    own, the first to finish gives the cache its copy.

    Raises
    ------
    ScenarioError : netconvert is missing or refuses the sources, the cache cannot be written, or the
        plan's conflicts are not those of the network (`matrix`).
    """
    if site.imported is not None:
        return _beside_imported(site, site.imported.net_file)
    key = content_hash(site)
    folder = platformdirs.user_cache_path("bitgoeul") / "networks" / f"{site.plan.site.id}-{key}"
    if not is_whole(folder):
        with new_folder(folder, replace=folder.is_dir()) as temporary:
            _write_network(site, temporary / NETWORK_FILE)
            write_text(temporary / ADDITIONAL_FILE, detectors_xml((site.plan,)))
            write_text(temporary / CHECKSUM_FILE, checksum(temporary))
    check_relations_once(site.plan, folder / NETWORK_FILE, site.name)
    return BuiltNetwork(
        net_path=folder / NETWORK_FILE, additional_path=folder / ADDITIONAL_FILE, content_hash=key
    )


def _beside_imported(site: Site, net_file: Path) -> BuiltNetwork:
    """Write the additional file of an imported network, which itself stays as it is.

    Raises
    ------
    ScenarioError : the network went away, or the cache cannot be written.
    """
    additional = detectors_xml((site.plan,), _program_xml(site.plan))
    try:
        digest = hashlib.sha256(net_file.read_bytes() + additional.encode()).hexdigest()[:16]
    except OSError as fault:
        raise ScenarioError(f"{net_file}: cannot be read: {fault.strerror or fault}") from None
    folder = platformdirs.user_cache_path("bitgoeul") / "networks" / f"{site.plan.site.id}-{digest}"
    path = folder / ADDITIONAL_FILE
    if not path.is_file() or path.read_text(encoding="utf-8") != additional:
        with new_folder(folder, replace=folder.is_dir()) as temporary:
            write_text(temporary / ADDITIONAL_FILE, additional)
    return BuiltNetwork(net_path=net_file, additional_path=path, content_hash=digest)


def checksum(folder: Path) -> str:
    """Return the hash of a built network's files."""
    digest = hashlib.sha256()
    for name in (NETWORK_FILE, ADDITIONAL_FILE):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def is_whole(folder: Path) -> bool:
    """Tell whether a cached network is there and as it was written; a damaged one is built again."""
    try:
        return (folder / CHECKSUM_FILE).read_text(encoding="utf-8") == checksum(folder)
    except FileNotFoundError:
        return False


def _write_network(site: Site, path: Path) -> None:
    run_netconvert(network_sources(site), path, site.name)
    text = path.read_text(encoding="utf-8")
    count = text.count("<tlLogic ")
    if count != 1:
        raise ScenarioError(f"{site.name}: the network has {count} traffic lights; a site has one")
    write_text(path, with_programs(text, (site.plan,), site.name))


def run_netconvert(sources: Mapping[str, Path], path: Path, source: str) -> None:
    """Let netconvert write a network.

    Parameters
    ----------
    sources : plain-XML files by netconvert option.
    path : the network to write.
    source : what messages call the site or corridor.

    Raises
    ------
    ScenarioError : it is missing, refuses the files or warns about them.
    """
    netconvert = netconvert_path()
    files = [f"{option}={file}" for option, file in sources.items()]
    command = [str(netconvert), *files, *NETCONVERT_OPTIONS, f"--output-file={path}"]
    try:
        ran = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=NETCONVERT_LIMIT_S,
            check=False,
            env={**os.environ, "SUMO_HOME": str(netconvert.parent.parent)},
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise ScenarioError(f"{source}: netconvert did not run: {fault}") from None
    if ran.returncode != 0 or not path.is_file():
        raise ScenarioError(f"{source}: netconvert refused the network:\n{ran.stderr.strip()}")
    if "Warning" in ran.stderr:
        raise ScenarioError(f"{source}: netconvert warns about the network:\n{ran.stderr.strip()}")


def with_programs(network_text: str, plans: Sequence[SitePlan], source: str) -> str:
    """Return a network's text with each plan's fixed timing as the program of its traffic light.

    Raises
    ------
    ScenarioError : a plan speaks of another number of links than its traffic light has, or of a traffic
        light that is not there.
    """
    text = network_text
    for plan in plans:
        light = plan.sumo.traffic_light
        links = _count_links(text, light)
        row = fixed_program(plan)[0][1]
        if len(row) != links:
            raise ScenarioError(
                f"{source}: traffic light {light} has {links} links, the plan speaks of {len(row)}"
            )
        pattern = rf'[ \t]*<tlLogic id="{re.escape(light)}".*?</tlLogic>\n'
        pieces = re.split(pattern, text, flags=re.DOTALL)
        count = len(pieces) - 1
        text = _program_xml(plan).join(pieces)
        if count != 1:
            raise ScenarioError(f"{source}: the network has {count} programs of traffic light {light}")
    return text


def _count_links(network_text: str, traffic_light: str) -> int:
    root = ET.fromstring(network_text)  # noqa: S314 - netconvert's own output
    links = [
        int(each.get("linkIndex", "-1"))
        for each in root.iter("connection")
        if each.get("tl") == traffic_light
    ]
    return max(links, default=-1) + 1


def programs_digest(plans: Sequence[SitePlan]) -> str:
    """Return a text that differs wherever the built files of these plans would."""
    return "".join(map(_program_xml, plans))


def _program_xml(plan: SitePlan) -> str:
    rows = "".join(
        f'        <phase duration="{duration_s:g}" state="{state}"/>\n'
        for duration_s, state in fixed_program(plan)
    )
    offset_s = plan.patterns[0].offset_s
    return (
        f'    <tlLogic id="{plan.sumo.traffic_light}" type="static" programID="{plan.sumo.program}"'
        f' offset="{offset_s:g}">\n{rows}    </tlLogic>\n'
    )


def detectors_xml(plans: Sequence[SitePlan], program: str = "") -> str:
    """Return the additional file: a signal program if any, and the passage detectors without output."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<additional>", *program.splitlines()]
    for plan in plans:
        zones = {(each.leg, each.lane): each.sumo_id for each in plan.zone_detectors}
        lines += [
            f'    <inductionLoop id="{each.sumo_id}" lane="{zones[each.leg, each.lane]}"'
            f' pos="{-each.distance_m:g}" period="86400" file="NUL"/>'
            for each in plan.passage_detectors
        ]
    return "\n".join([*lines, "</additional>", ""])
