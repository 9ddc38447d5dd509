"""Scores of the kernel against the model's own forward pass, a row alone and without padding."""

import threading

import numpy as np
import pytest
import tiny
import torch
import transformers as tf

from rmbench.kernel.models.forward import ModelError, TokenScorer

OTHERS = {
    "mistral": (tf.MistralForSequenceClassification, tf.MistralConfig(**tiny.GROUPED, sliding_window=16)),
    "opt": (
        tf.OPTForSequenceClassification,
        tf.OPTConfig(**tiny.COMMON, **tiny.LONG, hidden_size=48, ffn_dim=96, num_hidden_layers=2, num_attention_heads=4, word_embed_proj_dim=48),
    ),
    "gpt-neox": (tf.GPTNeoXForSequenceClassification, tf.GPTNeoXConfig(**tiny.COMMON, **tiny.WIDE, **tiny.LONG)),
    "deberta": (
        tf.DebertaV2ForSequenceClassification,
        tf.DebertaV2Config(**tiny.COMMON, **tiny.WIDE, **tiny.LONG, relative_attention=True, pos_att_type=["p2c", "c2p"], pooler_hidden_size=48),
    ),
    "gemma": (tf.GemmaForSequenceClassification, tf.GemmaConfig(**tiny.GROUPED, head_dim=12)),
    "gemma2": (tf.Gemma2ForSequenceClassification, tf.Gemma2Config(**tiny.GROUPED, head_dim=12, sliding_window=16)),
    "gemma3": (tf.Gemma3TextForSequenceClassification, tf.Gemma3TextConfig(**tiny.GROUPED, head_dim=12, sliding_window=16)),
    "phi": (tf.PhiForSequenceClassification, tf.PhiConfig(**tiny.COMMON, **tiny.WIDE, **tiny.LONG)),
    "phi3": (tf.Phi3ForSequenceClassification, tf.Phi3Config(**tiny.GROUPED)),
    "bloom": (tf.BloomForSequenceClassification, tf.BloomConfig(**tiny.COMMON, hidden_size=48, n_layer=2, n_head=4)),
    "falcon": (tf.FalconForSequenceClassification, tf.FalconConfig(**tiny.COMMON, hidden_size=48, num_hidden_layers=2, num_attention_heads=4)),
    "electra": (tf.ElectraForSequenceClassification, tf.ElectraConfig(**tiny.COMMON, **tiny.WIDE, **tiny.LONG)),
    "albert": (tf.AlbertForSequenceClassification, tf.AlbertConfig(**tiny.COMMON, **tiny.WIDE, **tiny.LONG)),
    "xlm-roberta": (tf.XLMRobertaForSequenceClassification, tf.XLMRobertaConfig(**tiny.COMMON, **tiny.WIDE, max_position_embeddings=162)),
    "modernbert": (tf.ModernBertForSequenceClassification, tf.ModernBertConfig(**tiny.COMMON, **tiny.WIDE, **tiny.LONG, global_attn_every_n_layers=2, local_attention=16)),
    "qwen2-sliding": (tf.Qwen2ForSequenceClassification, tf.Qwen2Config(**tiny.GROUPED, use_sliding_window=True, sliding_window=8, max_window_layers=1)),
    "t5": (tf.T5ForSequenceClassification, tf.T5Config(**tiny.COMMON, d_model=48, d_kv=12, d_ff=96, num_layers=2, num_heads=4, eos_token_id=0, decoder_start_token_id=1)),
}  # fmt: skip


def other(name, seed=0):
    kind, config = OTHERS[name]
    torch.manual_seed(seed)
    made = kind(config).eval()
    with torch.no_grad():
        for weights in made.parameters():
            weights.add_(torch.randn_like(weights) * 0.1)
    return made


def expected(made, rows):
    return np.array([tiny.alone(made, row) for row in rows])


def apart(scores, truth):
    """Return the largest difference in standard deviations of the scores."""
    return np.abs(scores - truth).max() / truth.std()


@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize("way", ["packed", "padded", "single"])
def test_scores_are_those_of_the_models_own_forward_pass(name, way):
    made, rows = tiny.model(name), tiny.rows()
    truth = expected(made, rows)
    scorer = TokenScorer(made, pad_id=1, way=way, batch_tokens=512)
    assert apart(scorer(rows), truth) < 1e-5
    assert truth.std() > 0.05, "scores that hardly differ show nothing"


