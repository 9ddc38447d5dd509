r"""A byte-pair encoding learnt from a task's texts, and the files it is kept in: the same bytes for the same texts.

Every text has tokens, since each of the 256 bytes is one; ties between merges are broken by ids, which depend on the
texts alone (WordPiece's, as trained by the same package, depend on the run). Its chat template puts a token for who
speaks before each turn, so that a model sees where a prompt ends and a response begins:
``<s><|user|>prompt\n<|assistant|>response</s>``.

Sennrich et al. 2016, Neural Machine Translation of Rare Words with Subword Units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rmbench.errors import InputError
from rmbench.kernel.models.folder import inspect_tokenizer
from rmbench.store import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
SPEAKERS = ("<|system|>", "<|user|>", "<|assistant|>")
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if not loop.first %}{{ '\\n' }}{% endif %}"
    "{% if message.role in ['system', 'assistant'] %}{{ '<|' + message.role + '|>' }}{% else %}{{ '<|user|>' }}"
    "{% endif %}{{ message.content }}{% endfor %}{{ eos_token }}"
)
FILE, SETTINGS, CHAT = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
HELP = "fit the model again"


def train(texts: Iterable[str], *, vocabulary: int, max_length: int) -> dict[str, bytes]:
    """Learn an encoding and return its files by name.

    Args:
        texts: what it is learnt from; one that occurs twice counts twice.
        vocabulary: most tokens; few texts give fewer.
        max_length: what ``model_max_length`` says.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, min_frequency=2, special_tokens=[*SPECIAL.values(), *SPEAKERS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    made.train_from_iterator((text for text in texts if _sound(text)), trainer)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length, **SPECIAL}
    file = made.to_str(pretty=True) + "\n"
    return {FILE: file.encode(), SETTINGS: canonical(settings), CHAT: TEMPLATE.encode()}


def _sound(text: str) -> bool:
    from rmbench.kernel.models.encode import sound

    return sound(text)


def made_of(files: Mapping[str, bytes], *, where: str = FILE) -> Any:
    """Return the transformers tokenizer of files as ``train`` returns them.

    Raises:
        InputError: they are no tokenizer.
    """
    import json

    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    try:
        settings = json.loads(files[SETTINGS])
        special = {name: str(settings[name]) for name in SPECIAL}
        file = Tokenizer.from_str(files[FILE].decode())
        fast: Any = PreTrainedTokenizerFast
        made = fast(tokenizer_object=file, model_max_length=int(settings["model_max_length"]), **special)
    except Exception as error:
        raise InputError(f"is no tokenizer: {type(error).__name__}: {error}", where=where, help=HELP) from error
    lost = [token for token in special.values() if file.token_to_id(token) is None]
    if lost:
        raise InputError(f"has no token {', '.join(lost)}", where=where, help=HELP)
    made.chat_template = files[CHAT].decode() if CHAT in files else None
    return made


def read(folder: Path) -> Any:
    """Return the tokenizer that ``train``'s files in a folder hold; no code of the folder is run.

    Raises:
        InputError: files missing or damaged.
    """
    inspect_tokenizer(folder)
    lost = [name for name in (FILE, SETTINGS, CHAT) if not (folder / name).is_file()]
    if lost:
        raise InputError(f"is missing: {lost[0]}", where=str(folder / lost[0]), help=HELP)
    return made_of({name: (folder / name).read_bytes() for name in (FILE, SETTINGS, CHAT)}, where=str(folder / FILE))
