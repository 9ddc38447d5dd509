"""hf:owner/name: fetched once by the real package datasets (from a folder here), kept under its revision."""

import sys

import pytest
from fakes import jsonl, rmbench, rows

from rmbench import hub, tasks
from rmbench.errors import EnvironmentFault, InputError

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A data set in a folder stands for the hub's; how often it was fetched."""
    (tmp_path / "hub").mkdir()
    jsonl(tmp_path / "hub" / "test.jsonl", rows(3))
    jsonl(tmp_path / "hub" / "train.jsonl", rows(2))
    monkeypatch.setenv("RMBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    fetched = []

    def load(given, name, config, sha):
        import datasets

        fetched.append((name, config, sha))
        return datasets.load_dataset(str(tmp_path / "hub"), cache_dir=str(tmp_path / "hf"))

    monkeypatch.setattr(hub, "_fetched", load)
    monkeypatch.setattr(hub, "_sha", lambda given, name, revision: SHA)
    return fetched


def test_a_data_set_is_a_task_with_its_revision_and_is_fetched_once(here, tmp_path):
    task = hub.hub_task("hf:somebody/Cats-2", "qa")
    assert (task.name, task.source, task.kind, sorted(task.data)) == (
        "cats-2",
        f"hf:somebody/Cats-2@{SHA}",
        "qa",
        ["test", "train"],
    )
    assert list(tasks.read(task)) == list(tasks.read(tasks.open_task(tmp_path / "hub" / "test.jsonl", "qa")))
    assert hub.hub_task(f"hf:somebody/Cats-2@{SHA}").data == task.data
    assert here == [("somebody/Cats-2", None, SHA)]


@pytest.mark.parametrize("given", ["hf:", "hf:name", "hf:a/b/c", "hf:../x@y", "hf:a/b@"])
def test_a_name_that_is_none_is_refused(given):
    with pytest.raises(InputError, match="names no data set"):
        hub.hub_task(given)


def test_without_the_package_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("RMBENCH_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        InputError, match="needs the package datasets, which is not installed\n  help: pip install datasets"
    ):
        hub.hub_task("hf:a/b")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="needs the package datasets"):
        hub.hub_task(f"hf:a/b@{SHA}")


def test_without_a_network_it_is_the_environment_that_names_the_host(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setenv("RMBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EnvironmentFault, match=f"hf:a/b: cannot be fetched from {constants.ENDPOINT}: "):
        hub.hub_task("hf:a/b")


def test_a_suite_may_name_one(tmp_path):
    done = rmbench(
        "run", "--task", "hf:a/b", "--reward", "length", "--out", tmp_path / "run", HF_HUB_OFFLINE="1", RMBENCH_CACHE=str(tmp_path)
    )  # fmt: skip
    assert done.returncode == 4
    assert "hf:a/b: cannot be fetched from" in done.stderr
    assert not (tmp_path / "run").exists()
