import pytest
from conftest import row

from rmbench.errors import RunFolderError
from rmbench.report.rows import read_rows, shown


def test_rows_become_records():
    (read,) = read_rows([row("agree", "kendall", value=0.5, ci=[0.4, 0.6], n=3)])
    assert (read.metric, read.value, read.ci, read.n, read.reward) == ("kendall", 0.5, (0.4, 0.6), 3, None)


@pytest.mark.parametrize(
    "change",
    [
        {"value": float("nan")},
        {"value": "1"},
        {"value": True},
        {"ci": [0.1]},
        {"ci": [0.1, None]},
        {"ci": "ab"},
        {"n": 1.5},
        {"reward": 3},
        {"study": None},
        {"metric": ""},
        {"extra": 1},
    ],
)
def test_a_damaged_row_is_an_error_that_names_it(change):
    rows = [row("agree", "kendall"), {**row("agree", "kendall"), **change}]
    with pytest.raises(RunFolderError, match="results row 1") as caught:
        read_rows(rows)
    assert caught.value.exit_code == 5
    assert "help: remove results.json and run `rmbench run --resume" in str(caught.value)


def test_a_missing_key_is_named():
    short = row("agree", "kendall")
    del short["p_holm"]
    with pytest.raises(RunFolderError, match="missing or unknown: p_holm"):
        read_rows([short])


def test_shown_texts_are_inert():
    (read,) = map(shown, read_rows([row("agree", "kendall", reward="a\x1b", reason="b\nc", value=1)]))
    assert (read.reward, read.reason, read.value) == ("a\\x1b", "b c", 1)
