"""Whole experiments, stage by stage. Read `labels.py` first, or `instructions.py`.

    labels.py         data -> augment -> filter -> train -> evaluate -> report, for a task with labels
    instructions.py   seeds -> write -> publish -> tune -> evaluate -> report, for instructions

Both are made of the same stages, and only this package knows them all.
"""
