"""Recipes: TOML files that describe a whole experiment, checked before anything runs.

TOML and not YAML, because in YAML an unquoted `yes` or `no` becomes a boolean, and those are the labels here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from preceptor.errors import RecipeError
from preceptor.records import Sampling

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$")]
"""A word that is safe as the name of a folder."""

STRATEGIES = ("rewrite", "new")
FILTERS = ("wellformed", "drift", "duplicates", "leakage")
KINDS = ("local", "openai", "anthropic", "scripted")
TEACHERS = "preceptor.teachers"
"""Group of entry points that add kinds of teachers."""
PHI_KINDS = ("name", "date", "age", "phone", "email", "url", "ip", "ssn", "record", "vehicle", "device", "address")


Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What every generator accepts."""


class Section(BaseModel):
    """A table of the recipe: unknown keys are errors, values are not changed after checking."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class TaskSettings(Section):
    """A task of the user's own, described in the recipe instead of in Python (`data.task = "jsonl"`)."""

    labels: tuple[str, ...]
    """The allowed answers."""
    prompt: str
    """Jinja template over the input fields; it ends where the answer begins."""
    inputs: tuple[str, ...]
    """Fields that the student sees, by the names given in `fields`."""
    fields: dict[str, str]
    """Field name in the task -> key in the file. Lists of strings are joined by a space."""
    label: str
    """Key of the label in the file."""
    label_map: dict[str, str] = {}
    """Value in the file (as JSON text, e.g. "true") -> label, where they differ."""
    id: str | None = None
    """Key of the item's id in the file; without it the line number is used."""
    rationale: str | None = None
    """Field that explains the answer, if any."""
    shorten: str | None = None
    """Input field that is cut from its start when a prompt is too long."""


class DataSettings(Section):
    """`[data]`: which items, how split, how shown."""

    task: Literal["demo", "pubmedqa", "jsonl"]
    """`demo` ships with the package; `pubmedqa` is the real data set; `jsonl` is your own file."""
    path: str | None = None
    """Folder or file with the data. A leading `~` and `$VARIABLES` are expanded; relative to the recipe's folder."""
    hub: str | None = None
    """Name of a data set on the Hugging Face hub, instead of `path` (PubMedQA: `qiaojin/PubMedQA`)."""
    split: Literal["official", "paper", "files", "seeded"] | None = None
    """PubMedQA: `official` or `paper`. `jsonl`: `files` (one per part) or `seeded` (one file, cut by seed)."""
    train_split: Literal["official", "paper"] | None = None
    """PubMedQA: where training items come from, if not from `split`. Mixing is refused when items are shared."""
    fold: int = Field(0, ge=0, le=9)
    """PubMedQA official split: which of the ten folds is validation."""
    settings: tuple[Name, ...] = ()
    """PubMedQA: `reasoning-required`, `reasoning-free`, or both."""
    validation_path: str | None = None
    test_path: str | None = None
    validation_share: float = Field(0.1, gt=0, lt=1)
    """Share of the items for validation, with `split = "seeded"`."""
    test_share: float = Field(0.3, gt=0, lt=1)
    split_seed: Seed = 0
    """Seed of the split and of every subset that is drawn."""
    max_train: int | None = Field(None, ge=1)
    """Use at most so many training items, drawn with `split_seed`; None: all."""
    max_test: int | None = Field(None, ge=1)
    """Score at most so many test items, drawn with `split_seed` (never a prefix: PubMedQA's is sorted by label)."""
    own: TaskSettings | None = None
    """The task's description, for `task = "jsonl"`."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.task == "jsonl" and self.own is None:
            raise ValueError(
                'data.task = "jsonl" needs a table [data.own] with labels, prompt, inputs, fields and label'
            )
        if self.task != "jsonl" and self.own is not None:
            raise ValueError('[data.own] is only for data.task = "jsonl"')
        if self.task == "pubmedqa" and (self.path is None) == (self.hub is None):
            raise ValueError('data.task = "pubmedqa" needs exactly one of data.path and data.hub')
        if self.task == "jsonl" and self.path is None:
            raise ValueError('data.task = "jsonl" needs data.path')
        return self


class PhiSettings(Section):
    """`[teacher.phi]`: the check for identifiers of people, before text leaves the machine."""

    mode: Literal["block", "mask", "warn", "off"] | None = None
    """`block`: one finding and nothing is sent. `mask`: placeholders are sent, and the answers get the values back.
    `warn`: all is sent, and the kinds are counted. None: by the teacher's kind, `block` for an endpoint, else `off`."""
    kinds: tuple[
        Literal["name", "date", "age", "phone", "email", "url", "ip", "ssn", "record", "vehicle", "device", "address"],
        ...,
    ] = PHI_KINDS  # type: ignore[assignment]
    """What is looked for. Years and months are no dates, and ages below 90 are not found."""
    names: Literal["auto", True, False] = "auto"
    """Whether a language model looks for names that no title and no cue announces: `auto` where presidio and a spaCy
    model are installed, true to insist on both, false never. Nothing is downloaded."""
    model: str | None = None
    """The spaCy model: an installed package or a folder. None: the largest English one that is installed."""


