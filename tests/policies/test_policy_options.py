"""The options of policies: what is refused, and that every legal decoding is accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmbench.policies.options import Hf, Tiny, own_sizes, places
from rmbench.policy import Decoding


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"max_tokens": True}, "max_tokens is True"),
        ({"temperature": -1.0}, "temperature is -1.0, expected a number from 0 to 100"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 0.0, "temperature": 1.0}, "top_p is 0.0"),
        ({"min_p": 1.5, "temperature": 1.0}, "min_p is 1.5"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0"),
        ({"beams": 2, "temperature": 1.0}, "beams is 2, which goes with temperature 0 only"),
        ({"top_k": 5}, "they need a temperature above 0"),
        ({"best_of": 4, "temperature": 1.0}, "one goes with the other"),
        ({"best_of": 4, "best_by": "chrf"}, "with temperature 0 all responses are the same one"),
        ({"stop": ("",)}, "expected texts that are not empty"),
    ],
)
def test_a_wrong_decoding_is_named(given, message):
    with pytest.raises(ValueError, match=message.replace("(", "\\(")):
        Decoding(**given)


@given(
    st.fixed_dictionaries(
        {
            "max_tokens": st.integers(-1, 5),
            "temperature": st.one_of(st.floats(-1, 101), st.just(0.0), st.booleans()),
            "top_k": st.integers(-1, 3),
            "top_p": st.one_of(st.floats(-0.5, 1.5), st.just(1.0)),
            "min_p": st.one_of(st.floats(-0.5, 1.5), st.just(0.0)),
            "beams": st.integers(0, 2),
            "best_of": st.integers(0, 2),
            "best_by": st.sampled_from(["", "chrf"]),
            "repetition_penalty": st.floats(-1, 101),
        }
    )
)
def test_a_decoding_is_made_exactly_where_every_rule_allows_it(fields):
    temperature = fields["temperature"]
    drawn = not isinstance(temperature, bool) and temperature > 0
    legal = (
        fields["max_tokens"] >= 1
        and not isinstance(temperature, bool)
        and 0 <= temperature <= 100
        and fields["top_k"] >= 0
        and 1e-6 <= fields["top_p"] <= 1
        and 0 <= fields["min_p"] <= 1
        and 1e-3 <= fields["repetition_penalty"] <= 100
        and fields["beams"] >= 1
        and fields["best_of"] >= 1
        and (fields["beams"] == 1 or not drawn)
        and (drawn or not (fields["top_k"] or fields["top_p"] < 1 or fields["min_p"]))
        and (fields["best_of"] > 1) == bool(fields["best_by"])
        and (drawn or fields["best_of"] == 1)
    )
    if legal:
        Decoding(**fields)
    else:
        with pytest.raises(ValueError, match="expected|goes with|temperature"):
            Decoding(**fields)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"architecture": "bert"}, "architecture is 'bert'"),
        ({"layers": 0}, "layers is 0"),
        ({"layers": 2000}, "layers is 2,000, expected at most 1,024"),
        ({"width": 100, "heads": 3}, "width is 100, expected a multiple of heads"),
        ({"width": 12, "heads": 4}, "expected an even multiple of heads"),
        ({"vocabulary": 10}, "vocabulary is 10"),
        ({"dropout": 0.1}, "dropout is 0.1, which llama has none of"),
        ({"dropout": 1.0, "architecture": "gpt2"}, "dropout is 1.0"),
        ({"positions": 100, "max_prompt": 90, "max_tokens": 20}, "positions is 100, expected at least"),
        ({"temperature": -1.0}, "temperature"),
    ],
)
def test_a_wrong_option_of_tiny_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        Tiny(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_prompt": 2}, "max_prompt is 2"),
        ({"chat_template": "mine"}, "chat_template is 'mine'"),
        ({"lora_rank": -1}, "lora_rank is -1"),
        ({"lora_alpha": 8}, "lora_alpha is 8 without lora_rank"),
        ({"top_k": 3}, "need a temperature"),
    ],
)
def test_a_wrong_option_of_hf_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        Hf(**given)


def test_positions_hold_prompt_and_response_and_room_for_longer_ones():
    assert places(Tiny(max_prompt=64, max_tokens=40)) == 128
    assert places(Tiny(max_prompt=8, max_tokens=100)) == 256
    assert places(Tiny(positions=1000)) == 1000
    assert own_sizes(Tiny(layers=3, max_prompt=8, temperature=1.0)) == {"layers": 3}
