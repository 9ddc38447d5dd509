import pytest
from fakes import jsonl, rows

from rmbench import InputError, PluginError, plugins, suite
from rmbench.overrides import Overrides


@pytest.fixture(scope="module")
def catalog():
    return plugins.load()


@pytest.fixture
def task(tmp_path):
    return str(jsonl(tmp_path / "cats.jsonl", rows()))


def planned(given, catalog, tmp_path, **over):
    return suite.plan(given, catalog, Overrides(base=tmp_path, **over), base=tmp_path, where="suite.toml")


def test_null_rewards_stand_in_every_plan_and_last(catalog, task, tmp_path):
    plan = planned({"tasks": [task], "rewards": ["length"]}, catalog, tmp_path)
    assert [c.name for c in plan.rewards] == ["length", "random", "constant", "longest", "shortest", "copy", "lead"]
    assert [c.null for c in plan.rewards] == [False] + [True] * 6


def test_a_composite_comes_after_what_it_uses(catalog, task, tmp_path):
    mix = {"use": "composite", "name": "mix", "options": {"weights": {"rouge-l": 0.5, "length": 0.5}}}
    plan = planned({"tasks": [task], "rewards": [mix]}, catalog, tmp_path)
    waves = [[c.name for c in wave] for wave in plan.waves]
    assert "mix" in waves[1]
    assert {"rouge-l", "length"} <= set(waves[0])


def test_a_circle_is_refused(catalog, task, tmp_path):
    one = {"use": "composite", "name": "one", "options": {"weights": {"two": 1.0}}}
    two = {"use": "composite", "name": "two", "options": {"weights": {"one": 1.0}}}
    with pytest.raises(InputError, match="circle"):
        planned({"tasks": [task], "rewards": [one, two]}, catalog, tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"taks": []}, "did you mean tasks"),
        ({"tasks": []}, "tasks is missing or empty"),
        ({"rewards": "length"}, 'rewards is "length", expected a list'),
        ({"rewards": [{"name": "x"}]}, "no `use`"),
        ({"rewards": [{"use": "length", "option": {}}]}, "did you mean option"),
        ({"rewards": ["length", "length"]}, "two rewards are called"),
        ({"rewards": [{"use": "length", "name": "random"}]}, "null reward"),
        ({"rewards": ["lenght"]}, "did you mean length"),
        ({"rewards": [{"use": "composite", "options": {"weights": {}}}]}, "weights"),
        ({"rewards": [{"use": "composite", "options": {"weights": {"length": 0.0}}}]}, "weights"),
        ({"metrics": ["kendal"]}, "did you mean kendall"),
        ({"studies": ["probe"]}, "not in this version"),
        ({"studies": ["agre"]}, "did you mean agree"),
        ({"seeds": []}, "seeds is empty"),
        ({"seeds": [2**63]}, "seed"),
        ({"seeds": [1.5]}, "seed"),
        ({"seeds": [True]}, "seed"),
        ({"limit": 0}, "limit"),
        ({"limit": "3"}, "expected a whole number"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"unscored": "none"}, "wrong or exclude"),
        ({"policy": [{}]}, "has no name"),
        ({"tasks": ["nowhere"]}, "no task or file"),
    ],
)
def test_a_wrong_suite_is_refused_with_what_to_do(change, told, catalog, task, tmp_path, monkeypatch):
    monkeypatch.delenv("RMBENCH_DATA", raising=False)
    with pytest.raises(InputError, match=told):
        planned({"tasks": [task], "rewards": ["length"]} | change, catalog, tmp_path)


def test_rewards_by_file_and_module(catalog, task, tmp_path, monkeypatch):
    code = "from rmbench import Reward\ndef plain(batch):\n    return [1.0] * len(batch)\ndef build(k: int = 1):\n    return plain\nwhole = Reward('whole', 3, build)\n"
    (tmp_path / "mine.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = [
        "mine.py:plain",
        {"use": "mine.py:whole", "options": {"k": 2}},
        {"use": "mine:plain", "name": "by-module"},
    ]
    plan = planned({"tasks": [task], "rewards": entries}, catalog, tmp_path)
    by_name = {c.name: c for c in plan.rewards}
    assert {"plain", "whole", "by-module"} <= set(by_name)
    assert by_name["whole"].signature().startswith("whole@3|k:2|file:")
    with pytest.raises(InputError, match="did you mean plain"):
        planned({"tasks": [task], "rewards": ["mine.py:plane"]}, catalog, tmp_path)
    with pytest.raises(InputError, match="no option"):
        planned({"tasks": [task], "rewards": [{"use": "mine.py:plain", "options": {"k": 1}}]}, catalog, tmp_path)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(PluginError, match="nothing_of_that_name"):
        planned({"tasks": [task], "rewards": ["broken.py:plain"]}, catalog, tmp_path)


def test_optional_rewards_are_left_out_where_they_are_not_installed(catalog, task, tmp_path):
    entries = ["length", {"use": "not-installed-anywhere", "optional": True}]
    plan = planned({"tasks": [task], "rewards": entries}, catalog, tmp_path)
    assert [c.name for c in plan.rewards if not c.null] == ["length"]


def test_options_of_the_command_line_are_merged_into_the_suite(catalog, task, tmp_path):
    over = {"options": (("rouge-l", "stemmer", True),), "seed": 5, "limit": 2}
    plan = planned({"tasks": [task], "rewards": ["rouge-l"]}, catalog, tmp_path, **over)
    assert plan.rewards[0].signature().startswith("rouge-l@1|stemmer:yes|rouge-score:")
    assert (plan.seeds, plan.limit) == ((5,), 2)
    again = suite.plan(plan.given, catalog, Overrides(), base=tmp_path, where="")
    assert again.rewards[0].options == {"stemmer": True}


def test_shipped_suites_are_whole(catalog, data_dir):
    for path in suite.shipped().values():
        plan = suite.plan(suite.read(path), catalog, Overrides(data_dir=data_dir), base=path.parent, where=str(path))
        assert plan.tasks


def test_toml_that_is_none_names_the_file(tmp_path):
    path = tmp_path / "suite.toml"
    for content in (b"tasks = [", b"a = 1\na = 2\n", b"\xff\xfe", b"x = " + b"[" * 5000):
        path.write_bytes(content)
        with pytest.raises(InputError, match="suite.toml"):
            suite.read(path)
