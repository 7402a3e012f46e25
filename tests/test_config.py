"""Recipes: what is wrong is one sentence that names the key, the value and what is allowed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import tomli_w

from preceptor.config import (
    AdaptRecipe,
    InstructRecipe,
    Recipe,
    TrainSettings,
    check_adapt_recipe,
    check_instruct_recipe,
    check_recipe,
    find_recipe,
    load_recipe,
    points_of,
    read_recipe,
)
from preceptor.config.load import apply_override
from preceptor.config.train import FIRST_KEYS
from preceptor.errors import RecipeError
from preceptor.pipeline.resolve import resolved

REPOSITORY = Path(__file__).resolve().parent.parent
RECIPES = sorted((REPOSITORY / "recipes").rglob("*.toml"))

BASE = """
name = "x"
title = "A title"

[data]
task = "demo"

[[students]]
name = "small"
model = "builtin:minilm-l6"

[[students]]
name = "large"
model = "builtin:smollm2-135m-instruct"
train = { rank = 2 }
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "recipe.toml").write_text(BASE)
    return tmp_path / "recipe.toml"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_repository_loads(path: Path) -> None:
    recipe = read_recipe(path)
    makes_one_model = isinstance(recipe, AdaptRecipe) or path.stem == "teacher"
    assert makes_one_model or len(recipe.seeds) >= 2  # what is compared needs several
    if isinstance(recipe, Recipe):
        assert "none" in recipe.arms  # what the others are compared to


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_resolved_recipe_is_the_same_recipe(path: Path) -> None:
    recipe = read_recipe(path)
    checks = {Recipe: check_recipe, InstructRecipe: check_instruct_recipe, AdaptRecipe: check_adapt_recipe}
    check = checks[type(recipe)]
    assert check(tomllib.loads(resolved(recipe)), "resolved") == recipe


def test_recipes_ship_with_the_package_and_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()  # a folder of that name is no recipe
    assert find_recipe(Path("demo")).read_text() == (REPOSITORY / "recipes" / "demo.toml").read_text()
    assert find_recipe(Path("own.toml")) == Path("own.toml")
    with pytest.raises(RecipeError, match="There is no recipe nothing") as caught:
        find_recipe(Path("nothing"))
    assert "demo" in caught.value.hint
    assert "pubmedqa" in caught.value.hint


