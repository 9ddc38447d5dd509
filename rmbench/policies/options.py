"""Options of the policies that come with rmbench: how they are made, beside how they write. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path  # noqa: TC003 - the options' types are read where they are given as text
from typing import Literal

from rmbench.kernel.checks import choice, whole
from rmbench.models.options import number
from rmbench.policy import Decoding

LEAST_VOCABULARY = 300  # 256 bytes, the special tokens, and a few words
LEAST_PROMPT = 8  # tokens
MOST = 2**20  # of any size: a larger one is a slip, and nothing must be allocated for it
MOST_LAYERS = 1024
INNER = 4  # times the width, where nothing is said
ROUND = 64  # positions are a multiple of it

Architecture = Literal["llama", "gpt2"]
Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiny(Decoding):
    """A small new language model, and a byte-pair encoding that is learnt from the task's train texts.

    The defaults are learnt in a few minutes on one thread of a CPU. The head is the embeddings.

    Attributes:
        architecture: ``llama`` or ``gpt2``.
        layers, width, heads: how many layers, their width and their heads of attention.
        inner: width of the feed-forward layers; 0: four times ``width``.
        vocabulary: most tokens; few texts give fewer.
        max_prompt: most tokens of a prompt, of which the end is kept.
        positions: most tokens of prompt and response together; 0: ``max_prompt + max_tokens``, at least twice
            ``max_tokens``, in steps of 64. A later policy of these weights may ask for no more.
        dropout: share of what each layer adds and of the embeddings; gpt2 only.
    """

    architecture: Architecture = "llama"
    layers: int = 2
    width: int = 128
    heads: int = 4
    inner: int = 0
    vocabulary: int = 4000
    max_prompt: int = 256
    positions: int = 0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the options; a wrong one is a ``ValueError`` that names it."""
        Decoding.__post_init__(self)
        choice("architecture", self.architecture, ("llama", "gpt2"))
        least = {"layers": 1, "width": 2, "heads": 1, "inner": 0, "vocabulary": LEAST_VOCABULARY}
        for name, smallest in {**least, "max_prompt": LEAST_PROMPT, "positions": 0}.items():
            size = getattr(self, name)
            whole(name, size, smallest)
            most = MOST_LAYERS if name == "layers" else MOST
            if size > most:
                raise ValueError(f"{name} is {size:,}, expected at most {most:,}")
        number("dropout", self.dropout, least=0.0, below=1.0)
        self._check_together()

    def _check_together(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width is {self.width}, expected a multiple of heads ({self.heads})")
        if self.architecture == "llama" and self.width // self.heads % 2:
            raise ValueError(f"width is {self.width}, expected an even multiple of heads ({self.heads}) for llama")
        if self.architecture == "llama" and self.dropout:
            raise ValueError(f"dropout is {self.dropout:g}, which llama has none of: architecture = gpt2, or dropout 0")
        needed = self.max_prompt + self.max_tokens
        if self.positions and self.positions < needed:
            raise ValueError(f"positions is {self.positions}, expected at least max_prompt + max_tokens ({needed})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hf(Decoding):
    """A local Hugging Face folder (safetensors) of a causal or an encoder-decoder model, learnt whole or by LoRA.

    Attributes:
        path: the folder. May be missing only where the policy begins with another one's weights.
        max_prompt: most tokens of a prompt, of which the end is kept.
        chat_template: ``own``: prompts are written by the tokenizer's template where it has one; ``none``: a prompt is
            followed by a newline (a causal model) or stands as it is (an encoder).
        lora_rank: rank of low-rank adapters that are learnt in place of all weights (0: all weights); a saved policy
            has them in its weights. Needs peft.
        lora_alpha: the adapters' scale times their rank; 0: twice the rank.
    """

    path: Path | None = None
    max_prompt: int = 1024
    chat_template: Literal["own", "none"] = "own"
    lora_rank: int = 0
    lora_alpha: int = 0

    def __post_init__(self) -> None:
        """Check the options; a wrong one is a ``ValueError`` that names it."""
        Decoding.__post_init__(self)
        for name, least in (("max_prompt", LEAST_PROMPT), ("lora_rank", 0), ("lora_alpha", 0)):
            whole(name, getattr(self, name), least)
        choice("chat_template", self.chat_template, ("own", "none"))
        if self.lora_alpha and not self.lora_rank:
            raise ValueError(f"lora_alpha is {self.lora_alpha} without lora_rank")


def places(options: Tiny) -> int:
    """Return the positions of a new model: what the options say, or what its texts need, in steps of 64."""
    if options.positions:
        return options.positions
    needed = max(options.max_prompt + options.max_tokens, 2 * options.max_tokens)
    return -(-needed // ROUND) * ROUND


def own_sizes(options: Tiny) -> dict[str, object]:
    """Return the options of a model's making that are not at their defaults, by name."""
    made = {"architecture", "layers", "width", "heads", "inner", "vocabulary", "positions"}
    return {
        one.name: getattr(options, one.name)
        for one in fields(Tiny)
        if one.name in made and getattr(options, one.name) != one.default
    }
