"""Where a number was computed: versions, machine, device. Never part of a run's identity."""

from __future__ import annotations

import datetime
import platform
import resource
import sys
from functools import cache
from pathlib import Path
from typing import Any

from shattering.core.spec import NUMERICS_VERSION, RunSpec
from shattering.core.version import VERSION


def provenance(spec: RunSpec) -> dict[str, Any]:
    """Versions, machine and device of this process, and its peak memory in bytes so far."""
    import numpy
    import torch

    device = torch.cuda.get_device_name() if spec.compute.device == "cuda" else processor()
    return {
        "shattering": VERSION,
        "numerics": NUMERICS_VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device,
        "ended": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "peak_bytes": peak_bytes(),
    }


def peak_bytes() -> int:
    """Peak memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss counts kibibytes on Linux and bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@cache
def processor() -> str:
    """The processor's name where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
