"""What a model keeps of the tokens it has read, by the name that the installed transformers gives it.

``past_key_values`` became ``cache`` in transformers 5.2x; pyproject.toml allows both.
"""

from __future__ import annotations

import inspect
from typing import Any


def kept(output: Any) -> Any:
    """Return the cache of a model's output."""
    return output.cache if hasattr(output, "cache") else output.past_key_values


def given(model: Any, cache: Any) -> dict[str, Any]:
    """Return a cache as the keyword that the model's forward takes."""
    return {"cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values": cache}
