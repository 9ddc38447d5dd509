"""Features of texts: by hand, of one row only, standardised on train."""

import math
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from encoders import tiny_encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from judgements import preferred

from rmbench.api import Runtime, Turn
from rmbench.errors import InputError
from rmbench.models import features
from rmbench.models.feature_options import FeatureTraining, Linear, Mlp, uses
from rmbench.models.features import Reader, check_memory, counted, said, standard
from rmbench.models.surface import NAMES, surface

PAIRS = [("a prompt", "the cat sees the dog.", "A dog? No!"), ("prompt 2", "clear and kind", "odd 12"), ("p", "", "x")]


def one(text, source=""):
    return dict(zip(NAMES, surface([text], [source])[0].tolist(), strict=True))


def test_surface_features_by_hand():
    found = one("Is it 12 cats? Yes, 12 CATS!\n- a\n2. b", "yes the cats")
    assert found["characters"] == math.log1p(37)
    assert found["words"] == math.log1p(10)  # is it 12 cats yes 12 cats a 2 b
    assert found["sentences"] == math.log1p(3)  # behind cats, CATS and 2
    assert found["words-per-sentence"] == math.log1p(10 / 3)
    assert found["word-length"] == pytest.approx((2 + 2 + 2 + 4 + 3 + 2 + 4 + 1 + 1 + 1) / 10)
    assert found["questions"] == found["exclamations"] == found["commas"] == math.log1p(1)
    assert found["other-signs"] == 5 / 37
    assert found["digits"] == 5 / 37
    assert found["capitals"] == 6 / 37
    assert found["lines"] == found["list-items"] == math.log1p(2)
    assert found["type-token"] == 8 / 10
    assert found["repeated-pairs"] == 1 / 9  # 12 cats
    assert found["source-words"] == 3 / 10
    assert found["source-pairs"] == 0.0
    assert found["words-of-source"] == 2 / 3
    assert found["length-to-source"] == math.log1p(10) - math.log1p(3)
    assert found["ends-a-sentence"] == found["empty"] == 0.0


def test_an_empty_text_has_no_other_feature_than_that():
    for text in ("", " \n"):
        found = one(text, "a source")
        assert found.pop("empty") == 1.0
        found.pop("characters")
        assert set(found.values()) == {0.0}


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=5))
def test_surface_features_are_finite_numbers_of_their_row(rows):
    found = surface(*zip(*rows, strict=True))
    assert np.isfinite(found).all()
    alone = np.concatenate([surface([text], [source]) for text, source in reversed(rows)])[::-1]
    assert (found == alone).all()


def test_ngrams_are_hashed_by_crc32_with_a_sign():
    found = counted(["The cat the"], [1, 2], 1000).toarray()[0]
    want = np.zeros(1000)
    for gram, count in ((b"1:the", 2), (b"1:cat", 1), (b"2:the cat", 1), (b"2:cat the", 1)):
        hashed = zlib.crc32(gram)
        want[hashed % 1000] += (1 + math.log(count)) * (1 if hashed >> 31 else -1)
    assert found.tolist() == want.tolist()
    assert counted(["", "a"], [2], 10).nnz == 0
    assert counted(["a \ud800"], [1], 1).shape == (1, 1)


def batch_of(pairs=PAIRS, **scores):
    made = preferred(pairs).train.batch
    return replace(made, scores={name: tuple(column) for name, column in scores.items()})


def test_standardisation_is_fitted_on_train_and_every_block_weighs_alike():
    options = FeatureTraining(features=["surface", "rewards", "ngrams"], rewards=["bleu"], rare=1, buckets=64)
    reader = Reader(options)
    draw = np.random.default_rng(0)
    words = ["the", "cat", "sees", "a", "dog", "kind", "odd", "12", "!", "?"]
    texts = [("p", *(" ".join(draw.choice(words, draw.integers(1, 12))) for _ in range(2))) for _ in range(30)]
    batch = batch_of(texts, bleu=draw.normal(3, 2, 60))
    raw = reader(batch)
    fitted = standard(raw, reader)
    table = fitted(raw)
    np.testing.assert_allclose(table.dense.mean(axis=0), 0, atol=1e-12)
    bleu = table.dense[:, reader.blocks["rewards"]]
    np.testing.assert_allclose(bleu.std(), 1)
    scores = np.array(batch.scores["bleu"])
    np.testing.assert_allclose(bleu[:, 0], (scores - scores.mean()) / scores.std())
    flat = fitted.factor[reader.blocks["surface"]] == 0
    assert 0 < flat.sum() < len(NAMES)  # no lists, no lines: features that never differ are left out
    squared = (table.dense[:, reader.blocks["surface"]] ** 2).sum(axis=1).mean()
    assert squared == pytest.approx(1 - flat.mean())
    np.testing.assert_allclose(np.sqrt((table.grams.toarray() ** 2).sum(axis=1)), 1)
    assert table.rows([3]).shape == (1, table.width)


def test_rare_ngrams_and_those_that_train_never_saw_are_no_features():
    options = FeatureTraining(features=["ngrams"], orders=[1], rare=2, buckets=10_000)
    reader = Reader(options)
    fitted = standard(reader(batch_of([("p", "cat dog", "cat tree")])), reader)
    assert len(fitted.kept) == 1
    assert fitted.weights[fitted.kept].tolist() == [1.0]  # in both rows: log(3 / 3) + 1
    table = fitted(reader(batch_of([("p", "tree dog unheard", "cat unheard")])))
    assert table.grams.toarray().tolist() == [[0.0], [math.copysign(1, table.grams.toarray()[1, 0])]]


