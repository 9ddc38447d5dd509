import functools
import math
from dataclasses import replace

import numpy as np
import pytest

import rmbench
from rmbench import Batch, InputError, PluginError, Reward, Turn
from rmbench.builtin import rmbench_rewards
from rmbench.interop import from_trl, to_trl
from rmbench.scoring import Contract
from rmbench.testing import check_reward, sample_batch

BATCH = Batch(
    ids=("a#0", "a#1"),
    groups=("a", "a"),
    messages=((Turn("system", "Be brief."), Turn("user", "Hi")),) * 2,
    prompts=("System: Be brief.\n\nHuman: Hi",) * 2,
    contexts=("source", None),
    responses=("hello", "hello you"),
    references=(("hello",), ("hi", "hey")),
    languages=(("en",),) * 2,
    meta=({"answer": 5, "level": "x"}, {"answer": 9, "level": "y"}),
)


def builtin(name):
    return {reward.name: reward for reward in rmbench_rewards()}[name]


def score(reward, batch=BATCH):
    return reward.build()(batch)


def word_count(completions, **_):
    """Count words."""
    return [len(text.split()) for text in completions]


def test_from_trl_makes_a_reward():
    reward = from_trl(word_count)
    assert (reward.name, reward.version, reward.unscored, reward.needs) == ("word_count", 1, "exclude", frozenset())
    assert reward.build.__doc__ == "Count words."
    assert score(reward) == [1.0, 2.0]
    assert check_reward(reward) == []
    other = from_trl(word_count, name="words", version=3, unscored="wrong")
    assert (other.name, other.version, other.unscored) == ("words", 3, "wrong")


def test_from_trl_passes_what_the_signature_takes():
    seen = {}

    def picky(prompts, completions, answer, references, level=None, other="absent"):
        seen.update(locals())
        return [0.0 for _ in prompts]

    reward = from_trl(picky)
    score(reward)
    assert reward.needs == frozenset({"references"})
    assert reward.build.__doc__ == "The TRL-style reward function picky."
    assert seen["answer"] == [5, 9]
    assert seen["level"] == ["x", "y"]
    assert seen["references"] == [["hello"], ["hi", "hey"]]
    assert seen["other"] == "absent"
    assert seen["prompts"] == list(BATCH.prompts)


def test_from_trl_passes_everything_to_a_function_that_takes_columns():
    seen = {}

    def greedy(**columns):
        seen.update(columns)
        return [None, 1]

    assert score(from_trl(greedy)) == [None, 1.0]
    assert seen == {
        "prompts": list(BATCH.prompts),
        "completions": ["hello", "hello you"],
        "references": [["hello"], ["hi", "hey"]],
        "contexts": ["source", None],
        "answer": [5, 9],
        "level": ["x", "y"],
    }


def test_from_trl_with_messages():
    def talk(prompts, completions, **_):
        assert prompts[0] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
        assert completions[1] == [{"role": "assistant", "content": "hello you"}]
        return [float(len(completion[0]["content"])) for completion in completions]

    assert score(from_trl(talk, messages=True)) == [5.0, 9.0]


def test_from_trl_rows_with_other_meta_are_other_calls():
    calls = []

    def by_level(completions, level=None, **columns):
        calls.append((completions, level, "answer" in columns))
        return [1.0 if level is None else float(ord(level[i])) for i in range(len(completions))]

    batch = replace(BATCH.take([0, 1, 0]), meta=({"level": "a"}, {}, {"level": "c", "answer": 1}))
    reward = from_trl(by_level)
    assert score(reward, batch) == [97.0, 1.0, 99.0]
    assert len(calls) == 3
    assert [score(reward, batch.take([row])) for row in range(3)] == [[97.0], [1.0], [99.0]]
    assert score(reward, replace(BATCH, meta=())) == [1.0, 1.0]


