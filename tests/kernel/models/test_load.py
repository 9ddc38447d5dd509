import json

import folders
import numpy as np
import pytest
import tiny
import torch

from rmbench import kernel
from rmbench.errors import EnvironmentFault, InputError
from rmbench.kernel.models import load as loading
from rmbench.kernel.models.folder import inspect
from rmbench.kernel.models.load import load

ROWS = (["The cat"], ["sat on the mat."])
pytestmark = pytest.mark.filterwarnings("ignore:no-bos")


@pytest.fixture
def llama(tmp_path):
    return folders.save(tmp_path / "model", "llama", folders.bpe("llama"))


def test_a_folder_is_loaded_with_every_weight(llama):
    loaded = load(inspect(llama))
    assert loaded.notes == ()
    assert {name for name, _ in loaded.model.named_parameters()} == set(folders.weights(llama))


@pytest.mark.parametrize("kind", ["words", "bpe"])
def test_the_qwen2_trap_a_tokenizer_that_gives_nothing_is_read_from_its_own_file(kind, tmp_path):
    """Trained here and saved beside a qwen2 config, AutoTokenizer reads it as another class: no tokens, or others."""
    from transformers import AutoTokenizer

    tokenizer = folders.trained(kind)
    folder = folders.save(tmp_path, "qwen2", tokenizer)
    words = "The cat sat"
    auto = AutoTokenizer.from_pretrained(folder, local_files_only=True)(words)["input_ids"]
    assert auto == [] if kind == "words" else auto != tokenizer(words)["input_ids"]
    loaded = load(inspect(folder))
    assert loaded.tokenizer(words)["input_ids"] == tokenizer(words)["input_ids"] != []
    assert loaded.notes[0][0] == "tokenizer-class"
    model = tiny.model("qwen2", vocab_size=len(tokenizer), pad_token_id=0)
    with pytest.warns(UserWarning, match="tokenizer-class: Qwen2Tokenizer cuts texts otherwise"):
        scores = kernel.sequence_scorer(folder)(*ROWS)
    np.testing.assert_allclose(scores, kernel.sequence_scorer(model, tokenizer)(*ROWS), atol=1e-6)


def test_a_tokenizer_object_that_gives_nothing_is_an_error(tmp_path):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    mute = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), eos_token="</s>", pad_token="<pad>")
    assert mute("The cat")["input_ids"] == []
    with pytest.raises(InputError, match="gives no token for"):
        kernel.sequence_scorer(tiny.model("llama"), mute)(*ROWS)
    folder = folders.save(tmp_path, "llama", folders.bpe("llama"))
    mute.save_pretrained(folder)
    with pytest.raises(InputError, match="gives no token for 'Hello world' or any other text"):
        kernel.sequence_scorer(folder)


def test_mixed_dtypes_become_the_one_asked_for(llama):
    weights = folders.weights(llama)
    mixed = {name: w.bfloat16() if "mlp" in name else w.half() if "norm" in name else w for name, w in weights.items()}
    folders.save_weights(llama, mixed)
    for dtype in ("float32", "bfloat16"):
        model = load(inspect(llama), dtype=dtype).model
        assert {weight.dtype for weight in model.parameters()} == {getattr(torch, dtype)}
    assert np.isfinite(kernel.sequence_scorer(llama)(*ROWS)).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("score.weight"), "1 weights are missing: score.weight"),
        (lambda w: w.update({"score.weight": torch.zeros(2, 48)}), "1 weights are of another shape: score.weight"),
        (lambda w: w.update({"other.weight": torch.zeros(2)}), "1 weights are left over: other.weight"),
        (lambda w: w.update({"zz.attn.bias": torch.zeros(4)}), "1 weights are left over: zz.attn.bias"),
        (lambda w: w.update({"transformer.h.0.attn.bias": torch.zeros(4)}), "left over: transformer.h.0.attn.bias"),
        (lambda w: w["model.norm.weight"].fill_(float("nan")), "model.norm.weight hold NaN or infinity"),
        (lambda w: w["score.weight"].fill_(float("-inf")), "score.weight hold NaN or infinity"),
    ],
)
def test_weights_that_would_be_random_or_are_no_numbers_are_refused(llama, change, words):
    weights = folders.weights(llama)
    change(weights)
    folders.save_weights(llama, weights)
    with pytest.raises(InputError, match=words):
        load(inspect(llama))


def test_float16_that_overflows_says_so(llama):
    weights = folders.weights(llama)
    weights["score.weight"].fill_(1e6)
    folders.save_weights(llama, weights)
    with pytest.raises(InputError, match="overflows in float16"):
        load(inspect(llama), dtype="float16")


def test_an_unknown_architecture_and_absurd_sizes_are_refused_before_anything_is_made(llama):
    folders.edit(llama / "config.json", num_hidden_layers=10**9)
    with pytest.raises(InputError, match=r"1,000,000,000 layers, the weights are \d+ tensors"):
        load(inspect(llama))
    folders.edit(llama / "config.json", num_hidden_layers=3, model_type="llamoid")
    with pytest.raises(InputError, match="'llamoid' is not one that transformers knows"):
        load(inspect(llama))
    folders.edit(llama / "config.json", model_type="llama", hidden_size="wide")
    with pytest.raises(InputError, match="config"):
        load(inspect(llama))