@pytest.mark.parametrize(
    ("override", "key", "allowed"),
    [
        ("trian.rank=4", "'trian'", "students"),
        ("train.rnak=4", "'train.rnak'", "rank"),
        ("data.tsak='demo'", "'data.tsak'", "task"),
        ("filter.drift.bound=1", "'filter.drift.bound'", "min_similarity"),
        ("students.small.modle='x'", "'students.0.modle'", "model"),
        ("students.small.train.rnak=4", "'students.small.train.rnak'", "rank"),
    ],
)
def test_an_unknown_key_is_named_with_the_keys_that_are_allowed(
    override: str, key: str, allowed: str, recipe: Path
) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, [override])
    assert caught.value.message.startswith(f"{recipe}: unknown key {key}")
    assert allowed in str(caught.value)
    assert "eys allowed there:" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.rank=zero", ["train.rank = 'zero'", "integer"]),
        ("train.rank=1.5", ["train.rank = 1.5", "integer"]),
        ("train.rank=0", ["train.rank = 0", "greater than or equal to 1"]),
        (
            "train.method=adam",
            ["train.method = 'adam'", "'lora', 'rslora', 'dora', 'prefix', 'prompt', 'p-tuning', 'ia3' or 'full'"],
        ),
        ("train.preset=best", ["train.preset = 'best'", "'paper' or 'tuned'"]),
        (
            "train.prompt_position=end",
            ["train.prompt_position = 'end'", "'start', 'before-question' or 'before-answer'"],
        ),
        ("train.projection=maybe", ["train.projection = 'maybe'", "boolean"]),
        ("train.targets=5", ["train.targets = 5"]),
        ("train.learning_rate=inf", ["train.learning_rate = inf", "finite"]),
        ("train.learning_rate=nan", ["train.learning_rate = nan"]),
        ("train.warmup=2", ["train.warmup = 2", "less than or equal to 1"]),
        ("students.small.train.rank=x", ["students.small.train.rank = 'x'", "integer"]),
        ("students.small.train=5", ["students.0.train = 5", "table"]),
        ("students.small.name='a b'", ["students.0.name = 'a b'", "pattern"]),
        ("students=4", ["students = 4", "list"]),
        ("seeds=3", ["seeds = 3", "list"]),
        ("data=3", ["data = 3", "table"]),
        ("data.task=law", ["data.task = 'law'", "'demo', 'pubmedqa' or 'jsonl'"]),
        ("data.max_train=0", ["data.max_train = 0", "greater than or equal to 1"]),
        ("arms.more=['shout']", ["arms.more: there is no strategy 'shout'", "rewrite, new, edit, published"]),
        ("name=../up", ["name = '../up'", "pattern"]),
        ("teacher.temperature=3", ["teacher.temperature = 3", "less than or equal to 2"]),
        ("filter.chain=['spell']", ["filter.chain.0 = 'spell'", "'wellformed'"]),
        ("evaluate.beams=1", ["evaluate.beams = 1", "greater than or equal to 2"]),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(override: str, words: list[str], recipe: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, [override])
    assert caught.value.message.startswith(f"{recipe}: ")
    assert all(word in caught.value.message for word in words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["data.task=jsonl"], r'data\.task = "jsonl" needs a table \[data\.own\]'),
        (["data.task=pubmedqa"], "needs exactly one of data.path and data.hub"),
        (["data.task=pubmedqa", "data.path=a", "data.hub=b"], "needs exactly one of data.path and data.hub"),
        (["data.own={labels=['a'],prompt='p',inputs=['a'],fields={a='a'},label='l'}"], r"\[data\.own\] is only for"),
        (["seeds=[]"], "give at least one seed"),
        (["seeds=[1, 1]"], r"each once, got \[1, 1\]"),
        (["students=[]"], "at least one"),
        (["students.large.name=small"], "'small' is given twice"),
        (["students.large.settings=['other']"], r"students\.large\.settings: 'other' is not in"),
        (["arms={}"], "at least one arm"),
        (["arms.none=['rewrite']"], "arms.none is the real data alone"),
        (["arms.untrained=[]"], "arms.untrained: this name means the student as it came"),
        (["arms.a={ real = false }"], "arms.a.real = false leaves nothing to train on"),
        (["arms.a={ labels = 'shuffled' }"], 'arms.a.labels = "shuffled" is about generated examples'),
        (["arms.none={ labels = 'shuffled' }"], 'arms.none.labels = "shuffled" is about generated examples'),
        (["arms.a={ use = ['shout'] }"], "arms.a.use: there is no strategy 'shout'; there are rewrite, new"),
        (["arms.a={ use = ['new', 'new'] }"], "arms.a.use names 'new' twice"),
        (["arms.a=rewrite"], "arms.a = 'rewrite': an arm is a list of strategies, or a table"),
        (["arms.a={ used = ['new'] }"], "unknown key 'arms.a.used'"),
        (["arms.a={ use = ['new'], labels = 'none' }"], "arms.a.labels = 'none': input should be 'own' or 'shuffled'"),
        (["arms.a={ use = ['new'], real = 'x' }"], "arms.a.real = 'x'"),
        (["arms.a={ use = 'new' }"], "arms.a.use = 'new'"),
        (["arms.a=['published']"], "arms.a.use: the strategy 'published' needs augment.published"),
        (["augment.published=x.jsonl"], 'augment.published is for data.task = "jsonl"'),
        (["filter.agreement.labeller=other"], r"needs a table \[filter\.agreement\.teacher\]"),
        (["filter.agreement.teacher.kind=scripted"], r"only for filter\.agreement\.labeller = .other."),
        (["train.method=prefix", "train.projection=true"], "train.projection = true needs .* 'random', not 'text'"),
        (
            ["train.method=prefix", "train.projection=true", "train.initialisation=zero"],
            "train.projection = true needs train.initialisation = 'random', not 'zero'",
        ),
        (["train.method=prompt", "train.initialisation=zero"], "train.initialisation = 'zero' is for a prefix"),
        (["filter.agreement.student=small"], r"only for filter\.agreement\.labeller = .student."),
        (["filter.agreement.draws=2"], "a vote needs an odd number"),
        (["filter.agreement.draws=3"], "at temperature 0 all draws are alike"),
        (["filter.agreement.draws=3", "filter.agreement.labeller=student"], "always gives the same answer"),
        (
            ["filter.agreement.labeller=other", "filter.agreement.teacher.temperature=0.5"],
            r"filter\.agreement\.teacher\.temperature is not used there: set filter\.agreement\.temperature",
        ),
        (["filter.judge.teacher.top_p=0.5"], r"filter\.judge\.teacher\.top_p is not used there"),
        (["filter.judge.teacher.preset=paper"], r"filter\.judge\.teacher\.preset is not used there"),
        (
            ["filter.chain=['agreement']", "filter.agreement.labeller=student", "filter.agreement.student=none"],
            "no student 'none' is trained",
        ),
        (["filter.judge.teacher.modle=x"], r"unknown key 'filter\.judge\.teacher\.modle'"),
    ],
)
def test_what_cannot_go_together_is_one_sentence(overrides: list[str], problem: str, recipe: Path) -> None:
    with pytest.raises(RecipeError, match=problem) as caught:
        load_recipe(recipe, overrides)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named(recipe: Path) -> None:
    recipe.write_text(BASE.replace('title = "A title"', ""))
    with pytest.raises(RecipeError, match="the key 'title' is missing"):
        load_recipe(recipe)
    recipe.write_text(BASE.replace('model = "builtin:minilm-l6"', ""))
    with pytest.raises(RecipeError, match=r"the key 'students\.0\.model' is missing"):
        load_recipe(recipe)


