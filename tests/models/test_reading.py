"""Rows as token ids: what is cut, what stays, what has no score, and that the kernel's encoder gives the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judgements import preferred, rated

from rmbench.api import NoScore
from rmbench.errors import InputError
from rmbench.kernel.models.encode import Encoder, Format
from rmbench.models import reading, tokenizers

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.fixture(scope="module")
def tokenizer():
    words = ["the cat sat on the mat and the dog barked at the cat"] * 4
    return tokenizers.made_of(tokenizers.train(words, vocabulary=320, max_length=32))


def reader(tokenizer, truncation="both", max_length=16):
    return reading.Reader(tokenizer, max_length=max_length, truncation=truncation)


def batch(prompt, response):
    return preferred([(prompt, response, "-")]).train.batch.take([0])


@given(TEXTS, TEXTS)
@settings(max_examples=150, deadline=None)
def test_rows_are_the_kernels_where_it_scores_them_and_within_the_limit_everywhere(tokenizer, prompt, response):
    (ours,) = reader(tokenizer)(batch(prompt, response))
    (theirs,) = Encoder(tokenizer, Format(16, "left", tokenizer.chat_template))([prompt], [response])
    assert 2 <= len(ours.ids) <= 16
    assert ours.ids[0] == tokenizer.bos_token_id
    assert ours.ids[-1] == tokenizer.eos_token_id
    assert ours.reason is None
    if theirs.reason is None:
        assert ours.ids.tolist() == theirs.ids.tolist()
        assert (ours.prompt, ours.cut) == (theirs.prompt, theirs.cut)


def test_a_long_response_keeps_its_beginning_and_the_prompt_goes(tokenizer):
    response = " ".join(["cat"] * 40)
    (row,) = reader(tokenizer)(batch("the dog", response))
    whole = tokenizer(response)["input_ids"]
    assert row.ids.tolist() == [tokenizer.bos_token_id, *whole[:14], tokenizer.eos_token_id]
    assert row.prompt == 1
    assert row.cut == len(tokenizer.apply_chat_template(turns("the dog", response), return_dict=False)) - 16


def turns(prompt, response):
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]


def test_with_left_such_a_row_has_no_score_and_its_pairs_and_labels_are_left_out(tokenizer):
    long = " ".join(["cat"] * 40)
    made = preferred([("p", "cat", "dog"), ("p", "cat", long)], [("p", long, "cat")])
    found = reading.read(made, reader(tokenizer, "left"))
    assert [one.reason is None for one in found.rows["train"]] == [True, True, True, False]
    assert found.judgements.train.pairs == made.train.pairs[:1]
    assert found.judgements.dev.pairs == ()
    assert found.notes == (
        "train: 1 of 4 rows are longer than 16 tokens and were cut", "train: 1 rows could not be read and were left out",
        "dev: 1 of 2 rows are longer than 16 tokens and were cut", "dev: 1 rows could not be read and were left out",
    )  # fmt: skip
    ratings = reading.read(rated([[("cat", 1.0), (long, 2.0)]], good=2.0), reader(tokenizer, "left")).judgements.train
    assert (ratings.targets, ratings.good) == ((1.0, None), (False, None))


def test_where_no_row_of_train_can_be_read_the_reason_is_said(tokenizer):
    long = " ".join(["cat"] * 40)
    with pytest.raises(InputError, match="none of train's 2 rows .*longer than max_length"):
        reading.read(preferred([("p", long, long + " dog")]), reader(tokenizer, "left"))


def test_columns_put_reasons_where_there_is_no_score(tokenizer):
    rows = reader(tokenizer, "left")(preferred([("p", "cat", " ".join(["cat"] * 40))]).train.batch)
    made = reading.columns(rows, [0.5])
    assert made["score"][0] == 0.5
    assert isinstance(made["score"][1], NoScore)
    assert made["tokens"] == [float(len(rows[0].ids)), 0.0]
    assert made["cut"][1] > 0


def test_a_conversation_is_read_as_turns_and_a_prompt_as_the_first(tokenizer):
    from dataclasses import replace

    from rmbench.api import Turn

    plain = batch("the cat", "the dog")
    talk = replace(plain, messages=((Turn("system", "a"), Turn("user", "b")),))
    assert reading.prompts_of(plain) == ["the cat"]
    assert reading.prompts_of(talk) == [[{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]]
    (row,) = reader(tokenizer, max_length=60)(talk)
    assert np.isin(tokenizer.convert_tokens_to_ids(["<|system|>", "<|user|>", "<|assistant|>"]), row.ids).all()
