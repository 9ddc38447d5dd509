"""Bare preference files: TRL, RewardBench 1 and 2, RM-Bench, and what is none of them."""

import json
from collections import Counter

import pytest

from rmbench import tasks
from rmbench.api import Preference, Turn
from rmbench.errors import InputError
from rmbench.frozen import thaw
from rmbench.prompts import common_prompt


def read(tmp_path, *rows, warn=None, name="prefs.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    warnings = [] if warn is None else warn
    found = list(tasks.read(tasks.bare_task(path), warn=warnings.append))
    assert warn is not None or warnings == []
    return found


def refused(tmp_path, *rows):
    with pytest.raises(InputError) as caught:
        read(tmp_path, *rows, warn=[])
    return str(caught.value)


def texts(sample):
    return [(each.system, each.text) for each in sample.candidates]


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


# ---- TRL


def test_trl_strings_with_a_prompt(tmp_path):
    row = {
        "prompt": "The sky is",
        "chosen": " blue.",
        "rejected": " green.",
        "score_chosen": 2.0,
        "score_rejected": 1.0,
    }
    (found,) = read(tmp_path, row)
    assert found.id == "prefs-1"
    assert (found.prompt, found.messages) == ("The sky is", (Turn("user", "The sky is"),))
    assert texts(found) == [("chosen", " blue."), ("rejected", " green.")]
    assert found.preferences == (Preference(0, 1),)
    assert found.ties == ()
    assert found.meta == {"score_chosen": 2.0, "score_rejected": 1.0}


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        ("The sky is blue.", "The sky is green.", "The sky is"),
        ("The sky is blue.", "The sky is black.", "The sky is"),
        ("What?\nYes", "What?\nNo", "What?\n"),
        ("What? 41", "What? 42", "What?"),
        ("The sky is", "The sky is blue", "The sky is"),
        ("Paris", "Parma", ""),
        ("yes", "no", ""),
        ("", "no", ""),
        ("same", "same", ""),
        ("x" * 300 + "a", "x" * 300 + "b", "x" * 300),
        ("天空是蓝色的", "天空是绿色的", "天空是"),
        (
            "\n\nHuman: Hi\n\nAssistant: Well, yes",
            "\n\nHuman: Hi\n\nAssistant: Well, no",
            "\n\nHuman: Hi\n\nAssistant:",
        ),
        ("\n\nHuman: Hi\n\nAssistant: Same", "\n\nHuman: Hi\n\nAssistant: Same", "\n\nHuman: Hi\n\nAssistant:"),
    ],
)
def test_the_common_beginning_is_the_prompt(chosen, rejected, prompt):
    cut = common_prompt(chosen, rejected)
    assert chosen[:cut] == prompt
    assert common_prompt(rejected, chosen) == cut


def test_trl_strings_without_a_prompt(tmp_path):
    (found,) = read(tmp_path, {"chosen": "The sky is blue.", "rejected": "The sky is green."})
    assert found.prompt == "The sky is"
    assert texts(found) == [("chosen", " blue."), ("rejected", " green.")]


def test_rows_without_any_common_beginning_are_counted(tmp_path):
    warnings = []
    row = {"chosen": "yes", "rejected": "no"}
    assert [each.prompt for each in read(tmp_path, row, row, warn=warnings)] == ["", ""]
    assert warnings == [f"{tmp_path / 'prefs.jsonl'}: in 2 rows the prompt is empty"]


def test_trl_messages_with_a_prompt(tmp_path):
    (found,) = read(tmp_path, {"prompt": [user("Hi")], "chosen": [assistant("Yes")], "rejected": [assistant("No")]})
    assert (found.prompt, found.messages) == ("Hi", (Turn("user", "Hi"),))
    assert texts(found) == [("chosen", "Yes"), ("rejected", "No")]


@pytest.mark.parametrize("prompt", [[user("Hi")], "Hi", None])
def test_trl_conversations_that_repeat_the_prompt(tmp_path, prompt):
    row = {"chosen": [user("Hi"), assistant("Yes")], "rejected": [user("Hi"), assistant("No")]}
    (found,) = read(tmp_path, row | ({} if prompt is None else {"prompt": prompt}))
    assert (found.prompt, found.messages) == ("Hi", (Turn("user", "Hi"),))
    assert texts(found) == [("chosen", "Yes"), ("rejected", "No")]


def test_the_conversation_may_say_more_than_the_prompt_string(tmp_path):
    system = {"role": "system", "content": "Be kind."}
    row = {
        "prompt": "Hi",
        "chosen": [system, user("Hi"), assistant("Yes")],
        "rejected": [system, user("Hi"), assistant("No")],
    }
    (found,) = read(tmp_path, row | {"prompt_id": "7", "messages": row["chosen"]})
    assert found.prompt == "Hi"
    assert found.messages == (Turn("system", "Be kind."), Turn("user", "Hi"))
    assert thaw(found.meta["messages"]) == row["chosen"]
    assert texts(found) == [("chosen", "Yes"), ("rejected", "No")]


