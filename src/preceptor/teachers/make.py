"""From `[teacher]` of a recipe to the teacher. What a kind needs is imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

from preceptor.config import TEACHERS, TeacherSettings
from preceptor.teachers.base import Teacher

BATCHES = "batches.sqlite"
"""File in a run's folder that knows what was handed in to a batch interface."""


def make_teacher(settings: TeacherSettings, folder: Path, say: Callable[[str], None] | None = None) -> Teacher:
    """The teacher that the settings describe. Raises `CredentialsError` when an endpoint's key is missing.

    In the run's `folder` batches are written down; `say` is told how far they are while the run waits for them.

    A kind that is none of ours is an entry point of the group `preceptor.teachers`: a function from `TeacherSettings`
    to a `Teacher`.
    """
    if settings.mode == "batch":
        from preceptor.teachers.batches_make import make_batch_teacher

        return make_batch_teacher(settings, folder / BATCHES, say)
    if settings.kind == "anthropic":
        from preceptor.teachers.anthropic import AnthropicTeacher

        return AnthropicTeacher(settings)
    if settings.kind == "openai":
        from preceptor.teachers.openai import OpenAITeacher

        return OpenAITeacher(settings)
    if settings.kind == "scripted":
        from preceptor.teachers.scripted import ScriptedTeacher

        return ScriptedTeacher()
    if settings.kind == "local":
        from preceptor.teachers.local import LocalTeacher

        return LocalTeacher(settings)
    (entry,) = entry_points(group=TEACHERS, name=settings.kind)
    teacher: Teacher = entry.load()(settings)
    return teacher
