"""An environment of its own for each peer: made with plain pip when it is first wanted, found again afterwards."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

DEFAULT = Path.home() / ".cache" / "preceptor-bench"


def python_with(name: str, requirements: Sequence[str], root: Path) -> Path:
    """The interpreter of an environment below `root` that holds `requirements`.

    Its folder carries a hash of the requirements and of this Python's version, so that other ones are another
    environment. A half-made one is made again. Exits with pip's last words when it cannot be made.
    """
    digest = hashlib.sha256("\n".join([platform.python_version(), *requirements]).encode()).hexdigest()[:8]
    folder = root / f"{name}-{digest}"
    python, ready = folder / "bin" / "python", folder / ".ready"
    if ready.exists():
        return python
    print(f"making an environment with {' '.join(requirements)} in {folder}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"pip could not install {' '.join(requirements)}:\n{done.stdout[-2000:]}")
    ready.touch()
    return python
