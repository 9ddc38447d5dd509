"""What models can run on here, as JSON on stdout: ``python -m rmbench.models.devices``. Only this process has torch."""

from __future__ import annotations

import json
import sys
from typing import Any


def devices() -> dict[str, Any]:
    """Return torch's version and threads, and the accelerators that it finds, with their bytes of memory."""
    import torch

    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        about = torch.cuda.get_device_properties(index)
        found.append({"name": f"cuda:{index}", "what": about.name, "memory": int(about.total_memory)})
    if torch.backends.mps.is_available():
        found.append({"name": "mps", "what": "Apple graphics", "memory": None})
    return {
        "torch": torch.__version__, "cuda": torch.version.cuda, "threads": torch.get_num_threads(), "devices": found
    }  # fmt: skip


if __name__ == "__main__":
    sys.stdout.write(json.dumps(devices()) + "\n")
