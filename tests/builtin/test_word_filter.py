"""The word filter: what is a hit, by hand and against a slow definition, in linear time; its file, line by line."""

import re

import pytest
from builtin_texts import batch_of, built
from fakes import jsonl, rmbench
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rmbench.builtin.word_filter import read
from rmbench.errors import InputError
from rmbench.kernel.terms import ONE, OTHER, STAR, UNBOUND, WORD, Matcher, folded, kind_of, pattern


def hits(terms, text, *, whole_words=True, marks=False):
    """Return the hits of all terms together."""
    matcher = Matcher([pattern(term, marks=marks) for term in terms], whole_words=whole_words)
    return matcher(folded(text, marks=marks)).total()


@pytest.mark.parametrize(
    ("term", "text", "words", "anywhere"),
    [
        ("ass", "The ass, an ASS: assess class.", 2, 4),
        ("a a", "a a a a", 2, 2),  # occurrences of one term do not overlap
        ("dunder head", "Dunder\n head! dunderhead", 1, 1),
        ("dunder*", "dunderhead dunder undunder", 2, 3),
        ("*head", "dunderhead heads head", 2, 3),
        ("d*head", "dunderhead dhead dumb head", 2, 2),
        ("wa?ly", "wally waly wa-ly waally", 1, 1),
        ("wa*y", "wally way waaaay wayy", 4, 4),
        (r"h\*ck", "h*ck heck", 1, 1),
        ("c++", "c++ c+ c+++", 2, 2),
        ("straße", "STRASSE Straße", 2, 2),
        ("idiot", "ｉｄｉｏｔ i\u200bdi\u00adot ïdïöt i\u0336d\u0336iot", 4, 4),
        ("傻瓜", "你这个傻瓜！大傻瓜", 2, 2),  # no spaces between words: anywhere
        ("ばか", "おばかさん、ﾊﾞｶ", 1, 1),
        ("バカ", "おバカさん、ﾊﾞｶ", 2, 2),
        ("แก่", "แก แก่", 1, 1),  # a tone mark is no accent
    ],
)
def test_hits_by_hand(term, text, words, anywhere):
    assert hits([term], text) == words
    assert hits([term], text, whole_words=False) == anywhere


def test_accents_can_count():
    assert hits(["resume"], "résumé resume") == 2
    assert hits(["resume"], "résumé resume", marks=True) == 1
    assert hits(["résumé"], "re\u0301sume\u0301 resume", marks=True) == 1


def test_no_folded_text_has_the_signs_that_stand_for_kinds():
    assert [kind_of(sign) for sign in (OTHER, WORD, UNBOUND)] == [OTHER, WORD, UNBOUND]
    assert not {OTHER, WORD, UNBOUND} & set(folded(OTHER + WORD + UNBOUND))


SIGNS = st.sampled_from("aab .猫")
TEXTS = st.text(SIGNS, max_size=14)
ENTRIES = st.lists(
    st.text(st.sampled_from("aab *?.猫"), min_size=1, max_size=6).map(pattern).filter(lambda one: one.strip(f"{STAR}{ONE} ")),
    min_size=1, max_size=4,
)  # fmt: skip


def slowly(entry, text, *, whole_words):
    """Count the hits as they are defined: the occurrence that ends first, then the first one behind it."""
    core = entry.strip(STAR)
    body = "".join({STAR: r"\w*", ONE: r"\w"}.get(char, re.escape(char)) for char in core)

    def edge(place):
        sides = [kind_of(char) for char in text[max(place - 1, 0) : place + 1]]
        return not (0 < place < len(text) and sides == [WORD, WORD])

    count = begin = 0
    for end in range(1, len(text) + 1):
        if whole_words and entry[-1] != STAR and not edge(end):
            continue
        starts = [start for start in range(begin, end) if not whole_words or entry[0] == STAR or edge(start)]
        if any(re.fullmatch(body, text[start:end]) for start in starts):
            count, begin = count + 1, end
    return count


@settings(max_examples=300, deadline=None)
@given(entries=ENTRIES, text=TEXTS, whole_words=st.booleans())
@example([f"a{STAR}a"], "aaa", False)
@example([f"a{STAR} {ONE}"], "a 猫", True)
def test_every_hit_is_one_by_definition(entries, text, whole_words):
    text = folded(text)
    found = Matcher(entries, whole_words=whole_words)(text)
    assert [found[n] for n in range(len(entries))] == [slowly(one, text, whole_words=whole_words) for one in entries]