def test_the_common_leading_messages_are_the_prompt(tmp_path):
    lead = [user("a"), assistant("b"), user("c")]
    row = {"chosen": [*lead, assistant("d")], "rejected": [*lead, assistant("e"), user("f"), assistant("g")]}
    (found,) = read(tmp_path, row)
    assert found.prompt == "Human: a\n\nAssistant: b\n\nHuman: c"
    assert [turn.content for turn in found.messages] == ["a", "b", "c"]
    assert texts(found) == [("chosen", "d"), ("rejected", "Assistant: e\n\nHuman: f\n\nAssistant: g")]


def test_a_reply_that_begins_with_another_prompt_is_refused(tmp_path):
    row = {"prompt": [user("Hi")], "chosen": [user("Ho"), assistant("Yes")], "rejected": [user("Ho"), assistant("No")]}
    error = refused(tmp_path, row)
    assert 'prefs.jsonl:1: "chosen" goes on with a user message that is not the prompt\'s' in error
    assert "help: give the reply alone" in error
    row = {"prompt": "Hi", "chosen": [user("Ho"), assistant("Yes")], "rejected": [user("Hu"), assistant("No")]}
    assert '"chosen" goes on with a user message' in refused(tmp_path, row)


def test_equal_answers_are_ties_with_a_counted_warning(tmp_path):
    warnings = []
    same, other = {"prompt": "x", "chosen": "a", "rejected": "a"}, {"prompt": "x", "chosen": "a", "rejected": "b"}
    found = read(tmp_path, same, other, same, warn=warnings)
    assert [each.ties for each in found] == [((0, 1),), (), ((0, 1),)]
    assert [each.preferences for each in found] == [(), (Preference(0, 1),), ()]
    assert warnings == [f"{tmp_path / 'prefs.jsonl'}: in 2 rows chosen equals rejected: a tie, not a preference"]


def test_equal_conversations_keep_their_last_message_as_answer(tmp_path):
    talk = [user("Hi"), assistant("Yes")]
    (found,) = read(tmp_path, {"chosen": talk, "rejected": talk}, warn=[])
    assert texts(found) == [("chosen", "Yes"), ("rejected", "Yes")]
    assert found.ties == ((0, 1),)


def test_empty_answers_are_answers(tmp_path):
    warnings = []
    (found,) = read(tmp_path, {"prompt": "x", "chosen": "a", "rejected": ""}, warn=warnings)
    assert found.preferences == (Preference(0, 1),)
    assert [each.partition(": ")[2] for each in warnings] == ["in 1 rows an answer is empty"]


# ---- RewardBench


def test_reward_bench_1(tmp_path):
    row = {
        "prompt": "Q", "chosen": "good", "chosen_model": "gpt", "rejected": "bad", "rejected_model": "llama",
        "subset": "alpacaeval-easy", "id": 30,
    }  # fmt: skip
    (found,) = read(tmp_path, row)
    assert (found.id, found.subset) == ("30", "alpacaeval-easy")
    assert found.preferences == (Preference(0, 1, "alpacaeval-easy"),)
    assert found.meta == {"chosen_model": "gpt", "rejected_model": "llama"}


def test_reward_bench_2(tmp_path):
    row = {
        "id": "12", "prompt": "Q", "chosen": ["a"], "rejected": ["b", "c", "d"], "num_correct": 1, "num_incorrect": 3,
        "total_completions": 4, "models": ["m"], "subset": "Factuality", "additional_metadata": None,
    }  # fmt: skip
    ties = row | {
        "id": "13",
        "chosen": ["a", "b", "c"],
        "rejected": ["d", "e", "f"],
        "num_correct": 3,
        "subset": "Ties",
    }
    first, second = read(tmp_path, row, ties)
    assert texts(first) == [("chosen", "a"), ("rejected/1", "b"), ("rejected/2", "c"), ("rejected/3", "d")]
    assert first.preferences == tuple(Preference(0, j, "Factuality") for j in (1, 2, 3))
    assert first.meta["total_completions"] == 4
    assert [each.system for each in second.candidates][:3] == ["chosen/1", "chosen/2", "chosen/3"]
    assert Counter((pair.better, pair.worse) for pair in second.preferences) == Counter(
        (i, j) for i in (0, 1, 2) for j in (3, 4, 5)
    )


