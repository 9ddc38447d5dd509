"""A plugin whose rewards misbehave, each in its own way: what comes of each stands in misbehaving.py."""

import ctypes
import locale
import os
import random
import re
import signal
import sys
import threading
import time
import warnings

from rmbench import Reward, hookimpl

GIVEN = []
KEPT = []
BAD_ROW = "row-3#1"


def builder(function):
    """Give the reward that the function builds."""
    GIVEN.append(Reward(name=function.__name__, version=1, build=function))
    return function


def reward(function):
    """Give the reward whose scorer the function is."""

    def build():
        return function

    GIVEN.append(Reward(name=function.__name__, version=1, build=build))
    return function


@hookimpl
def rmbench_rewards():
    return GIVEN


@reward
def good(batch):
    """Score the number of words: the one whose rows must not change."""
    return [float(len(text.split())) for text in batch.responses]


# what it returns


@reward
def too_short(batch):
    return good(batch)[:-1]


@reward
def too_long(batch):
    return [*good(batch), 0.0]


@reward
def generator(batch):
    return (float(len(text)) for text in batch.responses)


@reward
def nothing(batch):
    pass


@reward
def text(batch):
    return "7" * len(batch)


@reward
def texts(batch):
    return ["0.5"] * len(batch)


@reward
def booleans(batch):
    return [True] * len(batch)


@reward
def one_number(batch):
    return 1.0


@reward
def two_dimensional(batch):
    import numpy as np

    return np.ones((len(batch), 1))


@reward
def no_dimension(batch):
    import numpy as np

    return np.array(1.0)


@reward
def tensor_with_grad(batch):
    import torch

    return torch.ones(len(batch), requires_grad=True)


@reward
def no_column_score(batch):
    return {"fluency": good(batch)}


@reward
def column_too_short(batch):
    return {"score": good(batch), "fluency": good(batch)[1:]}


@reward
def odd_column(batch):
    return {"score": good(batch), "../../x": good(batch), "=1+1|<b>\\input{x}": good(batch)}


@reward
def column_of_two_lines(batch):
    return {"score": good(batch), "two\nlines": good(batch)}


@reward
def unreadable(batch):
    class Own(list):
        def __iter__(self):
            raise RuntimeError("not to be read")

    return Own(good(batch))


@reward
def non_finite(batch):
    import numpy as np

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = np.array([1e6]).astype(np.float16)[0]
    odd = [float("nan"), float("inf"), float("-inf"), float("1e400"), 10**400, np.nan, small]
    bad = {f"row-{i}#0": value for i, value in enumerate(odd)}
    return [bad.get(name, 1.0) for name in batch.ids]


@reward
def non_finite_tensor(batch):
    import torch

    return torch.tensor([float("nan") if name == BAD_ROW else 1.0 for name in batch.ids])


@reward
def depends_on_neighbours(batch):
    return [float(len(batch))] * len(batch)


# what it raises


@reward
def raises_always(batch):
    raise RuntimeError("always")


@reward
def raises_on_one_row(batch):
    if BAD_ROW in batch.ids:
        raise ValueError("row three is not to my taste")
    return good(batch)


@reward
def raises_a_panic(batch):
    class PanicException(BaseException):
        """As tokenizers raises it."""

    raise PanicException("called `Option::unwrap()` on a `None` value")


@reward
def raises_the_unspeakable(batch):
    class Unspeakable(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    raise Unspeakable


@reward
def raises_hostile_words(batch):
    raise RuntimeError("\x1b[2J\u202e</script>" + "x" * 10**6)


@reward
def interrupts(batch):
    raise KeyboardInterrupt


@reward
def writes_to_the_batch(batch):
    batch.responses[0] = "better"


@reward
def writes_to_meta(batch):
    batch.meta[0]["seen"] = True


@reward
def keeps_the_batch(batch):
    KEPT.append(batch)
    sorted(batch.responses)
    return good(batch)


@reward
def memory_for_four(batch):
    if len(batch) > 4:
        raise MemoryError
    return good(batch)


@reward
def torch_memory_for_four(batch):
    import torch

    if len(batch) > 4:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return good(batch)


# how it ends


@reward
def exits(batch):
    sys.exit(0)


@reward
def exits_hard(batch):
    os._exit(0)


@reward
def crashes_on_one_row(batch):
    if BAD_ROW in batch.ids:
        ctypes.string_at(0)
    return good(batch)


@reward
def forks_and_dies(batch):
    if os.fork() == 0:
        time.sleep(600)
    os._exit(3)


@reward
def hangs(batch):
    while True:
        time.sleep(1)


@reward
def hangs_on_one_row(batch):
    while BAD_ROW in batch.ids:
        time.sleep(1)
    return good(batch)


@reward
def deadlocks(batch):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


@reward
def backtracks(batch):
    re.match(r"(a+)+$", "a" * 60 + "b")


@reward
def dies_of_alarm(batch):
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(1)
    return good(batch)


# what it leaves behind


@reward
def prints(batch):
    print("noise on stdout")
    os.write(1, b"noise on fd 1\n")
    return good(batch)


@reward
def floods(batch):
    os.write(1, b"x" * 11 * 2**20)
    return good(batch)


@reward
def warns(batch):
    warnings.filterwarnings("ignore", message="of others")
    warnings.warn("soon to be removed", FutureWarning, stacklevel=1)
    return good(batch)


@reward
def seeds_random(batch):
    random.seed(3)
    return good(batch)


@reward
def seeds_numpy(batch):
    import numpy as np

    np.random.seed(3)
    return good(batch)


@reward
def changes_the_folder(batch):
    os.chdir("/")
    return good(batch)


@reward
def changes_the_environment(batch):
    os.environ["LEFT_BEHIND"] = "1"
    return good(batch)


@reward
def changes_the_umask(batch):
    os.umask(0)
    return good(batch)


@reward
def changes_the_locale(batch):
    now = locale.setlocale(locale.LC_ALL)
    locale.setlocale(locale.LC_ALL, "C" if now != "C" else "C.UTF-8")
    return good(batch)


@reward
def changes_signal_handlers(batch):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return good(batch)


@reward
def changes_the_path(batch):
    sys.path.insert(0, "/nowhere")
    return good(batch)


@builder
def changes_torch():
    import torch

    def score(batch):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.manual_seed(3)
        return good(batch)

    return score


@reward
def leaves_a_child(batch):
    if not KEPT and os.fork() == 0:
        with open("children", "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(f"{os.getpid()}\n")
        time.sleep(600)
    KEPT.append(batch)
    return good(batch)


@reward
def leaves_a_thread(batch):
    if not KEPT:
        threading.Thread(target=time.sleep, args=(600,)).start()
    KEPT.append(batch)
    return good(batch)


# how it is made and closed


@builder
def build_raises():
    raise LookupError("no model here")


@builder
def build_exits():
    sys.exit(0)


@builder
def build_spins():
    while True:
        pass


@builder
def builds_nothing():
    pass


@reward
def takes_nothing():
    return [1.0]


@builder
def needs_an_option(path):
    return good


class Closing:
    """A scorer with a close()."""

    def __init__(self, close):
        self.close = close

    def __call__(self, batch):
        return good(batch)


@builder
def close_raises():
    def close():
        raise OSError("already closed")

    return Closing(close)


@builder
def close_hangs():
    return Closing(lambda: time.sleep(600))


@builder
def close_exits():
    return Closing(lambda: os._exit(0))
