"""Tokenizers trained on a few sentences, and folders of small models with them, as save_pretrained writes them."""

from __future__ import annotations

import json
import struct
from functools import cache

import tiny
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

SENTENCES = (
    "The cat sat on the mat and looked at the dog.", "Summarise the article in one sentence, please.",
    "What is the capital of France? The capital of France is Paris.", "I do not know, but I can look it up for you.",
    "A good answer is short, correct and kind.", "User: hello\n\nAssistant: hello, how may I help?", "1 2 3 4 5 6 7 8 9 0",
)  # fmt: skip
CHATML = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
LLAMA = (
    "{{ bos_token }}{% for message in messages %}[{{ message.role }}] {{ message.content | trim }}{% endfor %}"
    "{{ eos_token }}"
)


def _bpe(special, *, prefix=False):
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(SENTENCES, trainer)
    return made


@cache
def _written(name):
    if name == "gpt2":
        return _bpe(["<|endoftext|>"]), {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    if name == "qwen":
        special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        return _bpe(special), {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    special = ["<pad>", "<s>", "</s>"]
    made = _bpe(special)
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return made, {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}


def bpe(name="llama", **more):
    """``gpt2`` writes no special token; ``qwen`` has no BOS; ``llama`` writes BOS and pads with a token of its own."""
    made, special = _written(name)
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(made.to_str()), **{**special, **more})


@cache
def _pieces():
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    made.train_from_iterator(SENTENCES, trainer)
    return dict(sorted(made.get_vocab().items(), key=lambda item: item[1]))  # training again gives other ids


def wordpiece():
    """As BERT's: lower case, [CLS] and [SEP] around."""
    return BertTokenizerFast(vocab=dict(_pieces()))


def trained(kind):
    """As a user trains one for a task: of whole ``words``, or ``bpe`` without bytes."""
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    if kind == "words":
        made, trainer = (
            Tokenizer(models.WordLevel(unk_token="<unk>")),
            trainers.WordLevelTrainer(special_tokens=special),
        )
        made.pre_tokenizer = pre_tokenizers.Whitespace()
    else:
        made = Tokenizer(models.BPE(unk_token="<unk>"))
        trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False)
        made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def save(path, name, tokenizer, **changes):
    """Save a small model and its tokenizer; return the folder."""
    made = tiny.model(name, **{"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **changes})
    made.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def edit(path, **changes):
    """Set keys of a JSON file; None takes one away."""
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def safetensors(path, header, data=b""):
    """Write a safetensors file of this header, which may be anything."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)


def weights(path):
    from safetensors.torch import load_file

    return load_file(path / "model.safetensors")


def save_weights(path, tensors):
    from safetensors.torch import save_file

    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        path / "model.safetensors",
        metadata={"format": "pt"},
    )


def own_score(model, ids):
    """The score by the model's own forward pass on one row."""
    with torch.inference_mode():
        return float(
            model(input_ids=torch.tensor([list(ids)]), attention_mask=torch.ones(1, len(ids), dtype=torch.long)).logits[
                0, 0
            ]
        )
