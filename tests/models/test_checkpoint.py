"""Checkpoints: whole or not there, the same bytes for the same content, and nothing hostile is loaded or run."""

import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load_file

from rmbench.content import digest
from rmbench.errors import InputError
from rmbench.kernel.models.weights import Tensor
from rmbench.models import checkpoint
from rmbench.models.checkpoint import check, read, require_memory, tensors, write
from rmbench.store import write_whole

CONFIG = {"kind": "linear", "features": ["ngrams"], "rmbench": {"reward_model": "linear", "options": {"l2": 1.0}}}
SHAPES = {"weight": (2, 3), "bias": (1,)}
REPO = Path(__file__).resolve().parent.parent.parent


def weights():
    return {"weight": np.arange(6.0).reshape(2, 3), "bias": np.array([0.5], dtype=np.float32)}


def written(folder, **changes):
    given = {"tensors": weights(), "config": CONFIG, "card": "# card\n", "log": [{"step": 1, "loss": 0.5}],
             "measures": {"seconds": 1.0}}  # fmt: skip
    return write(folder, **given | changes)


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path / "model")


def safetensors(header, data=b""):
    """The bytes of a safetensors file of any header."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def refused(folder, what, *, file, where=read):
    with pytest.raises(InputError) as error:
        where(folder)
    assert what in error.value.what
    assert error.value.where == str(folder / file if file else folder)
    assert error.value.help
    return error.value


def test_what_was_written_is_read(folder):
    found = read(folder)
    assert found.config == CONFIG
    assert found.header == {"weight": Tensor("F64", (2, 3)), "bias": Tensor("F32", (1,))}
    loaded = tensors(found, SHAPES)
    assert all(
        np.array_equal(loaded[name], value) and loaded[name].dtype == value.dtype for name, value in weights().items()
    )
    assert (folder / "log.jsonl").read_text() == '{"step": 1, "loss": 0.5}\n'
    assert (folder / "card.md").read_text() == "# card\n"
    assert json.loads((folder / ".measures.json").read_text()) == {"seconds": 1.0}
    assert sorted(file.name for file in folder.iterdir() if not file.name.startswith(".")) == [
        "card.md", "config.json", "log.jsonl", "model.safetensors"]  # fmt: skip


def test_the_same_content_is_the_same_bytes_whatever_the_order_and_what_it_took(tmp_path):
    files = {"tokenizer.json": b"{}", "vocab.txt": b"a\n"}
    one = written(tmp_path / "one", files=files)
    swapped = dict(reversed(weights().items()))
    other = written(tmp_path / "other", tensors=swapped, files=dict(reversed(files.items())), measures={"seconds": 9.0})
    assert digest(one) == digest(other)
    assert (one / ".measures.json").read_bytes() != (other / ".measures.json").read_bytes()


def test_tensors_of_torch_and_numpy_stand_side_by_side_in_every_type(tmp_path):
    given = {
        "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16), "small": torch.tensor(3.0, dtype=torch.float16),
        "turned": torch.arange(6.0).reshape(2, 3).T, "array": np.array([[1.0, 2.0]]).T, "ids": torch.tensor([1, 2]),
        "scalar": np.float64(2.5), "learnt": torch.nn.Parameter(torch.ones(2)),
    }  # fmt: skip
    shapes = {
        "half": (2,),
        "small": (),
        "turned": (3, 2),
        "array": (2, 1),
        "scalar": (),
        "learnt": (2,),
        "position_ids": (2,),
    }
    given["position_ids"] = given.pop("ids")
    loaded = tensors(read(written(tmp_path / "m", tensors=given)), shapes)
    assert loaded["half"].tolist() == [1.5, -2.0]
    assert loaded["half"].dtype == loaded["small"].dtype == np.float32
    assert loaded["turned"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert (loaded["array"].tolist(), loaded["scalar"].tolist(), loaded["position_ids"].tolist()) == (
        [[1.0], [2.0]],
        2.5,
        [1, 2],
    )
    from safetensors import safe_open

    with safe_open(tmp_path / "m" / "model.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt"}  # or transformers would not read it


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text("abc./", min_size=1, max_size=5),
        arrays.arrays(np.float64, arrays.array_shapes(min_side=0), elements=st.floats(-1e300, 1e300)),
        min_size=1,
        max_size=4,
    )
)
def test_any_finite_arrays_come_back_bit_for_bit(tmp_path_factory, given):
    folder = written(tmp_path_factory.mktemp("any") / "m", tensors=given)
    loaded = tensors(read(folder), {name: value.shape for name, value in given.items()})
    assert {name: value.tobytes() for name, value in loaded.items()} == {
        name: value.tobytes() for name, value in given.items()
    }


def test_config_is_written_last_and_the_old_one_goes_first(folder, monkeypatch):
    (folder / ".state").mkdir()
    (folder / "vocab.txt.tmp-77").write_bytes(b"half")
    seen = []

    def spy(path, data):
        seen.append((path.name, (folder / "config.json").exists(), (folder / ".state").exists()))
        write_whole(path, data)

    monkeypatch.setattr(checkpoint, "write_whole", spy)
    written(folder, files={"vocab.txt": b"a"})
    assert [name for name, _, _ in seen] == [
        "model.safetensors",
        "vocab.txt",
        "card.md",
        "log.jsonl",
        ".measures.json",
        "config.json",
    ]
    assert all(not config and state for _, config, state in seen)
    assert not (folder / ".state").exists()
    assert not list(folder.glob("*.tmp-*"))


@pytest.mark.parametrize("at", range(1, 7))
def test_a_write_that_dies_leaves_no_checkpoint(folder, monkeypatch, at):
    calls = iter(range(1, 100))

    def dying(path, data):
        if next(calls) == at:
            raise KeyboardInterrupt
        write_whole(path, data)

    monkeypatch.setattr(checkpoint, "write_whole", dying)
    with pytest.raises(KeyboardInterrupt):
        written(folder, files={"vocab.txt": b"a"})
    refused(folder, "holds no finished checkpoint (config.json is missing)", file="")
    monkeypatch.undo()
    assert read(written(folder, files={"vocab.txt": b"a"})).config == CONFIG


@pytest.mark.parametrize(
    "name",
    ["../x", "/x", ".hidden", "a/.b", "a/../b", "config.json", "model.safetensors", "x.bin", "x.py", "", "./a", "a//b"],
)
def test_a_further_file_has_a_plain_name(tmp_path, name):
    with pytest.raises(ValueError, match="is no name for a further file of a checkpoint"):
        written(tmp_path / "m", files={name: b""})
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    "value", [np.array([1.0, np.nan]), torch.tensor([np.inf]), np.array([-np.inf], dtype=np.float32)]
)
def test_weights_that_are_no_numbers_are_not_written(tmp_path, value):
    with pytest.raises(InputError, match="the weights 'bad' hold NaN or infinity"):
        written(tmp_path / "m", tensors={"bad": value})
    assert not (tmp_path / "m").exists()


def test_a_config_that_is_no_json_is_not_written(tmp_path):
    for config in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises((ValueError, TypeError)):
            written(tmp_path / "m", config=config)
        assert not (tmp_path / "m").exists()


def test_no_folder_and_an_unfinished_fit_are_said(tmp_path):
    refused(tmp_path / "none", "no such folder", file="")
    (tmp_path / "half" / ".state").mkdir(parents=True)
    assert "run it again and it goes on" in refused(tmp_path / "half", "holds no finished checkpoint", file="").help


class Payload:
    """Makes a file where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (os.system, (f"touch {self.mark}",))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "a.pt", "a.PTH", "optimizer.pt", "model.ckpt", "x.joblib", "x.npy",
                                  "x.pkl", "sub/x.pickle", ".state/rng_state.pth", "evil.py", "x.so", "notes", "vocab.txt"])  # fmt: skip
