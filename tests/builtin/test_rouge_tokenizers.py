"""ROUGE with other tokenizers than rouge-score's: equal to rouge-score with that tokenizer, named in the signature."""

import importlib.util
import warnings

import pytest
from builtin_texts import REFERENCES, SENTENCES, TEXTS, batch_of, built
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from rmbench.builtin.rouge import REWARDS
from rmbench.builtin.tokens import facts, splitter, words

KINDS = {"rouge-1": "rouge1", "rouge-2": "rouge2", "rouge-l": "rougeL", "rouge-lsum": "rougeLsum"}
MECAB = {"ja-mecab": "MeCab", "ko-mecab": "mecab_ko"}
ZH = st.text(st.sampled_from("猫坐在垫子上。，AI 3a\n"), max_size=20)


class Split:
    """sacrebleu's tokenizer as rouge-score takes one."""

    def __init__(self, name):
        self.split = BLEU(tokenize=name, force=True).tokenizer

    def tokenize(self, text):
        return self.split(text.lower()).split()


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)), name=st.sampled_from(["zh", "13a", "intl", "char"]),
    references=st.one_of(REFERENCES, st.lists(ZH, min_size=1, max_size=3).map(tuple)), response=st.one_of(TEXTS, ZH, SENTENCES),
)  # fmt: skip
@example("rouge-lsum", "zh", ("猫坐\n\n在 -\n上",), "上 -\n猫")
@pytest.mark.filterwarnings("ignore:rouge. ")
def test_equals_rouge_score_with_that_tokenizer(kind, name, references, response):
    theirs = RougeScorer([KINDS[kind]], tokenizer=Split(name)).score_multi(references, response)[KINDS[kind]]
    assert built(kind, tokenizer=name)(batch_of([response], [references])) == [theirs.fmeasure]


def test_chinese_by_hand():
    batch = batch_of(["猫坐在垫子上。", "猫坐在垫子上。"], [("猫坐在垫子上。",), ("狗躺在垫子上。",)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert built("rouge-1", tokenizer="zh")(batch) == [1.0, 5 / 7]
        assert built("rouge-2", tokenizer="zh")(batch) == [1.0, 4 / 6]
        assert built("rouge-l", tokenizer="words")(batch) == [1.0, 0.0]  # no spaces: one word each
    with pytest.warns(UserWarning, match="2 of 2 rows tokenise to nothing .*option tokenizer has zh"):
        assert built("rouge-1")(batch) == [0.0, 0.0]


def test_words_of_any_script():
    assert words("Он сказал: «да», 3 раза") == ["Он", "сказал", "да", "3", "раза"]
    assert words("हिन्दी में") == ["हिन्दी", "में"]  # vowel signs belong to the word
    assert words("snake_case, e\u0301te\u0301!") == ["snake_case", "e\u0301te\u0301"]
    batch = batch_of(["Кот сидит", "КОТ"], [("кот лежит",), ("кот",)])
    assert built("rouge-1", tokenizer="words")(batch) == [0.5, 1.0]
    assert built("rouge-1", tokenizer="words", lowercase=False)(batch) == [0.0, 0.0]


def test_texts_without_a_token_are_counted_with_the_option():
    batch = batch_of(["?!", "a"], [("?!",), ("a",)])
    with pytest.warns(UserWarning, match="1 of 2 rows tokenise to nothing .by the option tokenizer = 'words'."):
        assert built("rouge-l", tokenizer="words")(batch) == [0.0, 1.0]
    assert built("rouge-l", tokenizer="13a")(batch) == [1.0, 1.0]


def test_a_stem_is_of_rouge_scores_tokens():
    with pytest.raises(ValueError, match="stemmer is true, which is for the tokenizer rouge-score only, not for zh"):
        built("rouge-1", tokenizer="zh", stemmer=True)
    with pytest.raises(ValueError, match="tokenizer is 'latin'"):
        built("rouge-1", tokenizer="latin")


def test_the_tokenizers_version_is_in_the_signature():
    assert all(reward.facts is facts for reward in REWARDS)
    (fact,) = facts(tokenizer="zh", stemmer=False)
    assert fact.startswith("sacrebleu:2.")
    assert facts() == facts(tokenizer="words") == ()


@pytest.mark.parametrize("name", sorted(MECAB))
def test_a_tokenizer_without_its_package_says_what_to_install(name, monkeypatch):
    language = name[:2]
    monkeypatch.setattr(f"sacrebleu.tokenizers.tokenizer_{language}_mecab.MeCab", None)
    with pytest.raises(RuntimeError, match=rf"{name} needs another package: pip install 'sacrebleu\[{language}\]'"):
        facts(tokenizer=name)


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [("ja-mecab", "猫がマットの上に座っている。", 10), ("ko-mecab", "고양이가 매트 위에 앉아 있다.", 10)],
)
def test_morphemes_of_mecab(name, text, count):
    if importlib.util.find_spec(MECAB[name]) is None:
        pytest.skip(f"{MECAB[name]} is not installed: pip install 'sacrebleu[ja,ko]'")
    assert len(splitter(name)(text)) == count
    assert built("rouge-l", tokenizer=name)(batch_of([text], [(text,)])) == [1.0]
