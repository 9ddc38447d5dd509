"""Rows in Parquet, CSV and folders that datasets saved are the rows of JSON lines: same samples, same numbers."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import jsonl, rmbench, rows
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rmbench import columnar, datafile, tasks
from rmbench.errors import EnvironmentFault, InputError

CORPUS = Path(__file__).parent / "corpus"
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=20)
SCORE = st.floats(-1e6, 1e6, allow_nan=False) | st.integers(-5, 5).map(float)
CANDIDATE = st.fixed_dictionaries(
    {"text": TEXT}, optional={"system": TEXT.filter(bool), "human": st.fixed_dictionaries({"quality": SCORE})}
)
ROW = st.fixed_dictionaries(
    {"prompt": TEXT.filter(bool), "candidates": st.lists(CANDIDATE, min_size=1, max_size=3)},
    optional={"context": TEXT.filter(bool), "references": st.lists(TEXT, min_size=1, max_size=2), "subset": TEXT.filter(bool)},
)  # fmt: skip


def table(objects):
    names = dict.fromkeys(name for each in objects for name in each)  # from_pylist looks at the first one only
    return pa.table({name: pa.array([each.get(name) for each in objects]) for name in names})


def parquet(path, objects):
    pq.write_table(table(objects), path)
    return path


def comma(path, objects):
    names = list(dict.fromkeys(name for each in objects for name in each))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([[cell(each.get(name)) for name in names] for each in objects])
    return path


def cell(value):
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def saved(path, objects):
    """Write what datasets.Dataset.save_to_disk writes: two streams of Arrow, and their names."""
    path.mkdir()
    whole = table(objects)
    names = [f"data-0000{i}-of-00002.arrow" for i in range(2)]
    half = len(objects) // 2
    for name, piece in zip(names, (whole.slice(0, half), whole.slice(half)), strict=True):
        with pa.ipc.new_stream(path / name, whole.schema) as writer:
            writer.write_table(piece)
    (path / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    return path


def exported(path, objects):
    """Write what datasets exports: Parquet files by split."""
    (path / "data").mkdir(parents=True)
    half = len(objects) // 2
    parquet(path / "data" / "test-00000-of-00002.parquet", objects[:half])
    parquet(path / "data" / "test-00001-of-00002.parquet", objects[half:])
    parquet(path / "data" / "train-00000-of-00001.parquet", objects[:1])
    return path


WRITERS = {"cats.parquet": parquet, "cats.csv": comma, "cats": saved, "cats_": exported}


def samples(path, **options):
    return list(tasks.read(tasks.open_task(path, **options), warn=lambda _: None))


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_samples_of_json_lines(tmp_path, name):
    objects = rows(9)
    found = samples(WRITERS[name](tmp_path / name, objects))
    assert found == samples(jsonl(tmp_path / "cats.jsonl", objects))


@pytest.mark.parametrize("name", WRITERS)
def test_rows_without_an_id_are_numbered_through(tmp_path, name):
    objects = [{"prompt": f"p{i}", "chosen": f"right {i}", "rejected": f"wrong {i}"} for i in range(4)]
    ids = [sample.id for sample in samples(WRITERS[name](tmp_path / name, objects))]
    first = 2 if name.endswith(".csv") else 1  # the header is a line
    stem = "test" if name == "cats_" else "cats"
    assert ids == [f"{stem}-{first + i}" for i in range(4)]


def test_numbers_do_not_depend_on_the_format(tmp_path):
    results = {}
    objects = [{**each, "kind": "qa"} for each in rows(6)]
    for name in ("cats.jsonl", "cats.parquet", "cats.csv"):
        task = {"cats.jsonl": jsonl, **WRITERS}[name](tmp_path / name, objects)
        out = tmp_path / f"run-{name}"
        done = rmbench("run", "--task", task, "--reward", "length", "--out", out)
        assert done.returncode == 0, done.stderr
        found = json.loads((out / "results.json").read_text())["results"]
        results[name] = [{key: value for key, value in each.items() if key != "signature"} for each in found]
    assert results["cats.jsonl"] == results["cats.parquet"] == results["cats.csv"]
    assert {each["kind"] for each in results["cats.jsonl"]} == {"qa"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(objects=st.lists(ROW, min_size=2, max_size=5))
@example(
    objects=[
        {"prompt": "=1+1", "candidates": [{"text": '"a",\n"b"'}]},
        {"prompt": "001", "candidates": [{"text": "NA"}]},
    ]
)
def test_any_rows_come_back_the_same(tmp_path_factory, objects):
    folder = tmp_path_factory.mktemp("any")
    objects = [{"id": f"row {i}", **each} for i, each in enumerate(objects)]
    expected = samples(jsonl(folder / "cats.jsonl", objects), kind="qa")
    for name, write in WRITERS.items():
        assert samples(write(folder / name, objects), kind="qa") == expected, name


def test_texts_of_a_table_stay_texts(tmp_path):
    odd = ["001", "1e5", "NA", "None", "TRUE", "=1+1", " x "]
    path = comma(
        tmp_path / "t.csv",
        [{"id": f"{i}", "prompt": word, "candidates": [{"text": word}]} for i, word in enumerate(odd)],
    )
    assert [sample.prompt for sample in samples(path)] == odd
    assert [sample.candidates[0].text for sample in samples(path)] == odd


def test_a_record_of_csv_over_several_lines_has_its_first_line(tmp_path):
    (tmp_path / "t.csv").write_text('prompt,chosen,rejected\n"a\nb",c,d\n\ne,f\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"t\.csv:5: 2 cells, expected 3: prompt, chosen, rejected"):
        samples(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text('\ufeffprompt,chosen,rejected\r\n"a\nb",c,d\r\n\r\ne,f,g\r\n', encoding="utf-8")
    assert [sample.id for sample in samples(tmp_path / "t.csv")] == ["t-2", "t-5"]


def test_a_long_cell_is_read_and_a_record_beyond_the_cap_is_not(tmp_path, monkeypatch):
    path = comma(tmp_path / "t.csv", [{"prompt": "x" * 200_000, "chosen": "a", "rejected": "b"}])
    assert len(samples(path)[0].prompt) == 200_000
    monkeypatch.setattr("rmbench.csvfile.LINE_CAP", 100_000)
    with pytest.raises(InputError, match=r"t\.csv:2: the record is longer than"):
        samples(path)


def test_columns_of_other_arrow_types_are_cast(tmp_path):
    odd = pa.table({
        "id": pa.array(["a", "b"], pa.large_string()),
        "prompt": pa.array(["p", "p"]).dictionary_encode(),
        "candidates": pa.array([[{"text": "t", "human": [("q", 1)]}], [{"text": "u", "human": None}]],
                               pa.large_list(pa.struct([("text", pa.string()), ("human", pa.map_(pa.string(), pa.int8()))]))),
        "meta": ['{"source": "here"}', None],
        "context": pa.nulls(2),
    })  # fmt: skip
    pq.write_table(odd, tmp_path / "t.parquet")
    first, second = samples(tmp_path / "t.parquet")
    assert (first.id, first.prompt, first.meta) == ("a", "p", {"source": "here"})
    assert (first.candidates[0].human, second.candidates[0].human, second.context) == ({"q": 1.0}, {}, None)


def test_a_short_file_of_long_texts_is_streamed_within_a_budget(tmp_path, monkeypatch):
    text = "x" * 2**20
    pq.write_table(
        pa.table({"prompt": [text] * 40, "chosen": ["a"] * 40, "rejected": ["b"] * 40}), tmp_path / "t.parquet"
    )
    assert (tmp_path / "t.parquet").stat().st_size < 60_000
    assert len(samples(tmp_path / "t.parquet")) == 40
    monkeypatch.setattr(datafile, "FREE", 30 * 2**20)
    with pytest.raises(InputError, match=r"t\.parquet: unpacks to more than 200 times its size, over 30 MiB"):
        samples(tmp_path / "t.parquet")
    monkeypatch.setattr(datafile, "FREE", 64 * 2**20)
    monkeypatch.setattr(columnar, "LINE_CAP", 2**19)
    with pytest.raises(InputError, match=r"t\.parquet:1: the row is longer than"):
        samples(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("state", "what"),
    [
        ({"_data_files": [{"filename": "../x.arrow"}]}, "is no data file of this folder"),
        ({"_data_files": [{"filename": "x.pkl"}]}, "is no data file of this folder"),
        ({"_data_files": []}, "is no list of files"),
        ([], "no JSON object"),
        ({"_data_files": [{"filename": "gone.arrow"}]}, "no such file"),
    ],
)
def test_a_saved_folder_that_datasets_did_not_write_is_refused(tmp_path, state, what):
    (tmp_path / "state.json").write_text(json.dumps(state))
    with pytest.raises(InputError, match=what):
        samples(tmp_path)


def test_a_dictionary_of_data_sets_gives_its_splits(tmp_path):
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["test", "validation"]}))
    saved(tmp_path / "test", rows(4))
    saved(tmp_path / "validation", rows(2))
    task = tasks.open_task(tmp_path)
    assert {name: len(list(tasks.read(task, name))) for name in task.data} == {"test": 4, "dev": 2}
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["filtered", "raw"]}))
    with pytest.raises(InputError, match='no split is called "test", there are "filtered", "raw"'):
        tasks.open_task(tmp_path)


def test_score_reads_tables_too(tmp_path):
    path = comma(tmp_path / "t.csv", [{"id": "1", "prompt": "p", "response": "two words"}])
    done = rmbench("score", "-r", "length", path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"id": "1", "prompt": "p", "response": "two words", "score": 2.0}


def good_bytes(name, folder):
    """Return the bytes of a good file, to damage."""
    objects = rows(3)
    if name == "arrow":
        return (saved(folder / "good", objects) / "data-00001-of-00002.arrow").read_bytes()
    path = {"parquet": parquet, "csv": comma}[name](folder / f"good.{name}", objects)
    return path.read_bytes()


def outcome(path):
    """Read a file: return the message that a user sees, or its name where nothing is wrong; nothing else may come."""
    task = tasks.Task(name="x", version=1, kind=None, data={"test": path}, bare=True)
    problems = tasks.Problems()
    try:
        with datafile.open_regular(path) as stream:
            for _ in tasks.records(stream, path, problems):
                pass
        problems.raise_any()
        if path.suffix != ".arrow":
            list(tasks.read(task, warn=lambda _: None))
    except (InputError, EnvironmentFault) as error:
        return str(error)
    return path.name


@pytest.mark.parametrize("name", ["parquet", "csv", "arrow"])
def test_damaged_files_are_user_errors(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp(name)
    good = good_bytes(name, folder)

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def damage(data):
        made = bytearray(good)
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(made) - 1))
            made[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
        if data.draw(st.booleans()):
            del made[data.draw(st.integers(0, len(made))) :]
        (folder / f"bad.{name}").write_bytes(made)
        assert f"bad.{name}" in outcome(folder / f"bad.{name}")

    damage()


def test_what_once_went_wrong_is_a_user_error_now():
    found = [path for path in sorted(CORPUS.glob("*/*")) if path.suffix in (".parquet", ".csv", ".arrow")]
    assert found
    for path in found:
        assert outcome(path) != path.name, f"{path} is read as if nothing were wrong"
