"""Imports of packages that change the process that imports them, made without that change."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep the environment and Python's random state as they are while packages are imported.

    rouge-score imports NLTK, which imports scikit-learn where that is installed: it draws random numbers and sets
    variables of OpenMP.
    """
    state, environment = random.getstate(), dict(os.environ)
    try:
        yield
    finally:
        random.setstate(state)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)