def test_from_trl_keeps_none_and_takes_what_trl_takes():
    assert score(from_trl(lambda **_: [True, None], name="flag")) == [1.0, None]
    assert score(from_trl(lambda **_: np.array([0.5, 2.0]), name="array")) == [0.5, 2.0]
    assert math.isnan(score(from_trl(lambda **_: [math.nan, 1], name="nan"))[0])  # the engine records its reason


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda **_: [1.0], ValueError, "odd returned 1 scores for 2 rows"),
        (lambda **_: ["1", "2"], TypeError, "odd returned the text '1'"),
        (lambda completions, truth: [1.0, 1.0], TypeError, "odd needs the column 'truth': these rows have answer, "),
    ],
)
def test_from_trl_refuses_wrong_returns(function, error, message):
    with pytest.raises(error, match=message):
        score(from_trl(function, name="odd"))


async def slow(prompts, completions, **_):
    return [0.0 for _ in prompts]


class Slow:
    async def __call__(self, prompts, completions, **_):
        return [0.0 for _ in prompts]


@pytest.mark.parametrize("function", [slow, functools.partial(slow, x=1), Slow()])
def test_from_trl_refuses_async_functions(function):
    with pytest.raises(TypeError, match="is async"):
        from_trl(function, name="slow")


def test_from_trl_refuses_a_function_that_returns_a_coroutine():
    def hidden(prompts, completions):
        return slow(prompts, completions)

    with pytest.raises(TypeError, match="hidden returned a coroutine"):
        score(from_trl(hidden))


def test_from_trl_names():
    def _Private_Reward(completions, **_):
        return [0.0] * len(completions)

    assert from_trl(_Private_Reward).name == "private_reward"
    for function in (lambda **_: [], functools.partial(word_count)):
        with pytest.raises(ValueError, match="has no name of its own: give name="):
            from_trl(function)
    assert from_trl(functools.partial(word_count), name="counted").name == "counted"
    with pytest.raises(ValueError, match="reward name 'Not This'"):
        from_trl(word_count, name="Not This")


def test_to_trl_with_texts():
    function = to_trl(builtin("rouge-1"), {"part": "recall"})
    assert function.__name__ == "rouge-1"
    prompts, completions = ["p", "p", "q"], ["the cat", "dog", "cat"]
    scores = function(prompts=prompts, completions=completions, references=["the cat sat on", ["dog", "cats"], None])
    assert scores == [0.5, 1.0, None]
    assert all(type(value) is float for value in scores[:2])


def test_to_trl_with_conversations():
    seen = []

    def build():
        return lambda batch: seen.append(batch) or [float(len(text)) for text in batch.responses]

    function = to_trl(Reward(name="length", version=1, build=build))
    prompts = [
        [{"role": "user", "content": "Hi"}],
        [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}],
    ]
    completions = [
        [{"role": "assistant", "content": "hello"}],
        [
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "tool", "content": "result"},
            {"role": "assistant", "content": "ok"},
        ],
    ]
    scores = function(
        prompts=prompts, completions=completions, completion_ids=[[1], [2]], trainer_state=object(), answer=[4, 5]
    )
    assert scores == [5.0, 2.0]
    (batch,) = seen
    assert batch.responses == ("hello", "ok")
    assert batch.ids == ("0", "1")
    assert batch.messages[1] == (Turn("system", "S"), Turn("user", "Hi"))
    assert batch.prompts == ("Hi", "System: S\n\nHuman: Hi")
    assert [dict(meta) for meta in batch.meta] == [
        {"completion_ids": [1], "answer": 4},
        {"completion_ids": [2], "answer": 5},
    ]


def test_to_trl_names_the_columns_and_the_language():
    function = to_trl(builtin("rouge-1"), {"against": "source", "part": "precision"}, contexts="article")
    assert function(prompts=["x"] * 2, completions=["cat", "x"], article=["a cat", None]) == [1.0, 1.0]
    bleu = to_trl(builtin("bleu"), references="target", languages=("en", "zh"))
    assert bleu(prompts=["x"], completions=["猫坐在垫子上"], target=["猫坐在垫子上"]) == [pytest.approx(100)]


