"""BLEU and chrF of Chinese, Japanese and Korean: sacrebleu's numbers with the tokenizer that it takes for the language."""

import importlib.util

import numpy as np
import pytest
import sacrebleu
from builtin_texts import batch_of, built
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmbench import corpus
from rmbench.kernel import bleu

SIGNS = {
    "zh": "猫狗坐在垫子上了吗，。！（）AI 3.5%“”　",
    "ja": "猫が座る犬はマットの上にいるカタカナｶﾅ、。！「」AI 3ー　",
    "ko": "고양이가매트위에앉아있다개는,.! AI3%",
}
TOKENIZERS = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}
PACKAGES = {"zh": "sacrebleu", "ja": "MeCab", "ko": "mecab_ko"}
LANGUAGES = [
    pytest.param(
        language,
        marks=pytest.mark.skipif(
            importlib.util.find_spec(package) is None, reason=f"{package} is missing: pip install 'sacrebleu[ja,ko]'"
        ),
    )
    for language, package in PACKAGES.items()
]


def pairs(language):
    text = st.text(st.sampled_from(SIGNS[language]), max_size=24)
    return st.lists(st.tuples(text, st.lists(text, min_size=1, max_size=2).map(tuple)), min_size=1, max_size=4)


@pytest.mark.parametrize("language", LANGUAGES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_rows_and_corpus_are_sacrebleus(language, data):
    rows = data.draw(pairs(language))
    responses, references = [one for one, _ in rows], [many for _, many in rows]
    batch = batch_of(responses, references, languages=("en", language))
    name = TOKENIZERS[language]
    expected = [sacrebleu.sentence_bleu(one, list(many), tokenize=name).score for one, many in rows]
    assert built("bleu")(batch) == pytest.approx(expected, abs=1e-9)
    assert built("bleu")(batch) == built("bleu", tokenize=name)(batch)
    assert bleu.scores(responses, references, tokenize=name)["bleu"] == pytest.approx(expected, abs=1e-9)
    of_signs = [sacrebleu.sentence_chrf(one, list(many)).score for one, many in rows]
    assert built("chrf")(batch) == pytest.approx(of_signs, abs=1e-9)
    streams = corpus.streams(responses, references)
    whole = sacrebleu.corpus_bleu(responses, streams, tokenize=name).score
    assert corpus.corpus_bleu(responses, references, language) == pytest.approx(whole, abs=1e-9)
    sums = np.sum(corpus.bleu_statistics(responses, references, language), axis=0)
    assert corpus.bleu_from_statistics(sums) == pytest.approx(whole, abs=1e-9)


def test_the_languages_are_those_of_sacrebleu():
    from sacrebleu.metrics.bleu import BLEU

    for language in (*TOKENIZERS, "en", "de"):
        if importlib.util.find_spec(PACKAGES.get(language, "sacrebleu")):
            theirs = BLEU(trg_lang=language).tokenizer.signature()
            assert theirs.startswith(corpus.tokenizer_of(language))