def test_overrides_reach_tables_entries_and_new_tables(recipe: Path) -> None:
    found = load_recipe(
        recipe,
        [
            "train.alpha=64",
            "train.method=prefix",  # a word needs no quotes
            'title="With a = sign"',
            "seeds=[7, 8]",
            "students.small.train.rank=4",
            "students.1.train.epochs=0.5",
            "filter.leakage.ngram=5",
            "arms.both=['rewrite', 'new']",
        ],
    )
    assert (found.train.alpha, found.train.method, found.title, found.seeds) == (64, "prefix", "With a = sign", (7, 8))
    small, large = (found.training_of(student) for student in found.students)
    assert (small.rank, small.alpha) == (4, 64)
    assert (large.rank, large.epochs, large.alpha) == (2, 0.5, 64)
    assert found.filter.leakage.ngram == 5
    assert found.arms["both"].use == ("rewrite", "new")
    assert found.strategies == ("rewrite", "new")


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("train.rank", "is not of the form key=value"),
        ("=5", "is not of the form key=value"),
        ("title.x=1", "'title' is a value, not a table"),
        ("students.none.model=x", "there is no entry 'none'"),
        ("students.7.model=x", "there is no entry '7'"),
        ("students.².model=x", "there is no entry '²'"),
        ("students.small=x", "name a key inside the list's entry"),
    ],
)
def test_an_override_that_names_nothing_is_refused(override: str, problem: str, recipe: Path) -> None:
    with pytest.raises(RecipeError, match=problem) as caught:
        load_recipe(recipe, [override])
    assert repr(override) in caught.value.message


def test_an_override_by_a_name_that_stands_twice_is_refused() -> None:
    twice = [{"name": "small", "model": "a"}, {"name": "small", "model": "b"}]
    with pytest.raises(RecipeError, match="2 entries are called 'small'"):
        apply_override({"students": twice}, "students.small.model=c")
    apply_override({"students": twice}, "students.1.model=c")
    assert [entry["model"] for entry in twice] == ["a", "c"]


