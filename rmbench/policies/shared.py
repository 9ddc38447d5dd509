"""Hidden states at the places of responses where several of them have one prompt: the prompt is computed once.

Its keys and values stand before each of its responses, gradients flowing back into them from all. A group of eight
responses to a prompt that is as long as they are takes little more than half of the work, to a long one a sixth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from rmbench.policies.past import given, kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

KNOWN = {"llama", "gpt2", "qwen2", "qwen3"}  # whose cache is keys and values of every token
WORTH = 0.25  # of the tokens must be saved: two passes cost more than one


def worth(model: Any, prompts: Sequence[Sequence[int]], written: Sequence[Sequence[int]]) -> bool:
    """Whether rows have so much of their prompts in common that it is computed once."""
    config = model.config.to_dict()
    sliding = config.get("use_sliding_window") or "sliding_attention" in (config.get("layer_types") or ())
    if config["model_type"] not in KNOWN or sliding or not any(len(ids) > 1 for ids in written):
        return False
    whole = sum(map(len, prompts))
    return whole - sum(map(len, set(map(tuple, prompts)))) > WORTH * (whole + sum(map(len, written)))


def hidden(model: Any, prompts: Sequence[Sequence[int]], written: Sequence[Sequence[int]], *, pad: int) -> Tensor:
    """Return the last hidden states before each token of each response, (rows, longest, width).

    Args:
        model: one of ``KNOWN``.
        prompts: tokens of each row's prompt.
        written: tokens of its response.
        pad: any token.
    """
    from transformers import DynamicCache

    device = model.device
    different = list(dict.fromkeys(map(tuple, prompts)))
    number = {prompt: place for place, prompt in enumerate(different)}
    taken = torch.tensor([number[tuple(prompt)] for prompt in prompts], device=device)
    ids, mask = _padded(different, pad=pad, left=True, device=device)
    read = model.base_model(
        input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp_(min=0), use_cache=True
    )
    cache = DynamicCache()
    for layer, one in enumerate(kept(read).layers):
        cache.update(one.keys[taken], one.values[taken], layer)
    rows, there = _padded([ids[:-1] for ids in written], pad=pad, left=False, device=device)
    begin = mask.sum(1)[taken][:, None]
    places = begin + there.cumsum(1) - 1  # those of padding repeat the last
    states = model.base_model(
        input_ids=rows,
        attention_mask=torch.cat([mask[taken], there], 1),
        position_ids=places,
        use_cache=True,
        **given(model.base_model, cache),
    ).last_hidden_state
    return torch.cat([read.last_hidden_state[:, -1][taken][:, None], states], 1)


def _padded(rows: Sequence[Sequence[int]], *, pad: int, left: bool, device: Any) -> tuple[Tensor, Tensor]:
    """Return tokens (rows, longest) padded on one side, and a mask of 1 where they are."""
    longest = max(map(len, rows))
    ids, mask = [], []
    for row in rows:
        more = longest - len(row)
        ids.append([pad] * more + [*row] if left else [*row] + [pad] * more)
        mask.append([0] * more + [1] * len(row) if left else [1] * len(row) + [0] * more)
    return torch.tensor(ids, dtype=torch.int64, device=device), torch.tensor(mask, device=device)
