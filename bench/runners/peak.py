"""The most memory that a runner held. Standard library alone."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_mib() -> int:
    """Highest resident memory of this process. Not `ru_maxrss`: that begins with what the starting process held."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) // 1024