def test_a_pickle_is_refused_wherever_it_lies_and_never_run(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(Payload(folder / "run")))
    error = refused(
        folder, "can hold code" if "." in Path(name).name and not name.endswith(".txt") else "is a pickle", file=name
    )
    assert "weights are model.safetensors only" in error.help
    assert not (folder / "run").exists()


def test_a_pickle_in_place_of_the_weights_is_refused(folder):
    for protocol in (0, 2, 5):
        (folder / "model.safetensors").write_bytes(pickle.dumps(Payload(folder / "run"), protocol=protocol))
        refused(folder, "is damaged: the header", file="model.safetensors")
    torch.save({"weight": torch.zeros(2)}, folder / "model.safetensors")
    refused(folder, "is damaged: the header", file="model.safetensors")
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("begin", "kind"),
    [
        (b"PK\x03\x04", "a zip archive"),
        (b"\x7fELF", "a program"),
        (b"#!/bin/sh", "a script"),
        (b"\x93NUMPY", "a NumPy file"),
    ],
)
def test_files_are_known_by_how_they_begin(folder, begin, kind):
    (folder / "merges.txt").write_bytes(begin)
    refused(folder, f"is {kind}", file="merges.txt")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is damaged: the header is longer than the file"),
        (b"\xff" * 8, "is damaged: the header is longer than the file"),
        (struct.pack("<Q", 2**63), "is damaged: the header is longer than the file"),
        (struct.pack("<Q", 200) + b"{}", "is damaged: the header is longer than the file"),
        (struct.pack("<Q", 30_000_000) + b" " * 30_000_000, "the header has 30,000,000 bytes"),
        (safetensors(b"not json"), "is damaged: Expecting value"),
        (safetensors(b"[1]"), "is damaged: the header is no object"),
        (safetensors(b"[" * 100_000), "is damaged"),
        (safetensors(b'{"a": 1, "a": 2}'), "the key 'a' stands twice"),
        (safetensors({"a": {"dtype": "F64", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8), "the tensor 'a' does not fit its bytes"),
        (safetensors({"a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 80]}}, b"\0" * 8), "the tensor 'a' does not fit its bytes"),
        (safetensors({"a": {"dtype": "F64", "shape": [10**9, 10**9], "data_offsets": [0, 8]}}, b"\0" * 8), "the tensor 'a' does not fit its bytes"),
        (safetensors({"a": {"dtype": "F64", "shape": [-1], "data_offsets": [0, 8]}}, b"\0" * 8), "the tensor 'a' has no shape"),
        (safetensors({"a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}, b"\0" * 8), "the weights 'a' are I64, whole numbers"),
        (safetensors({"a": {"dtype": "F4", "shape": [1], "data_offsets": [0, 8]}}, b"\0" * 8), "the tensor 'a' is F4"),
        (safetensors({"a": {"dtype": "F64", "shape": [1], "data_offsets": [8, 16]}}, b"\0" * 16), "is damaged"),
        (safetensors({n: {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]} for n in "ab"}, b"\0" * 8), "is damaged"),
        (safetensors({"a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}, b"\0" * 9), "is damaged"),
    ],
)  # fmt: skip
def test_a_header_that_lies_is_refused_before_anything_is_read(folder, content, what):
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, what, file="model.safetensors")


def test_weights_that_do_not_fit_the_free_memory_are_refused_before_they_are_read(folder, monkeypatch):
    header = {"a": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}
    content = safetensors(header)
    (folder / "model.safetensors").write_bytes(content)
    os.truncate(folder / "model.safetensors", len(content) + 4 * 10**9)  # holes: takes no disk
    monkeypatch.setattr(checkpoint, "free_memory", lambda: 10**9)
    refused(folder, "the weights would take 4.0 GB, 1.0 GB are free", file="model.safetensors")


def test_an_option_that_asks_for_more_memory_than_there_is_is_refused():
    with pytest.raises(InputError, match=r"hidden = 10\^9 would take 8,000,000,000\.0 GB"):
        require_memory(8 * 10**18, "hidden = 10^9", "suite.toml")
    require_memory(1000, "a thousand bytes", "suite.toml")


@pytest.mark.parametrize(
    ("expected", "what"),
    [
        ({"weight": (2, 3)}, "the tensor 'bias' is left over"),
        ({**SHAPES, "gate": (1,), "hull": (2,)}, "the tensor 'gate' and 1 more is missing"),
        ({"weight": (3, 2), "bias": (1,)}, "the tensor 'weight' has the shape (2, 3), config.json asks for (3, 2)"),
        ({"weight": (10**9, 3), "bias": (1,)}, "config.json asks for (1000000000, 3)"),
    ],
)
def test_missing_left_over_and_misshaped_tensors_are_refused_before_any_is_read(folder, expected, what, monkeypatch):
    found = read(folder)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("weights were read"))
    for ask in (check, tensors):
        refused(folder, what, file="model.safetensors", where=lambda _, ask=ask: ask(found, expected))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_among_the_weights_are_refused(folder, value):
    data = struct.pack("<d", value)
    (folder / "model.safetensors").write_bytes(
        safetensors({"a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}, data)
    )
    found = read(folder)
    refused(
        folder,
        "the weights 'a' hold NaN or infinity",
        file="model.safetensors",
        where=lambda _: tensors(found, {"a": (1,)}),
    )


def test_weights_that_change_after_the_header_was_read_are_refused(folder, tmp_path):
    found = read(folder)
    other = written(tmp_path / "other", tensors={"weight": np.zeros((3, 3)), "bias": np.zeros(1)})
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="changed while it was read"):
        tensors(found, SHAPES)
    (folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match="is damaged"):
        tensors(found, SHAPES)
    (folder / "model.safetensors").unlink()
    refused(folder, "has no weights (model.safetensors is missing)", file="")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"[1]", "is no JSON object"),
        (b"\xff\xfe", "cannot be read"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b'{"a": ' + b"[" * 100_000, "cannot be read"),
        (b'{"features": {"scale": NaN}}', "scale is nan, which is no JSON"),
        (b'{"l2": [1e999]}', "l2 is inf, which is no JSON"),
        (b'{"auto_map": {"AutoModel": "evil.Model"}}', "names code of its own (auto_map)"),
        (b'{"text": [{"auto_map": {}}]}', "names code of its own (auto_map)"),
        (b'{"a": {"trust_remote_code": true}}', "asks for trust_remote_code"),
        (b'{"_attn_implementation": "org/kernel"}', "which may name code to fetch"),
    ],
)
def test_a_config_that_is_no_json_or_names_code_is_refused(folder, content, what):
    (folder / "evil.txt").write_text("import os")
    (folder / "config.json").write_bytes(content)
    refused(folder, what, file="config.json")


def test_a_config_that_is_too_large_is_refused(folder):
    os.truncate(folder / "config.json", 65 * 2**20)
    refused(folder, "is larger than 67,108,864 bytes", file="config.json")


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"auto_map": {"AutoTokenizer": ["evil.T", None]}}, "names code of its own (auto_map)"),
        (
            {"tokenizer_file": "../../etc/passwd"},
            "tokenizer_file is '../../etc/passwd', which is no file of this folder",
        ),
        ({"vocab_file": "/etc/passwd"}, "vocab_file is '/etc/passwd', which is no file of this folder"),
        ({"model_max_length": "many"}, "model_max_length is 'many'"),
    ],
)
def test_settings_of_a_tokenizer_are_read_as_strictly(folder, settings, what):
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    refused(folder, what, file="tokenizer_config.json")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_link_to_outside_the_folder_is_refused(folder, tmp_path, name):
    target = tmp_path / "outside"
    target.write_bytes((folder / name).read_bytes() if (folder / name).exists() else b"{}")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)
    refused(folder, "is a link to outside the folder", file=name)


