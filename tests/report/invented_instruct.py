"""Invented runs of recipes of instructions, for the tests of their report.

Every number and every sentence here is made up for these tests. To look at the pages:
`python tests/report/invented_instruct.py FOLDER`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from invented_runs import LONG, MARKUP, PROVENANCE, TEACHER, course

from preceptor.records import Estimate, Instruction, InstructSummary, Interval, MatrixEntry, Spend, TasksFunnel
from preceptor.report.build_instruct import build_instruct

QA, IE, GEN = "question_answering", "information_extraction", "generation"

BENCHMARKS = {
    "teas": (QA, "likelihood", {"accuracy": 0.552, "macro_f1": 0.31}),
    "riddles": (QA, "likelihood", {"accuracy": 0.61, "macro_f1": 0.58}),
    "boards": (QA, "generation", {"accuracy": 0.23}),
    "ailments": (IE, "generation", {"strict_f1": 0.18, "relaxed_f1": 0.26}),
    "visits": (GEN, "generation", {"rouge1": 0.21, "rougeL": 0.17, "embedding": 0.48}),
}
"""Name -> category, how it is read, score of the student before tuning by metric."""

ARMS: dict[str, dict[str, float]] = {
    "all": {"generated": 1.0},
    "qa": {f"generated:{QA}": 1.0},
    "ie": {f"generated:{IE}": 1.0},
    "gen": {f"generated:{GEN}": 1.0},
    "people-qa": {"riddles": 0.5, "teas": 0.5},
    "people-ie": {"ailments": 1.0},
    "mixed": {"generated": 3.0, "ailments": 1.0},
}

GAINS: dict[str, dict[str, tuple[float, float]]] = {
    "all": {"teas": (0.021, 0.2), "riddles": (0.008, 1.0), "boards": (0.19, 0.004), "ailments": (0.11, 0.01)},
    "qa": {"teas": (0.034, 0.012), "riddles": (0.018, 0.4), "boards": (0.22, 0.002), "visits": (-0.012, 1.0)},
    "people-qa": {"teas": (0.092, 0.002), "riddles": (0.054, 0.02), "boards": (0.24, 0.002), "ailments": (-0.05, 0.03)},
    "people-ie": {"teas": (-0.004, 1.0), "ailments": (0.31, 0.002), "visits": (-0.02, 0.8)},
    "mixed": {"teas": (0.02, 0.3), "ailments": (0.28, 0.002), "visits": (0.01, 1.0)},
    "gen": {"teas": (-0.01, 1.0), "visits": (0.071, 0.006)},
}
"""Arm -> benchmark -> gain in the benchmark's first metric, and p after correction; else (0.003, 1.0)."""


def interval(value: float, half: float, method: str) -> Interval:
    return Interval(value - half, value + half, method=method)


def entry(student: str, arm: str, benchmark: str, metric: str, lower: float = 0.0) -> MatrixEntry:
    category, read, scores = BENCHMARKS[benchmark]
    first = next(name for name in ("accuracy", "strict_f1", "rougeL") if name in scores)
    gain, p_holm = GAINS.get(arm, {}).get(benchmark, (0.003, 1.0))
    gain = (gain if metric == first else gain / 2) - lower
    value = scores[metric] - lower + (0.0 if arm == "none" else gain)
    unread = 0 if read == "likelihood" else 270 if (arm, benchmark) == ("none", "boards") else 12
    made = MatrixEntry(student, arm, benchmark, category, metric, n=300)
    made = dataclasses.replace(
        made,
        seeds=(1,) if arm == "none" else (1, 2, 3),
        estimate=Estimate(value, interval(value, 0.041, "bootstrap"), None if arm == "none" else 0.013),
        outcomes={"answered": 300 - unread, "unparsed": unread},
        counts={"hallucinated": 37 if arm == "none" else 111} if category == IE else {},
    )
    if arm == "none":
        return made
    half = abs(gain) * 0.6 if p_holm < 0.05 else abs(gain) + 0.02
    return dataclasses.replace(
        made, gain=Estimate(gain, interval(gain, half, "paired bootstrap")), p=p_holm / 20, p_holm=p_holm
    )


def not_run(student: str, arm: str, benchmark: str, metric: str, note: str) -> MatrixEntry:
    return MatrixEntry(student, arm, benchmark, BENCHMARKS[benchmark][0], metric, note=note)


FEW = "only 37 generated tasks of information extraction; an arm needs 100"


