import copy

import pytest
from conftest import HOSTILE, manifest, reward, row, run, task

from rmbench.errors import InputError
from rmbench.report.merge import label_of, merge


def one(name="first", value=0.5, signature="a@1|t@1#00|protocol:1", label="t@1#00", reward_name="a"):
    card = {**task("t", "qa"), "label": label}
    made = manifest([card], [reward(reward_name)], name=name)
    return made, [row("agree", "pairwise-accuracy", task="t", reward=reward_name, value=value, signature=signature)]


def test_two_versions_of_a_task_are_refused():
    with pytest.raises(
        InputError, match=r"two versions of task t .* t@1#00 \(run first\) and t@2#11 \(run second\)"
    ) as caught:
        merge([one(), one("second", label="t@2#11", signature="a@1|t@2#11|protocol:1")])
    assert caught.value.help


def test_the_same_version_with_other_bytes_is_refused():
    with pytest.raises(InputError, match="two versions of task t"):
        merge([one(), one("second", label="t@1#11", signature=None)])


def test_versions_in_signatures_are_seen_without_a_manifest():
    bare = [({}, one()[1]), ({}, one(signature="a@1|t@2#11|protocol:1")[1])]
    with pytest.raises(InputError, match="two versions of task t"):
        merge(bare)


def test_versions_are_mixed_when_told_to_and_the_reader_is_told():
    merged = merge([one(), one("second", label="t@2#11", signature="a@1|t@2#11|protocol:1")], allow_versions=True)
    assert list(merged.rewards) == ["a (first)", "a (second)"]
    assert "Versions of task t are mixed in one column, as asked" in merged.notes[0]


def test_rows_that_agree_are_merged():
    merged = merge([one(), one("second")])
    assert [r.reward for r in merged.rows] == ["a"]
    assert list(merged.rewards) == ["a"]


def test_two_signatures_are_two_entries():
    merged = merge([one(), one("second", signature="a@2|t@1#00|protocol:1")])
    assert [r.reward for r in merged.rows] == ["a (first)", "a (second)"]
    assert list(merged.rewards) == ["a (first)", "a (second)"]


def test_two_values_under_one_signature_are_two_entries():
    merged = merge([one(), one("second", value=0.6)])
    assert [(r.reward, r.value) for r in merged.rows] == [("a (first)", 0.5), ("a (second)", 0.6)]


def test_three_runs_of_which_two_agree():
    merged = merge([one(), one("second", value=0.6), one("third")])
    assert [(r.reward, r.value) for r in merged.rows] == [("a (first)", 0.5), ("a (second)", 0.6)]


def test_runs_of_one_name_are_numbered():
    merged = merge([one("r"), one("r", value=0.6)])
    assert [r.reward for r in merged.rows] == ["a (r)", "a (r 2)"]


def test_another_reward_and_another_task_are_added():
    made, rows = one("second", reward_name="b", signature="b@1|t@1#00|protocol:1")
    merged = merge([one(), (made, rows)])
    assert [r.reward for r in merged.rows] == ["a", "b"]


def test_comparisons_follow_the_new_names():
    made, rows = one("second", value=0.6)
    rows = [*rows, row("agree", "pairwise-accuracy", task="t", reward="b", against="a", value=0.1)]
    rows.append(row("score", "mean-difference", task="t", reward="b", system="x", against="a", value=0.1))
    merged = merge([one(), (made, rows)])
    found = {(r.reward, r.against, r.system) for r in merged.rows if r.against}
    assert found == {("b", "a (second)", None), ("b", "a", "x")}


def test_merging_leaves_the_input_alone():
    sources = [run(), run(name="other")]
    before = copy.deepcopy(sources)
    merge(sources)
    assert sources == before


def test_no_run_is_an_error():
    with pytest.raises(InputError, match="no run to report on"):
        merge([])


def test_a_bare_manifest_reads_unknown():
    merged = merge([({}, one()[1])])
    assert (merged.runs[0].name, merged.runs[0].git, merged.tasks["t"].label) == ("unknown", "unknown", "t@1#00")


@pytest.mark.parametrize(
    "junk", [{"resolved": 3}, {"resolved": {"tasks": "abc", "rewards": [4]}}, {"warnings": {"a": 1}}, {"versions": []}]
)
def test_junk_in_a_manifest_is_no_crash(junk):
    assert merge([(junk, [])]).rows == ()


def test_hostile_names_are_inert_but_distinct():
    made = manifest([task("t", "qa")], [reward(HOSTILE), reward(HOSTILE + "\x1b")])
    rows = [row("agree", "auroc", task="t", reward=name, value=0.5) for name in (HOSTILE, HOSTILE + "\x1b")]
    merged = merge([(made, rows)])
    assert len(merged.rewards) == 2
    assert not any("\x1b" in name or "\u202e" in name for name in merged.rewards)


def test_label_of_a_task_is_not_that_of_a_reward_or_a_split_of_its_name():
    assert label_of("toy@1|toy@1#0b0ac6d8|protocol:1", "toy") == "toy@1#0b0ac6d8"
    assert label_of("grpo@1|toy@1#aa+bb|toy@1|toy@1#0b0ac6d8|protocol:1", "toy") == "toy@1#0b0ac6d8"
    assert label_of("x@1|toy@1", "toy") == "toy@1"
    assert label_of("x@1", "toy") is None
