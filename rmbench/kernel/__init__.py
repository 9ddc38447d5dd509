"""The scoring kernel: texts and models scored in batches, exact, results in input order.

``score_texts`` scores columns of texts with rules, ``score_ids`` token ids where they lie, ``sequence_scorer`` texts
with a sequence-classification model. Importing this package imports neither numba nor torch: each name is loaded where
it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmbench.kernel.device import score_ids
    from rmbench.kernel.models.sequence import sequence_scorer
    from rmbench.kernel.texts import score_texts

__all__ = ["score_ids", "score_texts", "sequence_scorer"]

_HOME = {
    "score_ids": "rmbench.kernel.device",
    "score_texts": "rmbench.kernel.texts",
    "sequence_scorer": "rmbench.kernel.models.sequence",
}


def __getattr__(name: str) -> object:
    """Import a public name where it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return vars(import_module(_HOME[name]))[name]


def __dir__() -> list[str]:
    """Return the public names, also those not yet imported."""
    return sorted({*globals(), *__all__})
