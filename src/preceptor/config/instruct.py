"""`[instruct]` and `[[benchmarks]]`: tasks that a teacher writes, and what students of them are scored on."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from preceptor.config.base import Name, Section, Seed
from preceptor.config.data import TaskSettings

Category = Literal["question_answering", "information_extraction", "generation", "other"]


class RuleSettings(Section):
    """`[instruct.rules]`: what a written task must look like, after Self-Instruct (Wang et al. 2023)."""

    min_words: int = Field(4, ge=1)
    max_words: int = Field(150, ge=2)
    """Bounds of an instruction's length in words; Self-Instruct keeps 4 to 150."""
    max_output_words: int = Field(400, ge=1)
    blocked_words: tuple[str, ...] = (
        "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps", "draw", "plot",
        "go to", "video", "audio", "music", "flowchart", "diagram",
    )  # fmt: skip
    """Words of an instruction that ask for what a language model cannot see or make."""
    blocked_starts: tuple[str, ...] = ("write a program",)
    language: Literal["en", "any"] = "en"
    """`en`: what is mostly not written in English words is dropped."""


class InstructSettings(Section):
    """`[instruct]`: which tasks, written from which seeds."""

    seeds: str = "biomedicine"
    """A seed set that ships with the package (`biomedicine`, `contracts`), or a JSONL file."""
    field: str = ""
    """What the tasks are about, in words that go on after "about", e.g. `medicine or biology`; empty: requests ask for
    "the same field" as that of the shown tasks, which weak teachers soon leave."""
    source: str | None = None
    """Instead of writing new tasks: a JSONL or parquet file with tasks, or the folder of a run that wrote them."""
    target: int = Field(25_005, ge=1)
    """Stop when so many tasks are kept. 25,005 is BioInstruct's number."""
    shown: int = Field(3, ge=1)
    """Example tasks in each prompt; 3 in BioInstruct."""
    shown_words: int | None = Field(None, ge=1)
    """Show only tasks of at most so many words, their three parts together; None: all. New tasks are compared with all
    seeds nevertheless. A small teacher loses itself in long ones, and reading them takes it as long as writing."""
    tasks_per_answer: int = Field(1, ge=1, le=20)
    pool: Literal["seeds", "growing"] = "seeds"
    """Where the shown tasks come from: the seeds alone, or seeds and tasks kept in earlier rounds."""
    mix: Literal["free", "by_category", "by_opening"] = "free"
    """`by_category`: the tasks shown in a request are all of one category, which it asks for; categories take turns, a
    full one (see `balance`) is left out. `by_opening`: the request also names the first word of the instruction, drawn
    from a table by category. For teachers too weak to write all kinds unasked; BioInstruct's is `free`."""
    outputs: Literal["together", "separate"] = "together"
    """`separate`: instruction and input first, then the output in a second call for each task that passed so far."""
    seed: Seed = 0
    """Decides which tasks are shown in which order."""
    round_size: int = Field(256, ge=1)
    """Requests of one round; yield is looked at, and a growing pool grows, between rounds."""
    max_requests: int | None = Field(None, ge=1)
    """Ask at most so often; None: until the target, the budget or the least yield ends it."""
    min_yield: float = Field(0.02, ge=0, lt=1)
    """Stop when fewer than this share of the candidates of the last `window` requests was kept."""
    window: int = Field(1024, ge=1)
    max_f: float = Field(0.7, ge=0, le=1)
    """Highest ROUGE-L F of an instruction to a seed or a kept task; Self-Instruct's value."""
    categories: Literal["teacher", "rules"] = "teacher"
    """Who says what kind of task it is. Where the teacher's answer cannot be read, the rules decide."""
    balance: dict[Category, float] = {}
    """Category -> the share of the target that it may take at most; a full category's tasks are dropped."""
    rules: RuleSettings = RuleSettings()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if any(not 0 <= share <= 1 for share in self.balance.values()):
            raise ValueError("instruct.balance: every share lies between 0 and 1")
        if len(self.balance) == 4 and sum(self.balance.values()) < 1 - 1e-9:
            raise ValueError(
                f"instruct.balance: the shares of all four categories sum to {sum(self.balance.values()):g}, "
                "so the target could never be reached"
            )
        return self


class BenchmarkSettings(Section):
    """One entry of `[[benchmarks]]`: real items with reference answers, for scoring and as human-written training."""

    name: Name
    kind: Literal["pubmedqa", "labels", "medqa", "medmcqa", "choice", "iob", "dialogue-note"]
    """`labels`: a closed set of answers, described in `own` (StrategyQA, natural-language inference). `choice`: items
    with their own options. `iob`: mentions in tagged tokens. `dialogue-note`: MTS-Dialog."""
    category: Literal["question_answering", "information_extraction", "generation"]
    path: str | None = None
    """Folder or file, see DataSettings.path. Files by part: `train_path`, `validation_path`, `test_path`."""
    hub: str | None = None
    train_path: str | None = None
    validation_path: str | None = None
    test_path: str | None = None
    split: Literal["official", "paper", "files", "seeded"] | None = None
    setting: Literal["reasoning-required", "reasoning-free"] = "reasoning-required"
    """PubMedQA: whether the student reads the abstract or the conclusion."""
    own: TaskSettings | None = None
    """`labels`: labels, prompt, inputs, fields and label, as in `[data.own]`."""
    instruction: str | None = None
    """What the student is told, in place of the benchmark's own words. A blank line separates it from the input."""
    first_option: Literal["auto", 0, 1] = "auto"
    """`medmcqa`, `choice`: the number that means the first option, where answers are numbers; `auto`: what the items
    show."""
    entity: str = "disease"
    """`iob`: what is looked for, in words."""
    augmented: bool = False
    """`dialogue-note`: train on the published augmented file, which holds the originals and their back-translations."""
    max_train: int | None = Field(None, ge=1)
    max_validation: int | None = Field(None, ge=1)
    max_test: int | None = Field(None, ge=1)
    """Use at most so many items, drawn with `split_seed`."""
    split_seed: Seed = 0
    read: Literal["likelihood", "generation"] = "likelihood"
    """How an answer with options is read; the others are always generated."""
    max_tokens: int = Field(128, ge=1)
    """Of a generated answer."""
    scored: bool = True
    """False: a source of training items only."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.kind == "labels") != (self.own is not None):
            raise ValueError(f'benchmarks.{self.name}: kind = "labels" and a table `own` go together')
        if not (self.path or self.hub or self.train_path or self.test_path):
            raise ValueError(f"benchmarks.{self.name}: it needs a path (or a hub name)")
        return self
