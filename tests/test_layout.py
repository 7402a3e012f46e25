"""The README tells the truth: its file map is the disk, its examples are valid."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from preceptor.config import TeacherSettings, check_recipe, load_recipe, read_recipe
from preceptor.data.load import load_datasets

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAPPED_IN_FULL = ("src/preceptor", "recipes")


def blocks(language: str, text: str = README) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def file_map() -> dict[str, str]:
    """Path -> description of every entry; folders end in a slash."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in blocks("", README.partition("\n## File map\n")[2])[0].splitlines():
        indent = len(line) - len(line.lstrip())
        assert indent % 2 == 0, f"odd indentation: {line!r}"
        name, _, words = line.strip().partition(" ")
        del above[indent // 2 :]
        path = "".join(above) + name
        assert path not in found, f"{path} stands twice"
        found[path] = words.strip()
        if name.endswith("/"):
            above.append(name)
    return found


def whole_folders(entries: dict[str, str]) -> set[str]:
    """Folders that stand for all that is in them: nothing is listed below."""
    return {e for e in entries if e.endswith("/") and not any(o.startswith(e) for o in entries if o != e)}


def on_disk(folder: str) -> Iterator[str]:
    """Files of the project below a folder; links are not followed, empty package markers are not mapped."""
    for path in (ROOT / folder).rglob("*"):
        relative = path.relative_to(ROOT).as_posix()
        if "__pycache__" in relative or path.name == "__init__.py" or path.name.startswith("."):
            continue
        if path.is_symlink() or path.is_file():
            yield relative


def test_every_entry_of_the_map_exists_and_is_described() -> None:
    entries = file_map()
    missing = [e for e in entries if not (ROOT / e).exists()]
    assert not missing, f"the README's file map names what is not there: {missing}"
    whole = whole_folders(entries)
    bare = [e for e, words in entries.items() if not words and (not e.endswith("/") or e in whole)]
    assert not bare, f"the README's file map says nothing about: {bare}"


@pytest.mark.parametrize("folder", MAPPED_IN_FULL)
def test_every_file_is_in_the_map(folder: str) -> None:
    entries = file_map()
    whole = tuple(whole_folders(entries))
    found = list(on_disk(folder))
    assert len(found) > 2
    missing = sorted(path for path in found if path not in entries and not path.startswith(whole))
    assert not missing, f"the README's file map lacks {missing}"


def test_every_folder_of_tests_mirrors_a_folder_of_the_package() -> None:
    mirrored = {p.name for p in (ROOT / "src" / "preceptor").iterdir() if p.is_dir()}
    folders = {p.name for p in (ROOT / "tests").iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders <= mirrored


def test_the_own_data_example_is_a_whole_recipe_that_reads_its_file(tmp_path: Path) -> None:
    recipes = [text for text in blocks("toml") if "[data.own]" in text]
    assert len(recipes) == 1
    (tmp_path / "contracts.toml").write_text(recipes[0], encoding="utf-8")
    recipe = load_recipe(tmp_path / "contracts.toml")
    rows = [json.loads(line) for block in blocks("json") for line in block.splitlines()]
    assert {row["ruling"] for row in rows} == {"allowed", "forbidden"}
    many = [
        {**row, "number": f"{row['number']}-{i}", "clause": f"§ {i} {row['clause']}"} for row in rows for i in range(20)
    ]
    (tmp_path / "contracts.jsonl").write_text("\n".join(json.dumps(row) for row in many), encoding="utf-8")

    datasets = load_datasets(recipe.data, tmp_path)

    dataset = datasets["default"]
    assert {name: len(part) for name, part in dataset.parts.items()} == {"train": 24, "validation": 4, "test": 12}
    prompt = dataset.task.render(dataset.train[0])
    assert re.fullmatch(r"\s*Clause: § .*\nQuestion: .*\?\nAnswer:", prompt)


def test_every_teacher_example_is_valid() -> None:
    tables = [tomllib.loads(text) for text in blocks("toml")]
    teachers = [table["teacher"] for table in tables if set(table) == {"teacher"}]
    assert len(teachers) >= 3
    kinds = {TeacherSettings.model_validate(teacher).kind for teacher in teachers}
    assert kinds == {"local", "openai", "anthropic"}
    own = next(table for table in tables if "data" in table)
    for teacher in teachers:
        assert check_recipe({**own, "teacher": teacher}, "README.md").teacher.sampling()


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").rglob("*.toml")), ids=lambda p: p.stem)
def test_every_recipe_is_valid_and_asks_a_question(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")
    recipe = read_recipe(path)
    assert recipe.title.endswith("?")
