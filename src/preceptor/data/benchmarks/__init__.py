"""Benchmarks for students of instructions: a file per kind of task, `load.py` from settings to items."""
