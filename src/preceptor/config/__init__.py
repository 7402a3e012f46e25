"""Recipes: TOML files that describe a whole experiment, checked before anything runs.

TOML and not YAML, because in YAML an unquoted `yes` or `no` becomes a boolean, and those are the labels here.
"""

from preceptor.config.adapt import AdaptRecipe, AdaptSettings, ExcludeSettings, PerplexitySettings, SourceSettings
from preceptor.config.arms import ArmSettings, meet, strategy_of, written_by
from preceptor.config.augment import ASKING, STRATEGIES, AugmentSettings
from preceptor.config.base import Name, Section, Seed
from preceptor.config.baselines import BaselineSettings
from preceptor.config.data import DataSettings, TaskSettings
from preceptor.config.filter import (
    FILTERS,
    AgreementSettings,
    DriftSettings,
    DuplicateSettings,
    FilterSettings,
    JudgeSettings,
    LeakageSettings,
    NoveltySettings,
    WellformedSettings,
)
from preceptor.config.instruct import BenchmarkSettings, Category, InstructSettings, RuleSettings
from preceptor.config.instruct_recipe import (
    GENERATED,
    FollowerSettings,
    InstructRecipe,
    JudgingSettings,
    MeasureSettings,
)
from preceptor.config.load import (
    check_adapt_recipe,
    check_instruct_recipe,
    check_recipe,
    find_recipe,
    load_recipe,
    read_recipe,
)
from preceptor.config.objectives import (
    ContrastiveSettings,
    DistillationSettings,
    ObjectiveSettings,
    RationaleSettings,
)
from preceptor.config.published import PublishedSettings
from preceptor.config.recipe import Recipe
from preceptor.config.sweep import Point, SweepSettings, points_of
from preceptor.config.teacher import KINDS, PHI_KINDS, TEACHERS, BudgetSettings, PhiSettings, TeacherSettings
from preceptor.config.train import LORA, VIRTUAL, EvaluateSettings, StudentSettings, TrainSettings

__all__ = [
    "ASKING",
    "FILTERS",
    "GENERATED",
    "KINDS",
    "LORA",
    "PHI_KINDS",
    "STRATEGIES",
    "TEACHERS",
    "VIRTUAL",
    "AdaptRecipe",
    "AdaptSettings",
    "AgreementSettings",
    "ArmSettings",
    "AugmentSettings",
    "BaselineSettings",
    "BenchmarkSettings",
    "BudgetSettings",
    "Category",
    "ContrastiveSettings",
    "DataSettings",
    "DistillationSettings",
    "DriftSettings",
    "DuplicateSettings",
    "EvaluateSettings",
    "ExcludeSettings",
    "FilterSettings",
    "FollowerSettings",
    "InstructRecipe",
    "InstructSettings",
    "JudgeSettings",
    "JudgingSettings",
    "LeakageSettings",
    "MeasureSettings",
    "Name",
    "NoveltySettings",
    "ObjectiveSettings",
    "PerplexitySettings",
    "PhiSettings",
    "Point",
    "PublishedSettings",
    "RationaleSettings",
    "Recipe",
    "RuleSettings",
    "Section",
    "Seed",
    "SourceSettings",
    "StudentSettings",
    "SweepSettings",
    "TaskSettings",
    "TeacherSettings",
    "TrainSettings",
    "WellformedSettings",
    "check_adapt_recipe",
    "check_instruct_recipe",
    "check_recipe",
    "find_recipe",
    "load_recipe",
    "meet",
    "points_of",
    "read_recipe",
    "strategy_of",
    "written_by",
]