@pytest.mark.parametrize("name", tiny.DECODERS)
@pytest.mark.parametrize("budget", [64, 512])
def test_a_shared_prefix_changes_no_score(name, budget):
    made, draw = tiny.model(name), np.random.default_rng(3)
    rows, prefixes = [], []
    for length in (3, 20, 40):
        prompt = draw.integers(2, tiny.VOCABULARY, length)
        for own in (1, 2, 9, 30):
            rows.append(np.concatenate([prompt, draw.integers(2, tiny.VOCABULARY, own)]))
            prefixes.append(length)
    rows.append(rows[0][:3])  # the prompt alone: a row keeps a token of its own
    prefixes.append(3)
    order = draw.permutation(len(rows))
    rows, prefixes = [rows[place] for place in order], [prefixes[place] for place in order]
    scorer = TokenScorer(made, pad_id=1, batch_tokens=budget)
    made_plan = scorer.plan(rows, prefixes)
    assert made_plan.computed < made_plan.real
    assert apart(scorer(rows, prefixes), expected(made, rows)) < 1e-5


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert"])
def test_models_that_read_both_ways_share_nothing(name):
    scorer = TokenScorer(tiny.model(name), pad_id=1)
    rows = [np.r_[2:40, own] for own in range(2, 8)]
    assert scorer.plan(rows, [38] * 6).computed == scorer.plan(rows).real
    assert (scorer(rows, [38] * 6) == scorer(rows)).all()


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("way", [None, "padded"])
def test_every_other_architecture_scores_as_it_does_itself(name, way):
    made, rows = other(name), tiny.rows(12)
    if name == "t5":  # reads at its end-of-text token, which must be there once
        rows = [np.append(row[:-1][row[:-1] != 0], 0) for row in rows]
    truth = expected(made, rows)
    scorer = TokenScorer(made, pad_id=1, way=way, batch_tokens=400)
    assert scorer.way == (way or "single")
    assert apart(scorer(rows), truth) < 1e-5
    assert truth.std() > 1e-3


def test_a_padded_batch_reads_the_last_real_token_of_other_architectures_whatever_it_is():
    made = other("opt")
    made.config.pad_token_id = 5
    rows = [np.array([7, 8, 9, 5]), np.array([7, 8, 5, 5]), np.array([5]), np.arange(2, 30)]
    truth = expected(made, rows)
    assert apart(TokenScorer(made, pad_id=5, way="padded")(rows), truth) < 1e-5
    assert made.config.pad_token_id == 5


def test_a_padded_batch_goes_row_by_row_where_every_id_ends_a_row():
    made = other("opt")
    rows = [np.array([3, token]) for token in range(tiny.VOCABULARY)]
    assert apart(TokenScorer(made, pad_id=1, way="padded")(rows), expected(made, rows)) < 1e-5


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("bert", {"is_decoder": True}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1, "layer_types": None}),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}),
    ],
)
def test_odd_attention_or_positions_are_not_packed(name, changes):
    made = tiny.model(name, **changes)
    scorer, rows = TokenScorer(made, pad_id=1), tiny.rows(8)
    assert scorer.way == "single"
    assert apart(scorer(rows), expected(made, rows)) < 1e-5
    with pytest.raises(ModelError, match="not among the architectures that can be packed"):
        TokenScorer(made, pad_id=1, way="packed")


@pytest.mark.parametrize("rope", ["linear", "llama3", "yarn"])
def test_scaled_rotations_are_packed(rope):
    given = {"rope_type": rope, "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 64}
    given |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0} if rope == "llama3" else {}
    made, rows = tiny.model("llama", rope_parameters=given), tiny.rows(8)
    scorer = TokenScorer(made, pad_id=1)
    assert scorer.way == "packed"
    assert apart(scorer(rows), expected(made, rows)) < 1e-5


def test_gpt2_scales_attention_by_layer_where_it_is_asked_to():
    made, rows = tiny.model("gpt2", scale_attn_by_inverse_layer_idx=True), tiny.rows(8)
    assert apart(TokenScorer(made, pad_id=1)(rows), expected(made, rows)) < 1e-5


