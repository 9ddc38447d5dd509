"""What misbehaves, and what must come of it: the tests and reports/robustness/plugins.py read the same tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Misbehaving:
    """One reward of rewards.py.

    Args:
        name: of the reward.
        does: what it does, in a few words.
        code: the exit code of a run with it.
        says: words that the user sees on stderr, empty where there is nothing to say.
        alone: it is not put into one run with others: they would wait for it, or not be run at all.
        slow: only the report runs it: it imports torch, or burns seconds.
    """

    name: str
    does: str
    code: int
    says: str
    alone: bool = False
    slow: bool = False


def unusable(name: str, does: str, says: str, *, alone: bool = False, slow: bool = False) -> Misbehaving:
    """Return one that cannot be used at all."""
    return Misbehaving(name, does, 3, says, alone, slow)


def faulty(name: str, does: str, says: str, *, alone: bool = False, slow: bool = False) -> Misbehaving:
    """Return one that fails on rows, or fails a check."""
    return Misbehaving(name, does, 1, says, alone, slow)


def harmless(name: str, does: str, says: str, *, alone: bool = False, slow: bool = False) -> Misbehaving:
    """Return one that only leaves traces."""
    return Misbehaving(name, does, 0, says, alone, slow)


REWARDS = (
    unusable("too_short", "returns one score too few", "the result has 17 values for 18 rows"),
    unusable("too_long", "returns one score too many", "the result has 19 values for 18 rows"),
    unusable("generator", "returns a generator", "the result is generator"),
    unusable("nothing", "returns None", "the result is NoneType"),
    unusable("text", "returns a string as long as the batch", "the result is str"),
    unusable("texts", "returns numbers as strings", "the result holds str"),
    unusable("booleans", "returns booleans", "the result holds bool"),
    unusable("one_number", "returns one number for all rows", "the result is float"),
    unusable("two_dimensional", "returns a column of a matrix", "array of shape (18, 1)"),
    unusable("no_dimension", "returns an array without dimension", "array of shape ()"),
    unusable("tensor_with_grad", "returns a tensor that requires grad", "requires grad", slow=True),
    unusable("no_column_score", "returns a mapping without `score`", "no column 'score' (it has fluency)"),
    unusable("column_too_short", "returns a column of other length", "column 'fluency' has 17 values for 18 rows"),
    unusable("column_of_two_lines", "calls a column by two lines", "a column is called 'two\\nlines'"),
    unusable("unreadable", "returns a list that cannot be read", "cannot be read: RuntimeError: not to be read"),
    unusable("raises_always", "raises on every row", "RuntimeError: always"),
    unusable("raises_a_panic", "raises what is no Exception", "PanicException: called `Option::unwrap()`"),
    unusable("raises_the_unspeakable", "raises an error that has no words", "its message cannot be read"),
    unusable("raises_hostile_words", "raises a megabyte of control characters", "RuntimeError: \ufffd[2J\ufffd</script>xx"),
    unusable("interrupts", "raises KeyboardInterrupt", "KeyboardInterrupt"),
    unusable("writes_to_the_batch", "writes to a column", "'tuple' object does not support item assignment"),
    unusable("writes_to_meta", "writes to the meta of a row", "'mappingproxy' object does not support item assignment"),
    unusable("exits", "calls sys.exit(0)", "SystemExit: 0"),
    unusable("exits_hard", "calls os._exit(0)", "the process exited with 0"),
    unusable("forks_and_dies", "dies while its child holds the pipe", "the process exited with 3"),
    unusable("dies_of_alarm", "sets an alarm that nobody handles", "the process was killed by SIGALRM"),
    unusable("hangs", "sleeps for ever", "no answer within 2 s", alone=True),
    unusable("deadlocks", "waits for a lock that it holds", "no answer within 2 s", alone=True),
    unusable("backtracks", "hangs in a C loop that holds the GIL", "no answer within 2 s", alone=True, slow=True),
    unusable("build_raises", "raises while it is built", "it could not be built: LookupError: no model here"),
    unusable("build_exits", "calls sys.exit(0) while it is built", "it could not be built: SystemExit: 0"),
    unusable("build_spins", "never returns from build", "it could not be built: no answer within 2 s", alone=True),
    unusable("builds_nothing", "builds no scorer", "build() returned NoneType"),
    unusable("takes_nothing", "has a scorer without an argument", "takes 0 positional arguments but 1 was given"),
    faulty("non_finite", "returns nan, inf, 1e400 and a float16 overflow", "non-finite: -inf"),
    faulty("non_finite_tensor", "returns a tensor with a nan", "non-finite: nan", slow=True),
    faulty("depends_on_neighbours", "scores by the size of the batch", "canary alone"),
    faulty("raises_on_one_row", "raises on one row", "1 row failed on cats"),
    faulty("crashes_on_one_row", "crashes (SIGSEGV) on one row", "1 row failed on cats"),
    faulty("hangs_on_one_row", "sleeps for ever on one row", "1 row failed on cats", alone=True),
    harmless("odd_column", "calls columns `../../x` and `=1+1|<b>`", ""),
    harmless("keeps_the_batch", "keeps every batch", ""),
    harmless("memory_for_four", "has memory for four rows", "ran out of memory on a batch (scored in smaller ones)"),
    harmless("torch_memory_for_four", "has torch memory for four rows", "ran out of memory on a batch (scored in smaller ones)", slow=True),
    harmless("prints", "prints, and writes to fd 1", "printed to stdout or stderr"),
    harmless("floods", "writes 11 MiB to fd 1", "printed to stdout or stderr"),
    harmless("warns", "warns, and filters the warnings of others", "FutureWarning: soon to be removed"),
    harmless("seeds_random", "seeds Python's RNG", "changed the state of Python's random module (restored)"),
    harmless("seeds_numpy", "seeds numpy's RNG", "changed the state of numpy.random (restored)"),
    harmless("changes_the_folder", "changes the working directory", "changed the working directory (restored)"),
    harmless("changes_the_environment", "sets a variable", "changed the environment (LEFT_BEHIND) (restored)"),
    harmless("changes_the_umask", "sets the umask", "changed the umask (restored)"),
    harmless("changes_the_locale", "sets the locale", "changed the locale (restored)"),
    harmless("changes_signal_handlers", "ignores SIGTERM", "changed the handlers of signals (SIGTERM) (restored)"),
    harmless("changes_the_path", "changes sys.path", "changed sys.path (kept: the process is its own)"),
    harmless("changes_torch", "sets torch's dtype, grad mode, threads, seed", "changed torch's default dtype (restored)"),
    harmless("leaves_a_child", "leaves a child", "left processes running (killed)"),
    harmless("leaves_a_thread", "leaves a thread that is no daemon", "left threads running: Thread-1 (sleep) (killed)", alone=True),
    harmless("close_raises", "raises in close()", "close() raised OSError: already closed"),
    harmless("close_hangs", "hangs in close()", "close() did not return within 2 s (killed)", alone=True),
    harmless("close_exits", "calls os._exit(0) in close()", "close() failed: the process exited with 0"),
    Misbehaving("needs_an_option", "has an option without default", 2,  "needs the option 'path'", alone=True),
)  # fmt: skip


@dataclass(frozen=True)
class Plugin:
    """One distribution.

    Args:
        name: of the distribution and its entry point.
        does: what it does, in a few words.
        code: the exit code of a run beside it.
        says: words that the user sees on stderr.
        source: its module.
        requires: what its metadata ask for.
        entry: name of its entry point, where that is not its own.
    """

    name: str
    does: str
    code: int
    says: str
    source: str
    requires: str = ""
    entry: str | None = None


HOOK = "from rmbench import Reward, hookimpl\n@hookimpl\ndef rmbench_rewards():\n    "
ONE = "def build():\n    return lambda batch: [1.0] * len(batch)\n"
METRIC = """
import os, sys, time
from rmbench import Metric, hookimpl

