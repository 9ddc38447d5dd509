import contextlib
import csv
import io
import json
import re
import tomllib
import unicodedata

import inert
import pytest
from conftest import HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from rmbench import guard
from rmbench.cli.terminal import print_json
from rmbench.fragment import fragment
from rmbench.report.escape import JOINERS, code, csv_cell, latex, markdown, plain

ANY = st.text(st.characters(), max_size=60)
TRICKY = st.text(st.sampled_from(list("\\`*_[](){}~$&<>|@#!-+=.1a: /\n\t\r\x1b\u202e\u200b'\"%^")), max_size=30)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("caf\u00e9 \u4e2d\u6587 \U0001f600", "caf\u00e9 \u4e2d\u6587 \U0001f600"),
        ("\x1b[2J\x07\x08\x7f\x9b", "\\x1b[2J\\x07\\x08\\x7f\\x9b"),
        ("a\u202eb\u2066c\u200bd\ufeff", "a\\u202eb\\u2066c\\u200bd\\ufeff"),
        ("a\nb\r\nc\td\re", "a b c d\\x0de"),
        ("\ud800\ufffe\u2028", "\\ud800\\ufffe\\u2028"),
        ("\U000e0041", "\\ue0041"),
    ],
)
def test_plain_shows_what_could_act(text, shown):
    assert plain(text) == shown


def test_plain_with_lines_keeps_lines_and_joiners():
    assert plain("a\r\nb\tc\u200dd\x1b", lines=True) == "a\nb\tc\u200dd\\x1b"


@given(ANY)
@settings(max_examples=100)
def test_plain_leaves_no_control_and_changes_nothing_twice(text):
    shown = plain(text)
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in shown)
    assert plain(shown) == shown
    shown.encode("utf-8")


def tokens_of(source):
    return [
        token
        for block in MarkdownIt("gfm-like", {"linkify": False}).parse(source)
        for token in (block, *(block.children or ()))
    ]


@given(TRICKY)
@settings(max_examples=300)
def test_markdown_reads_as_the_plain_text_and_nothing_else(text):
    found = tokens_of("x " + markdown(text))
    assert {token.type for token in found} <= {
        "paragraph_open",
        "inline",
        "text",
        "text_special",
        "html_inline",
        "paragraph_close",
    }
    assert {token.content for token in found if token.type == "html_inline"} <= {"<!-- -->"}
    read = "".join(token.content for token in found if token.type in ("text", "text_special"))
    assert read == ("x " + plain(text)).rstrip()


@given(TRICKY)
@settings(max_examples=200)
def test_markdown_at_the_start_of_a_line_opens_no_block(text):
    found = tokens_of(markdown(text).strip())
    assert {token.type for token in found if token.type.endswith("_open")} <= {"paragraph_open"}


@given(TRICKY, TRICKY)
@settings(max_examples=100)
def test_markdown_never_splits_a_cell(first, second):
    assert f"| {markdown(first)} | {markdown(second)} |".count("|") == 3


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0.712 [0.690, 0.730]", "0.712 [0.690, 0.730]"),
        ("[1, 2](javascript:x)", "\\[1, 2\\]\\(javascript:x)"),
        ("[x](javascript:alert(1))", "\\[x\\]\\(javascript:alert(1))"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("@user #1 a@b", "@<!-- -->user #<!-- -->1 a@<!-- -->b"),
        ("http://e.example www.e.example", "http&colon;//e.example www&period;e.example"),
        ("- item", "\\- item"),
        ("1. item", "1\\. item"),
        ("-0.5", "-0.5"),
        ("a|b", "a&vert;b"),
    ],
)
def test_markdown_examples(text, shown):
    assert markdown(text) == shown


@given(TRICKY)
@settings(max_examples=200)
def test_code_is_one_code_span(text):
    found = [token for token in tokens_of("x " + code(text)) if token.type != "text"]
    assert [token.content for token in found if token.type == "code_inline"] == [plain(text).strip() or "-"]