def test_files_that_are_no_recipe_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'title = "\xe9"')
    (tmp_path / "bad.toml").write_text("title = unquoted")
    for path, problem in (
        (tmp_path / "none.toml", r"There is no recipe .*none\.toml"),
        (tmp_path, "cannot be read as a recipe: is a directory"),
        (tmp_path / "bad.toml" / "deeper.toml", "cannot be read as a recipe: not a directory"),
        (tmp_path / "latin.toml", "byte 9 is not UTF-8"),
        (tmp_path / "bad.toml", r"is not valid TOML: .*line 1, column 9"),
    ):
        with pytest.raises(RecipeError, match=problem):
            load_recipe(path)


def test_yes_and_no_stay_words() -> None:
    own = {"labels": ["yes", "no"], "prompt": "{{ q }}", "inputs": ["q"], "fields": {"q": "q"}, "label": "l"}
    raw = tomllib.loads(BASE) | {"data": {"task": "jsonl", "path": "x.jsonl", "own": own}}
    checked = check_recipe(tomllib.loads(tomli_w.dumps(raw)), "here")
    assert checked.data.own is not None
    assert checked.data.own.labels == ("yes", "no")


def test_the_labelling_student_is_the_one_named_or_the_first_of_the_setting(recipe: Path) -> None:
    data = ["data.task=pubmedqa", "data.path=x", "data.settings=['reasoning-required', 'reasoning-free']"]
    some = ["students.small.settings=['reasoning-free']", "filter.chain=['agreement']"]
    found = load_recipe(recipe, [*data, *some, "filter.agreement.labeller=student"])
    assert found.labelling_student("reasoning-free").name == "small"
    assert found.labelling_student("reasoning-required").name == "large"
    named = [*data, *some, "filter.agreement.labeller=student", "filter.agreement.student=small"]
    with pytest.raises(RecipeError, match="no student 'small' is trained in the setting 'reasoning-required'"):
        load_recipe(recipe, named)
    assert load_recipe(recipe, [*named, "filter.chain=['drift']"])  # nobody labels


def test_the_papers_preset_gives_way_to_what_the_recipe_says(recipe: Path) -> None:
    def sampling(*overrides: str) -> dict[str, float]:
        return load_recipe(recipe, overrides).teacher.sampling().asked()

    assert sampling() == {"max_tokens": 256, "seed": 0}
    assert sampling("teacher.preset=paper") == {
        "max_tokens": 256,
        "seed": 0,
        "temperature": 0.8,
        "repetition_penalty": 2.0,
    }
    assert sampling("teacher.preset=paper", "teacher.temperature=0.3")["temperature"] == 0.3


def test_a_recipe_does_not_change_after_it_was_checked(recipe: Path) -> None:
    checked = load_recipe(recipe)
    with pytest.raises(ValueError, match="frozen"):
        checked.train.rank = 4


INSTRUCT = {
    "name": "notes",
    "title": "Notes",
    "instruct": {"target": 10},
    "benchmarks": [{"name": "pubmedqa", "kind": "pubmedqa", "category": "question_answering", "path": "data"}],
    "arms": {"qa": {"generated:question_answering": 1.0}},
    "train": {"steps": 2},
    "students": [{"name": "small", "model": "builtin:smollm2-135m-instruct"}],
}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"instruct": {"targett": 3}}, "unknown key 'instruct.targett'"),
        ({"instruct": {"rules": {"min": 3}}}, "unknown key 'instruct.rules.min'"),
        ({"instruct": {"balance": {"question_answering": 1.5}}}, "every share lies between 0 and 1"),
        (
            {
                "instruct": {
                    "balance": dict.fromkeys(
                        ("question_answering", "information_extraction", "generation", "other"), 0.2
                    )
                }
            },
            "sum to 0.8",
        ),
        ({"arms": {"qa": {"generated:qa": 1.0}}}, "'generated:qa' is no source"),
        ({"arms": {"qa": {}}}, "arms.qa: name at least one source"),
        ({"arms": {"none": {"generated": 1.0}}}, "arms.none"),
        ({"arms": {"qa": {"generated": 0.0}}}, "arms.qa.generated = 0.0"),
        ({"train": {"epochs": 2}}, "train.steps"),
        ({"students": [{"name": "a", "model": "b", "arms": ["ie"]}]}, "there is no arm 'ie'"),
        ({"students": [{"name": "a", "model": "b"}] * 2}, "'a' is given twice"),
        ({"seeds": []}, "at least one seed"),
        ({"benchmarks": [{**INSTRUCT["benchmarks"][0], "scored": False}]}, "at least one scored"),  # type: ignore[index]
        ({"benchmarks": [{**INSTRUCT["benchmarks"][0], "path": None}]}, "needs a path"),  # type: ignore[index]
        ({"benchmarks": [{**INSTRUCT["benchmarks"][0], "kind": "labels"}]}, "go together"),  # type: ignore[index]
        ({"evaluate": {"judge": {"teacher": {"top_p": 0.5}}}}, "judge.teacher.top_p is not used there"),
    ],
)
def test_what_is_wrong_with_a_recipe_of_instructions_is_one_sentence(change: dict[str, object], problem: str) -> None:
    check_instruct_recipe(INSTRUCT, "here")
    with pytest.raises(RecipeError) as caught:
        check_instruct_recipe({**INSTRUCT, **change}, "here")
    assert problem in caught.value.message