def test_a_class_of_the_same_name_from_elsewhere_is_called_as_it_is():
    class LlamaForSequenceClassification(tf.LlamaForSequenceClassification):
        def forward(self, *given, **named):
            found = super().forward(*given, **named)
            found.logits = found.logits + 100
            return found

    made = LlamaForSequenceClassification(tiny.MODELS["llama"][1]).eval()
    assert TokenScorer(made, pad_id=1).way == "single"
    assert TokenScorer(made, pad_id=1)([[2, 3]])[0] > 50


@pytest.mark.parametrize("name", tiny.MODELS)
def test_a_score_does_not_depend_on_the_rows_beside_it(name):
    made, rows = tiny.model(name), tiny.rows(20, longest=60)
    scorer = TokenScorer(made, pad_id=1)
    together = scorer(rows)
    order = np.random.default_rng(1).permutation(len(rows))
    deviation = together.std()
    assert np.abs(scorer([rows[place] for place in order]) - together[order]).max() / deviation < 1e-5
    neighbour = np.full(140, 3)
    for place in range(0, len(rows), 4):
        assert abs(scorer([rows[place]])[0] - together[place]) / deviation < 1e-5
        assert abs(scorer([neighbour, rows[place]])[1] - together[place]) / deviation < 1e-5


@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize("way", ["packed", "padded", "single"])
def test_rows_may_end_with_or_contain_the_padding_token(name, way):
    made = tiny.model(name)
    if name != "roberta":  # numbers its positions by the padding token
        made.config.pad_token_id = 7
        made.config.eos_token_id = 7
    pad = made.config.pad_token_id
    rows = [[5, 6, pad], [5, pad, 6], [5, pad, pad], [pad, 5, 6], [pad], [9] * 20, [pad] * 3]
    truth = expected(made, rows)
    assert apart(TokenScorer(made, pad_id=pad, way=way)(rows), truth) < 1e-5
    assert made.config.pad_token_id == pad


def test_a_left_padding_configuration_or_none_changes_nothing():
    made, rows = tiny.model("llama"), tiny.rows(8)
    truth = TokenScorer(made, pad_id=1)(rows)
    made.config.pad_token_id = None
    made.config.padding_side = "left"
    for way in ("packed", "padded", "single"):
        assert apart(TokenScorer(made, pad_id=0, way=way)(rows), truth) < 1e-5


def test_repeated_rows_are_computed_once():
    made, rows = tiny.model("bert"), tiny.rows(6)
    scorer = TokenScorer(made, pad_id=1)
    once = scorer(rows)
    scorer = TokenScorer(made, pad_id=1)
    twice = scorer([*rows, *rows[::-1], list(rows[0])])
    assert (twice == np.concatenate([once, once[::-1], once[:1]])).all()
    assert scorer.meter.repeated == len(rows) + 1
    assert scorer.meter.rows == 2 * len(rows) + 1
    assert scorer.meter.real == scorer.meter.computed == sum(map(len, rows))


def test_the_label_chooses_the_logit():
    made = tiny.model("distilbert", id2label={0: "bad", 1: "good", 2: "so-so"}, label2id=None)
    with torch.inference_mode():
        logits = made(torch.tensor([[4, 5, 6]])).logits[0].double().numpy()
    for label, index in (("good", 1), (2, 2), ("0", 0)):
        score = TokenScorer(made, pad_id=1, label=label)([[4, 5, 6]])
        assert score == pytest.approx([logits[index]], abs=1e-5)
        assert score.dtype == np.float64
    with pytest.raises(ModelError, match=r"has 3 labels: choose one with label: 0 \(bad\), 1 \(good\), 2 \(so-so\)"):
        TokenScorer(made, pad_id=1)
    for label in ("great", 3, -1, "7"):
        with pytest.raises(ModelError, match=r"the model has 0 \(bad\), 1"):
            TokenScorer(made, pad_id=1, label=label)