def test_to_trl_rows_of_one_prompt_are_a_sample():
    seen = []

    def build():
        return lambda batch: seen.append(batch.groups) or [0.0] * len(batch)

    to_trl(Reward(name="groups", version=1, build=build, scope="sample"))(
        prompts=["p", "q", "p"], completions=["a"] * 3
    )
    assert seen == [("0", "1", "0")]


def test_to_trl_builds_once_and_fills_the_runtime():
    built = []

    def build(*, runtime):
        built.append(runtime.seed)
        return lambda batch: {"score": [math.nan, None, 2], "part": [1.0] * len(batch)}

    function = to_trl(Reward(name="once", version=1, build=build))
    assert function(["p"] * 3, ["c"] * 3) == function(["p"] * 3, ["c"] * 3) == [None, None, 2.0]
    assert built == [1]


def test_to_trl_refuses_what_a_trainer_has_not():
    with pytest.raises(ValueError, match="human is an oracle"):
        to_trl(builtin("human"))
    with pytest.raises(ValueError, match="column reads scores that data carry"):
        to_trl(builtin("column"), {"name": "rm"})
    for inner in ("human", "column"):
        part = {"use": "composite", "options": {"weights": {"mid": 1.0}}}
        mid = {"use": "composite", "options": {"weights": {"length": 1.0, "deep": 0.0}}}
        deep = {"use": inner, "options": {"name": "rm"} if inner == "column" else {}}
        with pytest.raises(ValueError, match=r"deep \(a part of composite\) (is an oracle|reads scores)"):
            to_trl(part, parts={"mid": mid, "deep": deep})


MIX = {"rouge-1": 2.0, "length": -0.5}


def test_to_trl_adds_up_a_composite():
    # rouge-1 F of "the cat" against "the cat sat on" is 2 * 1 * 0.5 / 1.5; of "a dog" against "a dog" 1
    function = to_trl(builtin("composite"), {"weights": MIX})
    given = {"prompts": ["p", "q"], "completions": ["the cat", "a dog"], "references": ["the cat sat on", ["a dog"]]}
    assert function(**given) == pytest.approx([2 * 2 / 3 - 0.5 * 2, 2 * 1 - 0.5 * 2], abs=1e-12)
    assert function.__name__ == "composite"
    assert to_trl("composite", {"weights": MIX})(**given) == function(**given)
    with pytest.raises(ValueError, match="composite needs references: no column 'references'"):
        function(prompts=["p"], completions=["c"])


def test_to_trl_and_score_add_up_alike():
    texts, truth = ["the cat", "a dog", "", "cat cat cat"], "the cat sat on"
    function = to_trl("composite", {"weights": MIX})
    rows = [{"prompt": "p", "response": text, "references": [truth]} for text in texts]
    scored = rmbench.score("composite", rows, {"weights": MIX})
    there = function(prompts=["p"] * 4, completions=texts, references=[truth] * 4)
    assert there == [row["score"] for row in scored]
    parts = [row["parts"]["rouge-1"] for row in scored]
    assert parts == pytest.approx([2 / 3, 0, 0, 2 * (1 / 3) * (1 / 4) / (1 / 3 + 1 / 4)], abs=1e-12)
    assert there == pytest.approx([2 * part - 0.5 * n for part, n in zip(parts, (2, 2, 0, 3), strict=True)], abs=1e-12)


