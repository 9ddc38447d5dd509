"""The implicit reward of a language model that was trained on preferences: how much likelier it finds a response.

Weights are read from safetensors, offline, and no code of either folder is run.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rmbench import Batch, NoScore, Reward, Runtime
from rmbench.builtin.hf import Dtype, Template, Truncation, check_length, form_of, taken, where
from rmbench.builtin.hf_likelihood import language_model
from rmbench.builtin.options import choice, flag
from rmbench.kernel.imports import undisturbed
from rmbench.prompts import prompts_of

Columns = Mapping[str, Sequence[float | NoScore | None]]


def hf_dpo(
    *,
    path: Path,
    reference: Path,
    beta: float = 0.1,
    length_normalised: bool = False,
    max_length: int | None = None,
    truncation: Truncation = "left",
    chat_template: Template | None = None,
    system: str | None = None,
    dtype: Dtype | None = None,
    runtime: Runtime | None = None,
) -> Callable[[Batch], Columns]:
    """Implicit reward of a policy: beta * (log p_policy - log p_reference) of the response given the prompt, in nats.

    Any size and sign, higher is better: by Rafailov et al. 2023 (arXiv:2305.18290, equation 5 without its term of the
    prompt alone, so that scores compare within a prompt) the reward that the policy is optimal for. beta has no unit;
    0.1 is that of the paper and of TRL. length_normalised divides by the response's tokens. The tokens are those of the
    response and of what ends it (EOS, or what the chat template writes behind it), as DPO trains; a response without
    tokens has no score. Parts: policy and reference (the two sums of log-probabilities), tokens. path (the policy) and
    reference are folders of causal language models whose tokenizers must agree: other ids for the same text are an
    error. The policy's chat template is taken for both. max_length, truncation, chat_template, system and dtype are as
    for hf.
    """
    choice("truncation", truncation, ("left", "right", "error"))
    flag("length_normalised", length_normalised)
    if not isinstance(beta, int | float) or isinstance(beta, bool) or not (math.isfinite(beta) and beta > 0):
        raise ValueError(f"beta is {beta!r}, expected a number above 0")
    folders = [language_model(one) for one in (path, reference)]
    for folder in folders:
        check_length(folder, max_length)
    _check_tokenizers(folders)
    limits = [folder.longest for folder in folders if folder.longest is not None]
    own = folders[0].template
    given: dict[str, Any] = {
        **where(runtime, dtype),
        "max_length": max_length or (min(limits) if limits else None), "truncation": truncation,
        "chat_template": chat_template or own or "none", "system": system, "ended": True,
    }  # fmt: skip
    return Scorer((path, reference), given, beta=beta, length_normalised=length_normalised)


class Scorer:
    """Scores batches; the weights are read with the first one, so that a suite is checked without them."""

    def __init__(
        self, paths: tuple[Path, Path], given: Mapping[str, Any], *, beta: float, length_normalised: bool
    ) -> None:
        self.paths = paths
        self.given = given
        self.beta = beta
        self.length_normalised = length_normalised
        self.made: list[Any] = []

    def __call__(self, batch: Batch) -> Columns:
        """Return the columns score, policy, reference and tokens."""
        if not self.made:
            with undisturbed():
                from rmbench.kernel.models.causal import causal_scorer

            self.made = [causal_scorer(path, **self.given) for path in self.paths]
        rows, others = self._likelihoods(prompts_of(batch), batch.responses)
        pairs = list(zip(rows, others, strict=True))
        return {
            "score": [self._score(row, other) for row, other in pairs],
            "policy": [row.total if isinstance(row.total, float) else None for row in rows],
            "reference": [row.total if isinstance(row.total, float) else None for row in others],
            "tokens": [float(row.tokens) for row in rows],
        }

    def _likelihoods(self, prompts: list[Any], responses: Sequence[str]) -> tuple[list[Any], list[Any]]:
        policy, reference = self.made
        encoded, again = (one.encode(prompts, responses) for one in self.made)
        for row, (one, other) in enumerate(zip(encoded, again, strict=True)):
            if one.ids.tolist() != other.ids.tolist() or (one.reason is None) != (other.reason is None):
                raise _differ(self.paths, f"the text of row {row}", (one.ids.tolist(), other.ids.tolist()))
        return policy.likelihoods(encoded), reference.likelihoods(encoded)

    def _score(self, row: Any, other: Any) -> float | NoScore:
        for one in (row, other):
            if not isinstance(one.total, float):
                return NoScore(one.total.reason)
        ratio: float = row.total - other.total
        return self.beta * (ratio / row.tokens if self.length_normalised else ratio)

    def measures(self) -> Mapping[str, float]:
        """Return what scoring with both models took (see ``hf.Scorer.measures``)."""
        return taken(self.made) if self.made else {}


def _check_tokenizers(folders: Sequence[Any]) -> None:
    """Refuse, before any weights are read, tokenizers whose tokenizer.json already gives other ids for some texts.

    Where a folder has no such file, or the same one, nothing is compared here; every row is when it is scored.
    """
    from rmbench.kernel.models.load import PROBES

    files = [folder.path / "tokenizer.json" for folder in folders]
    if not all(file.is_file() for file in files) or files[0].read_bytes() == files[1].read_bytes():
        return
    from tokenizers import Tokenizer

    try:
        made = [Tokenizer.from_file(str(file)) for file in files]
    except Exception:  # noqa: BLE001 - what is no tokenizer is refused by name when it is loaded
        return
    for text in PROBES:
        one, other = (tokenizer.encode(text, add_special_tokens=False).ids for tokenizer in made)
        if one != other:
            raise _differ([folder.path for folder in folders], repr(text), (one, other))


def _differ(paths: Sequence[Path], what: str, ids: tuple[list[int], list[int]]) -> Exception:
    from rmbench.errors import InputError

    one, other = (f"{some[:8]}{'...' * (len(some) > 8)}" for some in ids)  # noqa: PLR2004
    return InputError(
        f"the tokenizers of the policy and of its reference differ: {what} is {one} and {other}",
        where=f"{paths[0]}, {paths[1]}",
        help="give the model that the policy was trained from, with its own tokenizer",
    )


def _facts(*, path: Path, chat_template: Template | None = None, **_: object) -> Iterable[str]:
    return form_of(language_model(path).template, chat_template)


REWARDS = (Reward(name="hf-dpo", version=1, build=hf_dpo, backends=("torch", "transformers"), facts=_facts),)