@pytest.mark.parametrize("way", ["packed", "padded", "single"])
def test_no_rows_give_no_scores(way):
    scores = TokenScorer(tiny.model("llama"), pad_id=1, way=way)([])
    assert scores.shape == (0,)
    assert scores.dtype == np.float64


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([], "row 1 has no tokens"),
        ([2, tiny.VOCABULARY], "row 1 has the token id 199, the model knows 0 to 198: is this its tokenizer"),
        ([2, -1], "row 1 has the token id -1"),
        ([2] * 161, "row 1 has 161 tokens, the model has positions for 160"),
        ([[2, 3]], r"row 1 has the shape \(1, 2\), expected one sequence of token ids"),
    ],
)
@pytest.mark.parametrize("name", tiny.MODELS)
def test_a_row_that_the_model_cannot_take_is_an_error_before_the_forward_pass(name, row, message):
    made = tiny.model(name)
    made.register_forward_pre_hook(lambda *_: pytest.fail("called"))
    made.base_model.register_forward_pre_hook(lambda *_: pytest.fail("called"))
    with pytest.raises(ModelError, match=message):
        TokenScorer(made, pad_id=1)([[2, 3], row])


def test_prefixes_are_one_for_each_row():
    with pytest.raises(ModelError, match="2 rows, but 1 prefixes"):
        TokenScorer(tiny.model("llama"), pad_id=1)([[2], [3]], [1])


def test_weights_that_are_not_finite_are_an_error():
    for odd in (float("nan"), float("inf")):
        made = tiny.model("gpt2")
        with torch.no_grad():
            made.transformer.h[1].mlp.c_fc.weight[3, 4] = odd
        with pytest.raises(ModelError, match=r"transformer.h.1.mlp.c_fc.weight hold NaN or infinity"):
            TokenScorer(made, pad_id=1)
    made = tiny.model("gpt2")
    with torch.no_grad():
        made.score.weight[0, 0] = 1e6
    with pytest.raises(ModelError, match="score.weight"):  # finite until it is float16
        TokenScorer(made, pad_id=1, dtype="float16")


def test_unknown_choices_are_errors():
    made = tiny.model("gpt2")
    with pytest.raises(ModelError, match="dtype 'int8' is not one of float32, bfloat16, float16"):
        TokenScorer(made, pad_id=1, dtype="int8")
    with pytest.raises(ModelError, match="way 'fast' is not one of packed, padded, single"):
        TokenScorer(made, pad_id=1, way="fast")


def test_mixed_dtypes_become_one():
    made, rows = tiny.model("llama"), tiny.rows(8)
    truth = expected(made, rows)
    made.model.layers[1].to(torch.float64)
    assert apart(TokenScorer(made, pad_id=1)(rows), truth) < 1e-5
    assert {weights.dtype for weights in made.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", ["llama", "roberta"])
def test_bfloat16_is_near_and_asked_for(name):
    made, rows = tiny.model(name), tiny.rows()
    truth = TokenScorer(made, pad_id=1)(rows)
    scorer = TokenScorer(made, pad_id=1, dtype="bfloat16")
    assert 0 < apart(scorer(rows), truth) < 0.5


class Small:
    """A memory that holds a number of tokens: stands before a model's embeddings."""

    def __init__(self, made, tokens, error):
        self.tokens, self.error, self.tried = tokens, error, []
        made.get_input_embeddings().register_forward_pre_hook(self.check)

    def check(self, _, given):
        self.tried.append(given[0].numel())
        if given[0].numel() > self.tokens:
            raise self.error


@pytest.mark.parametrize("way", ["packed", "padded"])
@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: not enough memory: you tried")],
)
def test_out_of_memory_is_answered_by_halves_and_remembered(way, error):
    made, rows = tiny.model("llama"), tiny.rows(60, longest=60)
    truth = expected(made, rows)
    memory = Small(made, 100, error)
    scorer = TokenScorer(made, pad_id=1, way=way, batch_tokens=1000)
    assert apart(scorer(rows), truth) < 1e-5
    assert scorer.meter.splits > 0
    assert scorer.budget <= 128
    memory.tried.clear()
    splits = scorer.meter.splits
    assert apart(scorer(rows), truth) < 1e-5
    assert max(memory.tried) <= 128
    assert scorer.meter.splits - splits <= 1


