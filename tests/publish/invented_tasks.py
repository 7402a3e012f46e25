"""Tasks that nobody wrote, by seed, as the stage that writes tasks hands them on; some hold what breaks files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from preceptor.publish.card import Card
from preceptor.records import CATEGORIES, Example, Source, Spend, TasksFunnel

_VERBS = (
    "Summarize",
    "List",
    "Explain",
    "Write",
    "Identify",
    "Extract",
    "Describe",
    "Compare",
    "Generate",
    "Classify",
    "Translate",
    "Rewrite",
    "Suggest",
    "Provide",
    "Create",
    "Interpret",
    "Evaluate",
    "Convert",
    "Analyze",
    "Outline",
    "Rank",
    "Define",
    "Predict",
    "Answer",
    "Calculate",
)
_OBJECTS = (
    "note",
    "report",
    "symptom",
    "drug",
    "protocol",
    "diagnosis",
    "summary",
    "paragraph",
    "question",
    "finding",
    "plan",
    "leaflet",
    "dose",
    "abstract",
    "mechanism",
    "guideline",
    "trial",
    "letter",
    "statement",
    "difference",
)
_WORDS = (
    "patient",
    "dose",
    "fever",
    "kidney",
    "trial",
    "risk",
    "nurse",
    "ward",
    "pulse",
    "lung",
    "letter",
    "court",
    "tenant",
    "clause",
    "rent",
    "price",
    "engine",
    "sample",
    "acid",
    "cell",
    "gene",
    "protein",
    "bone",
    "skin",
    "tumour",
    "relief",
    "result",
    "method",
    "cohort",
    "placebo",
    "age",
    "sex",
    "weight",
    "of",
    "the",
    "in",
    "with",
    "and",
)

HOSTILE = (
    ("Explain “naïve” – 日本語, עברית, 😀.", "one\ntwo\r\nthree\u2028four\u0085five", 'say "yes"\\n, {"a": 1}'),
    ("--- {yaml: [1, 2]}", "", "null"),
    ('{"instruction": "nested"}', "true", "2020-01-01 00:00:00"),
    ("Write | a * table * with `code` and ````\n```\n# heading", "<script>alert(1)</script>", "```\n---\n[x](y)"),
    ("  Keep the spaces  ", "   ", "\ttab\x0b\x00\x7f end "),
    ("List 'quotes'.", "- item: value # comment", "~"),
)  # fmt: skip


def source(number: int = 0) -> Source:
    return Source("instruct", "instruct.v1", "0123456789abcdef", "scripted", f"call-{number}", "stop", ())


def task(instruction: str, given: str = "", output: str = "done", number: int = 0, label: str = "other") -> Example:
    fields = {"instruction": instruction, "input": given, "output": output}
    parents = ("seed-1", f"seed-{number}")
    return Example(f"task-{number:05}", fields, label, "instruct", parents, source=source(number))


def hostile_tasks() -> list[Example]:
    return [task(*texts, number=n, label=CATEGORIES[n % 4]) for n, texts in enumerate(HOSTILE)]


def tasks(count: int, seed: int = 0, words: int = 60) -> list[Example]:
    """Tasks whose verbs and objects follow a long-tailed distribution, with outputs of up to `2 * words` words."""
    made, generator = [], random.Random(seed)
    for number in range(count):
        verb = _VERBS[min(int(generator.expovariate(1 / 6)), len(_VERBS) - 1)]
        noun = _OBJECTS[(min(int(generator.expovariate(1 / 4)), 19) + len(verb)) % 20]
        instruction = f"{verb} the {noun} about {' '.join(generator.choices(_WORDS, k=generator.randint(2, 12)))}."
        given = "" if generator.random() < 0.4 else " ".join(generator.choices(_WORDS, k=generator.randint(5, 80)))
        output = " ".join(generator.choices(_WORDS, k=generator.randint(1, 2 * words)))
        made.append(task(instruction, given, output, number, generator.choice(CATEGORIES)))
    return made


def funnel(kept: Sequence[Example]) -> TasksFunnel:
    by_category = {name: sum(item.label == name for item in kept) for name in CATEGORIES}
    return TasksFunnel(
        teacher="scripted",
        seeds=80,
        requests=len(kept) + 7,
        candidates=len(kept) + 5,
        unreadable={"no_json": 2},
        dropped={"too_short": 3, "not_novel": 2},
        kept=len(kept),
        kept_by_category={name: count for name, count in by_category.items() if count},
        category_by={"teacher": len(kept)},
        stopped="the target was reached",
        nearest_f=(0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7),
    )


SPEND = Spend(calls=112, from_ledger=12, input_tokens=45_678, output_tokens=12_345, usd=1.25)


def card(kept: Sequence[Example], **changes: Any) -> Card:
    made = Card(
        name="invented",
        title="Invented tasks",
        teacher="scripted",
        settings={"temperature": 0.8, "max_tokens": 256},
        prompts={"instruct.v1": "0123456789abcdef"},
        seeds="biomedicine",
        seeds_hash="fedcba9876543210",
        seeds_count=80,
        funnel=funnel(kept),
        spend=SPEND,
        command="preceptor run invented.toml",
        version="0.1.0",
    )
    return replace(made, **changes)
