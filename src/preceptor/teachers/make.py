"""From `[teacher]` of a recipe to the teacher. What a kind needs is imported only when it is asked for."""

from __future__ import annotations

from importlib.metadata import entry_points

from preceptor.config import TEACHERS, TeacherSettings
from preceptor.teachers.base import Teacher


def make_teacher(settings: TeacherSettings) -> Teacher:
    """The teacher that the settings describe. Raises `CredentialsError` when an endpoint's key is missing.

    A kind that is none of ours is an entry point of the group `preceptor.teachers`: a function from `TeacherSettings`
    to a `Teacher`.
    """
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
