"""What a comparison says, in sentences whose every number comes with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bitgoeul.training.intervals import MEASURE, Interval, Summary, format_interval

PERFECT: Final = "perfect"
"""Detector preset that misses nothing: what others are held against."""
RATE: Final = "residual_per_10k"
PROMISE: Final = "residual_within_max_per_10k"
PRICES: Final = (
    ("vehicle_delay_s", "vehicle delay", "s"),
    ("ped_wait_s", "walkers' wait", "s"),
    ("person_hours_per_h", "delay of all persons", "person-h/h"),
)
"""Measure, words and unit of what is paid for fewer residual walkers."""
DOUBTS: Final = (
    ("vehicles_unserved_n", "vehicles not served"),
    ("teleports_n", "vehicles teleported"),
    ("jammed_n", "walkers jammed"),
)
"""What makes runs less than sound, per run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One item of the verdict.

    Parameters
    ----------
    about : controller or topic.
    text : what is said of it.
    """

    about: str
    text: str


def verdicts(summaries: Sequence[Summary], shown: Sequence[Summary]) -> list[Verdict]:
    """Return what is to be said of one site.

    Parameters
    ----------
    summaries : all conditions of the site.
    shown : one summary per controller under the headline condition; the first is the baseline.
    """
    said = [Verdict(about=summary.controller, text=_on_controller(summary)) for summary in shown]
    if kept := _kept(summaries, shown):
        said.append(Verdict(about="Detection", text=" ".join(kept)))
    if other_form := _other_form(summaries, shown):
        said.append(Verdict(about="The other form of extension", text=" ".join(other_form)))
    if health := _health(shown):
        said.append(Verdict(about="Health of the runs", text=health))
    return said


def _on_controller(summary: Summary) -> str:
    rate = format_interval(summary.measures[RATE], 0)
    first = f"{rate} residual walkers per 10,000 crossings"
    if summary.baseline is None:
        sentences = [f"{first}; the others are compared with this.", _promise(summary)]
    else:
        sentences = [f"{first}, {_change(summary)}.", _promise(summary), _price(summary)]
    return " ".join(sentence for sentence in sentences if sentence)


def _change(summary: Summary) -> str:
    """Say how residual walkers change against the baseline, such as `65 % (60 to 70) fewer than fixed`."""
    change, difference = summary.changes[RATE], summary.differences[RATE]
    if change.mean is None:
        return f"a change against {summary.baseline} that cannot be told"
    sign, word = (-1.0, "fewer") if change.mean < 0 else (1.0, "more")
    ends = sorted(sign * 100 * end for end in (change.low, change.high) if end is not None)
    interval = f" ({ends[0]:.0f} to {ends[1]:.0f})" if ends else ""
    said = f"{sign * 100 * change.mean:.0f} %{interval} {word} than {summary.baseline}"
    if difference.low is None:
        return f"{said} (one seed, no interval)"
    return said if difference.excludes_zero() else f"{said}, which is no clear difference"


def _promise(summary: Summary) -> str:
    """Say what became of the legal starters whom the maximum covers."""
    stayed, crossings = summary.counts[PROMISE]
    if not crossings:
        return ""
    bound = summary.measures[PROMISE]
    if stayed == 0:
        return (
            f"Of {crossings:,} legal starters within the maximum none was still on the crossing at a "
            f"conflicting green (95 % bound: {bound.high or 0.0:,.1f} per 10,000)."
        )
    return (
        f"Of {crossings:,} legal starters within the maximum {stayed:,} {'was' if stayed == 1 else 'were'} "
        f"still on the crossing at a conflicting green: {format_interval(bound)} per 10,000."
    )


def _price(summary: Summary) -> str:
    """Say what vehicles and persons pay or gain against the baseline."""
    parts = [
        f"{words} {_signed(summary.differences[name], MEASURE[name].digits)} {unit}"
        for name, words, unit in PRICES
        if summary.differences[name].mean is not None
    ]
    return f"Against {summary.baseline}: {', '.join(parts)}." if parts else ""


def _signed(interval: Interval, digits: int) -> str:
    """Return `+6.2 (+5.0 to +7.1)`; one that may be zero says so."""
    mean, low, high = (
        f"{round(value or 0.0, digits) + 0.0:+,.{digits}f}"  # + 0.0: never "-0.0"
        for value in (interval.mean, interval.low, interval.high)
    )
    if interval.low is None or interval.high is None:
        return mean
    unclear = "" if interval.excludes_zero() else "; not clear"
    return f"{mean} ({low} to {high}{unclear})"


def _kept(summaries: Sequence[Summary], shown: Sequence[Summary]) -> list[str]:
    """Say how much of perfect detection's reduction each other detector keeps."""
    sentences = []
    for summary in _beside(summaries, shown, free="detector"):
        perfect = [
            other
            for other in _beside(summaries, shown, free="detector")
            if other.condition["detector"] == PERFECT and other.controller == summary.controller
        ]
        detector = summary.condition["detector"]
        if detector == PERFECT or not perfect or summary.baseline is None:
            continue
        kept, best = summary.differences[RATE].mean, perfect[0].differences[RATE].mean
        if kept is not None and best is not None and best < 0:
            sentences.append(
                f"{summary.controller} with {detector} keeps {100 * kept / best:.0f} % of the reduction that "
                f"perfect detection gives ({kept:+,.0f} against {best:+,.0f} per 10,000)."
            )
    return sentences


def _other_form(summaries: Sequence[Summary], shown: Sequence[Summary]) -> list[str]:
    """Say what each controller does in the other form of extension."""
    return [
        f"{summary.controller}, form {summary.condition['form']}: "
        f"{format_interval(summary.measures[RATE], 0)} residual walkers per 10,000 crossings, vehicle delay "
        f"{format_interval(summary.measures['vehicle_delay_s'])} s."
        for summary in _beside(summaries, shown, free="form")
        if summary not in shown
    ]


def _beside(summaries: Sequence[Summary], shown: Sequence[Summary], *, free: str) -> list[Summary]:
    """Return the summaries that differ from one shown at most in the condition's column `free`."""

    def rest(summary: Summary) -> dict[str, object]:
        return {name: value for name, value in summary.condition.items() if name != free}

    kept = [rest(summary) for summary in shown]
    return [summary for summary in summaries if rest(summary) in kept]


def _health(shown: Sequence[Summary]) -> str:
    """Say what makes runs less than sound; nothing if all are."""
    sentences = []
    for name, words in DOUBTS:
        counts = [
            f"{summary.controller} {mean:,.1f}" for summary in shown if (mean := summary.measures[name].mean)
        ]
        if counts:
            sentences.append(f"{words.capitalize()} per run: {', '.join(counts)}.")
    return " ".join(sentences)