class TeacherSettings(Section):
    """`[teacher]`: who writes the data."""

    kind: str = "local"
    """`local` (a model on this machine), `openai` (any endpoint that speaks its /chat/completions), `anthropic`,
    `scripted` (fixed rules), or the name of an entry point of the group `preceptor.teachers`."""
    model: str = "builtin:smollm2-135m-instruct"
    """A built-in model, a local folder, a hub name, or the endpoint's model name."""
    endpoint: Literal["openai", "azure", "together", "vllm", "ollama", "llama.cpp", "transformers", "other"] | None = (
        None
    )
    """Kind `openai`: whose endpoint it is, which tells what it can take. None: read from `base_url`, else `other`."""
    base_url: str | None = None
    """Where the endpoint is, up to and including /v1. None: the provider's own address."""
    key_env: str | None = None
    """Environment variable that holds the key, never the key itself. None: the provider's usual one."""
    key_required: bool = True
    """False for endpoints on your own machine that take no key."""
    preset: Literal["default", "paper"] = "default"
    """`paper`: temperature 0.8 and repetition penalty 2.0, as Dr. LLaMA section 4 reports."""
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0)
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logprobs: int | None = Field(None, ge=0, le=20)
    """Record the log-probabilities of the answer's tokens, with so many alternatives each."""
    max_tokens: int = Field(256, ge=1)
    seed: Seed | None = 0
    """Sent to the teacher; a local teacher's noise is fixed by it, by the item and by the draw."""
    accepts: tuple[str, ...] = ()
    """Settings beyond the known ones that this endpoint takes, e.g. `["repetition_penalty"]`."""
    structured: Literal["auto", "off"] = "auto"
    """`auto`: ask for answers by JSON schema where the endpoint can; elsewhere the text is parsed and repaired."""
    mode: Literal["live", "batch"] = "live"
    """`batch`: the provider's batch interface, usually at half the price and within a day."""
    wait: bool = False
    """Batch: wait for the end. False: submit and leave; the same command comes back for the answers."""
    poll_s: float = Field(30.0, gt=0)
    """Batch: seconds between two looks."""
    batch_rounds: int = Field(3, ge=1)
    """Batch: how often what failed or expired is submitted, at most."""
    batch_discount: float = Field(0.5, gt=0, le=1)
    """Batch: factor on the prices."""
    batch_size: int = Field(16, ge=1)
    """Local teacher: answers written at a time."""
    concurrency: int = Field(32, ge=1)
    """Endpoint: requests in flight, at most; how many there are follows what the endpoint bears."""
    requests_per_minute: float | None = Field(None, gt=0)
    tokens_per_minute: float | None = Field(None, gt=0)
    """Limits of your account, where the endpoint's headers and replies do not tell them. Tokens: input and output."""
    timeout_s: float = Field(120.0, gt=0)
    retries: int = Field(5, ge=0)
    usd_per_million_input: float | None = Field(None, ge=0)
    usd_per_million_output: float | None = Field(None, ge=0)
    usd_per_million_cached_input: float | None = Field(None, ge=0)
    """Your prices, where they differ from the listed ones or the model is not listed."""
    phi: PhiSettings = PhiSettings()

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str) -> str:
        known = [*KINDS, *sorted(entry.name for entry in entry_points(group=TEACHERS))]
        if kind not in known:
            raise ValueError(f"teacher.kind = {kind!r} is not one of {', '.join(known)}")
        return kind

    @model_validator(mode="before")
    @classmethod
    def _no_seed_where_none_is_taken(cls, given: Any) -> Any:
        anthropic = isinstance(given, dict) and given.get("kind") == "anthropic"
        return {"seed": None, **given} if anthropic else given

    @model_validator(mode="after")
    def _batches_need_an_endpoint(self) -> Self:
        if self.mode == "batch" and self.kind not in ("openai", "anthropic"):
            raise ValueError('teacher.mode = "batch" needs teacher.kind = "openai" or "anthropic"')
        return self

    @property
    def remote(self) -> bool:
        """Whether prompts leave this program for an endpoint."""
        return self.kind not in ("local", "scripted")

    @property
    def phi_mode(self) -> Literal["block", "mask", "warn", "off"]:
        """What the check for identifiers does. A teacher on this machine is exempt unless the recipe says otherwise.

        An endpoint at a loopback address is not: what listens there may pass the text on.
        """
        return self.phi.mode or ("block" if self.remote else "off")

    def sampling(self) -> Sampling:
        """The generation settings that are sent, the preset's values filled in where the recipe gives none."""
        paper = {"temperature": 0.8, "repetition_penalty": 2.0} if self.preset == "paper" else {}
        names = (
            "temperature",
            "top_p",
            "repetition_penalty",
            "frequency_penalty",
            "presence_penalty",
            "logprobs",
            "seed",
        )
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return Sampling(max_tokens=self.max_tokens, **{**paper, **given})


