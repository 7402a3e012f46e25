"""Results of other recipes: a cell that one of them has computed from the same inputs is not computed again.

The same inputs are the same identity: data, arm, training, seed and evaluation; the names of recipe and student do not
count. What is taken over stands in the recipe's own results from then on, with the looks at the test items that it
cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from preceptor.data.files import resolve
from preceptor.pipeline.label_arms import nothing_kept
from preceptor.pipeline.label_cells import about, evaluate_stage, finished
from preceptor.pipeline.label_run import Cell, Run
from preceptor.store.results import ResultsBook
from preceptor.store.seal import read_looks, record


def take_over(state: Run, planned: Sequence[Cell]) -> None:
    """Look into the folders of the recipe's key `reuse` for the cells that are not finished.

    Says what was taken from where, and which folder is not there. Raises `DataError` for a file that cannot be read.
    """
    for given in state.recipe.reuse:
        folder = resolve(given, state.base).resolve()
        if not folder.is_dir():
            state.progress.say(f"cells: there are no results in {folder} (reuse), so none are taken from there")
            continue
        missing: dict[str, list[Cell]] = {}  # two students may be one under two names, e.g. untrained
        for cell in planned:
            if not nothing_kept(state, cell) and not finished(state, cell):
                missing.setdefault(evaluate_stage(state, cell).identity, []).append(cell)
        taken = _from_folder(state, missing, folder)
        if taken:
            state.progress.say(f"cells: {taken} of {len(planned)} taken from {folder}: the same inputs")


def _from_folder(state: Run, missing: dict[str, list[Cell]], folder: Path) -> int:
    assert state.book is not None
    known = {identity: entry for identity, entry in ResultsBook(folder).known() if identity in missing}
    # Its own results have their looks already: under another cell's name they would count twice.
    for look in read_looks(folder) if known and folder != state.book.folder else []:
        if look.identity in known:
            record([state.root, state.book.folder], replace(look, cell=missing[look.identity][0].name))
    adopted = [(cell, entry) for identity, entry in known.items() for cell in missing[identity]]
    for cell, entry in adopted:
        state.book.adopt(cell.name, entry, about(cell))
    return len(adopted)
