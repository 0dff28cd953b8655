"""The wheel and the base install: what is in them, and what they do without."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bitgoeul.controller import cli

ROOT = Path(__file__).resolve().parents[1]
PORTIONS = ("controller", "envs", "training", "sim_scenarios")

IMPORT_EVERYTHING_BLOCKED = """
import importlib, pkgutil, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

BLOCKED = set(sys.argv[2].split(","))
sys.meta_path.insert(0, Blocker())
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, sys.argv[1] + "."):
    importlib.import_module(module.name)
    print(module.name)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this tree, built without a network, as a zip file."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


def source_files() -> set[str]:
    """Every file of the four packages, by its path in the wheel."""
    return {
        file.relative_to(ROOT / portion).as_posix()
        for portion in PORTIONS
        for file in (ROOT / portion / "bitgoeul").rglob("*")
        if file.is_file()
        and not any(part.startswith((".", "__pycache__")) for part in file.relative_to(ROOT).parts)
    }


def import_all(package: str, *, blocked: set[str], path: Path | None = None) -> list[str]:
    """Import every module of a package in a new process and return their names."""
    environment = {name: value for name, value in os.environ.items() if name != "SUMO_HOME"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING_BLOCKED, package, ",".join(sorted(blocked))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_wheel_holds_every_file_of_the_four_packages(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == source_files()


def test_wheel_is_typed_and_brings_the_sites_and_the_shipped_policy(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for portion in PORTIONS:
        assert f"bitgoeul/{portion}/py.typed" in names
    assert any(name.endswith("plan.toml") for name in names)
    assert any(name.endswith(".nod.xml") for name in names)
    assert any(name.endswith(".onnx") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_bitgoeul_is_a_namespace_shared_by_four_folders(wheel):
    with zipfile.ZipFile(wheel) as archive:
        assert "bitgoeul/__init__.py" not in archive.namelist()


def test_controller_in_the_wheel_needs_the_base_install_only(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    blocked = {module for modules in cli.EXTRA_MODULES.values() for module in modules}
    imported = import_all("bitgoeul.controller", blocked=blocked, path=tmp_path)
    assert "bitgoeul.controller.cli" in imported


@pytest.mark.parametrize("portion", ["envs", "sim_scenarios"])
def test_simulation_needs_nothing_that_only_train_brings(portion):
    import_all(f"bitgoeul.{portion}", blocked=set(cli.EXTRA_MODULES["train"]))


def test_base_dependencies_are_the_field_controllers():
    base = {
        requirement.name
        for requirement in map(Requirement, metadata.requires("bitgoeul"))
        if requirement.marker is None
    }
    assert base == {
        "click",
        "numpy",
        "onnxruntime",
        "paho-mqtt",
        "platformdirs",
        "pydantic",
        "pydantic-settings",
        "rich",
    }


def test_every_direct_dependency_is_pinned_and_torch_to_the_release_that_is_asked_for():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pinned = {pin.name.lower().replace("_", "-") for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"]]
    for lines_of_extra in project["optional-dependencies"].values():
        asked += lines_of_extra
    names = {Requirement(line).name for line in asked} - {"bitgoeul"}
    assert names <= pinned
    # An open range would let pip take the newest build, gigabytes of CUDA.
    torch = {str(pin.specifier) for pin in [*pins, *map(Requirement, asked)] if pin.name == "torch"}
    assert torch == {"==2.13.0"}
