import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from fakes import jsonl, rmbench, rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of two light rewards on six samples."""
    folder = tmp_path_factory.mktemp("finished")
    task = jsonl(folder / "cats.jsonl", rows())
    out = folder / "run"
    done = rmbench(
        "run", "--task", task, "--kind", "summarization", "--reward", "length", "--reward", "token-f1", "--out", out
    )
    assert done.returncode == 0, done.stderr
    return folder, task, out, done


def test_a_run_ends_with_the_table_and_the_path_of_the_report(finished):
    _, _, out, done = finished
    assert "token-f1" in done.stdout
    assert str(out / "report" / "index.html") in done.stderr
    for name in (
        "manifest.json",
        "results.json",
        "measurements.json",
        "report/index.html",
        "report/report.md",
        "report/results.csv",
        "report/results.tex",
    ):
        assert (out / name).is_file(), name


def test_the_folder_is_never_overwritten_without_being_asked(finished):
    folder, task, out, _ = finished
    before = (out / "manifest.json").read_bytes()
    again = rmbench("run", "--task", task, "--reward", "length", "--out", out)
    assert again.returncode == 2
    assert "--resume" in again.stderr
    assert "--force" in again.stderr
    assert (out / "manifest.json").read_bytes() == before
    precious = folder / "mine"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    for flag in ("--force", "--resume"):
        assert rmbench("run", "--task", task, "--reward", "length", "--out", precious, flag).returncode == 2
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_another_suite_cannot_resume_a_folder(finished):
    _, task, out, _ = finished
    done = rmbench("run", "--task", task, "--kind", "summarization", "--reward", "length", "--out", out, "--resume")
    assert done.returncode == 5
    assert "reward token-f1" in done.stderr


def test_resume_of_a_complete_run_changes_no_number(finished):
    _, _, out, _ = finished
    before = (out / "results.json").read_bytes()
    done = rmbench("run", "--resume", "--out", out)
    assert done.returncode == 0, done.stderr
    assert (out / "results.json").read_bytes() == before


def test_reports_compare_and_leaderboard_work_from_the_folder_alone(finished, tmp_path):
    _, _, out, _ = finished
    report = rmbench("report", out, "--out", tmp_path / "report", "--format", "md,csv", RMBENCH_PLUGINS="none")
    assert report.returncode == 0, report.stderr
    assert {p.name for p in (tmp_path / "report").iterdir()} == {"report.md", "results.csv"}
    with (tmp_path / "report" / "results.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(json.loads((out / "results.json").read_text())["results"])
    board = rmbench("leaderboard", out, "--out", tmp_path / "board")
    assert board.returncode == 0, board.stderr
    assert "token-f1" in board.stdout
    assert (tmp_path / "board" / "index.html").is_file()
    for _ in range(2):
        added = rmbench("leaderboard", "add", out, tmp_path / "kept")
        assert added.returncode == 0, added.stderr
    assert len(list((tmp_path / "kept" / "runs").iterdir())) == 1


def test_compare_gives_the_paired_difference_and_can_fail(finished):
    _, _, out, _ = finished
    done = rmbench("compare", out, "--rewards", "token-f1,length", "--json")
    assert done.returncode == 0, done.stderr
    change = json.loads(done.stdout)[0]
    assert change["difference"] == pytest.approx(change["values"][1] - change["values"][0])
    assert change["ci"][0] <= change["difference"] <= change["ci"][1]
    worse = rmbench("compare", out, "--rewards", "token-f1,random", "--fail-if-worse", "pairwise-accuracy:0.01")
    assert worse.returncode == 1
    assert "worse" in worse.stderr
    same = rmbench("compare", out, out, "--fail-if-worse", "pairwise-accuracy")
    assert same.returncode == 0, same.stderr
    assert rmbench("compare", out, "--rewards", "token-f2,length").returncode == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "no-such-suite"], "no suite is called"),
        (["run", "quickstrat"], "quickstart"),
        (["run", "--reward", "rouge-9"], "did you mean"),
        (["run", "--task", "nope.jsonl"], "nope.jsonl"),
        (["run", "--reward", "rouge-l", "-o", "rouge-l.stemer=true"], "stemmer"),
        (["run", "--reward", "rouge-l", "-o", "rouge-l.stemmer=maybe"], "expected bool"),
        (["run", "--reward", "rouge-l", "-o", "stemmer"], "REWARD.KEY=VALUE"),
        (["run", "--reward", "rouge-l", "-o", "chrf.word_order=2"], "no reward"),
        (["run", "--seed", "-1"], "seed"),
        (["run", "--limit", "0"], "limit"),
        (["run", "--timeout", "nan"], "timeout"),
        (["run", "--unscored", "maybe"], "wrong or exclude"),
        (["run", "--nonsense"], "No such option"),
        (["report", "nowhere"], "no run folder"),
        (["leaderboard", "add", "nowhere"], "add RUN DIR"),
        (["list", "reward"], "rewards"),
        (["show", "rogue-l"], "rouge-l"),
    ],
)
def test_wrong_input_is_exit_2_with_help_and_no_trace(words, told, tmp_path):
    done = rmbench(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_bad_data_is_exit_2_and_leaves_no_folder(tmp_path):
    task = tmp_path / "bad.jsonl"
    task.write_text('{"id": "a", "prompt": "p", "candidates": [{"text": 3}]}\n')
    done = rmbench("run", "--task", task, "--reward", "length", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "bad.jsonl:1" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_reward_that_no_task_can_feed_is_refused_and_one_that_some_can_is_null_there(tmp_path):
    bare = jsonl(tmp_path / "bare.jsonl", rows(references=False))
    full = jsonl(tmp_path / "full.jsonl", rows())
    refused = rmbench("run", "--task", bare, "--reward", "rouge-l", "--out", tmp_path / "a")
    assert refused.returncode == 2
    assert "references" in refused.stderr
    done = rmbench("run", "--task", bare, "--task", full, "--reward", "rouge-l", "--out", tmp_path / "b")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "b" / "results.json").read_text())["results"]
    null = [r for r in results if r["task"] == "bare" and r["reward"] == "rouge-l" and r["study"] == "agree"]
    assert null
    assert all(r["value"] is None and "references" in r["reason"] for r in null)


def test_score_is_a_pipe_that_keeps_order_and_fields():
    lines = [{"id": f"r{i}", "prompt": "p", "response": "word " * i, "my_own_field": i} for i in range(600)]
    done = rmbench("score", "-r", "length", stdin="".join(json.dumps(line) + "\n" for line in lines))
    assert done.returncode == 0, done.stderr
    out = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["score"] for line in out] == [float(i) for i in range(600)]
    assert [line["my_own_field"] for line in out] == list(range(600))


def test_score_gives_reasons_and_parts(tmp_path):
    (tmp_path / "mine.py").write_text("def parts(batch):\n    return {'score': [None, 1.0], 'a': [2.0, None]}\n")
    text = '{"prompt": "p", "response": "x"}\n{"prompt": "p", "response": "y"}\n'
    done = rmbench("score", "-r", "mine.py:parts", stdin=text, cwd=tmp_path)
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["score"], first["reason"], first["parts"]) == (None, "the reward gave None", {"a": 2.0})
    assert (second["score"], second["parts"]) == (1.0, {"a": None})
    assert "reason" not in second


def test_score_takes_task_rows_and_composites():
    row = rows(1)[0]
    weights = "-ocomposite.weights={rouge-l = 0.5, repetition = 0.5}"
    done = rmbench("score", "-r", "composite", weights, stdin=json.dumps(row) + "\n")
    assert done.returncode == 0, done.stderr
    out = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["system"] for line in out] == ["whole", "half", "other"]
    assert out[0]["score"] == 1.0
    assert set(out[0]["parts"]) == {"rouge-l", "repetition"}


def test_json_on_stdout_stays_json(tmp_path):
    task = jsonl(tmp_path / "t.jsonl", rows())
    done = rmbench("run", "--task", task, "--reward", "length", "--out", tmp_path / "run", "--json")
    assert json.loads(done.stdout)["schema"] == 1


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A folder with a reward that takes 0.2 s a batch, three parts of rows for it, and a run of it that nobody cut."""
    folder = tmp_path_factory.mktemp("slow")
    code = "import time\ndef slow(batch):\n    time.sleep(0.2)\n    return [float(len(t)) for t in batch.responses]\n"
    (folder / "slow.py").write_text(code)
    jsonl(folder / "many.jsonl", [{**rows(1)[0], "id": f"r{i}"} for i in range(1500)])
    whole = rmbench(*words_for("whole"), cwd=folder)
    assert whole.returncode == 0, whole.stderr
    return folder


