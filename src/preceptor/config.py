"""Recipes: TOML files that describe a whole experiment, checked before anything runs.

TOML and not YAML, because in YAML an unquoted `yes` or `no` becomes a boolean, and those are the labels here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from preceptor.errors import RecipeError
from preceptor.records import Sampling

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$")]
"""A word that is safe as the name of a folder."""

STRATEGIES = ("rewrite", "new")
FILTERS = ("wellformed", "drift", "duplicates", "leakage")


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


class TeacherSettings(Section):
    """`[teacher]`: who writes the data."""

    kind: Literal["local", "openai", "scripted"] = "local"
    model: str = "builtin:smollm2-135m-instruct"
    """A built-in model, a local folder, a hub name, or the endpoint's model name."""
    base_url: str = "https://api.openai.com/v1"
    key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key. Never the key itself."""
    key_required: bool = True
    """False for endpoints on your own machine that take no key."""
    preset: Literal["default", "paper"] = "default"
    """`paper`: temperature 0.8 and repetition penalty 2.0, as Dr. LLaMA section 4 reports."""
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0)
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    max_tokens: int = Field(256, ge=1)
    seed: Seed | None = 0
    """Sent to the teacher; a local teacher's noise is fixed by it, by the item and by the draw."""
    accepts: tuple[str, ...] = ()
    """Settings beyond the standard ones that this endpoint takes, e.g. `["repetition_penalty"]` for vLLM."""
    batch_size: int = Field(16, ge=1)
    """Local teacher: answers written at a time."""
    concurrency: int = Field(8, ge=1)
    """Endpoint: requests in flight."""
    timeout_s: float = Field(120.0, gt=0)
    retries: int = Field(5, ge=0)
    usd_per_million_input: float | None = Field(None, ge=0)
    usd_per_million_output: float | None = Field(None, ge=0)

    def sampling(self) -> Sampling:
        """The generation settings that are sent, the preset's values filled in where the recipe gives none."""
        paper = {"temperature": 0.8, "repetition_penalty": 2.0} if self.preset == "paper" else {}
        names = (
            "temperature",
            "top_p",
            "repetition_penalty",
            "frequency_penalty",
            "presence_penalty",
            "seed",
        )
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return Sampling(max_tokens=self.max_tokens, **{**paper, **given})


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


class FilterSettings(Section):
    """`[filter]`: which generated examples are dropped."""

    chain: tuple[Literal["wellformed", "drift", "duplicates", "leakage"], ...] = FILTERS  # type: ignore[assignment]
    wellformed: WellformedSettings = WellformedSettings()
    drift: DriftSettings = DriftSettings()
    duplicates: DuplicateSettings = DuplicateSettings()
    leakage: LeakageSettings = LeakageSettings()


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
