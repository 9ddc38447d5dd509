"""The tokenizer that is learnt from a task's texts: its bytes, its template, and what a row looks like."""

import hashlib
import os
import subprocess
import sys

import pytest
from judgements import preferred
from neural import edit

from rmbench.errors import InputError
from rmbench.models import tokenizers
from rmbench.models.reading import texts_of

TEXTS = ["the cat sat on the mat", "a dog barked at the cat", "naïve café — 猫坐在", "the mat, the cat; the dog."] * 3


@pytest.fixture(scope="module")
def files():
    return tokenizers.train(TEXTS, vocabulary=320, max_length=64)


@pytest.fixture
def folder(tmp_path, files):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("threads", ["true", "false"])
def test_the_same_texts_give_the_same_bytes_in_another_process(files, threads):
    code = (
        "import hashlib, test_neural_tokenizers as t\nfrom rmbench.models import tokenizers\n"
        "files = tokenizers.train(t.TEXTS, vocabulary=320, max_length=64)\n"
        "print(hashlib.sha256(b''.join(files.values())).hexdigest())"
    )
    known = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TOKENIZERS_PARALLELISM": threads}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=known, check=True).stdout
    assert found.strip() == hashlib.sha256(b"".join(files.values())).hexdigest()


def test_a_row_shows_who_speaks_and_where_the_response_begins(files):
    tokenizer = tokenizers.made_of(files)
    turns = [{"role": role, "content": role[0]} for role in ("system", "user", "assistant", "tool", "assistant")]
    found = tokenizer.apply_chat_template(turns, tokenize=False)
    assert found == "<s><|system|>s\n<|user|>u\n<|assistant|>a\n<|user|>t\n<|assistant|>a</s>"


def test_every_text_has_tokens_that_spell_it(files, folder):
    tokenizer = tokenizers.read(folder)
    for text in ("猫 \U0001f600 \x00 é", "the cat", "\n\n  ", "ﬁ İ"):
        ids = tokenizer(text)["input_ids"]
        assert ids
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    assert len(tokenizer) <= 320
    assert tokenizer.model_max_length == 64


def test_transformers_reads_the_same_tokens_from_the_files(folder):
    from transformers import AutoTokenizer

    (folder / "config.json").write_text('{"model_type": "llama"}')
    theirs, ours = AutoTokenizer.from_pretrained(folder), tokenizers.read(folder)
    turns = [{"role": "user", "content": "the cat?"}, {"role": "assistant", "content": "a dog — 猫"}]
    both = [one.apply_chat_template(turns, tokenize=True, return_dict=True)["input_ids"] for one in (theirs, ours)]
    assert both[0] == both[1]


def test_it_is_learnt_from_train_alone_each_text_once():
    made = preferred([("p", "one", "two"), ("p", "one", "three")], [("q", "dev", "only")])
    assert texts_of(made) == ["p", "one", "two", "three"]


def test_a_lone_surrogate_is_passed_over(files):
    assert tokenizers.train([*TEXTS, "\ud800"], vocabulary=320, max_length=64) == files


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=name):
        tokenizers.read(folder)


def test_a_damaged_file_is_an_input_error(folder):
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="is no tokenizer"):
        tokenizers.read(folder)


def test_a_special_token_that_the_vocabulary_lacks_is_named(folder):
    edit(folder / "tokenizer_config.json", eos_token="<end>")
    with pytest.raises(InputError, match="has no token <end>"):
        tokenizers.read(folder)
