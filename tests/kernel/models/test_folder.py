import json
import pickle

import folders
import pytest

from rmbench.errors import InputError
from rmbench.kernel.models.files import short_hash
from rmbench.kernel.models.folder import inspect, inspect_tokenizer, longest, positions

TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.fixture
def llama(tmp_path):
    return folders.save(tmp_path / "model", "llama", folders.bpe("llama", chat_template=folders.CHATML))


def refused(path, words):
    with pytest.raises(InputError, match=words) as caught:
        inspect(path)
    assert caught.value.help
    assert caught.value.where


def test_a_folder_is_read_without_torch(llama):
    import subprocess
    import sys

    code = f"from rmbench.kernel.models.folder import inspect; import sys; inspect({str(llama)!r}); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    found = inspect(llama)
    assert (found.positions, found.longest, found.labels) == (160, 160, {0: "LABEL_0"})
    assert found.template == folders.CHATML
    assert found.tensors["score.weight"].shape == (1, 48)
    assert found.notes == ()


def test_what_is_missing_is_named(llama, tmp_path):
    refused(tmp_path / "nowhere", "no such folder")
    refused("org/model", "nothing is fetched from a hub")
    for file, words in (("model.safetensors", "has no weights"), ("config.json", "is missing")):
        (llama / file).unlink()
        refused(llama, words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, "LlamaForCausalLM: it has no classification head"),
        ({"architectures": None}, "no classification head"),
        ({"model_type": None}, "has no model_type"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"trust_remote_code": True}, "trust_remote_code"),
        ({"text_config": {"trust_remote_code": True}}, "trust_remote_code"),
        ({"attn_implementation": "org/kernel"}, "attn_implementation is 'org/kernel', which may name code"),
        ({"_attn_implementation_internal": "org/kernel"}, "may name code"),
        ({"text_config": {"attn_implementation": {"a": "sdpa", "b": "org/kernel"}}}, "may name code"),
        ({"experts_implementation": "org/kernel"}, "may name code"),
        ({"use_kernels": True}, "use_kernels is set"),
        ({"transformers_weights": "w.safetensors"}, "transformers_weights is set, which names other weights"),
        ({"text_config": {"transformers_weights": "adapter_model.bin"}}, "transformers_weights is set"),
        ({"num_labels": 10**12, "id2label": None}, "1,000,000,000,000 labels, more than 10,000"),
        ({"num_labels": True, "id2label": None}, "num_labels is True"),
        ({"num_labels": -1, "id2label": None}, "num_labels is -1"),
        ({"id2label": {"a": "x"}}, "id2label is no object of names by index"),
        ({"id2label": [1, 2]}, "id2label is no object"),
        ({"id2label": {"9" * 4000: "x"}}, "labels, more than 10,000"),
        ({"max_position_embeddings": 0}, "max_position_embeddings is 0, expected"),
        ({"max_position_embeddings": -5}, "max_position_embeddings is -5, expected"),
        ({"max_position_embeddings": "many"}, "max_position_embeddings is 'many', expected"),
        ({"text_config": {"n_positions": 1.5}}, "n_positions is 1.5, expected"),
        ({"model_type": "roberta", "pad_token_id": 10**9}, "takes -999,999,841 tokens"),
    ],
)
def test_configurations_that_name_code_or_no_classifier_are_refused(llama, changes, words):
    folders.edit(llama / "config.json", **changes)
    refused(llama, words)


def test_code_named_by_a_tokenizer_and_files_outside_are_refused(llama):
    folders.edit(llama / "tokenizer_config.json", vocab_file="../secret")
    refused(llama, "vocab_file is '../secret'")
    folders.edit(llama / "tokenizer_config.json", vocab_file=None, trust_remote_code=True)
    refused(llama, "trust_remote_code")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fast_tokenizer_files": ["tokenizer.json", "../tokenizer.4.0.0.json"]}, "no file of this folder"),
        ({"tokenizer_file": ".hidden.json"}, "no file of this folder"),
        ({"gguf_file": "x.gguf"}, "names other weights"),
        ({"chat_template": 5}, "chat_template is int, expected a text"),
        ({"chat_template": {"default": "x"}}, "chat_template is dict, expected a text"),
        *(({"model_max_length": limit}, "model_max_length is") for limit in (float("inf"), "x", 0.5, -1, True, [])),
    ],
)
def test_a_tokenizer_configuration_that_names_files_or_says_nonsense(llama, changes, words):
    (llama / "chat_template.jinja").unlink(missing_ok=True)
    folders.edit(llama / "tokenizer_config.json", **changes)
    refused(llama, words)
    with pytest.raises(InputError, match=words):
        inspect_tokenizer(llama)


def test_own_code_in_auto_map_is_noted_and_an_adapter_refused(llama):
    folders.edit(llama / "config.json", auto_map={"AutoModel": "evil.Model"})
    assert [name for name, _ in inspect(llama).notes] == ["auto-map"]
    (llama / "adapter_config.json").write_text("{}")
    refused(llama, "holds an adapter")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl", "model.ckpt"])
def test_pickled_weights_are_refused_and_never_opened(llama, name):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('ran')",))

    (llama / name).write_bytes(pickle.dumps(Bomb()))
    inspect(llama)  # beside safetensors it is only left alone
    (llama / "model.safetensors").unlink()
    refused(llama, f"no safetensors: {name}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"model_type": "llama", "model_type": "bert"}', "'model_type' stands twice"),
        ('{"text_config": {"a": 1, "a": 2}}', "'a' stands twice"),
        ("[]", "is no JSON object"),
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ('{"n": ' + "9" * 5000 + "}", "cannot be read"),
        ("\ufeff", "cannot be read"),
    ],
)
def test_json_that_is_none_or_says_two_things(llama, text, words):
    (llama / "config.json").write_text(text)
    refused(llama, words)
    with pytest.raises(InputError, match=words):
        inspect_tokenizer(llama)