def test_the_kind_of_a_recipe_is_read_from_its_sections(tmp_path: Path, recipe: Path) -> None:
    (tmp_path / "notes.toml").write_text(tomli_w.dumps(INSTRUCT), encoding="utf-8")
    assert isinstance(read_recipe(tmp_path / "notes.toml"), InstructRecipe)
    assert isinstance(read_recipe(recipe), Recipe)
    with pytest.raises(RecipeError, match="a recipe of instructions"):
        load_recipe(tmp_path / "notes.toml")


@pytest.mark.parametrize(
    ("model", "name"),
    [("builtin:smollm2-135m-instruct", "smollm2-135m-instruct"), ("meta/Llama-2", "Llama-2"), ("/my/model/", "model")],
)
def test_another_student_takes_the_place_of_all(model: str, name: str, tmp_path: Path) -> None:
    students = [
        {"name": "a", "model": "x", "train": {"rank": 4}},
        {"name": "a", "model": "x", "train": {"rank": 2}, "settings": ["reasoning-free"]},
        {"name": "b", "model": "y"},
    ]
    raw = {**INSTRUCT, "students": [students[0], students[2]]}
    (tmp_path / "notes.toml").write_text(tomli_w.dumps(raw), encoding="utf-8")
    (only,) = read_recipe(tmp_path / "notes.toml", ["students.0.train.rank=3"], model).students
    assert (only.name, only.model, only.train) == (name, model, {"rank": 3})
    data = {"task": "pubmedqa", "path": "p", "settings": ["reasoning-required", "reasoning-free"]}
    students[0]["settings"] = ["reasoning-required"]
    (tmp_path / "labels.toml").write_text(
        tomli_w.dumps({"name": "n", "title": "t", "data": data, "students": students}), encoding="utf-8"
    )
    found = read_recipe(tmp_path / "labels.toml", [], model).students
    assert [(s.name, s.model, s.train["rank"]) for s in found] == [(name, model, 4), (name, model, 2)]


# --- objectives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"objectives": {"label": 0}}, "all weights are 0"),
        ({"objectives": {"label": -1}}, "train.objectives.label = -1"),
        ({"objectives": {"distillation": 1}}, "needs train.distillation.teacher"),
        ({"distillation": {"weights": "a"}}, "needs train.distillation.teacher"),
        ({"objectives": {"contrastive": 1}, "batch_size": 2}, "train.batch_size = 2"),
        ({"objectives": {"contrastive": 1}, "batch_tokens": 512}, "train.batch_tokens"),
        ({"contrastive": {"positives": []}}, "train.contrastive.positives is empty"),
        ({"objectives": {"lable": 1}}, "unknown key 'train.objectives.lable'"),
    ],
)
def test_objectives_that_cannot_be_are_one_sentence(train: dict[str, object], said: str) -> None:
    raw = {"name": "a", "title": "b", "data": {"task": "demo"}, "students": [{"name": "s", "model": "m"}]}
    with pytest.raises(RecipeError, match=re.escape(said)) as caught:
        check_recipe({**raw, "train": train}, "recipe.toml")
    assert "\n" not in caught.value.message


