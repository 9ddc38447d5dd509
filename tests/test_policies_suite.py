"""Policies of a suite, end to end on the command line, with a plugin that needs no torch."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
from fakes import distribution, jsonl, rmbench
from policy_plugin import CODE

CARD = 'name = "cats"\nversion = 1\nkind = "qa"\n[data]\ntest = "test.jsonl"\ntrain = "train.jsonl"\n'
SUITE = """
name = "s"
tasks = ["cats"]
rewards = ["words"]
seeds = [1, 2]
[[policy]]
name = "base"
use = "ladder"
task = "cats"
[[train]]
name = "up"
trainer = "climb"
policy = "base"
reward = "words"
judges = ["rouge-1"]
"""

ONE = SUITE.replace("[1, 2]", "[1]")  # one seed


def prompts(count, first=0):
    return [
        {"id": f"row-{i}", "prompt": f"count to {i}", "references": ["one two three"]}
        for i in range(first, first + count)
    ]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policies")
    (folder / "plugins").mkdir()
    distribution(folder / "plugins", "laddered", CODE)
    for name, card in (("cats", CARD), ("bare", CARD.replace('train = "train.jsonl"\n', "").replace("cats", "bare"))):
        (folder / name).mkdir()
        (folder / name / "task.toml").write_text(card, encoding="utf-8")
        jsonl(folder / name / "train.jsonl", prompts(12))
        jsonl(folder / name / "test.jsonl", prompts(5, 100))
    return folder


def suite(home, text=SUITE, name="s.toml"):
    (home / name).write_text(text, encoding="utf-8")
    return home / name


def run(home, *words, **environment):
    return rmbench(*words, path=home / "plugins", cwd=home, **environment)


@pytest.fixture(scope="module")
def done(home):
    result = run(home, "run", suite(home), "--out", "one")
    assert result.returncode == 0, result.stderr
    return home / "one"


def lines(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_policies_write_on_test_and_their_outputs_are_candidates_with_their_seed(done):
    table = pq.read_table(done / "samples" / "cats" / "part-00000.parquet")
    first = [(r["id"], r["system"], r["seed"], r["text"]) for r in table.to_pylist()][:4]
    assert first == [
        ("row-100", "base", 1, "one"), ("row-100", "base", 2, "one"),
        ("row-100", "up", 1, "one two three"), ("row-100", "up", 2, "one two three"),
    ]  # fmt: skip
    numbers = json.loads((done / "results.json").read_bytes())["results"]
    means = {
        n["system"]: n["value"]
        for n in numbers
        if n["study"] == "score" and n["metric"] == "mean" and n["reward"] == "words"
    }
    assert means == {"base": 1.0, "up": 3.0, None: 2.0}
    assert [task["rows"] for task in json.loads((done / "manifest.json").read_bytes())["resolved"]["tasks"]] == [20]


def test_the_folder_says_what_was_trained_and_the_judges_saw_dev(done):
    folder = done / "training" / "up" / "seed-2"
    config = json.loads((folder / "config.json").read_bytes())
    recipe = config["rmbench_policy"]
    assert config["level"] == 2
    assert recipe["trainer"] == "laddered:climb@1"
    assert recipe["seed"] == 2
    assert recipe["start"]["name"] == "base"
    assert recipe["reward"].startswith("words@1")
    assert not (folder / ".state").exists()
    judged = lines(folder / "curve.jsonl")[0]["judges"]
    assert judged["words"] == [[3.0], {}]  # one dev prompt, a tenth of train
    assert judged["rouge-1"] == [[1.0], {}]
    assert [row["id"] for row in lines(folder / "outputs.jsonl")] == [f"row-{i}" for i in range(100, 105)]
    notes = json.loads((done / "manifest.json").read_bytes())["warnings"]
    assert "policy up (seed 1): climbed" in notes


def test_the_same_suite_gives_the_same_bytes(home, done):
    again = run(home, "run", suite(home), "--out", "two", "--workers", "1", PYTHONHASHSEED="7", TZ="Asia/Tokyo")
    assert again.returncode == 0, again.stderr
    assert (home / "two" / "results.json").read_bytes() == (done / "results.json").read_bytes()
    for name in ("up/seed-1/config.json", "up/seed-2/outputs.jsonl", "base/seed-1/outputs.jsonl"):
        assert (home / "two" / "training" / name).read_bytes() == (done / "training" / name).read_bytes()


def test_a_finished_run_is_not_trained_again_and_a_changed_one_is_refused(home, done):
    starts = (done / "training" / "up" / "seed-1" / ".starts").read_text()
    resumed = run(home, "run", "--resume", "--out", "one")
    assert resumed.returncode == 0, resumed.stderr
    assert (done / "training" / "up" / "seed-1" / ".starts").read_text() == starts
    other = run(home, "run", suite(home), "-o", "up.steps=3", "--resume", "--out", "one")
    assert other.returncode == 5
    assert "policy up" in other.stderr
    path = done / "training" / "up" / "seed-1" / "outputs.jsonl"
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b"three", b"four"))
    changed = run(home, "run", "--resume", "--out", "one")
    path.write_bytes(kept)
    assert changed.returncode == 5
    assert "was changed since it was trained" in changed.stderr


def test_options_on_the_command_line_reach_trainers_and_policies(home):
    told = run(home, "run", suite(home), "-o", "up.steps=1", "-o", "base.level=1", "--seed", "5", "--out", "opt")
    assert told.returncode == 0, told.stderr
    assert lines(home / "opt" / "training" / "up" / "seed-5" / "outputs.jsonl")[0]["text"] == "one two three"
    assert lines(home / "opt" / "training" / "base" / "seed-5" / "outputs.jsonl")[0]["text"] == "one two"


def test_the_best_of_several_is_chosen_by_a_reward_and_the_pool_is_kept(home):
    text = ONE.replace(
        'task = "cats"\n', 'task = "cats"\noptions = { best_of = 3, temperature = 1.0, best_by = "rouge-1" }\n'
    )
    best = run(home, "run", suite(home, text, "best.toml"), "--out", "best")
    assert best.returncode == 0, best.stderr
    folder = home / "best" / "training" / "base" / "seed-1"
    assert lines(folder / "outputs.jsonl")[0]["text"] == "one two three"
    pool = lines(folder / "pool.jsonl")[0]
    assert pool["words"] == [1, 2, 3]
    assert pool["scores"]["words"] == [1.0, 2.0, 3.0]
    assert pool["scores"]["rouge-1"] == [0.5, 0.8, 1.0]


def test_trainings_that_fail_cost_the_others_nothing(home):
    ways = {
        "raise": "its training raised RuntimeError: no luck",
        "refuse": "the loss is nan at step 3 (lower learning_rate)",
        "exit": "the process exited with 7",
        "late": "the loss is inf at step 2",
    }
    text = ONE
    for way in ways:
        text += f'[[train]]\nname = "{way}"\ntrainer = "climb"\npolicy = "base"\nreward = "words"\n'
        text += f'trainer_options = {{ way = "{way}" }}\n'
    text += '[[policy]]\nname = "after"\ninit = "raise"\n'
    result = run(home, "run", suite(home, text, "fails.toml"), "--out", "fails")
    assert result.returncode == 3, result.stderr
    for way, told in ways.items():
        assert re.search(f"policy {way} could not be trained: seed 1: .*{re.escape(told)}", result.stderr)
    assert "policy after could not be trained: seed 1: it begins with raise" in result.stderr
    assert "gave up on late (seed 1): loss 0.500, reward 1.000 after 1 steps" in result.stderr
    assert not re.search("(trained|fitted) late", result.stderr)
    assert "late, seed 1: a trained policy" in run(home, "show", "fails/training/late/seed-1").stdout
    numbers = json.loads((home / "fails" / "results.json").read_bytes())["results"]
    assert {n["system"] for n in numbers if n["study"] == "score"} == {"base", "up", None}


def test_a_lost_seed_costs_the_other_seeds_nothing(home):
    text = SUITE.replace('rewards = ["words"]', 'rewards = ["words"]\nstudies = ["optimise"]')
    text += 'trainer_options = { way = "second" }\n[[policy]]\nname = "after"\ninit = "up"\n'
    made = []
    for out in ("lost", "lost-again"):
        result = run(home, "run", suite(home, text, "lost.toml"), "--out", out, "--workers", "2")
        assert result.returncode == 3, result.stderr
        assert "policy up could not be trained: seed 2: its training raised RuntimeError: no luck in" in result.stderr
        assert "policy after could not be trained: seed 2: it begins with up, which" in result.stderr
        made.append((home / out / "results.json").read_bytes())
    assert made[0] == made[1]
    assert str(home).encode() not in made[0]
    gains = {
        n["seed"]: (n["value"], n["reason"])
        for n in json.loads(made[0])["results"]
        if (n["metric"], n["system"], n["reward"]) == ("gain", "up", "words")
    }
    why = "seed 2: its training raised RuntimeError"
    assert gains == {1: (2.0, None), 2: (None, why), None: (2.0, "no outputs of seed 2")}
    result = run(home, "run", suite(home, text, "lost.toml"), "--out", "lost", "--resume", LUCK="1")
    assert result.returncode == 0, result.stderr
    whole = run(home, "run", suite(home, text, "lost.toml"), "--out", "luck", LUCK="1")
    assert whole.returncode == 0, whole.stderr
    assert (home / "lost" / "results.json").read_bytes() == (home / "luck" / "results.json").read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('policy = "base"', 'policy = "bass"', "begins with the policy 'bass', which is none of the suite"),
        ('trainer = "climb"', 'trainer = "climp"', "no trainer is called 'climp'"),
        ('use = "ladder"', 'use = "lader"', "no policy is called 'lader'"),
        ('use = "ladder"\n', "", "has neither use nor init"),
        ('use = "ladder"', 'init = "up"', "in a circle"),
        ('name = "up"', 'name = "base"', "two policies are called 'base'"),
        ('name = "up"', 'name = "Up"', "does not match"),
        ('reward = "words"\n', "", "needs a reward"),
        ('reward = "words"\n', 'reward = "human"\n', "oracle"),
        ('judges = ["rouge-1"]', 'judges = ["human"]', "oracle"),
        ('judges = ["rouge-1"]', 'judges = "rouge-1"', "no list of names"),
        ('trainer = "climb"', 'trainer = "study"', "takes no reward here"),
        ('[[train]]\nname = "up"\n', '[[train]]\nname = "up"\nstart = "base"\n', "unknown key 'start' in a [[train]]"),
        ('judges = ["rouge-1"]', "trainer_options = { steps = 0 }", "steps is 0"),
        ('judges = ["rouge-1"]', "trainer_options = { step = 1 }", "has no option 'step'"),
        ('judges = ["rouge-1"]', "options = { level = 3 }", "level cannot change"),
        ('judges = ["rouge-1"]', "options = { top_k = 3 }", "need a temperature above 0"),
        ('use = "ladder"', 'use = "ladder"\ntrainer_options = { steps = 1 }', "without a trainer"),
        ('use = "ladder"', 'use = "ladder"\ntrainer = "climb"', "needs a reward, which a [[policy]] has not"),
        ('use = "ladder"', 'use = "ladder"\noptions = { best_of = 2, temperature = 1.0, best_by = "wrds" }', "no reward of the suite"),
        ('task = "cats"\n', 'task = "bare"\n', "no train split"),
        ('task = "cats"\n', "", "has no task"),
        ('judges = ["rouge-1"]', 'judges = ["rouge-3000"]', "no reward is called"),
        ('judges = ["rouge-1"]', "options = { levle = 3 }", "has no option 'levle'\n  help: did you mean level?"),
        ('judges = ["rouge-1"]', "options = { best_of = 2 }", "rmbench show ladder"),
        ("[[train]]", '[[reward_model]]\nname = "up"\nuse = "linear"\ntask = "cats"\n[[train]]', "a policy and a reward model are called 'up'"),
        ("seeds = [1, 2]", "seeds = [1, 2, 1]", "seed 1 stands twice"),
        ('task = "cats"\n', 'task = "catz"\n', "wrong.toml: [[policy]] base: no task or file 'catz'"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_anything_is_written(home, tmp_path, old, new, told):
    assert old in SUITE
    result = run(home, "run", suite(home, SUITE.replace(old, new), "wrong.toml"), "--out", tmp_path / "no")
    assert result.returncode == 2, result.stderr
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("option", "told", "helped"),
    [
        ("up.stps=3", "[[train]] up: neither the trainer 'climb' nor the policy 'ladder' has an option 'stps'", "did you mean steps or stop?"),
        ("upp.steps=3", "-o upp.steps: no reward or policy 'upp' in this run", "did you mean up?"),
    ],
)  # fmt: skip
def test_a_wrong_option_of_the_command_line_is_named_with_the_nearest(home, tmp_path, option, told, helped):
    result = run(home, "run", suite(home), "-o", option, "--out", tmp_path / "no")
    assert result.returncode == 2
    assert told in result.stderr
    assert helped in result.stderr
    assert not (tmp_path / "no").exists()


def test_a_policy_that_writes_nothing_and_begins_nothing_is_a_warning(home):
    (home / "cats4").mkdir(exist_ok=True)
    (home / "cats4" / "task.toml").write_text(CARD.replace("cats", "cats4"), encoding="utf-8")
    jsonl(home / "cats4" / "train.jsonl", prompts(12))
    jsonl(home / "cats4" / "test.jsonl", prompts(5, 100))
    text = ONE.replace('task = "cats"', 'task = "cats4"') + '[[policy]]\nname = "here"\ninit = "up"\ntask = "cats"\n'
    text += '[[policy]]\nname = "lost"\ninit = "base"\n'
    result = run(home, "run", suite(home, text, "silent.toml"), "--out", "silent")
    assert result.returncode == 0, result.stderr
    told = "policy lost writes nothing: its task cats4 is not among the tasks of the suite, and no other begins with it"
    assert result.stderr.count("writes nothing") == 1
    assert told in result.stderr


def test_empty_prompts_do_not_meet(home):
    (home / "cats5").mkdir()
    (home / "cats5" / "task.toml").write_text(CARD.replace("cats", "cats5"), encoding="utf-8")
    for name, first in (("train", 0), ("test", 100)):
        jsonl(home / "cats5" / f"{name}.jsonl", [{**prompts(1, first)[0], "prompt": ""}, *prompts(11, first + 1)])
    result = run(home, "run", suite(home, ONE.replace('"cats"', '"cats5"'), "blank.toml"), "--out", "blank")
    assert result.returncode == 0, result.stderr
    assert "are among those it is trained on" not in result.stderr


def test_show_of_a_policy_folder_says_what_was_trained(home, done):
    result = run(home, "show", "one/training/up/seed-2")
    assert result.returncode == 0, result.stderr
    shown = result.stdout
    for line in (
        "up, seed 2: a trained policy", "policy     laddered:ladder@1", "trainer    laddered:climb@1",
        "reward     words@1", "judges     rouge-1@1", "from       base: not trained", "outputs    5 on the test split",
    ):  # fmt: skip
        assert line in shown, shown
    told = json.loads(run(home, "show", "one/training/up/seed-2", "--json").stdout)
    assert (told["name"], told["seed"], told["start"]["name"]) == ("up", 2, "base")
    floor = run(home, "show", "one/training/base/seed-1")
    assert "base, seed 1: a policy that was not trained" in floor.stdout
    above = run(home, "show", "one/training/up")
    assert above.returncode == 2
    assert "holds the seeds of a policy" in above.stderr
    assert "rmbench show one/training/up/seed-1" in above.stderr
    scored = run(home, "score", "-r", "one/training/up/seed-1", "cats/test.jsonl")
    assert scored.returncode == 2
    assert "is a policy, which gives no scores" in scored.stderr


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("{", "cannot be read"),
        ("[1]", "is no JSON object"),
        ('{"rmbench_policy": 3}', "rmbench_policy is no object"),
        ('{"rmbench_policy": {"name": "a\\u001b[2J", "seed": "x"}}', "rmbench_policy.seed is"),
    ],
)
def test_a_damaged_policy_folder_is_named(home, tmp_path, body, told):
    (tmp_path / "config.json").write_text(body, encoding="utf-8")
    result = run(home, "show", f"{tmp_path}/")
    assert result.returncode == 2, result.stdout
    assert told in result.stderr
    assert "\x1b" not in result.stderr + result.stdout


def test_data_that_cannot_feed_a_trainer_or_a_judge_are_refused(home, tmp_path):
    (home / "cats2").mkdir()
    (home / "cats2" / "task.toml").write_text(CARD.replace("cats", "cats2"), encoding="utf-8")
    plain = [{key: value for key, value in row.items() if key != "references"} for row in prompts(12)]
    jsonl(home / "cats2" / "train.jsonl", plain)
    jsonl(home / "cats2" / "test.jsonl", prompts(5, 100))
    text = SUITE.replace('"cats"', '"cats2"')
    judged = run(home, "run", suite(home, text, "judge.toml"), "--out", tmp_path / "no")
    assert judged.returncode == 2
    assert "the judge 'rouge-1' needs references, which the train rows of cats2 have not" in judged.stderr
    needed = text.replace('judges = ["rouge-1"]', 'trainer_options = { way = "references" }').replace(
        'reward = "words"\n', ""
    )
    refused = run(home, "run", suite(home, needed, "needs.toml"), "--out", tmp_path / "no")
    assert refused.returncode == 2
    assert "needs references, which the train rows of cats2 have not" in refused.stderr
    jsonl(home / "cats2" / "test.jsonl", [{**prompts(1)[0], "candidates": [{"system": "up", "text": "x"}]}])
    clash = run(
        home, "run", suite(home, text.replace('judges = ["rouge-1"]', ""), "clash.toml"), "--out", tmp_path / "no"
    )
    assert clash.returncode == 2
    assert "a system of this name already" in clash.stderr


def test_test_prompts_that_are_trained_on_are_a_warning(home):
    (home / "cats3").mkdir()
    (home / "cats3" / "task.toml").write_text(CARD.replace("cats", "cats3"), encoding="utf-8")
    jsonl(home / "cats3" / "train.jsonl", prompts(12))
    jsonl(home / "cats3" / "test.jsonl", prompts(12))
    result = run(home, "run", suite(home, ONE.replace('"cats"', '"cats3"'), "meet.toml"), "--out", "meet")
    assert result.returncode == 0, result.stderr
    assert "policy up: 12 of 12 test prompts of cats3 are among those it is trained on" in result.stderr


def test_a_reward_that_fails_gives_none_with_its_reason(home):
    text = ONE.replace('rewards = ["words"]', 'rewards = [{ use = "words", options = { fail = true } }]')
    result = run(home, "run", suite(home, text, "fail.toml"), "--out", "failing")
    assert result.returncode == 0, result.stderr
    judged = lines(home / "failing" / "training" / "up" / "seed-1" / "curve.jsonl")[0]["judges"]
    assert judged["words"] == [[None], {"0": "the reward gave None"}]


BROKEN = """
def boom(batch):
    raise RuntimeError("no model today")