def index(folder, names):
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("../other/model.safetensors", "outside the folder"),
        ("/etc/passwd", "outside the folder"),
        ("a\\b.safetensors", "outside the folder"),
        ("gone.safetensors", "is missing"),
        ("config.json", "no safetensors file"),
        ("link.safetensors", "link to outside"),
        (".w.safetensors", "'.w.safetensors', which is hidden"),
        (".d/h.safetensors", "which is hidden"),
        ("linked/part.safetensors", "'linked/part.safetensors', which is in a linked folder"),
    ],
)
def test_a_weight_map_stays_in_its_folder(llama, tmp_path, file, words):
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes((llama / "model.safetensors").read_bytes())
    (llama / "link.safetensors").symlink_to(other / "model.safetensors")
    (llama / ".d").mkdir()
    for hidden in (".w.safetensors", ".d/h.safetensors"):
        (llama / hidden).write_bytes((llama / "model.safetensors").read_bytes())
    (llama / "linked").symlink_to(llama)
    index(llama, {"score.weight": file})
    refused(llama, words)


def test_a_weight_map_that_promises_what_is_not_there(llama):
    index(llama, {"lost.weight": "part.safetensors"})
    refused(llama, "no tensor 'lost.weight'")
    (llama / "model.safetensors.index.json").write_text('{"weight_map": {"a": 1}}')
    refused(llama, "no weight_map of names")


def test_the_weights_may_not_be_a_link_to_outside(llama, tmp_path):
    (llama / "model.safetensors").rename(tmp_path / "elsewhere")
    (llama / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    refused(llama, "link to outside")


@pytest.mark.parametrize("size", [0, 7, 8, 200, -1])
def test_truncated_weights(llama, size):
    raw = (llama / "model.safetensors").read_bytes()
    (llama / "model.safetensors").write_bytes(raw[:size])
    refused(llama, "is damaged")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"{", "is damaged"),
        (b"[]", "header is no object"),
        (b"[" * 100_000, "is damaged"),
        (b'{"a": 1, "a": 2}', "stands twice"),
        ({"a": 1}, "has no shape"),
        ({"a": {**TENSOR, "shape": [-2]}}, "has no shape"),
        ({"a": {**TENSOR, "shape": [True]}}, "has no shape"),
        ({"a": {**TENSOR, "shape": [2**40, 2**40]}}, "does not fit its bytes"),
        ({"a": {**TENSOR, "data_offsets": [8, 0]}}, "does not fit its bytes"),
        ({"a": {**TENSOR, "data_offsets": [4, 12]}}, "does not fit its bytes"),
        ({"a": {**TENSOR, "data_offsets": [0]}}, "has no offsets"),
        ({"a": {**TENSOR, "dtype": "F8_E4M3"}}, "'a' is F8_E4M3"),
        ({"score.bias": {"dtype": "I32", "shape": [2], "data_offsets": [0, 8]}}, "'score.bias' are I32, whole numbers"),
        (b" " * (20 * 10**6 + 1), "more than 20,000,000"),
        ({str(n): 0 for n in range(200_001)}, "names 200,001 tensors"),
    ],
)
def test_headers_that_lie(llama, header, words):
    folders.safetensors(llama / "model.safetensors", header, b"\0" * 8)
    refused(llama, words)


def test_a_header_longer_than_the_file(llama):
    (llama / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}")
    refused(llama, "header is longer than the file")


def test_the_template_is_of_its_own_file_else_of_the_configuration(llama):
    (llama / "chat_template.jinja").write_text("{{ own }}")
    assert inspect(llama).template == "{{ own }}"
    (llama / "chat_template.jinja").unlink()
    folders.edit(llama / "tokenizer_config.json", chat_template="{{ text }}")
    assert inspect(llama).template == "{{ text }}"
    several = [{"name": "tool_use", "template": "{{ a }}"}, {"name": "default", "template": "{{ b }}"}]
    folders.edit(llama / "tokenizer_config.json", chat_template=several)
    assert inspect(llama).template == "{{ b }}"
    folders.edit(llama / "tokenizer_config.json", chat_template=None)
    assert inspect(llama).template is None
    (llama / "chat_template.jinja").write_bytes(b"\xff")
    refused(llama, "cannot be read")
    (llama / "chat_template.jinja").write_text("x" * (2**20 + 1))
    refused(llama, "larger than a megabyte")


def test_limits_are_the_least_of_model_and_tokenizer():
    assert positions({"max_position_embeddings": 514, "model_type": "roberta", "pad_token_id": 1}) == 512
    assert positions({"max_position_embeddings": 514, "model_type": "mpnet", "pad_token_id": 0}) == 512
    assert positions({"n_positions": 1024, "model_type": "gpt2"}) == 1024
    assert positions({"text_config": {"max_position_embeddings": 8192}}) == 8192
    assert positions({"model_type": "mamba"}) is None
    assert longest(512, 128) == 128
    assert longest(512, 10**30) == 512
    assert longest(None, 10**30) is None


def test_a_hash_for_people_is_the_beginning_of_sha256():
    assert short_hash("a") == "ca978112"