class BudgetSettings(Section):
    """`[budget]`: what a run's teachers may cost at most, over all its starts. Reaching it ends the run."""

    max_usd: float | None = Field(None, gt=0)
    max_tokens: int | None = Field(None, gt=0)
    """Input and output together."""

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.max_usd is not None or self.max_tokens is not None


class AugmentSettings(Section):
    """`[augment]`: what the teacher is asked for."""

    rewrite: Literal["question", "context", "pair"] = "question"
    """What `rewrite` rewords: the question, the context, or question and answer as the paper does."""
    draws: int = Field(1, ge=1)
    """Answers per training item and strategy."""


class WellformedSettings(Section):
    """Bounds of the `wellformed` filter."""

    min_words: int = Field(4, ge=1)
    max_ratio: float = Field(3.0, gt=1)
    """A rewritten field may be at most so many times as long as its parent, in words."""


class DriftSettings(Section):
    """Bounds of the `drift` filter."""

    min_similarity: float = Field(0.75, ge=-1, le=1)
    """Cosine of MiniLM embeddings between a rewritten text and its parent."""
    max_copy: float = Field(0.97, gt=0, le=1)
    """A rewrite more similar to its parent than this (normalised edit similarity) is a copy."""


class DuplicateSettings(Section):
    """Bounds of the `duplicates` filter."""

    max_similarity: float = Field(0.95, gt=0, le=1)
    """Normalised edit similarity from which two texts count as near duplicates."""


class LeakageSettings(Section):
    """Bounds of the `leakage` filter."""

    ngram: int = Field(8, ge=3)
    """Length in words of the runs that must not be shared with a validation or test item, unless they are common."""
    max_similarity: float = Field(0.85, gt=0, le=1)
    """Cosine of MiniLM embeddings from which a question counts as a test item's. On the development half of
    `bench/planted.py` no clean question has more than 0.66, no title of another abstract more than 0.82."""
    require_parent: bool = True
    """Whether a candidate must name known training items as its parents. False for candidates made elsewhere."""