CALLS = []

def statistic(scores, human):
    {body}

@hookimpl
def rmbench_metrics():
    return [Metric("{name}", 1, ("sample", "pooled", "system"), statistic)]
"""
OBSERVER = """
import os, sys, time
from rmbench import hookimpl

@hookimpl
def rmbench_run_finished(run):
    {body}
"""


def metric(name: str, does: str, says: str, body: str) -> Plugin:
    """Return a plugin with a metric."""
    return Plugin(name, does, 1 if says else 0, says, METRIC.format(name=name, body=body))


def observer(name: str, does: str, says: str, body: str) -> Plugin:
    """Return a plugin with an observer."""
    return Plugin(name, does, 0, says, OBSERVER.format(body=body))


BROKEN = (  # all are left out with a warning
    Plugin("import-raises", "raises when it is imported", 0, "ValueError: no", "raise ValueError('no')"),
    Plugin("import-exits", "exits when it is imported", 0, "SystemExit: 0", "import sys\nsys.exit(0)"),
    Plugin("lacks-package", "lacks a package", 0, "No module named 'no_such_package'", "import no_such_package"),
    Plugin("misspelt-hook", "misspells a hook", 0, "unknown hook 'rmbench_reward'", HOOK.replace("rewards", "reward") + "return []\n"),
    Plugin("newer-hook", "has a hook of a newer release", 0, "(it requires rmbench>=9; this is rmbench",
           HOOK.replace("():", "(budget):") + "return []\n", requires="rmbench>=9"),
    Plugin("newer-name", "imports a name of a newer release", 0, "(it requires rmbench>=9; this is rmbench",
           "from rmbench import NotYet", requires="rmbench>=9"),
    Plugin("hook-raises", "raises in a hook", 0, "RuntimeError: no rewards today", HOOK + "raise RuntimeError('no rewards today')\n"),
    Plugin("hook-none", "returns None from a hook", 0, "rmbench_rewards gave None, expected a list of Reward", HOOK + "pass\n"),
    Plugin("hook-text", "gives a string for a reward", 0, "rmbench_rewards gave str, expected Reward", HOOK + "return ['a']\n"),
    Plugin("name-path", "calls a reward `../x`", 0, "reward name '../x'", HOOK + "return [Reward(name='../x', version=1, build=list)]\n"),
    Plugin("name-lines", "calls a reward by two lines", 0, "reward name 'a\\nb'", HOOK + "return [Reward(name='a\\nb', version=1, build=list)]\n"),
    Plugin("name-twice", "gives a name twice", 0, "rmbench_rewards gave a name twice: a, a", HOOK + "return [Reward(name='a', version=1, build=list)] * 2\n"),
)  # fmt: skip
RUDE = (  # all are used, with a warning or without
    Plugin("first-of-two", "gives a name that another gives", 0, "reward 'of-two' is given by plugin shared (first-of-two 1.2), plugin shared (second-of-two 1.2)",
           ONE + HOOK + "return [Reward(name='of-two', version=1, build=build)]\n", entry="shared"),
    Plugin("second-of-two", "has the entry point's name of another", 0, "the bare name cannot be used; write distribution:of-two",
           ONE + HOOK + "return [Reward(name='of-two', version=1, build=build)]\n", entry="shared"),
    Plugin("changes-at-import", "changes folder, environment, RNG at import", 0, "importing it changed the working directory (restored)",
           "import os, random\nos.chdir('/')\nos.environ['LEFT'] = '1'\nrandom.seed(1)\n"),
    Plugin("path-at-import", "changes sys.path at import", 0, "importing it changed sys.path (restored)", "import sys\nsys.path.insert(0, '/')\n"),
    Plugin("signals-at-import", "ignores Ctrl-C at import", 0, "importing it changed the handlers of signals (SIGINT) (restored)",
           "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"),
    Plugin("prints-at-import", "prints at import", 0, "", "import os\nprint('noise')\nos.write(1, b'noise')\n"),
    Plugin("slow-import", "takes a second to import", 0, "", "import time\ntime.sleep(1)\n"),
)  # fmt: skip
METRICS = (
    metric("metric-raises", "a metric raises", "RuntimeError: no statistic today", "raise RuntimeError('no statistic today')"),
    metric("metric-text", "a metric returns a string", "the statistic holds str", "return '0.5'"),
    metric("metric-exits", "a metric calls os._exit(0)", "the process exited with 0", "os._exit(0)"),
    metric("metric-hangs", "a metric hangs", "no answer within 2 s", "time.sleep(600)"),
    metric("metric-late", "a metric raises on its third call", "IndexError", "CALLS.append(0); return 0.5 if len(CALLS) < 3 else CALLS[9]"),
    metric("metric-nan", "a metric gives nan", "", "return float('nan')"),
    metric("metric-writes", "a metric sorts its columns in place", "", "scores.sort(); return len(scores) / 4"),
)  # fmt: skip
OBSERVERS = (
    observer("observer-raises", "an observer raises", "rmbench_run_finished failed: RuntimeError: no upload", "raise RuntimeError('no upload')"),
    observer("observer-exits", "an observer exits", "rmbench_run_finished failed: SystemExit: 0", "sys.exit(0)"),
    observer("observer-dies", "an observer calls os._exit(0)", "rmbench_run_finished failed: the process exited with 0", "os._exit(0)"),
    observer("observer-hangs", "an observer hangs", "rmbench_run_finished failed: no answer within 2 s", "time.sleep(600)"),
    observer("observer-prints", "an observer prints", "", "print('noise', run.manifest['status'], len(run.rows))"),
)  # fmt: skip
PLUGINS = (*BROKEN, *RUDE, *METRICS, *OBSERVERS)
