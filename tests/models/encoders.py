"""A tiny sentence encoder with random weights, as sentence-transformers saves one."""

import json

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel, BertTokenizerFast

WORDS = [
    "the",
    "a",
    "of",
    "cat",
    "dog",
    "tree",
    "river",
    "stone",
    "walks",
    "sees",
    "clear",
    "kind",
    "true",
    "apt",
    "vague",
    "rude",
    "false",
    "odd",
    "good",
    "bad",
    "prompt",
    ".",
    "0",
    "1",
    "2",
    "3",
]


def tiny_encoder(folder, *, seed=0):
    """Save the encoder into a folder and return it: 16 numbers a text."""
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    torch.manual_seed(seed)
    model = BertModel(
        BertConfig(
            vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=64, pad_token_id=0,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights) * 0.2)
    model.save_pretrained(folder)
    BertTokenizerFast(vocab=vocabulary).save_pretrained(folder)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    listed = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return folder