def unlatex(text):
    """Read escaped LaTeX back; anything that is not one of the known escapes fails."""
    names = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">",
             "textbar": "|", "textquotedbl": '"'}  # fmt: skip
    out, at = [], 0
    while at < len(text):
        if match := re.compile(r"\\([a-z]+)\{\}").match(text, at):
            out.append(names[match[1]])
            at = match.end()
        elif text[at] == "\\":
            assert text[at + 1] in "&%$#_{}"
            out.append(text[at + 1])
            at += 2
        else:
            assert text[at] not in '&%$#_{}~^<>|"'
            out.append(text[at])
            at += 1
    return "".join(out)


@given(TRICKY)
@settings(max_examples=200)
def test_latex_has_no_live_command(text):
    assert unlatex(latex(text)) == plain(text)


def test_latex_shows_what_pdflatex_cannot_set():
    assert latex("\\input{x} 50% \u00e9 \u4e2d") == r"\textbackslash{}input\{x\} 50\% é [U+4E2D]"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "\n@x", "\uff1d1"])
def test_csv_formulas_get_a_quote(text):
    assert csv_cell(text).startswith("'")


@given(ANY)
@settings(max_examples=100)
def test_csv_cells_never_start_like_a_formula(text):
    written = io.StringIO()
    csv.writer(written).writerow([csv_cell(text), "end"])
    (cell, end), *rest = csv.reader(io.StringIO(written.getvalue()))
    assert (end, rest) == ("end", [])
    assert cell.replace("'", "") == plain(text).replace("'", "")
    assert not [part for part in cell.split(";") if part.lstrip()[:1] in tuple("=+-@")]


@given(TRICKY | ANY)
@settings(max_examples=150)
def test_each_output_of_any_text_is_inert_by_parsers_of_others(text):
    assert (
        inert.markdown(
            f"# {markdown(text)}\n\n| a | b |\n| --- | --- |\n| {markdown(text)} | {code(text.replace('|', ''))} |\n"
        )
        == []
    )
    assert inert.latex(f"\\textbf{{{latex(text)}}}") == []
    assert inert.controls(plain(text)) == []
    assert inert.controls(plain(text, lines=True), "\n\t" + JOINERS) == []


@given(ANY)
@settings(max_examples=100)
def test_words_of_a_message_hold_no_control(text):
    assert inert.controls(guard.plain(text)) == []


def test_words_of_a_message_keep_every_space_and_letter():
    text = "r\xe9sultats\xa0d'\xe9t\xe9 \u7d50\u679c\u3000\u8868 1\u202f000 \u0600\u0661 \ue000"
    assert guard.plain(text) == text
    assert guard.plain("a\tb\nc\x1bd\u200de") == "a b c\ufffdd\ufffde"


@given(
    st.recursive(
        st.none() | st.floats(allow_nan=False, allow_infinity=False) | ANY,
        lambda inside: st.lists(inside) | st.dictionaries(ANY, inside),
        max_leaves=5,
    )
)
@settings(max_examples=100)
def test_json_on_a_terminal_is_the_same_value_without_controls(value):
    with contextlib.redirect_stdout(io.StringIO()) as written:
        print_json(value)
    assert inert.controls(written.getvalue()) == []
    assert json.loads(written.getvalue()) == value


@given(ANY.filter(lambda text: text.isascii() or text.encode("utf-8", "ignore").decode() == text))
@settings(max_examples=100)
def test_toml_on_a_terminal_is_the_same_text_without_controls(text):
    written = fragment("tune", {"name": text, "options": {text: [text]}})
    assert inert.controls(written) == []
    assert tomllib.loads(written)["tune"] == [{"name": text, "options": {text: [text]}}]


def test_hostile_text_is_inert_in_markdown():
    shown = markdown(HOSTILE)
    for live in ("<script", "](", "|", "`b`", "@user", "#1", "\x1b", "\u202e", "http://"):
        assert live not in shown.replace("\\`", "")