class NoveltySettings(Section):
    """Bounds of the `novelty` filter, which runs when the chain names it."""

    max_f: float = Field(0.7, ge=0, le=1)
    """ROUGE-L F-measure up to which a text counts as new; Self-Instruct's value."""
    fields: tuple[str, ...] = ()
    """Fields that are compared, joined in this order; empty: the questions among the inputs, else all inputs."""
    real: bool = True
    """Compare with the real training items too, not only with the candidates kept so far."""


class AgreementSettings(Section):
    """The `agreement` filter: somebody else answers each generated item from what a student would see."""

    labeller: Literal["teacher", "other", "student"] = "teacher"
    """`teacher`: the one that wrote the data; `other`: the one of `[filter.agreement.teacher]`; `student`: a student
    of the recipe, trained on real items only and never on the item's own parent."""
    teacher: TeacherSettings | None = None
    """The other teacher. Its temperature and max_tokens are the ones below."""
    student: str | None = None
    """Name of the student; None: the first that is trained in the setting."""
    mode: Literal["drop", "relabel", "weight"] = "drop"
    """What becomes of a disagreement. `relabel`: the item takes the labeller's label. `weight`: the item counts in
    training by the share of votes, or the probability, that its own label got."""
    draws: int = Field(1, ge=1)
    """Answers per item, an odd number: more than half of them make a label."""
    temperature: float = Field(0.0, ge=0, le=2)
    max_tokens: int = Field(32, ge=1)
    min_share: float = Field(0.5, gt=0, le=1)
    """`relabel`: share of votes, or probability, that the labeller's label needs to replace the item's."""
    unread: Literal["drop", "keep"] = "drop"
    """What becomes of an item whose answer gave no label: unparsed, refused, cut off, or no answer at all."""
    check_items: int = Field(50, ge=0)
    """Validation items that the labeller is asked about too, so that the report can say how far to trust it."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        _check_other("agreement", self.teacher)
        if (self.labeller == "other") != (self.teacher is not None):
            raise ValueError(
                'filter.agreement.labeller = "other" needs a table [filter.agreement.teacher]'
                if self.teacher is None
                else '[filter.agreement.teacher] is only for filter.agreement.labeller = "other"'
            )
        if self.student is not None and self.labeller != "student":
            raise ValueError('filter.agreement.student is only for filter.agreement.labeller = "student"')
        if self.draws % 2 == 0:
            raise ValueError(f"filter.agreement.draws = {self.draws}: a vote needs an odd number")
        if self.draws > 1 and self.labeller == "student":
            raise ValueError("filter.agreement.draws: a trained student always gives the same answer; leave it at 1")
        if self.draws > 1 and not self.temperature:
            raise ValueError(
                "filter.agreement.draws: at temperature 0 all draws are alike; set filter.agreement.temperature"
            )
        return self


class JudgeSettings(Section):
    """The `judge` filter: a teacher compares each generated item with its parent by a rubric, in both orders."""

    teacher: TeacherSettings | None = None
    """None: the one that wrote the data, which may well like its own words. Its temperature and max_tokens are the
    ones below."""
    min_score: float = Field(3.0, ge=1, le=5)
    """What each criterion needs, as the mean of both orders."""
    tolerance: int = Field(1, ge=0, le=4)
    """A score may differ by so much between the orders; a pair with more is inconsistent."""
    inconsistent: Literal["drop", "keep"] = "drop"
    unread: Literal["drop", "keep"] = "drop"
    """What becomes of a pair without a readable answer in each order."""
    temperature: float = Field(0.0, ge=0, le=2)
    max_tokens: int = Field(160, ge=1)
    seed: Seed = 0
    """Decides which order of a pair is asked first."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        _check_other("judge", self.teacher)
        return self


def _check_other(name: str, teacher: TeacherSettings | None) -> None:
    """Refuse ways of writing in a teacher that only reads: they would be left unused without a word."""
    for key in ("temperature", "top_p", "repetition_penalty", "frequency_penalty", "presence_penalty"):
        if teacher is not None and getattr(teacher, key) is not None:
            hint = f"set filter.{name}.temperature" if key == "temperature" else "leave it out"
            raise ValueError(f"filter.{name}.teacher.{key} is not used there: {hint}")
    if teacher is not None and teacher.preset != "default":
        raise ValueError(f"filter.{name}.teacher.preset is not used there: leave it out")