@pytest.mark.parametrize("mark", [{"subset": "Ties"}, {"num_correct": 3}, {"subset": "own", "additional_metadata": {}}])
def test_three_by_three_with_the_marks_of_reward_bench_2_is_no_rm_bench(tmp_path, mark):
    (found,) = read(tmp_path, {"prompt": "Q", "chosen": ["a", "b", "c"], "rejected": ["d", "e", "f"]} | mark)
    assert found.candidates[0].system == "chosen/1"


def test_equal_texts_in_lists_tie_and_the_others_stand(tmp_path):
    (found,) = read(tmp_path, {"prompt": "Q", "chosen": "a", "rejected": ["a", "b"]}, warn=[])
    assert found.ties == ((0, 1),)
    assert found.preferences == (Preference(0, 2),)


def test_a_row_of_very_many_pairs_is_refused(tmp_path):
    row = {"prompt": "Q", "chosen": [f"a{i}" for i in range(101)], "rejected": [f"b{i}" for i in range(100)]}
    error = refused(tmp_path, row)
    assert "prefs.jsonl:1: 101 chosen and 100 rejected answers are more than 10000 pairs" in error


# ---- RM-Bench


def rm_bench(**fields):
    return {"id": 8, "prompt": "Q", "chosen": ["a", "b", "c"], "rejected": ["d", "e", "f"]} | fields


@pytest.mark.parametrize(
    ("fields", "domain"),
    [
        ({"domain": "chat"}, "chat"),
        ({"domain": "safety-refuse"}, "safety"),
        ({"domain": "safety-response", "subset": "xstest"}, "safety"),
        ({"subset": "math"}, "math"),
        ({}, "all"),
    ],
)
def test_rm_bench(tmp_path, fields, domain):
    (found,) = read(tmp_path, rm_bench(error="wrong", **fields))
    assert (found.id, found.subset) == ("8", domain)
    assert texts(found) == [
        ("chosen/concise", "a"), ("chosen/detailed-plain", "b"), ("chosen/detailed-markdown", "c"),
        ("rejected/concise", "d"), ("rejected/detailed-plain", "e"), ("rejected/detailed-markdown", "f"),
    ]  # fmt: skip
    levels = ["normal", "hard", "hard", "easy", "normal", "hard", "easy", "easy", "normal"]
    pairs = [(i, j) for i in (0, 1, 2) for j in (3, 4, 5)]
    assert found.preferences == tuple(
        Preference(i, j, f"{domain}/{level}") for (i, j), level in zip(pairs, levels, strict=True)
    )
    assert found.meta["error"] == "wrong"
    assert found.meta.get("domain") == fields.get("domain")
    assert found.meta.get("source_subset") == (fields.get("subset") if "domain" in fields else None)


@pytest.mark.data
def test_rm_bench_rows_become_the_rows_of_the_shared_task(tmp_path, data_dir):
    wanted = list(tasks.read(tasks.load_task(data_dir / "rm-bench-chat-safety")))
    rows = [
        {"id": each.id, "prompt": each.prompt, "domain": each.meta["domain"],
         "chosen": [candidate.text for candidate in each.candidates[:3]],
         "rejected": [candidate.text for candidate in each.candidates[3:]]}
        for each in wanted
    ]  # fmt: skip
    for want, found in zip(wanted, read(tmp_path, *rows), strict=True):
        assert (found.id, found.prompt, found.messages, found.subset) == (
            want.id,
            want.prompt,
            want.messages,
            want.subset,
        )
        assert (found.candidates, found.preferences, found.ties) == (want.candidates, want.preferences, want.ties)


# ---- fields beside, and what is refused


def test_rows_keep_kind_context_references_and_meta(tmp_path):
    row = {
        "prompt": "Q",
        "chosen": "a",
        "rejected": "b",
        "task": "qa",
        "context": "c",
        "references": ["r"],
        "meta": {"k": 1},
    }
    (found,) = read(tmp_path, row)
    assert (found.context, found.references, found.meta) == ("c", ("r",), {"k": 1})
    assert tasks.kind_of(tasks.bare_task(tmp_path / "prefs.jsonl")) == "qa"


def test_other_columns_go_to_meta_with_a_warning(tmp_path):
    warnings = []
    (found,) = read(tmp_path, {"prompt": "Q", "chosen": "a", "rejected": "b", "annotator": 7}, warn=warnings)
    assert found.meta == {"annotator": 7}
    assert warnings == [f'{tmp_path / "prefs.jsonl"}: the field "annotator" is not known and is kept in meta']


def test_task_rows_in_a_bare_file_are_task_rows(tmp_path):
    (found,) = read(tmp_path, {"id": "a", "prompt": "Q", "candidates": [{"text": "x"}]})
    assert texts(found) == [("candidate-0", "x")]


