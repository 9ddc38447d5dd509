"""A small policy over letters for the tests of trainers, and data for it."""

import json

import torch
from safetensors.torch import load_file, save_file

from rmbench.api import Batch, Sample, Task, Turn
from rmbench.judged import Judged, Judgements
from rmbench.policy import Decoding, Forward, Response, Scored, Session

LETTERS = "abcdefgh"
END, START, SEP = len(LETTERS), len(LETTERS) + 1, len(LETTERS) + 2
SIZE = len(LETTERS) + 3


class Net(torch.nn.Module):
    def __init__(self, width=24, dropout=0.0):
        super().__init__()
        self.table = torch.nn.Embedding(SIZE, width)
        self.gru = torch.nn.GRU(width, width, batch_first=True)
        self.drop = torch.nn.Dropout(dropout)
        self.head = torch.nn.Linear(width, SIZE)

    def forward(self, ids):
        hidden, _ = self.gru(self.table(ids))
        hidden = self.drop(hidden)
        return self.head(hidden), hidden


class Speller:
    """An ``Agent``: prompt letters, SEP, response letters, END."""

    model = tokenizer = None

    def __init__(self, seed=1, dropout=0.0, most=10**9):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module = Net(dropout=dropout)
        self.most = most
        self.forwards = 0

    def sample(self, samples, n, decoding, *, seed):
        draw = torch.Generator().manual_seed(seed)
        heads = [self._prompt(sample) for sample in samples for _ in range(n)]
        with torch.no_grad():
            rows = self._write(heads, decoding, draw)
        return [tuple(rows[at * n : at * n + n]) for at in range(len(samples))]

    def _write(self, heads, decoding, draw):
        rows, width = [[] for _ in heads], max(map(len, heads))
        for place in range(decoding.max_tokens):
            ids = torch.tensor(
                [(head + row + [0] * width)[: width + place] for head, row in zip(heads, rows, strict=True)]
            )
            ends = torch.tensor([len(head) + len(row) - 1 for head, row in zip(heads, rows, strict=True)])
            logits = self.module(ids)[0][torch.arange(len(rows)), ends]
            p = torch.softmax(logits / (decoding.temperature or 1.0), -1)
            drawn = torch.multinomial(p, 1, generator=draw)[:, 0] if decoding.temperature else p.argmax(-1)
            for row, one in zip(rows, drawn.tolist(), strict=True):
                if END not in row:
                    row.append(one)
        return [self._response(row) for row in rows]

    def _response(self, ids):
        text = "".join(LETTERS[one] for one in ids if one < len(LETTERS))
        return Response(text, tuple(ids), bool(ids) and ids[-1] == END)

    def _prompt(self, sample):
        return [START, *(LETTERS.index(one) for one in sample.prompt), SEP]

    def forward(self, samples, responses):
        self.forwards += 1
        if len(responses) > self.most:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        heads = [[START]] * len(responses) if samples is None else [self._prompt(sample) for sample in samples]
        longest = max(1, *(len(one.ids) for one in responses))
        whole = [head + list(one.ids) for head, one in zip(heads, responses, strict=True)]
        width = max(map(len, whole)) + longest
        logits, hidden = self.module(torch.tensor([row + [0] * (width - len(row)) for row in whole]))
        at = torch.tensor([len(head) - 1 for head in heads])[:, None] + torch.arange(longest)[None, :]
        rows = torch.arange(len(heads))[:, None]
        ids = torch.tensor([list(one.ids) + [0] * (longest - len(one.ids)) for one in responses])
        mask = torch.arange(longest)[None, :] < torch.tensor([len(one.ids) for one in responses])[:, None]
        return Forward(logits[rows, at], ids, mask, hidden[rows, at])

    def encode(self, text, most=None):
        ids = [*(LETTERS.index(one) for one in text), END]
        return self._response(ids[:most])

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: one.contiguous() for name, one in self.module.state_dict().items()}, folder / "model.safetensors"
        )
        (folder / "config.json").write_text(json.dumps({"model_type": "speller"}))

    def load(self, folder):
        self.module.load_state_dict(load_file(folder / "model.safetensors"))
        return self


def bits(agent):
    """The weights as bytes."""
    return b"".join(one.detach().numpy().tobytes() for one in agent.module.state_dict().values())


def sample(number, prompt, *references, context=None):
    return Sample(f"s{number}", prompt, (Turn("user", prompt),), context, references)


def judged(samples):
    return Judged(tuple(samples), Batch((), (), (), (), (), (), (), ()), (), (), ())


def data(train, dev=()):
    task = Task("letters", 1, "generation", {})
    return Judgements(task, judged(train), judged(dev), {"train.jsonl": "0" * 64}, "the dev split")


def copies(count=24, dev=8):
    """Prompts of two letters whose reference is the prompt."""
    words = [a + b for a in LETTERS[:4] for b in LETTERS[:6]]
    rows = [sample(at, words[at * 7 % len(words)], words[at * 7 % len(words)]) for at in range(count + dev)]
    return data(rows[:count], rows[count:])


def share_of_a(samples, texts):
    """The reward: share of letters that are a."""
    return Scored(tuple(text.count("a") / len(text) if text else 0.0 for text in texts))


def session(folder, score=share_of_a, *, max_tokens=4, seed=1, **fields):
    from rmbench.api import Runtime

    def judge(samples, texts):
        return {"share": score(samples, texts), "length": Scored(tuple(float(len(text)) for text in texts))}

    fields.setdefault("start", Speller)
    fields.setdefault("judge", judge)
    return Session(
        folder,
        {"name": "test"},
        Runtime(seed=seed),
        Decoding(max_tokens=max_tokens),
        score=score,
        reward="share",
        **fields,
    )
