"""Invented runs, for the tests of the report.

Every number and every sentence here is made up for these tests: the summaries have the shape of a real run on
a set with PubMedQA's label counts, and hold no text of any data set. To look at the pages:
`python tests/report/invented_runs.py FOLDER`.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from preceptor.records import (
    KEEP,
    Agreement,
    Arm,
    Calibration,
    Corrected,
    Course,
    Estimate,
    Example,
    Funnel,
    Interval,
    Judgement,
    LabellerCheck,
    ReliabilityBin,
    Row,
    RunSummary,
    Sample,
    SeedAgreement,
    Source,
    Spend,
    TeacherScore,
    content_hash,
    course_of,
    drop,
)
from preceptor.report.build import build

LABELS = ("yes", "no", "maybe")
TEST = {"yes": 276, "no": 169, "maybe": 55}
TEACHER = "builtin:smollm2-135m-instruct"


def interval(value: float, half: float, method: str = "bootstrap") -> Interval:
    return Interval(max(-1.0, value - half), min(1.0, value + half), method=method)


def confusion(recall: Mapping[str, float]) -> dict[str, dict[str, int]]:
    """Counts with the given recall; wrong answers go to the two other labels, most of them to the first."""
    table = {}
    for gold, n in TEST.items():
        hit = round(n * recall[gold])
        first, second = (label for label in LABELS if label != gold)
        table[gold] = {gold: hit, first: round((n - hit) * 0.85), second: n - hit - round((n - hit) * 0.85)}
    return table


def accuracy_f1(table: Mapping[str, Mapping[str, int]]) -> tuple[float, float]:
    f1 = []
    for label in LABELS:
        predicted = sum(row.get(label, 0) for row in table.values())
        f1.append(2 * table[label].get(label, 0) / (predicted + TEST[label]))
    return sum(table[label].get(label, 0) for label in LABELS) / 500, statistics.mean(f1)


def scored(kind: str, setting: str, tables: Sequence[Mapping[str, Mapping[str, int]]], **more: object) -> Row:
    pairs = [accuracy_f1(table) for table in tables]
    accuracy, macro = (statistics.mean(values) for values in zip(*pairs, strict=True))
    spread = [statistics.stdev(values) if len(values) > 1 else None for values in zip(*pairs, strict=True)]
    summed = {g: {p: sum(t[g].get(p, 0) for t in tables) for p in LABELS} for g in LABELS}
    row = Row(
        kind=kind,
        setting=setting,
        n=500,
        accuracy=Estimate(accuracy, interval(accuracy, 0.041, "wilson"), spread[0]),
        macro_f1=Estimate(macro, interval(macro, 0.045), spread[1]),
        recall=(recall := {label: summed[label][label] / (TEST[label] * len(tables)) for label in LABELS}),
        recall_intervals={label: Interval(0.9 * value, 0.1 + 0.9 * value) for label, value in recall.items()},
        confusion=summed,
        outcomes={"answered": 500 * len(tables), "unparsed": 0, "refused": 0, "cut_off": 0},
    )
    return dataclasses.replace(row, **more)  # type: ignore[arg-type]


def probabilities(accuracy: float, too_sure: float, seeds: int) -> dict[str, object]:
    """Calibration and agreement of invented students that are too sure by `too_sure`."""
    bins = []
    for number, share in ((3, 0.04), (4, 0.1), (5, 0.16), (6, 0.2), (7, 0.2), (8, 0.18), (9, 0.12)):
        sure = number / 10 + 0.05
        right = max(0.0, sure - too_sure)
        bins.append(
            ReliabilityBin(
                number / 10,
                (number + 1) / 10,
                round(500 * seeds * share),
                sure,
                right,
                interval(right, 0.02 / share**0.5),
            )
        )
    shares = dict(zip(LABELS, (0.553, 0.345, 0.102), strict=True))
    fixed = Corrected(
        50,
        dict(zip(LABELS, (0.64, 0.33, 0.03), strict=True)),
        shares,
        Estimate(accuracy - 0.01, interval(accuracy - 0.01, 0.04), 0.012),
        Estimate(accuracy - 0.1, interval(accuracy - 0.1, 0.05), 0.02),
        {name: Estimate(at, interval(at, 0.05)) for name, at in zip(LABELS, (0.74, 0.66, 0.24), strict=True)},
    )
    calibration = Calibration(
        10,
        Estimate(too_sure, interval(too_sure, 0.03), 0.01),
        Estimate(too_sure + 0.004, interval(too_sure + 0.004, 0.03), 0.01),
        0.034,
        Estimate(0.51, interval(0.51, 0.05), 0.02),
        tuple(bins),
        fixed,
    )
    agreement = SeedAgreement(seeds, Estimate(0.81, interval(0.81, 0.03)), Estimate(0.63, interval(0.63, 0.05)))
    return {"calibration": calibration, "agreement": agreement if seeds > 1 else None}


def trained(setting: str, student: str, arm: str, recall: tuple[float, float, float], **more: object) -> Row:
    jitter = (-0.02, 0.004, 0.014)
    tables = [confusion({g: r + j for g, r in zip(LABELS, recall, strict=True)}) for j in jitter]
    seeds = (1, 2, 3)
    return scored(
        "arm",
        setting,
        tables,
        student=student,
        arm=arm,
        seeds=seeds,
        seed_scores=tuple((seed, *accuracy_f1(table)) for seed, table in zip(seeds, tables, strict=True)),
        method="LoRA r 8, alpha 16 (alpha/r 2)",
        real_items=450,
        generated_items=0 if arm == "none" else 61,
        steps=342,
        seconds=247.3,
        recall_intervals={label: interval(share, 0.06) for label, share in zip(LABELS, recall, strict=True)},
        **probabilities(0.68, 0.09 if arm == "none" else 0.05, 3),
        **more,
    )


def references(setting: str, human: tuple[float, float, float] | None) -> list[Row]:
    rows = [scored("floor", setting, [{g: {"yes": n, "no": 0, "maybe": 0} for g, n in TEST.items()}])]
    if human is not None:
        rows.append(scored("human", setting, [confusion(dict(zip(LABELS, human, strict=True)))]))
    return rows


def gain(value: float, half: float) -> Estimate:
    return Estimate(value, interval(value, half, "paired bootstrap"))


def sample(number: int, setting: str, old: str, new: str, verdict: str = "", filter: str = "", **more: str) -> Sample:
    context = (
        "Two hundred volunteers of a made-up trial drank the tea or warm water each evening for six weeks. "
        "Sleep was measured with a wrist sensor. The mean difference was 4 minutes (95% interval -7 to 15). " * 4
    )
    parent = Example(f"demo-{number:04}", {"question": old, "context": context}, "no")
    source = Source("rewrite", "rewrite-question.v1", "8c1f", TEACHER, content_hash(number), "stop", ("question",))
    child = Example(
        f"demo-{number:04}-rewrite-0",
        {"question": new, "context": context},
        "no",
        "rewrite",
        (parent.id,),
        None,
        source,
    )
    return Sample(setting, "rewrite", drop(verdict, more.get("detail", "")) if verdict else KEEP, filter, child, parent)


def samples(setting: str) -> list[Sample]:
    tea = "Does an evening tea prolong sleep in adults with mild insomnia?"
    mat = "Do heated mats reduce stiffness of the knee in 120 gardeners over 8 weeks?"
    return [
        sample(1, setting, tea, "Do adults with mild insomnia sleep longer after an evening tea?"),
        sample(2, setting, mat, "Is stiffness of the knee in 120 gardeners reduced by heated mats over 8 weeks?"),
        sample(
            3,
            setting,
            "Is a short walk after lunch associated with fewer headaches?",
            "Is a short walk after the midday meal linked to fewer headaches?",
        ),
        sample(
            4,
            setting,
            "Can peppermint drops ease hoarseness in singers?",
            "Can drops of peppermint ease the hoarseness of singers?",
        ),
        sample(5, setting, mat, "Do heated mats reduce stiffness?", "lost_number", "drift", detail="120, 8"),
        sample(6, setting, tea, tea, "copy", "drift", detail="similarity 1.000"),
        sample(
            7,
            setting,
            tea,
            "The participants were asked what they drank and the answer of the question is sleeping.",
            "not_a_question",
            "wellformed",
        ),
        sample(8, setting, mat, "Do heated mats not reduce stiffness of the knee?", "negation_changed", "drift"),
    ]


def funnel(setting: str, **more: object) -> Funnel:
    made = Funnel(
        setting=setting,
        strategy="rewrite",
        asked=450,
        candidates=431,
        unreadable={"empty": 4, "no_marker": 15},
        dropped={
            "wellformed": {"not_a_question": 71, "too_short": 22, "refusal": 3},
            "drift": {"low_similarity": 168, "copy": 41, "lost_number": 37, "negation_changed": 12},
            "duplicates": {"near_duplicate": 9},
            "leakage": {"ngram_in_test": 7},
        },
        kept=61,
        kept_by_label={"yes": 39, "no": 19, "maybe": 3},
        candidates_by_label={"yes": 239, "no": 144, "maybe": 48},
    )
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


def asked(setting: str) -> Funnel:
    """A funnel whose last filters asked a labeller and a judge."""
    made = funnel(setting)
    last = {"agreement": {"disagrees": 14, "unparsed": 2}, "judge": {"judge_inconsistent": 5}}
    by_label = {
        "wellformed": {
            "not_a_question": {"yes": 40, "no": 25, "maybe": 6},
            "too_short": {"no": 22},
            "refusal": {"no": 3},
        },
        "drift": {"low_similarity": {"yes": 110, "no": 40, "maybe": 18}, "copy": {"yes": 30, "no": 11}},
        "agreement": {"disagrees": {"yes": 2, "no": 4, "maybe": 8}, "unparsed": {"yes": 2}},
        "judge": {"judge_inconsistent": {"yes": 5}},
    }
    floor = Estimate(0.56, Interval(0.42, 0.69, method="wilson"))
    check = LabellerCheck(
        50,
        {"yes": 28, "no": 17, "maybe": 5},
        {"yes": 20, "no": 15, "maybe": 1},
        Estimate(0.72, Interval(0.58, 0.83, method="wilson")),
        "yes",
        floor,
    )
    return dataclasses.replace(
        made,
        dropped={**made.dropped, **last},
        dropped_by_label=by_label,
        kept=40,
        agreement=Agreement(
            TEACHER,
            "drop",
            asked={"yes": 39, "no": 19, "maybe": 3},
            agreed={"yes": 33, "no": 12},
            outcomes={"answered": 59, "unparsed": 2},
            check=check,
        ),
        judgement=Judgement(
            TEACHER,
            45,
            41,
            5,
            20,
            3,
            22,
            {"faithful": 4.25, "answerable": 3.5, "well_written": 4.0},
            {"faithful": 4.0, "answerable": 4.75, "well_written": 4.5},
            {"answered": 86, "refused": 4},
        ),
    )


PROVENANCE = {
    "commit": {"id": "0f3c9a7d51", "dirty": False},
    "machine": {"processor": "2 cores", "memory_gb": 8.0, "accelerator": None},
    "packages": {"preceptor": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2"},
    "seeds": [1, 2, 3],
    "prompts": {"rewrite-question.v1": "8c1f0a9be2d47716"},
    "models": {"builtin:minilm-l6": {"sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}},
    "stages": [{"name": "augment", "seconds": 611.2}, {"name": "train", "seconds": 2204.0}],
}

RECIPE = """name = "pubmedqa"
seeds = [1, 2, 3]

