"""From `[filter]` of a recipe to the filters, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable

from preceptor.config import FilterSettings
from preceptor.filter.agreement import Agreement
from preceptor.filter.base import Filter
from preceptor.filter.drift import Drift
from preceptor.filter.duplicates import Duplicates
from preceptor.filter.judge import Judge
from preceptor.filter.leakage import Leakage
from preceptor.filter.novelty import NoveltyFilter
from preceptor.filter.wellformed import Wellformed

_BUILD: dict[str, Callable[[FilterSettings], Filter]] = {
    "wellformed": lambda settings: Wellformed(settings.wellformed),
    "drift": lambda settings: Drift(settings.drift),
    "duplicates": lambda settings: Duplicates(settings.duplicates),
    "novelty": lambda settings: NoveltyFilter(settings.novelty),
    "leakage": lambda settings: Leakage(settings.leakage),
    "agreement": lambda settings: Agreement(settings.agreement),
    "judge": lambda settings: Judge(settings.judge),
}


def make_chain(settings: FilterSettings) -> list[Filter]:
    """The filters that `settings.chain` names, in that order."""
    return [_BUILD[name](settings) for name in settings.chain]
