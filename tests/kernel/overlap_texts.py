"""Generated responses and references for the parity tests of BLEU, chrF and TER."""

import random

from hypothesis import strategies as st

AWKWARD = (
    "", " ", "\n", "\t\x0b\u2028\x85\x1c", "\x00", "a\x00b", "\x00 \x00", "the", "The cat sat.", "the the the the", "a b c d e f",
    "İstanbul İI ıi", "\u212a \u212aelvin Kelvin", "e\u0301clair éclair", "猫坐在垫子上。", "ねこが座る。", "고양이가 앉았다", "naïve café",
    "x" * 40, "xy" * 30, "1,000.5 % $3", "1,5 .5 5. , 5", "a..b ...c. .5", "don't won't", "a.b.c . d", "line one\nline two-\nthree",
    "&quot;hi&quot; &amp;lt; <b> &gt;", "<skipped> <skip<skipped>ped>", "-<skipped>\n", "5-4 -3 a-1 3--2", "-", "...", "(hi) 'tis \"so\" [x]",
    "🙂👩\u200d🚀", "🙂🙂 🙂", "٣ ³ ½ ᴬ", "٣.٣ ٣,3 3,٣", "ß ẞ SS ﬁ", "ǅ Ω Å", "one . two . three .", "\ufeffa\u200bb\u00a0c\u3000d", "\ud800 \udfff",
)  # fmt: skip
WORDS = (
    "the", "a", "cat", "Cat", "cats", "sat", "on", ".", "mat", "mat.", "(mat)", "猫", "é", "İ", "\u212a", "\n", "\x00", "3", "3.", "x,y", "-",
    "3-4", "&amp;", "it's", "\u2028", "ab", "abc", "abcd",
)  # fmt: skip

SENTENCES = st.lists(st.sampled_from(WORDS), max_size=16).map(" ".join)
SMALL = st.text("ab .,1-\n&", max_size=20)  # every neighbour of every kind
ANY = st.text(st.characters(), max_size=30)
TEXTS = st.one_of(SENTENCES, st.sampled_from(AWKWARD), SMALL, ANY, st.tuples(st.sampled_from(AWKWARD), SENTENCES).map(" ".join))  # fmt: skip


@st.composite
def rows(draw, most=24):
    """Draw responses and their references, where consecutive rows often have the same ones."""
    groups = draw(
        st.lists(st.tuples(st.lists(TEXTS, min_size=1, max_size=3), st.integers(1, 4)), min_size=1, max_size=most // 2)
    )
    references = [tuple(texts) for texts, count in groups for _ in range(count)]
    pool = st.one_of(TEXTS, st.sampled_from([text for texts in references for text in texts]))
    return [draw(pool) for _ in references], references


def answers(count, words, seed=0, share=0.6):
    """Return responses that keep a share of their reference's words, move some runs of them, and end elsewhere."""
    random.seed(seed)
    common = [
        f"{head}{tail}"
        for head in ("re", "con", "s", "tra", "mo")
        for tail in ("port", "ing", "ed.", "tive", ",", "s", "ble")
    ]
    rare = [f"{a}{b}{c}" for a in "bdfklm" for b in ("ar", "o", "eu", "İ") for c in ("n", "st", "-5", "ö")]
    responses, references = [], []
    for _ in range(count):
        size = max(1, int(words * random.uniform(0.6, 1.4)))
        reference = random.choices(common, k=size) + random.choices(rare, k=size // 3)
        random.shuffle(reference)
        response = [word if random.random() < share else random.choice(common + rare) for word in reference]
        for _ in range(random.randrange(4)):
            start, length = random.randrange(len(response)), random.randrange(1, 9)
            run = response[start : start + length]
            del response[start : start + length]
            place = random.randrange(len(response) + 1)
            response[place:place] = run
        if random.random() < 0.3:
            del response[random.randrange(len(response)) :]
        responses.append(" ".join(response))
        references.append(" ".join(reference))
    return responses, [(reference,) for reference in references]
