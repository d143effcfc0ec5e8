"""Peak memory of this process."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

__all__ = ["peak_bytes"]


def peak_bytes() -> int:
    """Return the peak memory of this process so far."""
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux, ru_maxrss starts at the peak of the parent process
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
