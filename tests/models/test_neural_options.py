"""Options of lstm and transformer: what is wrong is said before anything is read."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rmbench.api import Runtime
from rmbench.builtin.neural_models import REWARD_MODELS
from rmbench.models.neural_options import Lstm, Transformer
from rmbench.options import options_of


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (Lstm, {"hidden": 0}, "hidden is 0"),
        (Lstm, {"layers": 2**21}, "layers is 2,097,152, expected at most 1,024"),
        (Lstm, {"vocabulary": 10}, "vocabulary is 10, expected an integer of at least 300"),
        (Lstm, {"embedding": 2**30}, "embedding is 1,073,741,824, expected at most"),
        (Lstm, {"pooling": "first"}, "pooling is 'first', expected one of: last, mean, max"),
        (Lstm, {"dropout": 1.0}, "dropout is 1.0"),
        (Lstm, {"dropout": True}, "dropout is True"),
        (Lstm, {"bidirectional": 1}, "bidirectional is 1"),
        (Lstm, {"truncation": "right"}, "truncation is 'right'"),
        (Lstm, {"max_length": 2}, "max_length is 2"),
        (Lstm, {"steps": 0}, "steps is 0"),
        (Transformer, {"hidden": 63}, "hidden is 63, expected a multiple of heads"),
        (Transformer, {"hidden": 12, "heads": 4}, "expected an even multiple of heads"),
        (Transformer, {"architecture": "t5"}, "architecture is 't5'"),
        (Transformer, {"pooling": "max"}, "pooling is 'max'"),
        (Transformer, {"chat_template": "mine"}, "chat_template is 'mine'"),
        (Transformer, {"lora_rank": 4}, "lora_rank is 4 without init"),
        (Transformer, {"init": Path("x"), "layers": 3}, "layers is 3 beside init"),
        (Transformer, {"init": Path("x"), "lora_rank": -1}, "lora_rank is -1"),
        (Transformer, {"init": Path("x"), "lora_alpha": 4}, "lora_alpha is 4 without lora_rank"),
        (Transformer, {"init": Path("x"), "lora_rank": 2, "lora_alpha": 0}, "lora_alpha is 0"),
    ],
)
def test_a_wrong_option_is_named_with_its_value(kind, given, words):
    with pytest.raises(ValueError, match=words):
        kind(**given)


def test_a_bert_may_have_heads_of_odd_width():
    assert Transformer(architecture="bert", hidden=12, heads=4).hidden == 12


def test_options_are_listed_with_their_types_and_only_init_is_a_path():
    lstm, transformer = (options_of(model.options) for model in REWARD_MODELS)
    assert lstm["pooling"].type == '"last" | "mean" | "max"'
    assert [name for name, one in transformer.items() if "Path" in str(one.hint)] == ["init"]
    assert (lstm["steps"].default, transformer["steps"].default) == (300, 300)


def test_listing_the_models_imports_nothing_heavy():
    code = (
        "import sys, rmbench.builtin.neural_models\n"
        "heavy = ('torch', 'numpy', 'transformers', 'tokenizers', 'peft')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("place", [0, 1])
def test_what_loading_changes_in_the_process_is_put_back(place, monkeypatch):
    model = REWARD_MODELS[place]
    module = importlib.import_module(f"rmbench.models.{model.name}")
    monkeypatch.setattr(module, "load", lambda *_: os.environ.update(TORCHINDUCTOR_CACHE_DIR="elsewhere"))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    model.load(Path(), Runtime())
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