@pytest.mark.parametrize("row", [
    {"prompt": "Q", "accepted": "a", "refused": "b"}, {"prompt": "Q", "good": "a", "bad": "b"},
    {"prompt": "Q", "better": ["a"], "worse": ["b"]},
])  # fmt: skip
def test_names_are_not_guessed(tmp_path, row):
    error = refused(tmp_path, row, row)
    assert f'prefs.jsonl:1: the column "{list(row)[1]}" is not known' in error
    assert 'a preference file has the columns "prompt", "chosen" and "rejected"' in error
    assert "prefs.jsonl:2" not in error


FIRST_ROWS = {
    "no rejected": ({"prompt": "Q", "chosen": "a", "accepted": "b"}, ':1: "rejected" is missing', '"chosen" and "rejected"'),
    "misspelt chosen": ({"prompt": "Q", "choosen": "a", "rejected": "b"}, '"chosen" is missing', 'is "choosen" meant?'),
    "misspelt prompt": ({"promt": "Q", "chosen": "a", "rejected": "b"}, 'the field "promt" is not known', '"prompt"?'),
    "number": ({"prompt": "Q", "chosen": 3, "rejected": "b"}, '"chosen" is a number (3) and "rejected" is a string', "columns"),
    "null": ({"prompt": "Q", "chosen": None, "rejected": "b"}, '"chosen" is null and "rejected" is a string', "columns"),
    "mixed": ({"prompt": "Q", "chosen": [assistant("a")], "rejected": "b"}, '"chosen" is a list of 1 messages and', "columns"),
    "empty": ({"prompt": "Q", "chosen": [], "rejected": ["b"]}, '"chosen" is a list of 0', "columns"),
    "mixed list": ({"prompt": "Q", "chosen": ["a", 1], "rejected": ["b"]}, '"chosen" is a list of 2 values', "columns"),
    "list, no prompt": ({"chosen": ["a"], "rejected": ["b"]}, '"prompt" is missing', "columns"),
    "prompt": ({"prompt": 3, "chosen": "a", "rejected": "b"}, '"prompt" is a number (3), expected a string', "quote it"),
    "prompt []": ({"prompt": [], "chosen": "a", "rejected": "b"}, "is an empty list, expected messages", "at least one"),
    "id": ({"id": True, "prompt": "Q", "chosen": "a", "rejected": "b"}, '"id" is a boolean (true), expected a string', ""),
    "domain": (rm_bench(domain=3), '"domain" is a number (3), expected a string', "quote it"),
    "parts": ({"chosen": [user([{"type": "text"}])], "rejected": [user("b")]}, '"chosen[0].content" is a list', ""),
    "meta": ({"prompt": "Q", "chosen": "a", "rejected": "b", "margin": 1, "meta": {"margin": 2}}, '"margin" stands in', "keep"),
}  # fmt: skip


@pytest.mark.parametrize("name", FIRST_ROWS)
def test_refuses_the_first_row(tmp_path, name):
    row, what, advice = FIRST_ROWS[name]
    error = refused(tmp_path, row)
    assert what in error
    assert "prefs.jsonl:1: " in error
    assert advice in error.partition("help: ")[2]


PAIR = {"prompt": "Q", "chosen": "a", "rejected": "b"}
LATER_ROWS = {
    "messages": (PAIR, PAIR | {"chosen": [assistant("a")]}, '"chosen" is a list of 1 messages, expected a string as in the'),
    "list": (PAIR, PAIR | {"rejected": ["b"]}, '"rejected" is a list of 1 strings, expected a string as in the first row'),
    "number": (PAIR, PAIR | {"chosen": 3}, '"chosen" is a number (3), expected a string as in the first row'),
    "no prompt": (PAIR, {"chosen": "a", "rejected": "b"}, '"prompt" is missing'),
    "a prompt": ({"chosen": "a b", "rejected": "a c"}, PAIR, '"prompt" stands here, but not in the first row'),
    "no rejected": (PAIR, {"prompt": "Q", "chosen": "a"}, '"rejected" is missing'),
    "misspelt": (PAIR, {"prompt": "Q", "chosen": "a", "rejectd": "b"}, 'the field "rejectd" is not known'),
    "task row": (PAIR, {"id": "x", "prompt": "Q", "context": "c"}, '"chosen" is missing'),
    "two": (rm_bench(), rm_bench(chosen=["a", "b"]), '"chosen" is a list of 2 strings, expected a list of 3 strings as'),
    "same id": (rm_bench(id=1), rm_bench(id="1"), 'the id "1" stands in line 1 too'),
}  # fmt: skip


@pytest.mark.parametrize("name", LATER_ROWS)
def test_refuses_a_later_row_of_another_shape(tmp_path, name):
    first, later, what = LATER_ROWS[name]
    assert f"prefs.jsonl:2: {what}" in refused(tmp_path, first, later)