def test_too_little_memory_is_said_before_the_weights_are_read(llama, monkeypatch):
    assert loading.free_memory() > 2**20
    monkeypatch.setattr(loading, "free_memory", lambda: 1000)
    with pytest.raises(EnvironmentFault, match="the weights take 0.0 GB in float32"):
        load(inspect(llama))


def test_code_of_a_checkpoint_is_not_run(llama):
    (llama / "evil.py").write_text("raise SystemExit('ran')")
    folders.edit(
        llama / "config.json", auto_map={"AutoModelForSequenceClassification": "evil.Model"}, attn_implementation="sdpa"
    )
    folders.edit(llama / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Slow", "evil.Fast"]})
    loaded = load(inspect(llama))
    assert [name for name, _ in loaded.notes] == ["auto-map"]
    assert type(loaded.model).__module__.startswith("transformers.")
    assert type(loaded.tokenizer).__module__.startswith("transformers.")


def test_a_tokenizer_without_its_file_is_an_error(llama):
    (llama / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="tokenizer"):
        load(inspect(llama))
    (llama / "tokenizer.json").unlink()
    (llama / "tokenizer_config.json").unlink()
    with pytest.raises(InputError, match="token"):
        load(inspect(llama))


def test_an_empty_folder_is_no_tokenizer(tmp_path):
    with pytest.raises(InputError, match="no tokenizer can be read"):
        kernel.sequence_scorer(tiny.model("llama"), tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        kernel.sequence_scorer(tiny.model("llama"), tmp_path / "nowhere")


def test_the_environment_is_as_before(llama, monkeypatch):
    import os

    import huggingface_hub.constants as hub
    from transformers.utils import logging

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "0")
    before = hub.HF_HUB_OFFLINE, logging.get_verbosity(), logging.is_progress_bar_enabled()
    with loading.offline():
        assert hub.HF_HUB_OFFLINE is True
        assert os.environ["HF_HUB_OFFLINE"] == "1"
    load(inspect(llama))
    assert (hub.HF_HUB_OFFLINE, logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert "HF_HUB_OFFLINE" not in os.environ
    assert os.environ["TRANSFORMERS_OFFLINE"] == "0"


def test_loading_says_nothing(llama, capfd):
    load(inspect(llama))
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_sharded_weights_are_read_together(llama):
    weights = folders.weights(llama)
    names = sorted(weights)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    from safetensors.torch import save_file

    for file, part in parts.items():
        save_file({name: weights[name] for name in part}, llama / file, metadata={"format": "pt"})
    (llama / "model.safetensors").unlink()
    where = {name: file for file, part in parts.items() for name in part}
    (llama / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    loaded = load(inspect(llama))
    assert all(torch.equal(weight, weights[name]) for name, weight in loaded.model.named_parameters())


def test_what_is_computed_and_old_masks_may_be_left_over(llama):
    more = {"model.rotary_emb.inv_freq": torch.zeros(4), "transformer.h.0.attn.bias": torch.ones(1, 1, 4, 4).bool()}
    folders.save_weights(llama, folders.weights(llama) | more)
    assert load(inspect(llama)).notes == ()


def test_a_configuration_that_asks_for_tuples_is_not_followed(llama):
    before = kernel.sequence_scorer(llama)(*ROWS)
    folders.edit(llama / "config.json", return_dict=False, torchscript=True)
    assert kernel.sequence_scorer(llama)(*ROWS) == before


def test_a_text_configuration_that_is_none_is_an_error(llama):
    folders.edit(llama / "config.json", text_config={"pad_token_id": 3})
    with pytest.raises(InputError, match="is no configuration of llama"):
        load(inspect(llama))


def test_a_class_that_cannot_read_text_gives_way_to_the_file(llama):
    folders.edit(llama / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    loaded = load(inspect(llama))
    assert [name for name, _ in loaded.notes] == ["tokenizer-class"]
    assert loaded.tokenizer("The cat")["input_ids"] == folders.bpe("llama")("The cat")["input_ids"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"eos_token": "NEW"}, "the tokenizer's eos_token is 'NEW', which tokenizer.json does not have"),
        ({"bos_token": "NEW"}, "the tokenizer's bos_token is 'NEW'"),
        ({"bos_token": ["a"]}, "bos_token is .'a'., expected a text"),
        ({"eos_token": {"content": 5}}, "expected a text"),
    ],
)
def test_an_end_that_the_tokenizer_does_not_have_is_an_error(llama, changes, words):
    model = tiny.model("llama", vocab_size=600, pad_token_id=0)
    model.save_pretrained(llama)
    folders.edit(llama / "tokenizer_config.json", **changes)
    with pytest.raises(InputError, match=words):
        load(inspect(llama))


def test_the_template_is_the_one_that_was_inspected(llama):
    (llama / "additional_chat_templates").mkdir()
    (llama / "additional_chat_templates" / "default.jinja").write_text(folders.CHATML)
    folder = inspect(llama)
    assert folder.template is None
    assert load(folder).tokenizer.chat_template is None


def test_an_error_within_an_error_has_one_help():
    inner = InputError("is missing", where="file", help="give it")
    assert loading._short(inner) == "is missing"
