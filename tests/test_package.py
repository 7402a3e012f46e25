"""The wheel holds all that the package needs, and works where no checkout is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import preceptor
from preceptor.config import find_recipe
from preceptor.errors import RecipeError

ROOT = Path(__file__).resolve().parent.parent
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")

LOADS_ITS_OWN_FILES = """
import json, sys
from importlib.resources import files
from pathlib import Path

for name in ("torch", "transformers", "peft"):
    sys.modules[name] = None  # the base install has none of them
import preceptor
from preceptor.augment.base import load_prompt
from preceptor.config import find_recipe, load_recipe
from preceptor.data.load import load_datasets
from preceptor.data.seeds import load_seeds, shipped_sets
from preceptor.report.build import build

path = find_recipe(Path("demo"))
recipe = load_recipe(path)
(dataset,) = load_datasets(recipe.data, path.parent).values()
print(json.dumps({
    "code": preceptor.__file__,
    "recipe": str(path),
    "items": {name: len(part) for name, part in dataset.parts.items()},
    "prompt": load_prompt("rewrite-question.v1").name,
    "seeds": {name: len(load_seeds(name, Path()).tasks) for name in shipped_sets()},
}))
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command without a registry; its error output becomes the test's message."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools leaves its folders in the tree it builds from."""
    tree = tmp_path_factory.mktemp("wheel") / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    clutter = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "recipes"):
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=clutter)
    run(*PIP, "wheel", ".", "--no-deps", "--no-build-isolation", "--wheel-dir", "..", cwd=tree)
    (built,) = tree.parent.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """A folder that the wheel was installed into."""
    run(*PIP, "install", "--no-deps", "--target", "installed", wheel, cwd=wheel.parent)
    return wheel.parent / "installed"


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    files = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "preceptor").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    recipes = {f"preceptor/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / "recipes").rglob("*.toml")}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        about = {name.partition(".dist-info/")[2] for name in archive.namelist() if ".dist-info/" in name}
    assert held == files | recipes
    assert "licenses/LICENSE" in about


def test_the_wheel_is_named_for_the_version_that_the_package_says(wheel: Path) -> None:
    assert wheel.name == f"preceptor-{preceptor.__version__}-py3-none-any.whl"


def test_the_installed_package_finds_recipe_data_and_prompts_without_checkout_and_torch(
    installed: Path, tmp_path: Path
) -> None:
    found = json.loads(run(sys.executable, "-c", LOADS_ITS_OWN_FILES, cwd=tmp_path, PYTHONPATH=str(installed)))
    assert Path(found["code"]) == installed / "preceptor" / "__init__.py"
    assert Path(found["recipe"]) == installed / "preceptor" / "recipes" / "demo.toml"
    assert all(found["items"][part] > 0 for part in ("train", "validation", "test"))
    assert found["prompt"] == "rewrite-question.v1"
    assert found["seeds"] == {"biomedicine": 80, "contracts": 24}


def test_the_installed_command_says_its_version(installed: Path, tmp_path: Path) -> None:
    said = run(installed / "bin" / "preceptor", "--version", cwd=tmp_path, PYTHONPATH=str(installed))
    assert said.strip() == f"preceptor {preceptor.__version__}"


def test_a_recipe_is_found_by_name_in_a_checkout() -> None:
    assert find_recipe(Path("demo")) == ROOT / "recipes" / "demo.toml"
    with pytest.raises(RecipeError, match=r"no recipe dmeo.*one of: .*demo.*pubmedqa"):
        find_recipe(Path("dmeo"))


def test_a_folder_of_the_same_name_does_not_hide_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_recipe(Path("demo")) == ROOT / "recipes" / "demo.toml"