class FilterSettings(Section):
    """`[filter]`: which generated examples are dropped."""

    chain: tuple[Literal["wellformed", "drift", "duplicates", "novelty", "leakage", "agreement", "judge"], ...] = (
        FILTERS  # type: ignore[assignment]
    )
    """`novelty`, `agreement` and `judge` stand there only when a recipe names them: the first would drop most rewrites,
    the others ask a teacher or train a student."""
    wellformed: WellformedSettings = WellformedSettings()
    drift: DriftSettings = DriftSettings()
    duplicates: DuplicateSettings = DuplicateSettings()
    leakage: LeakageSettings = LeakageSettings()
    novelty: NoveltySettings = NoveltySettings()
    agreement: AgreementSettings = AgreementSettings()
    judge: JudgeSettings = JudgeSettings()

    @property
    def labelling_student(self) -> bool:
        """Whether a student is trained to label generated items."""
        return "agreement" in self.chain and self.agreement.labeller == "student"


class TrainSettings(Section):
    """`[train]`: how a student is trained. A student's own `train` table overrides single keys."""

    method: Literal["lora", "prefix", "full"] = "lora"
    rank: int = Field(8, ge=1)
    alpha: float = Field(16, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    """LoRA dropout on the adapter's input. The model's own dropout is off: on CPU it costs a factor of three."""
    targets: str | tuple[str, ...] = "all-linear"
    """Modules that get LoRA weights: `all-linear` or names."""
    virtual_tokens: int = Field(32, ge=1)
    """Prefix tuning: length of the prefix."""
    initialisation: Literal["text", "zero", "random"] = "text"
    """Prefix tuning: where the prefix starts. Random values at LoRA's learning rates are known to fail."""
    initial_text: str = "Answer the question from the text with one word."
    """Prefix tuning with `initialisation = "text"`: the text, repeated to fill the prefix."""
    learning_rate: float = Field(3e-4, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    epochs: float = Field(3, gt=0)
    """Passes over the real training items; this fixes the number of optimiser steps for every arm."""
    steps: int | None = Field(None, ge=1)
    """Optimiser steps, instead of `epochs`."""
    batch_size: int = Field(8, ge=1)
    """Items in one forward pass, at most."""
    batch_tokens: int | None = Field(None, ge=16)
    """Tokens in one forward pass, padding included, at most; the paper: 1,024."""
    accumulation: int = Field(1, ge=1)
    """Forward passes per optimiser step; the paper: 32."""
    warmup: float = Field(0.1, ge=0, le=1)
    """Share of the steps over which the learning rate rises linearly; afterwards it falls linearly to 0."""
    max_length: int = Field(512, ge=16)
    """Tokens of prompt and answer; longer prompts lose words at the start of the task's `shorten` field."""
    select: Literal["last", "loss", "accuracy", "macro_f1"] = "loss"
    """Which state is kept, by the validation items after each pass: the last one or the best."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto`: bfloat16 where the processor multiplies it natively, else float32."""


class StudentSettings(Section):
    """One entry of `[[students]]`."""

    name: Name
    model: str
    """`builtin:minilm-l6`, `builtin:smollm2-135m-instruct`, a local folder, or a hub name."""
    settings: tuple[Name, ...] = ()
    """Data settings in which it is trained; empty: all of them."""
    head: Literal["auto", "causal", "encoder"] = "auto"
    """Language model or encoder with a classification head; `auto` reads it from the model's config."""
    untrained: bool = True
    """Also score the student before training (language models only)."""
    train: dict[str, Any] = {}
    """Keys of `[train]` that differ for this student."""


class EvaluateSettings(Section):
    """`[evaluate]`: how answers are read and intervals computed."""

    read: Literal["likelihood", "generation"] = "likelihood"
    parser: Literal["strict", "paper"] = "strict"
    decoding: Literal["greedy", "beam", "beam-sample"] = "greedy"
    beams: int = Field(5, ge=2)
    temperature: float = Field(0.8, gt=0)
    """Used by `beam-sample` only: without sampling a temperature has no effect."""
    repetition_penalty: float = Field(1.0, gt=0)
    """The paper's generation preset: decoding `beam-sample`, 5 beams, temperature 0.8, repetition penalty 2.0."""
    max_tokens: int = Field(16, ge=1)
    batch_size: int = Field(16, ge=1)
    resamples: int = Field(2000, ge=100)
    """Bootstrap resamples."""
    interval_seed: Seed = 0


class Recipe(Section):
    """A whole experiment."""

    name: Name
    title: str
    notice: str = ""
    """A sentence that the report shows first, e.g. that the data is made up."""
    seeds: tuple[Seed, ...] = (1, 2, 3)
    """One student is trained per seed and arm."""
    data: DataSettings
    teacher: TeacherSettings = TeacherSettings()
    budget: BudgetSettings = BudgetSettings()
    arms: dict[Name, tuple[Literal["rewrite", "new"], ...]] = {"none": (), "rewrite": ("rewrite",)}
    """Arm name -> strategies whose kept examples join the real data. All arms get equal optimiser steps."""
    augment: AugmentSettings = AugmentSettings()
    filter: FilterSettings = FilterSettings()
    train: TrainSettings = TrainSettings()
    students: tuple[StudentSettings, ...]
    evaluate: EvaluateSettings = EvaluateSettings()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.students:
            raise ValueError("students: at least one [[students]] entry is needed")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: give at least one seed and each once, got {list(self.seeds)}")
        if not self.arms:
            raise ValueError("arms: at least one arm is needed")
        if self.arms.get("none"):
            raise ValueError(
                "arms.none is the real data alone, to which the others are compared: give it no strategies"
            )
        if "untrained" in self.arms:
            raise ValueError("arms.untrained: this name means the student as it came; choose another")
        if self.filter.labelling_student:
            for setting in self.data.settings or ("",):
                self.labelling_student(setting)
        # One name may stand twice if the settings differ: the same student trained with other values.
        names = [(s.name, setting) for s in self.students for setting in s.settings or self.data.settings or ("",)]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"students: {twice[0][0]!r} is given twice for the setting {twice[0][1]!r}")
        for student in self.students:
            unknown = set(student.settings) - set(self.data.settings)
            if student.settings and unknown:
                known = list(self.data.settings)
                raise ValueError(f"students.{student.name}.settings: {sorted(unknown)[0]!r} is not in {known}")
            self.training_of(student)
        return self

    @property
    def strategies(self) -> tuple[str, ...]:
        """Strategies that some arm uses, in a fixed order."""
        return tuple(s for s in STRATEGIES if any(s in used for used in self.arms.values()))

    def labelling_student(self, setting: str) -> StudentSettings:
        """The student that labels generated items in a data setting; raises `ValueError` when there is none."""
        name = self.filter.agreement.student
        for student in self.students:
            if name in (None, student.name) and (not student.settings or setting in student.settings):
                return student
        where = f" in the setting {setting!r}" if setting else ""
        raise ValueError(
            f"filter.agreement.student: {'no student' if name is None else f'no student {name!r}'} is trained{where}"
        )

    def training_of(self, student: StudentSettings) -> TrainSettings:
        """`[train]` with the student's own keys over it."""
        try:
            return TrainSettings.model_validate({**self.train.model_dump(), **student.train})
        except ValidationError as error:
            allowed = _allowed(error, TrainSettings).lower().rstrip(".")
            sentence = _sentence(error, f"students.{student.name}.train.")
            raise ValueError(f"{sentence} ({allowed})" if allowed else sentence) from error


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe.

    `overrides` are `key=value` with dotted keys and TOML values, e.g. `train.alpha=64`, `students.0.train.rank=4`.
    Raises `RecipeError` naming the file, the key, the value and what is allowed.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(f"There is no recipe {path}.", "See the folder recipes/ for examples.") from error
    except RecursionError as error:
        raise RecipeError(f"{path} is nested too deeply to be a recipe.") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} cannot be read as a recipe: byte {error.start} is not UTF-8.") from error
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise RecipeError(f"{path} cannot be read as a recipe: {reason}.") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not valid TOML: {error}.", "Strings need quotes in TOML.") from error
    for override in overrides:
        _apply(raw, override)
    return check_recipe(raw, str(path))


