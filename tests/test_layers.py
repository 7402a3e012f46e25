"""The import rules of the package: lower layers never know higher ones, stages never know each other."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src" / "preceptor"
GROUND = {"records", "errors", "config", "progress", "language", ""}
STAGES = {"data", "augment", "filter", "publish", "train", "evaluate", "report", "serve"}
BELOW_STAGES = GROUND | {"store", "models", "teachers"}
ALLOWED = {
    "records": set(),
    "errors": set(),
    "progress": set(),
    "language": set(),
    "": set(),
    "config": {"records", "errors"},
    "store": GROUND | {"store"},
    "models": GROUND | {"store", "models"},
    "teachers": BELOW_STAGES,
    **{stage: BELOW_STAGES | {stage, "data.base", "data.benchmark", "data.parsers"} for stage in STAGES},
    "doctor": BELOW_STAGES,
    "pipeline": BELOW_STAGES | STAGES,
    "cli": GROUND | {"pipeline", "doctor", "report", "cli_export"},
    "cli_export": GROUND | {"pipeline"},
}


def imports(path: Path) -> set[str]:
    """Names of the package's modules that a file imports, without the package's own name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {n.removeprefix("preceptor").lstrip(".") for n in names if n.split(".")[0] == "preceptor"}
    return found


def test_every_module_imports_only_what_its_layer_may() -> None:
    wrong = []
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        layer = "" if parts == ("__init__",) else parts[0]
        allowed = ALLOWED[layer] | {layer}
        wrong += [f"{layer}/{path.name} imports {n}" for n in imports(path) if not {n, n.split(".")[0]} & allowed]
    assert not wrong, wrong


def test_relative_imports_do_not_hide_from_the_rule() -> None:
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"