def test_linked_folders_dead_links_and_devices_are_refused(folder, tmp_path):
    (folder / "sub").symlink_to(tmp_path)
    refused(folder, "is a link to a folder", file="sub")
    (folder / "sub").unlink()
    (folder / "vocab.txt").symlink_to(folder / "nothing")
    refused(folder, "is a link to nothing", file="vocab.txt")
    (folder / "vocab.txt").unlink()
    os.mkfifo(folder / "pipe.txt")
    refused(folder, "is no regular file", file="pipe.txt")


def test_what_git_keeps_beside_a_checkpoint_is_left_alone(folder):
    (folder / ".git" / "hooks").mkdir(parents=True)
    (folder / ".git" / "hooks" / "update.sample").write_text("#!/bin/sh\n")
    assert read(folder).config == CONFIG


def test_too_many_files_are_refused(folder, monkeypatch):
    monkeypatch.setattr(checkpoint, "MOST_FILES", 3)
    refused(folder, "holds more than 3 files", file="")


def test_reading_imports_no_torch(folder):
    code = (f"import sys\nfrom rmbench.models.checkpoint import read, tensors\nfound = read({str(folder)!r})\n"
            f"tensors(found, {SHAPES!r})\nassert not [n for n in ('torch', 'transformers', 'numba', 'scipy') if n in sys.modules]")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=REPO)
    assert done.returncode == 0, done.stderr


def test_no_module_of_models_pickles():
    for path in (REPO / "rmbench" / "models").glob("*.py"):
        text = path.read_text()
        for word in ("torch.save(", "torch.load(", "import pickle", "joblib", "np.save", "np.load", "import dill"):
            assert word not in text or (word == "joblib" and path.name == "checkpoint.py"), (path, word)


def test_the_weights_are_read_by_safetensors_too(folder):
    assert load_file(folder / "model.safetensors")["weight"].tolist() == weights()["weight"].tolist()
