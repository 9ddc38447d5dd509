import pytest
from fakes import jsonl, rows

from rmbench import InputError, source
from rmbench.spool import Spool
from rmbench.tasks import bare_task


def opened(path, **change):
    return source.open_source(bare_task(path), limit=change.get("limit"), seed=change.get("seed", 1))


def test_parts_are_whole_samples_and_a_function_of_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "PART_ROWS", 7)
    parts = list(opened(jsonl(tmp_path / "a.jsonl", rows(8))).parts())
    assert [(part.index, part.start, part.rows) for part in parts] == [(0, 0, 6), (1, 6, 6), (2, 12, 6), (3, 18, 6)]
    monkeypatch.setattr(source, "BATCH_ROWS", 4)
    assert [len(samples) for part in parts for samples in source.batches(part)] == [1] * 8


def test_samples_too_large_to_keep_give_the_same_rows(tmp_path, monkeypatch):
    path = jsonl(tmp_path / "a.jsonl", rows(30))
    kept = opened(path, limit=11)
    monkeypatch.setattr(source, "Spool", lambda: Spool(0))
    streamed = opened(path, limit=11)
    assert (kept.spool.file is None, streamed.spool.file is None) == (True, False)
    assert list(streamed.read()) == list(kept.read())
    assert (streamed.samples, streamed.rows, streamed.columns, streamed.label) == (11, 33, kept.columns, kept.label)


def test_columns_that_rows_fill_decide_what_can_be_fed(tmp_path):
    bare = opened(jsonl(tmp_path / "a.jsonl", rows(references=False)))
    assert source.missing_needs(frozenset({"references", "labels"}), bare) == "needs references, which the task has not"
    assert source.missing_needs(frozenset({"labels"}), bare) is None


def test_a_batch_has_its_columns_row_by_row(tmp_path):
    task = bare_task(jsonl(tmp_path / "a.jsonl", rows(2)))
    samples = list(source.open_source(task, limit=None, seed=1).read())
    made = source.batch(samples, task, labels=True)
    assert made.ids == ("row-0#0", "row-0#1", "row-0#2", "row-1#0", "row-1#1", "row-1#2")
    assert made.groups[3] == "row-1"
    assert made.labels[0].human == {"quality": 3.0}
    assert made.sources == made.prompts
    assert source.batch(samples, task, labels=False).labels == ()
    assert made.take([4]).responses == (made.responses[4],)


def test_nothing_to_score_is_said(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [{"id": "1", "prompt": "p", "references": ["r"]}])
    with pytest.raises(InputError, match="no candidates to score"):
        opened(path)


def test_two_rows_of_one_prompt_share_a_cluster_and_a_context_parts_them(tmp_path):
    from rmbench.parts import prompt_key

    one = {"id": "1", "prompt": "Summarize.", "candidates": [{"text": "x"}]}
    path = jsonl(tmp_path / "a.jsonl", [one, {**one, "id": "2"}, {**one, "id": "3", "context": "article"}])
    keys = [prompt_key(sample) for sample in opened(path).read()]
    assert keys[0] == keys[1] != keys[2]