def entries(student: str, lower: float = 0.0, arms: tuple[str, ...] = tuple(ARMS)) -> list[MatrixEntry]:
    return [
        not_run(student, arm, name, metric, FEW) if arm == "ie" else entry(student, arm, name, metric, lower)
        for name, (_, _, scores) in BENCHMARKS.items()
        for arm in ("none", *arms)
        for metric in scores
    ]


def task(number: int, category: str, instruction: str, more: str = "", output: str = "") -> Instruction:
    answer = output or "It is brewed from the leaves of a made-up bush."
    return Instruction(f"task-{number:04}", instruction, more, answer, category, "instruct")


KEPT = (
    task(1, QA, "Answer the question about the tea in one sentence.", "Where does lemon bush tea come from?"),
    task(2, QA, "Which of these drinks is served cold? Name the letter only.", "A: stew. B: iced tea.", "B"),
    task(3, IE, "List every ailment that the letter names, one per line.", "My knee is stiff. " * 60, "stiff knee"),
    task(4, GEN, "Write a short note for the gardener's file from this talk.", "Gardener: the mat was too warm."),
    task(5, "other", "Sort the mats by price."),
)
DROPPED = (
    ("near_duplicate", task(6, QA, "Answer the question about a tea in one sentence.", "Where does it come from?")),
    ("asks_for_what_cannot_be_seen", task(7, GEN, "Draw a picture of the garden.")),
    ("near_duplicate", task(8, QA, "In one sentence answer the question about the tea.")),
)

PICTURE = (
    '<svg viewBox="0 0 200 40" width="200" height="40" role="img" xmlns="http://www.w3.org/2000/svg"><title>Verbs</title>'
    '<path d="M0 0h100v20h-100z" fill="#1d5f8a"/><text x="4" y="14" fill="#fff">write &lt;note&gt;</text></svg>'
)

DIVERSITY: dict[str, object] = {
    "tasks": 1204,
    "empty_inputs": 88,
    "roots": {
        "verbs": 902,
        "questions": 240,
        "none": 62,
        "different_verbs": 91,
        "top": [
            {
                "verb": "list",
                "tasks": 120,
                "objects": [{"noun": "symptom", "tasks": 30}, {"noun": "cause", "tasks": 12}],
            },
            {"verb": "write", "tasks": 95, "objects": [{"noun": "note", "tasks": 41}]},
        ],
        "question_words": {"what": 120, "why": 60},
    },
    "words": {"instruction": {"mean": 14.2, "quantiles": {"0": 4, "50": 13, "100": 61}}},
    "picture": PICTURE,
    "length_picture": PICTURE.replace("Verbs", "Lengths"),
}


def funnel() -> TasksFunnel:
    return TasksFunnel(
        teacher=TEACHER,
        seeds=80,
        requests=4096,
        candidates=3900,
        unreadable={"no_output": 130, "empty": 66},
        dropped={"too_short": 310, "asks_for_what_cannot_be_seen": 55, "near_duplicate": 2290, "not_english": 41},
        kept=1204,
        kept_by_category={QA: 700, IE: 37, GEN: 380, "other": 87},
        category_by={"teacher": 1100, "rules": 104},
        stopped="fewer than 2 % of the last 1,024 requests' tasks were kept",
        nearest_f=(0.0, 0.21, 0.28, 0.33, 0.37, 0.41, 0.46, 0.51, 0.57, 0.63, 0.7),
        outcomes={"answered": 4010, "cut_off": 80, "refused": 6},
    )


def full_instruct() -> InstructSummary:
    """Two students, seven arms of all kinds, one of them not run, five benchmarks."""
    about = {
        name: {
            "category": category,
            "kind": "choice" if category == QA else "iob" if category == IE else "dialogue-note",
            "read": read,
            "items": {"train": 1200, "validation": 100, "test": 300},
            "licence": "MIT",
            "notes": ("Invented items.",),
        }
        for name, (category, read, _) in BENCHMARKS.items()
    }
    short = tuple(arm for arm in ARMS if arm not in ("mixed", "gen"))
    found = [*entries("smollm2"), *entries("tinier", 0.02, short)]
    told = {"method": "LoRA r 16, alpha 32", "steps": 400, "seconds": 731.2, "trained_weights": 4_884_480}
    return InstructSummary(
        name="ablation",
        title="Which tasks help a small student with which benchmarks?",
        notice="Invented run for tests: no figure on this page was measured.",
        notes=("Items that an arm was tuned on are never scored.",),
        funnel=funnel(),
        samples=KEPT,
        dropped=DROPPED,
        diversity=DIVERSITY,
        sources={"generated": 1204, f"generated:{QA}": 700, f"generated:{IE}": 37, "ailments": 1200, "teas": 1200},
        benchmarks=about,
        arms=ARMS,
        entries=tuple(found),
        training={f"smollm2/{arm}": told for arm in ARMS if arm != "ie"} | {f"tinier/{arm}": told for arm in short},
        spend={TEACHER: Spend(4096, 4000, 812_411, 221_905, 0.0)},
        provenance=PROVENANCE,
        recipe='name = "ablation"\n\n[arms]\nqa = { "generated:question_answering" = 1.0 }\n',
        command="preceptor run recipes/bioinstruct/ablation.toml",
        courses=tuple(course("", "smollm2", arm, seed, too_long=3) for arm in ("qa", "mixed") for seed in (1, 2)),
    )


