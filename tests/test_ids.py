import random

import pytest
from fakes import jsonl

from rmbench import ids, tasks
from rmbench.errors import InputErrors


@pytest.fixture
def short(monkeypatch):
    """Keep few ids as they are."""
    monkeypatch.setattr(ids, "RECENT", 8)


def test_an_id_is_found_again_however_many_came_between(short):
    names = [f"id-{i}" for i in random.Random(0).sample(range(1000), 300)]
    seen = ids.Ids(lambda line: names[line])
    assert [seen.add(name, line) for line, name in enumerate(names)] == [None] * 300
    assert len(seen) == 300
    assert len(seen.recent) < 8
    assert [seen.add(name, 999) for name in names] == list(range(300))
    assert len(seen) == 300


def test_equal_hashes_are_not_yet_equal_ids(short, monkeypatch):
    monkeypatch.setattr(ids, "digest", len)
    names = [f"id-{i:03}" for i in range(100)]
    seen = ids.Ids(lambda line: names[line])
    assert [seen.add(name, line) for line, name in enumerate(names)] == [None] * 100
    assert [seen.add(name, 999) for name in names[::9]] == list(range(0, 100, 9))


@pytest.mark.parametrize("preferences", [False, True])
def test_both_lines_of_an_id_are_named_in_a_long_file(short, tmp_path, preferences):
    text = {"prompt": "p", "chosen": "a", "rejected": "b"} if preferences else {"prompt": "p"}
    found = [{"id": f"x{i}", **text} for i in range(40)]
    found[30] = {**text}  # its id is made of its line
    path = jsonl(tmp_path / "long.jsonl", [*found, {"id": "x3", **text}, {"id": "long-31", **text}])
    with pytest.raises(InputErrors) as raised:
        list(tasks.read(tasks.bare_task(path)))
    told = [(each.where, each.what) for each in raised.value.errors]
    assert told == [
        (f"{path}:41", 'the id "x3" stands in line 4 too'),
        (f"{path}:42", 'the id "long-31" stands in line 31 too'),
    ]