def find_recipe(given: Path) -> Path:
    """The recipe's path: as given, or one that ships with the package when only its name is given."""
    if given.is_file() or given.suffix == ".toml":
        return given
    # In a checkout a link to its folder of recipes, in a wheel a copy of that folder.
    shipped = (Path(__file__).parent / "recipes").resolve()
    named = shipped / f"{given}.toml"
    if named.is_file():
        return named
    names = sorted(p.relative_to(shipped).with_suffix("").as_posix() for p in shipped.rglob("*.toml"))
    raise RecipeError(f"There is no recipe {given}.", f"Give a file, or one of: {', '.join(names)}.")


def check_recipe(raw: dict[str, Any], where: str) -> Recipe:
    """Turn parsed TOML into a `Recipe`, or raise `RecipeError` with one sentence."""
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(f"{where}: {_sentence(error)}.", _allowed(error)) from error


def _sentence(error: ValidationError, above: str = "") -> str:
    first = error.errors()[0]
    # Pydantic names the branch of "a string or a list" as if it were a key.
    parts = [str(part) for part in first["loc"] if part not in ("str", "tuple[str, ...]", "[key]")]
    key = above + ".".join(parts)
    message = first["msg"].removeprefix("Value error, ")
    message = (
        message.replace("valid tuple", "list").replace("valid dictionary", "table").partition(" or instance of")[0]
    )
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}"
    if first["type"] == "missing":
        return f"the key {key!r} is missing"
    if first["type"] == "value_error":
        return message
    return f"{key} = {first['input']!r}: {message[0].lower()}{message[1:]}"