def noise_only() -> InstructSummary:
    """One student, one arm, one seed, nothing generated, nothing beyond noise, and values that are missing."""
    lost = dataclasses.replace(entry("tinier", "people-qa", "visits", "rougeL"), estimate=None, gain=None, p=None)
    flat = [
        dataclasses.replace(
            e, seeds=(7,), outcomes={"answered": 300}, p_holm=None if e.arm == "none" else 1.0, gain=e.gain and small()
        )
        for e in entries("tinier", arms=("people-qa",))
        if e.metric in ("accuracy", "strict_f1")
    ]
    broken = dataclasses.replace(flat[0], benchmark="riddles", metric="macro_f1", estimate=Estimate(float("nan")))
    return dataclasses.replace(
        full_instruct(),
        notice="",
        notes=(),
        funnel=None,
        samples=(),
        dropped=(),
        diversity={},
        arms={"people-qa": ARMS["people-qa"]},
        entries=(
            *flat,
            broken,
            dataclasses.replace(lost, p_holm=None, outcomes={}, note="no result: the student wrote nothing"),
        ),
        training={},
        spend={},
    )


def small() -> Estimate:
    return Estimate(0.004, interval(0.004, 0.02, "paired bootstrap"))


def only_tasks() -> InstructSummary:
    """A run that wrote tasks and tuned nobody."""
    return dataclasses.replace(
        full_instruct(), entries=(), arms={}, training={}, benchmarks={}, diversity={"picture": "<svg onload='a()'/>"}
    )


def hostile_instruct(text: str = MARKUP) -> InstructSummary:
    """Every text of a run holds `text`, keys included; only metrics and kinds of sources keep their names."""

    def swap(value: object) -> object:
        if isinstance(value, str):
            return value + text
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            named = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            return dataclasses.replace(value, **{k: v if k == "metric" else swap(v) for k, v in named.items()})
        if isinstance(value, Mapping):
            return {swap(k): swap(v) for k, v in value.items()}
        return tuple(swap(v) for v in value) if isinstance(value, tuple | list) else value

    given = full_instruct()
    swapped = swap(given)
    assert isinstance(swapped, InstructSummary)
    about = {swap(name): {k: swap(v) for k, v in told.items()} for name, told in given.benchmarks.items()}
    pictures = {**{k: swap(v) for k, v in given.diversity.items()}, "roots": given.diversity["roots"]}
    return dataclasses.replace(swapped, benchmarks=about, diversity=pictures)  # type: ignore[arg-type]


def wide_instruct() -> InstructSummary:
    """Long names, twelve more benchmarks of a category that nobody knows, one benchmark whose value is lost."""
    given = full_instruct()
    renamed = [
        dataclasses.replace(e, student=f"{LONG}student", arm=e.arm if e.arm == "none" else f"{e.arm}-{LONG}")
        for e in given.entries
        if e.student == "smollm2"
    ]
    more = [
        dataclasses.replace(e, benchmark=f"bench-number-{n}-{LONG * (n == 3)}", category="law")
        for n in range(12)
        for e in renamed
        if e.benchmark == "boards"
    ]
    return dataclasses.replace(
        given,
        name=LONG,
        title=f"Does {LONG} help?",
        arms={f"{arm}-{LONG}": {f"{s}": w for s, w in sources.items()} for arm, sources in given.arms.items()},
        entries=(*renamed, *more),
        funnel=dataclasses.replace(funnel(), kept=1200, dropped={LONG: 3, **funnel().dropped}),
        command=f"preceptor run {LONG}.toml --set train.alpha={'9' * 200}",
    )


if __name__ == "__main__":
    import sys

    for made in (full_instruct, noise_only, only_tasks, hostile_instruct, wide_instruct):
        build_instruct(made(), Path(sys.argv[1]) / f"{made.__name__}.html")