@settings(max_examples=200, deadline=None)
@given(term=st.text(SIGNS, min_size=1, max_size=4).map(folded).filter(bool), text=TEXTS.map(folded))
def test_a_plain_term_anywhere_is_counted_as_python_counts(term, text):
    assert Matcher([term], whole_words=False)(text).total() == text.count(term)


@pytest.mark.parametrize("room", [1 << 26, 0])  # bytes: with all states kept, and forgotten again and again
def test_steps_are_linear_whatever_the_patterns(monkeypatch, room):
    monkeypatch.setattr("rmbench.kernel.terms.MEMORY", room)
    steps = []
    plain = Matcher.step
    monkeypatch.setattr(Matcher, "step", lambda *given: steps.append(1) or plain(*given))
    entries = [pattern(one) for one in ("a*a*a*a*a*b", "*a?a*a?a*c", "a" * 50 + "*d", "?" * 30 + "a")]
    for text in (
        "a" * 2000,
        "ab" * 1000,
        "".join(format(n, "b") for n in range(400)).replace("0", "a").replace("1", "b"),
    ):
        steps.clear()
        matcher = Matcher(entries, whole_words=False)
        matcher(text)
        assert 0 < len(steps) <= len(text) + 1
        assert matcher.kept <= matcher.most


def test_the_score_is_minus_the_hits_with_those_of_a_category_as_parts(tmp_path):
    terms = tmp_path / "terms.txt"
    terms.write_text("# mild\nmuppet\n\n[rude]\ntwit*\n  you clot\n[noise]\nblah\n", encoding="utf-8-sig")
    batch = batch_of(["You twit, you clot, you muppet: blah BLAH", "clean", "", "twitter"])
    assert built("word-filter", path=terms)(batch) == {
        "score": [-5.0, 0.0, 0.0, -1.0], "rude": [2.0, 0.0, 0.0, 1.0], "noise": [2.0, 0.0, 0.0, 0.0],
    }  # fmt: skip
    assert str(built("word-filter", path=terms)(batch)["score"][1]) == "0.0"
    for option in ("whole_words", "marks"):
        with pytest.raises(ValueError, match=f"{option} is 1"):
            built("word-filter", path=terms, **{option: 1})


def test_a_backslash_takes_a_sign_as_it_is(tmp_path):
    terms = tmp_path / "terms.txt"
    terms.write_text("\\#tag\n\\[sic]\nwhat\\?\nback\\\\slash\nend\\\n", encoding="utf-8")
    assert [entry.pattern for entry in read(terms)] == ["#tag", "[sic]", "what?", "back\\slash", "end\\"]


@pytest.mark.parametrize(
    ("data", "place", "what"),
    [
        (b"fine\nbad \xff\n", ":2", "the byte 0xff is not UTF-8"),
        (b"one\n\n*?\n", ":3", "has no sign but wildcards"),
        ("a\n\u200b\u0301\n".encode(), ":2", "has no sign but"),
        ("twit\n# no\nＴＷＩＴ\n".encode(), ":3", "'ＴＷＩＴ' says what line 1 says"),
        (b"a\n[Rude]\nb\n[score]\n", ":2", r"category 'Rude' does not match .*; line 4: category 'score'"),
        (b"a\x00b\n", ":1", "U[+]0000 is no character"),
        (b"# nothing\n\n[rude]\n", "", "has no term"),
        (b"a" * 4_000_001, "", "is larger than 4,000,000 bytes"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path, data, place, what):
    path = tmp_path / "terms.txt"
    path.write_bytes(data)
    with pytest.raises(InputError, match=what) as raised:
        built("word-filter", path=path)
    assert raised.value.where == f"{path}{place}"
    assert raised.value.help


def test_a_wrong_file_is_said_before_anything_runs(tmp_path):
    jsonl(tmp_path / "rows.jsonl", [{"id": "1", "prompt": "Hi", "candidates": [{"system": "a", "text": "You twit!"}]}])
    (tmp_path / "mine.txt").write_bytes(b"twit\n*\n")
    suite = tmp_path / "suite.toml"
    option = 'path = "mine.txt"'
    suite.write_text(
        f'name = "s"\ntasks = ["rows.jsonl"]\nrewards = [{{ use = "word-filter", options = {{ {option} }} }}]\n'
    )
    done = rmbench("run", suite, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "mine.txt:2: '*' has no sign but wildcards" in done.stderr
    assert not (tmp_path / "out").exists()
