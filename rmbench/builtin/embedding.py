"""Closeness in meaning by a local sentence encoder, on the scoring kernel."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from rmbench import Batch, Reward, Runtime
from rmbench.builtin.options import choice
from rmbench.kernel.imports import undisturbed

Against = Literal["references", "source"]
Several = Literal["max", "mean"]
Column = list[float | None]


def embedding(
    *, path: Path, against: Against = "references", references: Several = "max", runtime: Runtime | None = None
) -> Callable[[Batch], Column]:
    """Cosine of the vectors of the response and of what it is held against, in [-1, 1], higher is closer.

    Vectors are those of a local sentence encoder, as sentence-transformers makes them (Reimers and Gurevych, 2019), in
    float32. None where there is nothing to compare with, or a text has no token.

    Args:
        path: the encoder's folder: safetensors, read offline, none of its code is run.
        against: the references, or the source (context, else prompt).
        references: the greatest cosine of several references, or their mean.
        runtime: device, dtype and the cache in which vectors are kept.
    """
    from rmbench.kernel.models.sentence import inspect_encoder

    choice("against", against, get_args(Against))
    choice("references", references, get_args(Several))
    inspect_encoder(path)
    return Scorer(path, against, references, runtime or Runtime())


class Scorer:
    """Scores batches; the encoder is loaded with the first text that is not in the cache."""

    def __init__(self, path: Path, against: str, several: str, runtime: Runtime) -> None:
        self.path = path
        self.against = against
        self.several = several
        self.runtime = runtime
        self.made: Any = None

    def __call__(self, batch: Batch) -> Column:
        """Return the scores."""
        others = batch.references if self.against == "references" else tuple((source,) for source in batch.sources)
        vectors = self._vectors([*batch.responses, *(text for texts in others for text in texts)])
        scores: Column = []
        at = len(batch)
        for row, texts in enumerate(others):
            found = [cosine(vectors[row], vectors[at + place]) for place in range(len(texts))]
            at += len(texts)
            scores.append(self._one([one for one in found if one is not None]))
        return scores

    def _one(self, found: Sequence[float]) -> float | None:
        if not found:
            return None
        return max(found) if self.several == "max" else sum(found) / len(found)

    def _vectors(self, texts: Sequence[str]) -> Any:
        if self.made is None:
            with undisturbed():
                from rmbench.kernel.models.embed import Embedder

            runtime = self.runtime
            self.made = Embedder(self.path, device=runtime.device, dtype=runtime.dtype, cache=runtime.cache)
        return self.made(texts)

    def measures(self) -> Mapping[str, float]:
        """Return what embedding took: texts given and encoded, those that were cut, tokens, seconds."""
        if self.made is None:
            return {}
        took = self.made.took
        return {
            "texts": took.texts, "texts-encoded": took.encoded, "texts-cut": took.cut, "tokens": took.tokens,
            "seconds-embedding": took.seconds,
        }  # fmt: skip

    def close(self) -> None:
        """Write the vectors that are not in the cache yet."""
        if self.made is not None:
            self.made.close()


def cosine(one: Any, other: Any) -> float | None:
    """Return the cosine of two vectors, in [-1, 1], computed in float64; None where one has no length."""
    import numpy as np

    both = [np.asarray(vector, np.float64) for vector in (one, other)]
    length = float(np.sqrt((both[0] ** 2).sum() * (both[1] ** 2).sum()))
    return min(1.0, max(-1.0, float((both[0] * both[1]).sum()) / length)) if length else None


def _needs(*, against: Against = "references", **_: object) -> tuple[str, ...]:
    return ("references",) if against == "references" else ()


REWARDS = (Reward(name="embedding", version=1, build=embedding, needs=_needs, backends=("torch", "transformers")),)
