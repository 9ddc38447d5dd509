"""Options of the reward models that read tokens: an LSTM and a transformer.

The defaults fit a few thousand pairs in a minute or two on one thread of a CPU.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from rmbench.kernel.checks import choice, flag, whole
from rmbench.models.options import Training, number

Truncation = Literal["left", "both"]
LEAST_VOCABULARY = 300  # 256 bytes, the special tokens, and a few words
LEAST_LENGTH = 8  # tokens
MOST = 2**20  # of any size: a larger one is a slip, and nothing must be allocated for it
MOST_LAYERS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Lstm(Training):
    """An LSTM over tokens: embeddings, layers of LSTM in one or both directions, pooling, a linear head.

    Attributes:
        vocabulary: most tokens of the byte-pair encoding that is learnt from train's texts.
        embedding: width of the token embeddings.
        hidden: width of each direction of a layer.
        layers: how many.
        bidirectional: whether each layer also reads from the end.
        pooling: ``last`` state of each direction, ``mean`` or ``max`` over all states.
        dropout: share of the embeddings, of what goes between layers and of what the head reads.
        max_length: most tokens of prompt and response together.
        truncation: a longer row loses the beginning of its prompt; ``both``: and then the end of its response, where
            that alone is too long; ``left``: such a row has no score.
    """

    vocabulary: int = 4096
    embedding: int = 64
    hidden: int = 64
    layers: int = 1
    bidirectional: bool = True
    pooling: Literal["last", "mean", "max"] = "max"
    dropout: float = 0.2
    max_length: int = 256
    truncation: Truncation = "both"
    steps: int = 300
    learning_rate: float = 2e-3

    def __post_init__(self) -> None:
        """Check the options; a wrong one is a ``ValueError`` that names it."""
        Training.__post_init__(self)
        least = {"vocabulary": LEAST_VOCABULARY, "embedding": 1, "hidden": 1, "layers": 1, "max_length": LEAST_LENGTH}
        _check_sizes(self, least)
        flag("bidirectional", self.bidirectional)
        choice("pooling", self.pooling, ("last", "mean", "max"))
        choice("truncation", self.truncation, ("left", "both"))
        number("dropout", self.dropout, least=0.0, below=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer(Training):
    """A transformer: a small one from scratch, or a local Hugging Face folder to go on from, whole or by LoRA.

    Attributes:
        init: a local encoder or decoder folder (safetensors): its architecture, sizes, weights, tokenizer and chat
            template; the head is new where it has none with one label. Without it, a new model and a byte-pair encoding
            that is learnt from train's texts.
        architecture: of a new model: ``llama`` reads from left to right, ``bert`` in both directions.
        layers, hidden, heads, vocabulary: sizes of a new model; its feed-forward layers are four times ``hidden`` wide.
        lora_rank: with ``init``, rank of low-rank adapters that are learnt in place of all weights (0: all weights);
            they are merged into the weights at the end. Needs peft.
        lora_alpha: the adapters' scale times their rank; by default twice the rank.
        pooling: ``last``: what the architecture itself reads, the last token of a decoder or the first of an encoder;
            ``mean`` over all tokens, with a head of our own that only this package reads.
        dropout: share of what the head reads, and of a new encoder's hidden states; with ``init`` these have what the
            folder says. Attention has none where the kernel computes it.
        max_length: most tokens of prompt and response together; a new model has as many positions.
        truncation: a longer row loses the beginning of its prompt; ``both``: and then the end of its response, where
            that alone is too long; ``left``: such a row has no score.
        chat_template: ``own``: the tokenizer's where it has one; ``none``: prompt, newline, response.
    """

    init: Path | None = None
    architecture: Literal["llama", "bert"] = "llama"
    layers: int = 2
    hidden: int = 64
    heads: int = 4
    vocabulary: int = 4096
    lora_rank: int = 0
    lora_alpha: int | None = None
    pooling: Literal["last", "mean"] = "last"
    dropout: float = 0.1
    max_length: int = 256
    truncation: Truncation = "both"
    chat_template: Literal["own", "none"] = "own"
    steps: int = 300
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        """Check the options; a wrong one is a ``ValueError`` that names it."""
        Training.__post_init__(self)
        least = {"vocabulary": LEAST_VOCABULARY, "hidden": 1, "layers": 1, "heads": 1, "max_length": LEAST_LENGTH}
        _check_sizes(self, {**least, "lora_rank": 0})
        choice("architecture", self.architecture, ("llama", "bert"))
        choice("pooling", self.pooling, ("last", "mean"))
        choice("truncation", self.truncation, ("left", "both"))
        choice("chat_template", self.chat_template, ("own", "none"))
        number("dropout", self.dropout, least=0.0, below=1.0)
        self._check_heads()
        self._check_init()

    def _check_heads(self) -> None:
        if self.hidden % self.heads:
            raise ValueError(f"hidden is {self.hidden}, expected a multiple of heads ({self.heads})")
        if self.architecture == "llama" and self.hidden // self.heads % 2:
            raise ValueError(f"hidden is {self.hidden}, expected an even multiple of heads ({self.heads}) for llama")

    def _check_init(self) -> None:
        if self.init is not None:
            own = {one.name: one.default for one in fields(Transformer)}
            for name in ("architecture", "layers", "hidden", "heads", "vocabulary"):
                if (value := getattr(self, name)) != own[name]:
                    raise ValueError(f"{name} is {value!r} beside init, which has its own: leave one of them out")
        elif self.lora_rank:
            raise ValueError(f"lora_rank is {self.lora_rank} without init: adapters are learnt beside trained weights")
        if self.lora_alpha is not None:
            whole("lora_alpha", self.lora_alpha, 1)
            if not self.lora_rank:
                raise ValueError(f"lora_alpha is {self.lora_alpha!r} without lora_rank")


def _check_sizes(options: Training, least: dict[str, int]) -> None:
    for name, smallest in least.items():
        size = getattr(options, name)
        whole(name, size, smallest)
        most = MOST_LAYERS if name == "layers" else MOST
        if size > most:
            raise ValueError(f"{name} is {size:,}, expected at most {most:,}")
