import math

import polars as pl
import pytest

from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.envs.world import RunSpec
from bitgoeul.training.store import EVENT_COLUMNS, RunStore, code_version, event_counts


def make_spec(**changes):
    settings = {"site": "bukmun_5", "controller": "eta", "seed": 10_000, "hour": "peak", "minutes": 60}
    return RunSpec(**{**settings, **changes})


@pytest.fixture
def store(tmp_path):
    return RunStore(folder=tmp_path, version="1")


@pytest.fixture
def stored(store, fake_runs):
    spec = make_spec()
    store.write(spec, fake_runs.run(spec, record_strip=True), wall_s=1.5)
    return spec


def test_a_run_is_done_once_it_is_written(store, stored):
    assert store.is_done(stored)
    assert not store.is_done(make_spec(seed=10_001))


def test_the_key_tells_settings_and_version_apart(store, tmp_path):
    keys = {
        store.key(make_spec()),
        store.key(make_spec(seed=10_001)),
        store.key(make_spec(extension_max_s=5.0)),
        store.key(make_spec(form="R")),
        RunStore(folder=tmp_path, version="2").key(make_spec()),
    }
    assert len(keys) == 5
    assert RunStore(folder=tmp_path, version="1").key(make_spec()) == store.key(make_spec())


@pytest.mark.parametrize("name", ["rows.parquet", "events.parquet", "extensions.parquet", "part.json"])
def test_a_part_cut_short_is_an_error_that_names_the_file(store, stored, name):
    path = store.part(stored) / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ScenarioError, match=f"{name}.*damaged.*--fresh"):
        store.is_done(stored)


def test_a_part_with_one_changed_byte_or_a_missing_file_is_an_error(store, stored):
    path = store.part(stored) / "events.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ScenarioError, match=r"events\.parquet"):
        store.is_done(stored)
    path.unlink()
    with pytest.raises(ScenarioError, match=r"events\.parquet.*No such file"):
        store.is_done(stored)


def test_merged_tables_have_the_run_in_front_and_no_wall_clock_in_rows(store, stored, fake_runs):
    other = make_spec(controller="fixed", extension_max_s=5)
    store.write(other, fake_runs.run(other), wall_s=2.5)
    paths = store.merge([other, stored])
    rows = pl.read_parquet(paths["rows"])
    assert rows["controller"].to_list() == ["fixed", "eta"]
    assert rows["extension_max_s"].to_list() == [5.0, None]
    assert rows.columns[:7] == [
        "site",
        "controller",
        "detector",
        "hour",
        "form",
        "extension_max_s",
        "seed",
    ]
    assert not [name for name in rows.columns if name.startswith(("decision_ms", "wall_"))]
    for name in MOBILITY_CLASSES:
        assert rows[f"crossings_n_{name}"].sum() > 0
    timings = pl.read_parquet(paths["timings"])
    assert timings["wall_s"].to_list() == [2.5, 1.5]
    assert "decision_ms_mean" in timings.columns
    events = pl.read_parquet(paths["events"])
    assert events.columns[7 : 7 + len(EVENT_COLUMNS)] == list(EVENT_COLUMNS)
    assert events.schema["entered_s"] == pl.Float64
    assert events.schema["is_residual"] == pl.Boolean
    assert events.height == 2 * fake_runs.WALKERS
    assert not [path for path in store.folder.iterdir() if path.name.startswith(".")]


def test_the_same_seed_gives_the_same_values_twice(tmp_path, fake_runs):
    tables = []
    for name in ("first", "second"):
        store = RunStore(folder=tmp_path / name, version="1")
        specs = [make_spec(), make_spec(controller="fixed")]
        for spec in specs:
            store.write(spec, fake_runs.run(spec), wall_s=1.0)
        paths = store.merge(specs)
        tables.append([pl.read_parquet(paths[table]) for table in ("rows", "events", "extensions")])
    for first, second in zip(*tables, strict=True):
        assert first.equals(second)


def test_a_run_without_events_or_extensions_keeps_the_columns(store, fake_runs):
    spec = make_spec(controller="fixed")
    result = fake_runs.run(spec)
    empty = fake_runs.FakeResult(row=result.row, events=[], extensions=[], strip=None, trace_hash="0")
    store.write(spec, empty, wall_s=1.0)
    assert store.read("events", [spec]).height == 0
    assert set(EVENT_COLUMNS) <= set(store.read("events", [spec]).columns)
    assert store.read("rows", [spec])["crossings_n"][0] == 0
    assert store.strip(spec) is None


def test_an_event_that_lacks_a_column_is_refused_and_nothing_is_stored(store, fake_runs):
    spec = make_spec()
    result = fake_runs.run(spec)
    del result.events[3]["wait_s"]
    with pytest.raises(ScenarioError, match="lacks wait_s"):
        store.write(spec, result, wall_s=1.0)
    assert not store.is_done(spec)
    store.sweep()
    assert list(store.parts.iterdir()) == []


def test_two_processes_may_store_the_same_run(tmp_path, fake_runs):
    spec = make_spec()
    for token in ("a", "b"):
        RunStore(folder=tmp_path, version="1", token=token).write(spec, fake_runs.run(spec), wall_s=1.0)
    assert [path.name[0] != "." for path in (tmp_path / "parts").iterdir()] == [True]


def test_counts_by_hand():
    def walker(entry, mobility_class="adult", *, residual=False, within=True, entered_s=1.0):
        return {
            "entered_s": entered_s,
            "entry": entry,
            "mobility_class": mobility_class,
            "is_residual": residual,
            "is_within_max": within,
        }

    counts = event_counts(
        [
            walker("walk_first"),
            walker("walk_second", "frail", residual=True, within=False),
            walker("walk_second", residual=True),
            walker("clearance", residual=True),
            walker("red", within=False),
            walker(None, within=None, entered_s=None),
        ]
    )
    assert (counts["residual_n"], counts["crossings_n"]) == (3, 5)
    assert (counts["residual_n_legal"], counts["crossings_n_legal"]) == (2, 3)
    assert (counts["residual_n_within_max"], counts["crossings_n_within_max"]) == (1, 2)
    assert (counts["residual_n_frail"], counts["crossings_n_frail"]) == (1, 1)


def test_the_version_follows_files_named_on_the_command_line(tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text("a = 1", encoding="utf-8")
    before = code_version([plan])
    plan.write_text("a = 2", encoding="utf-8")
    assert code_version([plan]) != before
    assert code_version() == code_version()


def test_nan_maximum_of_a_row_is_replaced_by_the_specs(store, fake_runs):
    spec = make_spec()
    result = fake_runs.run(spec)
    result.row["extension_max_s"] = math.nan
    store.write(spec, result, wall_s=1.0)
    assert store.read("rows", [spec])["extension_max_s"][0] is None