def test_a_row_without_a_used_reward_is_missing():
    options = FeatureTraining(features=["rewards"], rewards=["bleu", "chrf"])
    reader = Reader(options)
    raw = reader(batch_of(PAIRS[:1], bleu=[None, 0.5], chrf=[1.0, 2.0]))
    assert raw.missing == {0: "bleu gave no score"}
    assert standard(raw, reader).mean.tolist() == [0.5, 2.0]
    with pytest.raises(InputError, match="no row of train has all features: bleu gave no score"):
        standard(reader(batch_of(PAIRS[:1], bleu=[None, None], chrf=[1.0, 2.0])), reader)
    with pytest.raises(InputError, match="no scores of 'chrf'"):
        reader(batch_of(PAIRS[:1], bleu=[0.0, 1.0]))


def test_embeddings_are_response_prompt_product_difference_and_cosine(tmp_path):
    encoder = tiny_encoder(tmp_path / "encoder")
    reader = Reader(FeatureTraining(features=["embeddings"], encoder=encoder), Runtime(cache=str(tmp_path / "c")))
    raw = reader(batch_of())
    reader.close()
    assert reader.columns == raw.dense.shape[1] == 4 * 16 + 1
    text, prompt, product, difference = (raw.dense[:, i * 16 : (i + 1) * 16] for i in range(4))
    np.testing.assert_allclose(product, text * prompt)
    np.testing.assert_allclose(difference, abs(text - prompt))
    np.testing.assert_allclose(raw.dense[:, -1], (text * prompt).sum(axis=1), atol=1e-6)
    assert (prompt[0] == prompt[1]).all()
    again = Reader(FeatureTraining(features=["embeddings"], encoder=encoder), Runtime(cache=str(tmp_path / "c")))
    np.testing.assert_array_equal(again(batch_of()).dense, raw.dense)
    assert again.embedder.took.encoded == 0


def test_of_a_conversation_the_last_message_is_what_a_response_answers():
    turns = (Turn("user", "hi"), Turn("assistant", "hello"), Turn("user", "why?"))
    assert said(turns, "the whole") == "why?"
    assert said(turns[:1], "the whole") == "the whole"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"features": ["colour"]}, "features is 'colour', expected one of: ngrams, surface, embeddings, rewards"),
        ({"features": []}, "features is empty"),
        ({"features": "ngrams"}, "features is 'ngrams', expected a list of names"),
        ({"features": ["ngrams", "ngrams"]}, "each name once"),
        ({"features": ["embeddings"]}, "encoder is None, expected one, since features has 'embeddings'"),
        ({"features": ["rewards"]}, "expected one, since features has 'rewards'"),
        ({"rewards": ["bleu"]}, "expected none, since features has no 'rewards'"),
        ({"encoder": Path("x")}, "expected none, since features has no 'embeddings'"),
        ({"features": ["rewards"], "rewards": ["score"]}, "rewards has 'score'"),
        ({"features": ["rewards"], "rewards": ["A b"]}, "rewards has 'A b'"),
        ({"orders": []}, "orders is"),
        ({"orders": [0]}, "orders is 0, expected an integer of at least 1"),
        ({"orders": [9]}, "orders has 9, expected at most 8"),
        ({"orders": [1, 1]}, "each length once"),
        ({"buckets": 0}, "buckets is 0"),
        ({"buckets": 2**25}, "buckets is 33,554,432, expected at most"),
        ({"rare": 0}, "rare is 0"),
        ({"steps": 0}, "steps is 0"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [Linear, Mlp])
def test_wrong_options_are_named(kind, given, words):
    with pytest.raises(ValueError, match=r"^\w+ (is|has) ") as caught:
        kind(**given)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (Linear, {"ridge": 0.0}, "ridge is 0.0, expected a finite number above 0"),
        (Mlp, {"hidden": []}, "hidden is []"),
        (Mlp, {"hidden": [10**6]}, "hidden has 1,000,000"),
        (Mlp, {"dropout": 1.0}, "dropout is 1.0"),
    ],
)  # fmt: skip
def test_wrong_options_of_one_kind_are_named(kind, given, words):
    with pytest.raises(ValueError, match="expected") as caught:
        kind(**given)
    assert words in str(caught.value)


def test_a_folder_that_is_no_encoder_is_refused_with_the_options(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        Linear(features=["embeddings"], encoder=tmp_path / "no")
    assert uses(rewards=["a", "b"], steps=3) == ("a", "b")
    assert uses() == ()


def test_what_does_not_fit_the_memory_is_refused_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(features, "free_memory", lambda: 10**9)
    check_memory(Mlp(), 1000, 100, widest=64)
    with pytest.raises(InputError, match=r"buckets = 16,777,216 and 1,000 rows of 100 features take .* GB, 1\.0 GB"):
        check_memory(Mlp(buckets=2**24), 1000, 100, widest=64)
    with pytest.raises(InputError, match="1,000,000 rows"):
        check_memory(Linear(features=["surface"]), 10**6, 100)
