"""The one exception that a user may see: bad input, with the way out; and what the system refuses, told in its form."""

import contextlib
import errno
import os
import re

COMMAND_LINE = "command line"


class InputError(Exception):
    """Bad input, told in four parts: where, which item, found versus expected, the way out.

    >>> str(InputError("data/train/utt2spk", "2 fields", "1 speaker per line", "Run stage check", item="line 7"))
    'data/train/utt2spk: line 7: found 2 fields; expected 1 speaker per line. Run stage check.'
    """

    def __init__(self, where: object, found: str, expected: str, cure: str, item: object | None = None):
        place = f"{where}" if item is None else f"{where}: {item}"
        self.fault = f"{place}: found {found}; expected {expected}"  # the whole but the way out
        super().__init__(f"{self.fault}. {cure.rstrip('.')}.")
        self.rerun = (cure.stage, cure.force) if isinstance(cure, Rerun) else None

    def within(self, where: object) -> "InputError":
        """The same, with the place that its own lies in before it."""
        return _told(f"{where}: {self}", self.rerun)

    def __reduce__(self) -> tuple:
        """Pickled as its text and way out, so that it comes out of a worker process."""
        return _told, (str(self), self.rerun)


class CannotBeMade(InputError):
    """What this data cannot give, such as a calibration without target trials: left out with its reason where it is
    optional."""


def _told(text: str, way_out: tuple[str, bool] | None) -> InputError:
    error = InputError.__new__(InputError)
    Exception.__init__(error, text)
    error.fault = text
    error.rerun = way_out
    return error


class Rerun(str):
    """A way out that is a stage of run.sh: its words, the stage ("": the one that is running) and whether by force.

    run.sh ends with the command for it: `note_rerun` hands it on.
    """

    stage: str
    force: bool


def rerun(stage: str, words: str = "", force: bool = False, then: bool = False) -> Rerun:
    """The way out of what another run of a stage mends; `words` come first: what may be done besides, or why; `then`:
    what has to be done before, since the stage alone leads to the same error again."""
    command = f"./run.sh ...{f' --stage {stage}' if stage else ''}{' --force' if force else ''}"
    run = f"{'Then run' if then else 'Run'} {f'stage {stage}' if stage else 'the stage'} again ({command})"
    way_out = Rerun(f"{words}. {run}" if words else run)
    way_out.stage, way_out.force = stage, force
    return way_out


def note_rerun(error: Exception, refused: bool = False) -> None:
    """A line `STAGE FORCE` in the file named by PYASP_RERUN, which run.sh sets: where its closing command goes on.

    STAGE is `-` before the first of a run. `refused` where the command line is at fault, as an InputError on it is:
    no closing command repeats it.
    """
    path, way_out = os.environ.get("PYASP_RERUN"), getattr(error, "rerun", None)
    noted = f"{way_out[0] or os.environ.get('PYASP_STAGE', '-')} {str(way_out[1]).lower()}" if way_out else ""
    if refused or str(error).startswith(f"{COMMAND_LINE}: "):
        noted = "refused"
    if path and noted:
        with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as stream:
            stream.write(f"{noted}\n")


AGAIN = "run the same command again: what is complete stays"
REFUSALS = {  # errno: found, expected, the way out
    errno.ENOSPC: ("a full disk", "room to write it", f"Make room and {AGAIN}"),
    errno.EDQUOT: ("a full quota", "room to write it", f"Make room or have the quota raised, and {AGAIN}"),
    errno.EFBIG: ("a limit on the size of files", "room to write it", f"Raise it (ulimit -f) and {AGAIN}"),
    errno.EROFS: ("a read-only file system", "a place to write", f"Mount it writable or name another, and {AGAIN}"),
    errno.EACCES: ("no permission", "a file that this user may read or write", f"Mend its permissions and {AGAIN}"),
    errno.EPERM: ("no permission", "a file that this user may read or write", f"Mend its permissions and {AGAIN}"),
    errno.EMFILE: ("too many open files", "one more", f"Raise the limit (ulimit -n) and {AGAIN}"),
    errno.ENFILE: ("too many open files in the system", "one more", f"Close other programs and {AGAIN}"),
    errno.ENOMEM: (
        "too little memory",
        "enough for it",
        f"Free memory, raise the limit (ulimit -v) or lower --nj or --at-once, and {AGAIN}",
    ),
    errno.ENOENT: ("nothing", "a file", "Check the path"),
    errno.EISDIR: ("a folder", "a file", "Name a file in it"),
    errno.ENOTDIR: ("a file where a folder should be", "a folder", "Check the path"),
    errno.EIO: ("a disk that fails", "one that works", f"Check it, restore what it lost, and {AGAIN}"),
}
TEMPORARY = re.compile(r"^\.(.+)\.\d+\.tmp$")


def final_name(path: str | os.PathLike) -> str:
    """The name that a temporary file is to get."""
    folder, name = os.path.split(os.fspath(path))
    while found := TEMPORARY.match(name):
        name = found[1]
    return os.path.join(folder, name)


def refusal(error: OSError, path: str | os.PathLike | None = None) -> InputError | None:
    """What the system refused, as an InputError on the file it is about (else `path`); None for other errors."""
    if error.errno not in REFUSALS:
        return None
    found, expected, cure = REFUSALS[error.errno]
    written = (
        error.filename2 if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS) else None
    )  # of a copy
    named = next((each for each in (written, error.filename, path) if isinstance(each, (str, os.PathLike))), None)
    return InputError(final_name(named) if named else "a file", f"{found} ({error.strerror})", expected, cure)


def lacks_memory(error: Exception) -> bool:
    """True for what numpy, torch and Python raise when memory or threads run out."""
    texts = ("can't allocate memory", "can't start new thread", "Cannot allocate memory")
    return isinstance(error, MemoryError) or any(text in str(error) for text in texts)


def too_little_memory(words: list[str], error: Exception) -> InputError:
    """An InputError on what the command `words` was to make, its last word."""
    found, expected, cure = REFUSALS[errno.ENOMEM]
    reason = (str(error).splitlines() or [""])[0][:120]
    return InputError(words[-1] if words else "memory", f"{found} ({reason or type(error).__name__})", expected, cure)