def _allowed(error: ValidationError, section: Any = None) -> str:
    first = error.errors()[0]
    if first["type"] != "extra_forbidden":
        return ""
    section = section or Recipe
    for part in first["loc"][:-1]:
        section = _section_below(section, part)
    if isinstance(section, type) and issubclass(section, BaseModel):
        return f"Keys allowed there: {', '.join(section.model_fields)}."
    return ""


def _section_below(section: Any, part: str | int) -> Any:
    if section is StudentSettings or isinstance(part, int):
        return section
    if not (isinstance(section, type) and issubclass(section, BaseModel)) or part not in section.model_fields:
        return None
    if part == "students":
        return StudentSettings
    if part == "own":
        return TaskSettings
    if part == "teacher":
        return TeacherSettings
    return section.model_fields[part].annotation


def _apply(raw: dict[str, Any], override: str) -> None:
    key, found, text = override.partition("=")
    if not found or not key.strip():
        raise RecipeError(f"--set {override!r} is not of the form key=value.", "Example: --set train.alpha=64")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text  # an unquoted word is meant as a string
    target: Any = raw
    *path, last = key.strip().split(".")
    for part in path:
        target = _entry(target, part, override) if isinstance(target, list) else target.setdefault(part, {})
        if not isinstance(target, dict | list):
            raise RecipeError(f"--set {override!r}: {part!r} is a value, not a table.")
    if isinstance(target, list):
        raise RecipeError(f"--set {override!r}: name a key inside the list's entry, e.g. students.0.model.")
    target[last] = value


def _entry(entries: list[Any], part: str, override: str) -> Any:
    named = [entry for entry in entries if isinstance(entry, dict) and entry.get("name") == part]
    if len(named) > 1:
        raise RecipeError(f"--set {override!r}: {len(named)} entries are called {part!r}.", "Use its number, from 0.")
    if named:
        return named[0]
    if part.isdecimal() and int(part) < len(entries):
        return entries[int(part)]
    raise RecipeError(
        f"--set {override!r}: there is no entry {part!r}.",
        f"Use 0 to {len(entries) - 1}, or an entry's name.",
    )