def test_a_students_own_keys_go_over_single_keys_of_tables_too() -> None:
    raw = {"name": "a", "title": "b", "data": {"task": "demo"}, "students": [{"name": "s", "model": "m"}]}
    raw["train"] = {"objectives": {"distillation": 1}, "distillation": {"teacher": "t", "temperature": 2.0}}
    raw["students"][0]["train"] = {"distillation": {"weights": "w"}, "alpha": 4}
    recipe = check_recipe(raw, "recipe.toml")
    found = recipe.training_of(recipe.students[0])
    assert (found.alpha, found.distillation.temperature, found.distillation.weights) == (4, 2.0, "w")
    assert found.objectives.distillation == 1


def test_new_tables_of_training_leave_the_identity_of_what_was_trained_before() -> None:
    assert TrainSettings().deciding().keys() == FIRST_KEYS
    chosen = TrainSettings.model_validate({"contrastive": {"temperature": 0.2}, "objectives": {"contrastive": 0.5}})
    added = {key: value for key, value in chosen.deciding().items() if key not in FIRST_KEYS}
    assert added == {"contrastive": {"temperature": 0.2}, "objectives": {"contrastive": 0.5}}
    assert chosen.on_labels_alone() == TrainSettings()


def test_instructions_have_no_objectives_of_labels() -> None:
    raw = {
        "name": "a",
        "title": "b",
        "benchmarks": [{"name": "p", "kind": "pubmedqa", "path": "x", "category": "question_answering"}],
        "arms": {"human": {"p": 1}},
        "students": [{"name": "s", "model": "m"}],
        "train": {"steps": 3, "objectives": {"rationale": 1}},
    }
    with pytest.raises(RecipeError, match=r"train\.objectives is for tasks with labels"):
        check_instruct_recipe(raw, "recipe.toml")


# --- sweeps --------------------------------------------------------------------------------------------------------