def test_to_trl_takes_parts_of_any_kind_and_parts_of_parts():
    def vowels(batch):
        return [None if not text else float(sum(c in "aeiou" for c in text)) for text in batch.responses]

    outer = {"use": "composite", "name": "outer", "options": {"weights": {"inner": 10.0, "letters": 1.0}}}
    parts = {
        "inner": {"use": "composite", "options": {"weights": {"vowels": 1.0, "length": 1.0}}},
        "letters": {"use": "length", "options": {"unit": "chars"}},
        "vowels": vowels,
    }
    function = to_trl(outer, parts=parts)
    assert function.__name__ == "outer"
    # "aha no": 3 vowels, 2 words, 6 characters; "": vowels cannot say
    assert function(prompts=["p", "p"], completions=["aha no", ""]) == [10 * (3 + 2) + 6, None]


def test_to_trl_demands_what_the_parts_need():
    function = to_trl("composite", {"weights": {"near": 1.0}}, parts={"near": {"use": "rouge-1"}}, references="truth")
    with pytest.raises(ValueError, match="composite needs references: no column 'truth'"):
        function(prompts=["p"], completions=["c"], references=["c"])
    assert function(prompts=["p"], completions=["c"], truth=["c"]) == [1.0]


@pytest.mark.parametrize(
    ("options", "parts", "message"),
    [
        ({"weights": {"ruoge-1": 1.0}}, {}, "no reward is called 'ruoge-1'"),
        ({"weights": {"length": 1.0}}, {"lenght": "length"}, "parts has 'lenght', which nothing uses"),
        ({"weights": {"a": 1.0}}, {"a": {"use": "composite", "options": {"weights": {"a": 1.0}}}}, "in a circle"),
        ({"weights": {"composite": 1.0}}, {}, "in a circle"),
        ({"weights": {}}, {}, "at least one"),
        ({"wieghts": {"length": 1.0}}, {}, "has no option 'wieghts'"),
        ({}, {}, "needs the option 'weights'"),
    ],
)
def test_to_trl_says_what_is_wrong_with_a_composite(options, parts, message):
    with pytest.raises(InputError, match=message):
        to_trl("composite", options, parts=parts)


def test_to_trl_says_which_reward_cannot_be_built():
    with pytest.raises(PluginError, match=r"reward brief: it cannot be built: ValueError: target"):
        to_trl("composite", {"weights": {"brief": 1.0}}, parts={"brief": {"use": "length", "options": {"target": 0}}})


def test_to_trl_takes_a_name_and_a_function():
    def shout(batch):
        """Count capitals."""
        return [float(sum(c.isupper() for c in text)) for text in batch.responses]

    function = to_trl(shout)
    assert (function.__name__, function.__doc__) == ("shout", "Count capitals.")
    assert function(prompts=["p"], completions=["ABc"]) == [2.0]
    assert to_trl("length", {"unit": "chars"})(prompts=["p"], completions=["ABc"]) == [3.0]


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({}, ValueError, "rouge-1 needs references: no column 'references' in the data set"),
        ({"references": ["a"]}, ValueError, "column 'references' has 1 rows for 2 prompts"),
        ({"references": ["a", "b"], "completions": ["a"]}, ValueError, "1 completions for 2 prompts"),
        ({"references": ["a", "b"], "completions": [[], []]}, ValueError, "no assistant message"),
        (
            {"references": ["a", "b"], "completions": [[{"role": "assistant", "content": [{"type": "image"}]}]] * 2},
            TypeError,
            "content is a list, expected text",
        ),
    ],
)
def test_to_trl_refuses_wrong_calls(columns, error, message):
    with pytest.raises(error, match=message):
        to_trl(builtin("rouge-1"))(**({"prompts": ["p", "q"], "completions": ["a", "b"]} | columns))


def test_to_trl_holds_the_reward_to_its_contract():
    with pytest.raises(Contract, match="1 values for 2 rows"):
        to_trl(Reward(name="short", version=1, build=lambda: lambda _: [1.0]))(prompts=["p"] * 2, completions=["c"] * 2)


def test_there_and_back():
    batch = sample_batch()
    there = to_trl(builtin("chrf"))
    back = from_trl(there, name="chrf-again")
    assert back.build()(batch) == builtin("chrf").build()(batch)