[data]
task = "pubmedqa"
split = "official"
settings = ["reasoning-required", "reasoning-free"]

[arms]
none = []
rewrite = ["rewrite"]
"""


def course(setting: str, student: str, arm: str, seed: int, **more: object) -> Course:
    """A training whose loss falls in waves, looked at three times."""
    losses = [1.1 / (1 + step / 20) + 0.1 * ((step * 7 + seed) % 5) for step in range(120)]
    checks = [{"step": step, "loss": 0.9 - step / 300 + 0.1 * (step == 120)} for step in (40, 80, 120)]
    return course_of(
        setting, student, arm, seed, {"steps": 120, "losses": losses, "checks": checks, "selected": 80, **more}
    )


KNOWS = TeacherScore(
    TEACHER,
    "likelihood of the labels",
    50,
    Estimate(0.58, Interval(0.442, 0.706, method="wilson")),
    {"answered": 49, "unparsed": 1},
    "yes",
    Estimate(0.56, Interval(0.42, 0.69, method="wilson")),
)


def full() -> RunSummary:
    """Two settings, two students, two arms, three seeds."""
    free, required = "reasoning-free", "reasoning-required"
    rows = [
        *references(required, (0.93, 0.72, 0.22)),
        trained(required, "minilm", "none", (0.95, 0.06, 0.02), clears_floor=False),
        trained(
            required,
            "minilm",
            "rewrite",
            (0.92, 0.1, 0.03),
            clears_floor=False,
            gain_accuracy=gain(-0.002, 0.021),
            gain_macro_f1=gain(0.021, 0.018),
        ),
        *references(free, (0.96, 0.93, 0.51)),
        trained(free, "minilm", "none", (0.83, 0.63, 0.08), clears_floor=True),
        trained(
            free,
            "minilm",
            "rewrite",
            (0.85, 0.66, 0.07),
            clears_floor=True,
            gain_accuracy=gain(0.019, 0.031),
            gain_macro_f1=gain(0.011, 0.033),
        ),
        scored(
            "untrained",
            free,
            [confusion({"yes": 0.7, "no": 0.31, "maybe": 0.0})],
            student="smollm2",
            seeds=(),
            outcomes={"answered": 441, "unparsed": 52, "refused": 3, "cut_off": 4},
        ),
        trained(free, "smollm2", "none", (0.9, 0.76, 0.0), clears_floor=True, cut_prompts=0),
        trained(
            free,
            "smollm2",
            "rewrite",
            (0.92, 0.81, 0.05),
            clears_floor=True,
            gain_accuracy=gain(0.034, 0.028),
            gain_macro_f1=gain(0.041, 0.035),
        ),
    ]
    rows = [dataclasses.replace(row, teacher=KNOWS) if row.arm == "rewrite" else row for row in rows]
    return RunSummary(
        arms={"none": Arm(), "rewrite": Arm(("rewrite",))},
        name="pubmedqa",
        title="Does rewriting questions help two small students?",
        notice="Invented run for tests: no figure on this page was measured.",
        notes=("The test part is sorted by label.", "Contexts come without their conclusions."),
        task="pubmedqa",
        split="official",
        labels=LABELS,
        counts={
            "train": {"yes": 248, "no": 152, "maybe": 50},
            "validation": {"yes": 28, "no": 17, "maybe": 5},
            "test": TEST,
        },
        rows=tuple(rows),
        funnels=(funnel(required), asked(free)),
        samples=(*samples(required), *samples(free)),
        spend={TEACHER: Spend(900, 450, 132_411, 21_905, 0.0, 4, {"timeout": 4})},
        provenance=PROVENANCE,
        recipe=RECIPE,
        command="preceptor run recipes/pubmedqa.toml",
        courses=tuple(
            course(setting, student, arm, seed, cut=76 if student == "minilm" else 0)
            for setting, student in ((required, "minilm"), (free, "minilm"), (free, "smollm2"))
            for arm in ("none", "rewrite")
            for seed in (1, 2, 3)
        ),
    )


def plain() -> RunSummary:
    """The smallest useful run: one setting, one student, one seed, no human answers, nothing kept."""
    base = trained("default", "minilm", "none", (0.83, 0.63, 0.08), clears_floor=True)
    helped = trained(
        "default",
        "minilm",
        "rewrite",
        (0.83, 0.63, 0.08),
        clears_floor=True,
        gain_accuracy=gain(0.0, 0.012),
        gain_macro_f1=gain(0.0, 0.014),
    )
    one = {"agreement": None, "seeds": (7,), "seed_scores": ((7, 0.679, 0.511),), "generated_items": 0}
    rows = [dataclasses.replace(row, **one) for row in (base, helped)]  # type: ignore[arg-type]
    for number, row in enumerate(rows):
        assert row.accuracy is not None
        rows[number] = dataclasses.replace(row, accuracy=dataclasses.replace(row.accuracy, sd=None))
    nothing = funnel(
        "default",
        dropped={"wellformed": {"not_a_question": 431}},
        kept=0,
        kept_by_label={},
    )
    return dataclasses.replace(
        full(),
        name="plain",
        title="One student, one seed",
        notice="",
        notes=(),
        rows=(*references("default", None), *rows),
        funnels=(nothing,),
        samples=(),
        spend={"http://127.0.0.1:8000/v1 some-model": Spend(450, 0, 1, 2, None)},
    )


LONG = "a-name-that-nobody-would-choose-but-somebody-will-" * 3
MARKUP = """<script>alert(1)</script><img src="http://127.0.0.1:9/" onerror='a()'>"' & {{ 7 * 7 }} </style>"""