def test_halves_share_their_prefix_again():
    made = tiny.model("llama")
    rows = [np.r_[2:50, own, own + 1] for own in range(2, 42)]
    truth = expected(made, rows)
    Small(made, 80, torch.OutOfMemoryError("full"))
    scorer = TokenScorer(made, pad_id=1)
    assert apart(scorer(rows, [48] * 40), truth) < 1e-5
    assert scorer.budget <= 80


def test_one_row_that_does_not_fit_is_an_error():
    made = tiny.model("llama")
    Small(made, 10, torch.OutOfMemoryError("full"))
    with pytest.raises(torch.OutOfMemoryError, match="full"):
        TokenScorer(made, pad_id=1)([[2] * 11, [3, 4]])


def test_an_error_that_is_not_about_memory_is_raised():
    made = tiny.model("llama")
    Small(made, 10, RuntimeError("shapes do not match"))
    scorer = TokenScorer(made, pad_id=1)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        scorer([[2] * 11, [3] * 11])
    assert scorer.meter.splits == 0


def test_what_was_planned_is_what_is_computed():
    made, rows = tiny.model("qwen2"), tiny.rows()
    memory = Small(made, 10**9, None)
    scorer = TokenScorer(made, pad_id=1, batch_tokens=300)
    scorer(rows)
    assert memory.tried == [batch.computed for batch in scorer.plan(rows).batches]


def test_threads_may_score_with_one_model_at_the_same_time():
    made, rows = tiny.model("llama"), tiny.rows(30)
    before = made.config._attn_implementation
    truth = expected(made, rows)
    scorers = [TokenScorer(made, pad_id=1, batch_tokens=size) for size in (150, 400, 900)]
    found, own = {}, {}

    def score(number):
        found[number] = [scorers[number](rows) for _ in range(4)]

    def plain():
        own[0] = [expected(made, rows) for _ in range(3)]

    threads = [threading.Thread(target=score, args=(number,)) for number in range(3)] + [threading.Thread(target=plain)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert max(apart(scores, truth) for many in found.values() for scores in many) < 1e-5
    assert made.config._attn_implementation == before
    assert max(apart(scores, truth) for scores in own[0]) < 1e-5


def test_architectures_that_padding_may_change_go_row_by_row_everywhere():
    accelerator = torch.device("cuda")  # the choice only: nothing is put there
    config = tf.XLNetConfig(
        vocab_size=tiny.VOCABULARY, num_labels=1, pad_token_id=1, d_model=48, n_layer=2, n_head=4, d_inner=96
    )
    ways = {}
    for name, made in (("mistral", other("mistral")), ("xlnet", tf.XLNetForSequenceClassification(config).eval())):
        scorer = TokenScorer(made, pad_id=1)
        scorer.device = accelerator
        ways[name] = scorer._usual()
    assert ways == {"mistral": "padded", "xlnet": "single"}


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "bert"])
def test_attention_in_another_direction_than_usual_is_not_packed(name):
    made = tiny.model(name, is_causal=name == "bert")
    rows = tiny.rows(8)
    scorer = TokenScorer(made, pad_id=1)
    assert scorer.way == "single"
    assert apart(scorer(rows, [4] * len(rows)), expected(made, rows)) < 1e-5


def test_a_model_in_train_mode_is_scored_without_dropout_and_trains_on():
    made = tiny.model("bert", hidden_dropout_prob=0.5)
    scorer, rows = TokenScorer(made, pad_id=1), tiny.rows(6)
    truth = scorer(rows)
    made.train()
    made.bert.embeddings.eval()  # a part that its owner keeps still
    assert (scorer(rows) == truth).all()
    assert made.training
    assert made.classifier.training
    assert not made.bert.embeddings.training


def test_threads_may_score_with_a_model_that_looks_for_padding():
    made = other("mistral")
    rows = [np.array([7, 8, 9, end]) for end in (2, 3)] * 40
    truth = expected(made, rows[:2])
    wrong = []

    def run(row):
        scorer = TokenScorer(made, pad_id=1, way="single")
        wrong.extend(abs(scorer([rows[row]])[0] - truth[row]) > 1e-5 for _ in range(40))

    threads = [threading.Thread(target=run, args=(row,)) for row in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 80
    assert not any(wrong)
    assert made.config.pad_token_id == 1