def die(batch):
    import os
    os._exit(9)
"""


def test_a_judge_that_is_broken_costs_its_own_numbers_and_no_training(home):
    (home / "cats6").mkdir()
    (home / "cats6" / "task.toml").write_text(CARD.replace("cats", "cats6"), encoding="utf-8")
    jsonl(home / "cats6" / "train.jsonl", prompts(60))  # of which six are dev
    jsonl(home / "cats6" / "test.jsonl", prompts(5, 100))
    (home / "broken.py").write_text(BROKEN, encoding="utf-8")
    text = ONE.replace('rewards = ["words"]', 'rewards = ["words", { use = "broken.py:boom", name = "boom" }]')
    text = text.replace('task = "cats"\n[[train]]', 'task = "cats"\ntrainer = "study"\n[[train]]')
    text = text.replace('"cats"', '"cats6"')
    result = run(home, "run", suite(home, text, "judges.toml"), "--out", "judges")
    assert result.returncode == 3, result.stderr
    assert "could not be trained" not in result.stderr
    told = (
        "policy base (seed 1): the judge boom could not be used: it failed on every row tried (raised: RuntimeError: no"
    )
    assert told in result.stderr
    judged = lines(home / "judges" / "training" / "base" / "seed-1" / "curve.jsonl")[0]["judges"]
    assert judged["words"][0] == [3.0] * 6
    assert judged["boom"][0] == [None] * 6
    assert "no model today" in judged["boom"][1]["0"]


def test_a_reward_that_is_broken_costs_the_training_on_it_alone(home):
    (home / "broken.py").write_text(BROKEN, encoding="utf-8")
    text = ONE.replace('rewards = ["words"]', 'rewards = ["words", { use = "broken.py:die", name = "die" }]')
    text += '[[train]]\nname = "dead"\ntrainer = "climb"\npolicy = "base"\nreward = "die"\njudges = ["words"]\n'
    result = run(home, "run", suite(home, text, "dead.toml"), "--out", "dead")
    assert result.returncode == 3, result.stderr
    assert "policy dead could not be trained: seed 1: reward die: it failed on every row tried" in result.stderr
    assert "policy up could not be trained" not in result.stderr


def test_a_run_whose_policies_all_fail_ends_in_words(home):
    (home / "broken.py").write_text(BROKEN, encoding="utf-8")
    text = ONE.replace('rewards = ["words"]', 'rewards = ["words", { use = "broken.py:boom", name = "boom" }]')
    text = text.replace(
        'task = "cats"\n[[train]]', 'task = "cats"\ntrainer = "study"\ntrainer_options = { way = "raise" }\n[[train]]'
    )
    result = run(home, "run", suite(home, text, "all.toml"), "--out", "all", "--check-invariance", "2")
    assert result.returncode == 3, result.stderr
    assert "policy base could not be trained: seed 1: its training raised RuntimeError: no luck" in result.stderr
    assert "internal error" not in result.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_training_goes_on_where_it_was(home, done, how):
    out = home / f"cut-{how.name}"
    text = SUITE.replace('judges = ["rouge-1"]', 'judges = ["rouge-1"]\ntrainer_options = { wait = 0.4 }')
    words = [
        sys.executable,
        "-m",
        "rmbench.cli.main",
        "run",
        str(suite(home, text, f"{how.name}.toml")),
        "--out",
        str(out),
    ]
    environment = {**os.environ, "PYTHONPATH": str(home / "plugins"), "RMBENCH_CACHE": str(home / "cache")}
    process = subprocess.Popen(words, cwd=home, env=environment, stderr=subprocess.PIPE, text=True)
    mark = out / "training" / "up" / "seed-1" / ".state" / "step"
    deadline = time.monotonic() + 120
    while not mark.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(how)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == (130 if how == signal.SIGINT else -9)
    assert how != signal.SIGINT or "Go on with: rmbench run --resume --out" in told
    resumed = run(home, "run", "--resume", "--out", out)
    assert resumed.returncode == 0, resumed.stderr
    assert (out / "training" / "up" / "seed-1" / ".starts").read_text().startswith("0 1")
    numbers = [json.loads((run / "results.json").read_bytes())["results"] for run in (out, done)]
    means = [[n["value"] for n in some if n["study"] == "score" and n["reward"] == "words"] for some in numbers]
    assert means[0] == means[1]
