"""Which students of a folder of results do best on validation items, so that a choice among them sees no test item.

    python bench/chosen.py results/methods [--best 2]

Prints, over seeds, the mean log loss and accuracy of each student on validation items, best first, and ends with one
line of JSON. Students are compared within the family before the first hyphen of their name (minilm-lora, minilm-dora).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean


def scores(path: Path) -> tuple[str, float, float] | None:
    """Student and arm, and log loss and accuracy of the state that training kept; None where nothing was trained."""
    told = json.loads(path.read_text(encoding="utf-8")).get("predictions", {})
    cell, fit = told.get("extra", {}).get("cell"), told.get("fit")
    if not cell or not fit or not fit["checks"]:
        return None
    kept = next(check for check in fit["checks"] if check["step"] == fit["selected"])
    return f"{cell['student']} {cell['arm']}", kept["loss"], kept["accuracy"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--best", type=int, default=2, help="so many of each family go into the JSON")
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for path in sorted(given.folder.glob("*.json")):
        if (one := scores(path)) is not None:
            found[one[0]].append(one[1:])
    if not found:
        sys.exit(f"{given.folder} holds no results of trained students with validation items.")
    ranked = sorted((fmean(x for x, _ in kept), name) for name, kept in found.items())
    best: dict[str, list[str]] = defaultdict(list)
    for loss, name in ranked:
        kept = found[name]
        print(f"  {name:40} {len(kept)} seeds  log loss {loss:.4f}  accuracy {fmean(y for _, y in kept):.3f}")
        best[name.split("-")[0]].append(name)
    print(json.dumps({family: names[: given.best] for family, names in best.items()}))


if __name__ == "__main__":
    main()