def words_for(out):
    return ["run", "--task", "many.jsonl", "--reward", "slow.py:slow", "--out", out]


def started(folder, out):
    command = [sys.executable, "-m", "rmbench.cli.main", *words_for(out)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_keeps_what_was_done_and_resume_gives_the_same_bytes(slow, number, code):
    out = slow / f"cut-{code}"
    child = started(slow, out.name)
    journal = out / "journal.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (journal.exists() and "/slow/part-00000" in journal.read_text()):
        time.sleep(0.05)
    child.send_signal(number)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == code, stderr
    assert "rmbench run --resume --out" in stderr
    assert "Traceback" not in stderr
    assert json.loads((out / "manifest.json").read_text())["status"] == "interrupted"
    done = rmbench("run", "--resume", "--out", out, cwd=slow)
    assert done.returncode == 0, done.stderr
    assert (out / "results.json").read_bytes() == (slow / "whole" / "results.json").read_bytes()


@pytest.mark.parametrize("delay", [0.2, 1.5, 3.0])
def test_kill_9_and_resume_give_the_same_bytes(slow, delay):
    out = slow / f"cut-{delay}"
    child = started(slow, out.name)
    time.sleep(delay)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    done = rmbench(*words_for(out.name), "--resume", cwd=slow)
    assert done.returncode == 0, done.stderr
    assert (out / "results.json").read_bytes() == (slow / "whole" / "results.json").read_bytes()


def test_results_do_not_depend_on_place_time_zone_or_hash_seed(tmp_path):
    found = set()
    for name, environment in (
        ("a", {}),
        ("b b", {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "2"}),
    ):
        folder = tmp_path / name
        folder.mkdir()
        task = jsonl(folder / "cats.jsonl", rows())
        done = rmbench(
            "run",
            "--task",
            task,
            "--reward",
            "rouge-l",
            "--out",
            folder / "run",
            "--workers",
            "1" if name == "a" else "3",
            cwd=folder,
            **environment,
        )
        assert done.returncode == 0, done.stderr
        found.add((folder / "run" / "results.json").read_bytes())
    assert len(found) == 1


def test_closed_pipe_is_quiet():
    pipe = f"{sys.executable} -m rmbench.cli.main list | head -1"
    done = subprocess.run(["sh", "-c", pipe], capture_output=True, text=True, check=False)
    assert "BrokenPipe" not in done.stderr
    assert "Traceback" not in done.stderr