def hostile(text: str = MARKUP) -> RunSummary:
    """Every text field of a run holds `text`."""

    def swap(value: object) -> object:
        if isinstance(value, str):
            return value + text
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            named = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            keep = {"kind", "missing"} if isinstance(value, Row) else set()
            return dataclasses.replace(value, **{k: v if k in keep else swap(v) for k, v in named.items()})
        if isinstance(value, Mapping):
            return {swap(k): swap(v) for k, v in value.items()}
        return tuple(swap(v) for v in value) if isinstance(value, tuple | list) else value

    swapped = swap(full())
    assert isinstance(swapped, RunSummary)
    return swapped


def wide() -> RunSummary:
    """Three settings, long names, ten labels, one row without results, two teachers, one of unknown price."""
    summary = full()
    long = f"{LONG}student"
    labels = (*LABELS, *(f"label-number-{n}" for n in range(4, 10)), LONG)
    rows = [dataclasses.replace(row, student=long if row.student else "") for row in summary.rows]
    lost = dataclasses.replace(
        rows[-1],
        setting="third",
        n=0,
        accuracy=Estimate(0.0),
        macro_f1=Estimate(float("nan")),
        gain_accuracy=Estimate(0.0),
        gain_macro_f1=None,
        recall={},
        confusion={},
        outcomes={},
        clears_floor=None,
        seed_scores=(),
    )
    failed = Spend(3, 0, 12_345_678, 999, None, 12, {"the endpoint said: rate limit reached, try again later": 12})
    return dataclasses.replace(
        summary,
        name=LONG,
        title=f"Does {LONG} help?",
        labels=labels,
        counts={part: dict.fromkeys(labels, 12_345) for part in ("train", "validation", "test")},
        rows=(*rows, lost),
        funnels=(*summary.funnels, funnel(f"third-{LONG}", kept=60)),
        spend={f"{LONG}teacher": failed, "second": Spend(1, usd=12.5)},
        command=f"preceptor run {LONG}.toml --set train.alpha={'9' * 200}",
        courses=tuple(course(LONG, long, f"{LONG}-{n}", 1, cut=5, micro_batch=2) for n in range(7)),
    )


if __name__ == "__main__":  # for looking at the page: python tests/report/test_build.py FOLDER
    import sys

    for made in (full, plain, hostile, wide):
        build(made(), Path(sys.argv[1]) / f"{made.__name__}.html")
