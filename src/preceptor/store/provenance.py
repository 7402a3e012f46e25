"""What a result was made with: code, packages, machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import preceptor

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "numpy",
    "pyarrow",
    "pydantic",
    "rapidfuzz",
    "httptools",
    "datasets",
)


def provenance() -> dict[str, Any]:
    """Versions, commit and machine as nested dictionaries of plain values. Nothing personal: no user, no host name."""
    return {
        "code": {"preceptor": preceptor.__version__, **_commit(Path(preceptor.__file__).parent)},
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "machine": machine(),
    }


def machine() -> dict[str, Any]:
    """Python, system and processor."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit(folder: Path) -> dict[str, Any]:
    """Commit and dirty flag of the checkout that the package runs from; empty for an installed package."""
    if "site-packages" in folder.parts:
        return {}
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return {"commit": head, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - fixed arguments
        ["git", "-C", str(folder), *arguments],  # noqa: S607 - git from the user's own path
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or sys.platform
