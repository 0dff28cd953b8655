"""Counting who departs in a route file, flows included."""

from __future__ import annotations

import gzip

import pytest

from bitgoeul.sim_scenarios.route_files import moved_to_begin, read_route_demand

FLOWS = {
    'number="30"': 30.0,
    'vehsPerHour="360"': 60.0,
    'perHour="36"': 6.0,
    'probability="0.1"': 60.0,
    'period="12"': 50.0,
    'period="exp(0.05)"': 30.0,
}


@pytest.mark.parametrize("rate", FLOWS)
def test_a_flow_of_ten_minutes_counts_by_its_rate(tmp_path, rate):
    path = tmp_path / "x.rou.xml"
    path.write_text(
        f'<routes><flow id="f" begin="100" end="0:11:40" {rate}><route edges="a b"/></flow></routes>',
        encoding="utf-8",
    )
    demand = read_route_demand(path)
    assert demand.vehicles_n == pytest.approx(FLOWS[rate])
    assert (demand.begin_s, demand.end_s) == (100.0, 700.0)
    assert demand.persons_per_s == pytest.approx(FLOWS[rate] / 600)


def test_a_rate_with_a_number_ends_when_all_have_departed(tmp_path):
    path = tmp_path / "x.rou.xml"
    path.write_text('<routes><flow id="f" begin="0" period="2" number="10"/></routes>', encoding="utf-8")
    demand = read_route_demand(path)
    assert (demand.vehicles_n, demand.end_s) == (10.0, 20.0)


def test_vehicles_trips_and_persons_count_one_each_also_compressed(tmp_path):
    path = tmp_path / "x.rou.xml.gz"
    walk = '<walk from="a" to="b"/>'
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.write(
            '<routes><vType id="t"/><vehicle id="a" depart="10"><route edges="a b"/></vehicle>'
            f'<trip id="b" depart="20"/><person id="p" depart="30">{walk}</person>'
            f'<personFlow id="q" begin="0" end="60" number="4">{walk}</personFlow></routes>'
        )
    demand = read_route_demand(path)
    assert (demand.vehicles_n, demand.persons_n) == (2.0, 5.0)
    assert (demand.begin_s, demand.end_s) == (0.0, 60.0)


def test_a_file_that_begins_late_is_copied_with_its_times_moved_back(tmp_path):
    path = tmp_path / "x.rou.xml"
    path.write_text(
        '<routes><trip id="a" from="e" to="f" depart="7210.50"><stop edge="e" until="7300"/></trip>'
        '<flow id="b" begin="2:00:30" period="10"/><person id="p" depart="triggered"/></routes>',
        encoding="utf-8",
    )
    demand = read_route_demand(path)
    before = path.read_bytes()
    moved = moved_to_begin(demand, tmp_path / "copies")
    assert path.read_bytes() == before
    text = moved.path.read_text(encoding="utf-8")
    assert 'depart="10.50"' in text
    assert 'until="100.00"' in text
    assert 'begin="30.00"' in text
    assert 'end="79200.00"' in text  # a flow without an end lasts to the end of the day
    assert 'depart="triggered"' in text
    assert (moved.begin_s, moved.moved_s) == (10.5, 7200.0)
