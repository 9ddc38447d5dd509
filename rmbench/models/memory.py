"""Whether a fit has the memory that its options ask for, said before anything is made."""

from __future__ import annotations

from rmbench.errors import InputError
from rmbench.kernel.models.load import free_memory

BYTES = 4  # a float32
LEARNT = 4  # weights, gradients and AdamW's two moments


def check_memory(frozen: int, learnt: int, *, where: str) -> None:
    """Raise where the weights and what is kept to learn them do not fit the free memory.

    Args:
        frozen: number of weights that stay as they are.
        learnt: number of weights that are learnt: each takes its own 4 bytes, 4 for its gradient and 8 for AdamW.
        where: what asks for them, for the error.

    Raises:
        InputError: they take more than is free; what the activations take comes on top and is not counted.
    """
    needed, free = BYTES * (frozen + LEARNT * learnt), free_memory()
    if needed > free:
        raise InputError(
            f"{frozen + learnt:,} weights, {learnt:,} of them learnt, take {needed / 1e9:,.1f} GB with gradients "
            f"and AdamW's moments, {free / 1e9:,.1f} GB are free",
            where=where, help="make the sizes smaller, or learn adapters (lora_rank) where there is init",
        )  # fmt: skip
