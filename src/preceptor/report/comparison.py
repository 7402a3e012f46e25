"""What `preceptor compare` shows: a table for the terminal, plain sentences, and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from preceptor.records import Comparison
from preceptor.report import draw
from preceptor.report.page import shown, template
from preceptor.store.stages import write_text

VERDICTS = {
    "gain": "is a gain beyond noise",
    "loss": "is a loss beyond noise",
    "noise": "cannot be told from noise",
    "no result": "is no result",
}
HEAD = ("", "accuracy", "against", "gain in accuracy", "gain in macro-F1", "p", "p Holm", "says", "can be found")
SENTENCES = 6
"""So many sentences about gaps that could be found are printed; more become one."""
_LEVEL = 0.05


def compare_table(comparisons: Sequence[Comparison]) -> str:
    """One line per comparison, columns aligned, then McNemar's test for each pair of seeds."""
    lines: list[Sequence[str]] = [HEAD, *map(_cells, comparisons)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join(
        [*table, "", "seed by seed, items that only the baseline or only the arm has right:", *_seeds(comparisons)]
    )


def _cells(one: Comparison) -> list[str]:
    return [
        title(one),
        draw.in_text(one.arm_accuracy),
        draw.in_text(one.baseline_accuracy),
        draw.in_text(one.gain_accuracy, "+"),
        draw.in_text(one.gain_macro_f1, "+"),
        *(p_value(p) for p in (one.p, one.p_holm)),
        one.verdict,
        points(one.detectable),
    ]


def _seeds(comparisons: Sequence[Comparison]) -> list[str]:
    lines = []
    for one in comparisons:
        pairs = [
            f"{'' if pair.arm_seed == pair.baseline_seed else f'{pair.baseline_seed}-'}{pair.arm_seed}: "
            f"{pair.lost}/{pair.won} p {p_value(pair.p)}"
            for pair in one.pairs
        ]
        lines.append(f"  {title(one)}  seed {'; '.join(pairs)}")
    return lines


def title(one: Comparison) -> str:
    """Setting, arm and baseline."""
    return f"{one.setting + ': ' if one.setting else ''}{one.arm} against {one.baseline}"


def p_value(p: float | None) -> str:
    """A p-value with four decimals, or that it is below the least of these."""
    if p is None:
        return "no result"
    return "<.0001" if p < 0.0001 else f"{p:.4f}"


def points(gap: float | None) -> str:
    """A gap in points, rounded up so that it is never promised too small."""
    return "no result" if gap is None else f"{_up(gap)} points"


def _up(gap: float) -> str:
    return f"{-(-gap * 1000 // 1) / 10:.1f}"


def compare_sentences(comparisons: Sequence[Comparison]) -> list[str]:
    """The result in plain sentences: what each comparison says, and which gap could have been found."""
    said = [_said(one, len(comparisons)) for one in comparisons]
    could = list(dict.fromkeys(_could(one, len(comparisons)) for one in comparisons))
    said += could if len(could) <= SENTENCES else [_could_all(comparisons)]
    if any(min(one.baseline_seeds, one.arm_seeds) < 2 for one in comparisons):
        said.append("Where one side has a single seed, how much its training varies is not known, and not counted.")
    return said


def _said(one: Comparison, family: int) -> str:
    if one.verdict == "no result":
        few = "there are too few items to tell anything"
        return f"{title(one)}: no result, {few}."
    line = f"{title(one)}: {one.arm_accuracy.value:.3f} against {one.baseline_accuracy.value:.3f}; the difference "
    line += f"{draw.in_text(one.gain_accuracy, '+')} {VERDICTS[one.verdict]}"
    if min(one.baseline_seeds, one.arm_seeds) < 2 and one.verdict != "noise":
        line += " of items"
    p = f"exact McNemar over all seeds p {p_value(one.p)}"
    line += f" ({p}{f', {p_value(one.p_holm)} after Holm over {family} comparisons' if family > 1 else ''})"
    if one.verdict == "noise" and one.p is not None and one.p < _LEVEL:
        among = one.p_holm is None or one.p_holm >= _LEVEL
        line += ", since one in so many is not rare" if among else ", since other seeds might turn it"
    return f"{line}."


def _could_all(comparisons: Sequence[Comparison]) -> str:
    """The gaps of many comparisons in one sentence; the table has each."""
    gaps = sorted(one.detectable for one in comparisons if one.detectable is not None)
    among = sorted(one.detectable_in_family for one in comparisons if one.detectable_in_family is not None)
    if not gaps or not among:
        return "Nothing can be said about which gaps could be found."
    return (
        f"Gaps under {_up(gaps[0])} to {_up(gaps[-1])} points (the table's last column), under {_up(among[0])} to "
        f"{_up(among[-1])} among {len(comparisons)} comparisons, cannot be told from noise."
    )


def _could(one: Comparison, family: int) -> str:
    seeds = (
        f"{one.arm_seeds} seed{'s' * (one.arm_seeds != 1)}"
        if one.arm_seeds == one.baseline_seeds
        else f"{one.arm_seeds} against {one.baseline_seeds} seeds"
    )
    contexts = f" of {one.contexts} contexts" if one.contexts < one.n else ""
    items = f"With {one.n} item{'s' * (one.n != 1)}{contexts} and {seeds}"
    name = f" ({title(one)})" if family > 1 else ""
    if one.detectable is None or one.detectable_in_family is None:
        return f"{items}{name} nothing can be said about which gap could be found."
    among = f", under {_up(one.detectable_in_family)} among {family} comparisons" if family > 1 else ""
    return f"{items} a gap under {_up(one.detectable)} points{among} cannot be told from noise{name}."


# --- the page -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class View:
    """A comparison with its picture."""

    one: Comparison
    title: str
    value: str
    picture: Markup
    p: str
    p_holm: str
    detectable: str
    pairs: tuple[tuple[str, str], ...]
    """Seeds of both sides, and what McNemar's test says of them."""


def build_comparison(comparisons: Sequence[Comparison], notes: Sequence[str], command: str, path: Path) -> Path:
    """Write the page to `path`, whole or not at all, and return the path. Raises `StorageError`."""
    write_text(path, render_comparison(comparisons, notes, command).encode("utf-8", errors="replace").decode("utf-8"))
    return path


def render_comparison(comparisons: Sequence[Comparison], notes: Sequence[str], command: str) -> str:
    """The page as HTML text."""
    axis = draw.difference_axis(one.gain_accuracy for one in comparisons)
    return template("comparison.html").render(
        views=[_view(one, axis) for one in comparisons],
        scale=draw.scale(axis, sign=True),
        sentences=compare_sentences(comparisons),
        notes=notes,
        command=command,
    )


def _view(one: Comparison, axis: draw.Axis) -> View:
    return View(
        one=one,
        title=title(one),
        value=shown(one.gain_accuracy, sign=True),
        picture=draw.strip(one.gain_accuracy, axis, kind="arm", zero=True),
        p=p_value(one.p),
        p_holm=p_value(one.p_holm),
        detectable=points(one.detectable),
        pairs=tuple(
            (
                f"{pair.baseline_seed} and {pair.arm_seed}",
                f"{pair.lost} only the baseline, {pair.won} only the arm, p {p_value(pair.p)}",
            )
            for pair in one.pairs
        ),
    )
