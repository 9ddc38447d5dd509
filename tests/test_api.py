import json

import pandas as pd
import pyarrow.parquet as pq
import pytest
from fakes import jsonl, rows

import rmbench
from rmbench import Reward


@pytest.fixture
def task(tmp_path):
    return jsonl(tmp_path / "cats.jsonl", rows())


def words(batch):
    return [float(len(text.split())) for text in batch.responses]


def value(run, metric, reward):
    found = [r.value for r in run.rows if (r.metric, r.reward, r.subset, r.against) == (metric, reward, None, None)]
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of a bare function, a reward by its name and a composite."""
    folder = tmp_path_factory.mktemp("made")
    mix = {"use": "composite", "name": "mix", "options": {"weights": {"length": 1.0, "repetition": 2.0}}}
    return rmbench.run([jsonl(folder / "cats.jsonl", rows())], rewards=[words, "rouge-l", mix], out=folder / "run")


def test_a_bare_function_is_a_reward_and_results_are_a_frame(made):
    assert made.exit_code == 0
    table = made.results
    assert isinstance(table, pd.DataFrame)
    assert {"words", "rouge-l"} <= set(table.reward.dropna())
    assert value(made, "pairwise-accuracy", "rouge-l") == 1.0
    assert (made.folder / "report" / "index.html").is_file()


def test_hand_computed_numbers_of_a_run(made):
    # ratings 3 > 2 > 1; words: whole has 11, half 5, other 5, so half and other tie in every sample
    assert value(made, "pairwise-accuracy", "words") == pytest.approx((1 + 1 + 0.5) / 3)
    assert value(made, "pairwise-accuracy-strict", "words") == pytest.approx(2 / 3)
    means = {r.system: r.value for r in made.rows if r.metric == "mean" and r.reward == "words" and r.system}
    assert means == {"whole": 11.0, "half": 5.0, "other": 5.0}


def test_a_trl_function_scores_and_its_none_is_excluded(task, tmp_path):
    def sometimes(prompts, completions, references, **columns):
        return [
            None if "dog" in text else float(text == refs[0])
            for text, refs in zip(completions, references, strict=True)
        ]

    run = rmbench.run([task], rewards=[rmbench.from_trl(sometimes)], out=tmp_path / "run")
    assert run.exit_code == 1
    row = next(r for r in run.rows if r.metric == "pairwise-accuracy" and r.reward == "sometimes" and r.against is None)
    assert row.value == 1.0
    assert row.unscored == 6
    assert row.signature.endswith("unscored:exclude")


def test_unscored_rows_are_wrong_by_default(task, tmp_path):
    def half(batch):
        return [None if "dog" in text else float(len(text)) for text in batch.responses]

    run = rmbench.run([task], rewards=[half], out=tmp_path / "run")
    assert value(run, "pairwise-accuracy", "half") == pytest.approx(1 / 3)
    assert any("unscored" in problem for problem in run.manifest["problems"])


def test_sample_scope_sees_whole_samples_and_uses_arrive(task, tmp_path):
    seen = []

    def build():
        def score(batch):
            assert set(batch.scores) == {"length"}
            seen.append(sorted({group: batch.groups.count(group) for group in batch.groups}.values()))
            best = {
                g: max(s for s, h in zip(batch.scores["length"], batch.groups, strict=True) if h == g)
                for g in batch.groups
            }
            return [float(s == best[g]) for s, g in zip(batch.scores["length"], batch.groups, strict=True)]

        return score

    listwise = Reward("listwise", 1, build, uses=("length",), scope="sample")
    run = rmbench.run([task], rewards=[listwise], out=tmp_path / "run")
    assert run.exit_code == 0, run.manifest["problems"]
    assert all(set(sizes) == {3} for sizes in seen[:1])
    assert {"length", "listwise"} <= {r["name"] for r in run.manifest["resolved"]["rewards"]}


def test_labels_reach_only_who_needs_them(task, tmp_path):
    seen = {}

    def peek(name):
        def build():
            def score(batch):
                seen[name] = bool(batch.labels)
                return [1.0] * len(batch)

            return score

        return build

    plain, oracle = Reward("plain", 1, peek("plain")), Reward("oracle", 1, peek("oracle"), needs={"labels"})
    run = rmbench.run([task], rewards=[plain, oracle], out=tmp_path / "run")
    assert seen == {"plain": False, "oracle": True}
    assert [r["name"] for r in run.manifest["resolved"]["rewards"] if r["oracle"]] == ["oracle"]


def test_parts_are_kept_per_row(made):
    table = pq.read_table(next((made.folder / "scores" / "cats" / "mix").glob("*.parquet"))).to_pylist()
    assert set(table[0]) == {"row", "id", "candidate", "system", "score", "reason", "part.length", "part.repetition"}
    assert all(r["score"] == r["part.length"] + 2 * r["part.repetition"] for r in table)


def test_a_limit_takes_a_seeded_sample_by_subset(tmp_path):
    many = [{**row, "subset": "ab"[i % 4 == 0]} for i, row in enumerate(rows(40))]
    task = jsonl(tmp_path / "many.jsonl", many)
    taken = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run = rmbench.run([task], rewards=["length"], out=tmp_path / name, limit=8, seed=seed)
        table = pq.read_table(next((run.folder / "samples" / "many").glob("*.parquet")))
        taken.append(list(dict.fromkeys(table["id"].to_pylist())))
        assert sorted(set(table["subset"].to_pylist())) == ["a", "b"]
        assert "limit:8" in next(r.signature for r in run.rows if r.reward == "length")
    assert taken[0] == taken[1] != taken[2]
    assert [len(ids) for ids in taken] == [8, 8, 8]
    assert sum(many[int(i.split("-")[1])]["subset"] == "b" for i in taken[0]) == 2


def test_results_have_every_key_and_the_measurements_stand_apart(made):
    data = json.loads((made.folder / "results.json").read_text())
    keys = {
        "study",
        "task",
        "kind",
        "subset",
        "split",
        "reward",
        "against",
        "system",
        "policy",
        "trainer",
        "seed",
        "step",
        "probe",
        "metric",
        "aspect",
        "level",
        "value",
        "ci",
        "p",
        "p_holm",
        "resamples",
        "cluster",
        "n",
        "rows",
        "pairs",
        "skipped",
        "unscored",
        "reason",
        "signature",
    }
    assert data["schema"] == 1
    assert all(set(row) == keys for row in data["results"])
    assert not any(row["study"] == "speed" for row in data["results"])
    assert str(made.folder.parent) not in (made.folder / "results.json").read_text()
    measured = json.loads((made.folder / "measurements.json").read_text())["results"]
    assert {row["metric"] for row in measured} == {"seconds", "rows-per-second", "peak-memory"}


def test_score_from_python(task):
    scored = rmbench.score("length", [{"prompt": "p", "response": "one two"}, {"prompt": "p", "response": ""}])
    assert [row["score"] for row in scored] == [2.0, 0.0]
    with pytest.raises(rmbench.InputError, match="references"):
        rmbench.score("rouge-l", [{"prompt": "p", "response": "x"}])
    with pytest.raises(rmbench.InputError, match="did you mean"):
        rmbench.score("lenght", [])


def test_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = rmbench.nothing_here
    for name in rmbench.__all__:
        assert getattr(rmbench, name) is not None