def swept(**sweep: object) -> dict[str, object]:
    students = [
        {"name": "lora", "model": "m"},
        {"name": "prefix", "model": "m", "train": {"method": "prefix"}},
    ]
    return {"name": "x", "title": "A title", "data": {"task": "demo"}, "students": students, "sweep": sweep}


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        (
            {"select": "test", "axes": {"train.epochs": [1]}},
            "sweep.select = 'test' is refused: a value that was",
        ),
        ({"select": "best", "axes": {"train.epochs": [1]}}, "sweep.select = 'best': input should be 'validation' or"),
        ({}, "sweep.axes: give at least one axis"),
        ({"axes": {"train.epochs": []}}, "sweep.axes: 'train.epochs' has no values"),
        ({"axes": {"train.epochs": 2}}, "sweep.axes: 'train.epochs' needs a list of values"),
        ({"axes": {"train.epochs": [2, 2]}}, "sweep.axes: 'train.epochs' has a value twice"),
        (
            {"axes": {"train.epochs": [1, 0]}},
            "sweep: train.epochs = 0: students.lora.train.epochs = 0: input",
        ),
        ({"axes": {"train.epochs": ["2"]}}, "sweep: train.epochs = '2': this key takes a value like 2.0, not a text"),
        ({"axes": {"train.epochs": [True]}}, "sweep: train.epochs = True: this key takes a value like 1.0"),
        ({"axes": {"train.epochs": ["many"]}}, "sweep: train.epochs = 'many': students.lora.train.epochs = 'many'"),
        ({"axes": {"train.epoch": [1]}}, "sweep: train.epoch = 1: unknown key 'students.lora.train.epoch'"),
        ({"axes": {"filter.magic.x": [1]}}, "sweep: filter.magic.x = 1: unknown key 'filter.magic'"),
        ({"axes": {"seeds": [1]}}, "sweep.axes: 'seeds' cannot be swept"),
        ({"axes": {"train": [1]}}, "sweep.axes: 'train' cannot be swept"),
        ({"students": {"nobody": {"train.alpha": [1]}}}, "sweep.students: there is no student 'nobody'"),
        ({"axes": {"train.alpha": [1, 2]}}, "sweep: train.alpha changes nothing for the student 'prefix'"),
        (
            {"axes": {"train.warmup": [k / 2000 for k in range(1001)]}},
            "lora would have 1,001 points; 1,000 are",
        ),
        ({"folds": 1, "axes": {"train.epochs": [1]}}, "sweep.folds = 1: input should be greater than or equal to 2"),
    ],
)
def test_what_is_wrong_with_a_sweep_is_one_sentence_that_names_the_key(sweep: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check_recipe(swept(**sweep), "sweep.toml")
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_a_sweep_is_a_grid_of_points_whose_names_tell_their_values() -> None:
    sweep = {"axes": {"train.alpha": [16, 32.5], "data.max_train": [100]}, "students": {"prefix": {}}}
    recipe = check_recipe(swept(**sweep), "sweep.toml")
    points = points_of(recipe)
    assert [point.student.name for point in points] == ["lora-alpha-16-max_train-100", "lora-alpha-32.5-max_train-100"]
    assert [point.recipe.training_of(point.student).alpha for point in points] == [16, 32.5]
    assert {point.recipe.data.max_train for point in points} == {100}
    assert all(point.apart for point in points)
    assert all(point.recipe.sweep is None for point in points)
    assert check_recipe(tomllib.loads(resolved(recipe)), "again").sweep == recipe.sweep


def test_axes_without_quotes_are_the_same_and_a_student_of_its_own_replaces_the_common_ones() -> None:
    text = "[axes]\ntrain.alpha = [1, 2]\n[students.prefix]\ntrain.virtual_tokens = [4]\n"
    points = points_of(check_recipe(swept(**tomllib.loads(text)), "sweep.toml"))
    assert [dict(point.values) for point in points] == [
        {"train.alpha": 1},
        {"train.alpha": 2},
        {"train.virtual_tokens": 4},
    ]
    assert not any(point.apart for point in points)


def test_a_key_of_a_further_teacher_is_swept_whatever_its_name() -> None:
    text = """
[axes]
teachers.gpt-4.temperature = [0.2, 0.9]
"teachers.gpt-4.1.max_tokens" = [8]
"teacher.temperature" = [0.5]
[students]
prefix = {}
"""
    raw = swept(**tomllib.loads(text))
    raw["teachers"] = {"gpt-4": {}, "gpt-4.1": {"temperature": 0.3}}
    raw["arms"] = {name: {"use": ["new"], "teacher": name} for name in ("gpt-4", "gpt-4.1")}
    recipe = check_recipe(raw, "sweep.toml")
    points = points_of(recipe)
    end = "max_tokens-8-teacher.temperature-0.5"
    assert [point.short for point in points] == [f"teachers.gpt-4.temperature-{value}-{end}" for value in (0.2, 0.9)]
    assert all(point.apart for point in points)
    for point, temperature in zip(points, (0.2, 0.9), strict=True):
        named = point.recipe.teachers
        assert (named["gpt-4"].temperature, named["gpt-4"].max_tokens) == (temperature, 256)
        assert (named["gpt-4.1"].temperature, named["gpt-4.1"].max_tokens) == (0.3, 8)
        assert point.recipe.teacher.temperature == 0.5
    assert recipe.teachers["gpt-4"].temperature is None
    assert check_recipe(tomllib.loads(resolved(recipe)), "again").sweep == recipe.sweep


def test_two_points_or_students_never_share_a_name() -> None:
    raw = swept(axes={"train.epochs": [1]})
    raw["students"] = [{"name": "a", "model": "m"}, {"name": "a-epochs-1", "model": "m"}]
    with pytest.raises(RecipeError, match="would be called 'a-epochs-1'"):
        check_recipe(raw, "sweep.toml")
