"""The words of a command line: paths and texts as people have them, for Hydra and for shells.

Hydra reads `KEY=VALUE` by a grammar that takes no accents, brackets, spaces or second `=`. So the
words are changed before Hydra sees them: the value of a setting that holds a path or a text is
quoted for Hydra, and a folder word that Hydra takes for no key (`data.labels.0-real=real`) is
spelled as one. Nothing here knows Hydra itself.

Of a path or text on the command line:

- What exists as a file or folder is that path, whatever its name, and what is to lie below it.
- `null` is no value, what stands wholly in quotes is the text between them, and `${...}` stands for
  another setting, as everywhere in Hydra.
- In a sweep (`-m`, `sweep=`) a comma outside of quotes separates values, and `choice(...)` and its
  like are Hydra's; in a single run a comma is part of the text.
- A `~` at the start of a path is the home folder, as in a shell; `./~` is a name.
"""

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from faceproof.errors import FaceproofError

SETS = r"data\.(?:sets\.[^.=]+\.)*"
# Settings that hold a path, those that hold another text, and those whose key ends with any text.
PATHS = re.compile(
    rf"{SETS}(?:root|file|lists|targets)|model\.weights|resume|run|hydra\.(?:run|sweep)\.dir|hydra\.sweep\.subdir"
    r"|hydra\.sweeper\.storage|distill\.teacher"
)
TEXTS = re.compile(
    rf"{SETS}(?:name|layout|generator)|name|model\.name|model\.backbone\.model"
    r"|hydra\.sweeper\.study_name|hydra\.job\.name"
)
MEANINGS = re.compile(rf"({SETS}(?:labels|splits|generators|columns))\.(.+)", re.DOTALL)
# What Hydra takes for the same text without quotes, and for a part of a key.
PLAIN = re.compile(r"(?ai)(?!(?:null|true|false|nan|inf)\Z)(?:\./|/|[a-z_])[\w./-]*")
KEY = re.compile(r"(?a)[a-zA-Z_$][\w$-]*|0|[1-9][0-9]*")
LISTED = re.compile(r"data=\[.*\]")
SETS_CHOICE = "_sets"  # the file of conf/data/ for several data sets
SPELLED = "$$"  # begins a word that is spelled as a key
QUOTED = re.compile(r"""(?s)"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""")
WHOLE = r""""[^"]*"|'[^']*'|\$\{[^}]*\}"""  # what a comma does not divide
FUNCTION = re.compile(r"(?:choice|glob|range|interval|shuffle|sort|tag|str|int|float|bool)\(.*\)")
# Options of Lightning's trainer that a training reads: those that every file of conf/trainer/ has,
# and those that may be given beside them. Of the rest some are the run's own, such as its
# callbacks, loggers and folder, and some are for Lightning's tests and predictions.
LISTED_OPTIONS = (
    "accelerator", "strategy", "devices", "num_nodes", "precision", "max_epochs",
    "log_every_n_steps", "accumulate_grad_batches", "gradient_clip_val",
)  # fmt: skip
OTHER_OPTIONS = (
    "min_epochs", "max_steps", "min_steps", "max_time", "limit_train_batches", "limit_val_batches",
    "val_check_interval", "check_val_every_n_epoch", "fast_dev_run", "overfit_batches",
    "gradient_clip_algorithm", "deterministic", "benchmark", "inference_mode", "profiler",
    "detect_anomaly", "sync_batchnorm",
)  # fmt: skip
TRAINER_OPTIONS = (*LISTED_OPTIONS, *OTHER_OPTIONS)
# Settings that may be given whatever the file lists: arguments of a function of the user's own, and
# options of Lightning's trainer.
FREE = re.compile(rf"model\.(?:backbone|head)\.\w+|trainer\.(?:{'|'.join(OTHER_OPTIONS)})")
# Options of the entry points that take the next word for their value.
VALUED = ("-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name",
          "-cd", "--config-dir", "--experimental-rerun")  # fmt: skip
# All options of the entry points, besides these; a longer one may be cut short.
OPTIONS = ("-h", "--help", "--hydra-help", "--version", "-i", "--info", "-m", "--multirun", "--run",
           "-r", "--resolve", "-sc", "--shell-completion")  # fmt: skip
# What bash, zsh and PowerShell pass on as it stands. Typographic quotes are quotes to PowerShell.
BARE = re.compile(r"(?a)(?!-.*[.:])[\w./:=+-]+")
SINGLE_QUOTES, DOUBLE_QUOTES = "'\u2018\u2019\u201a\u201b", '"\u201c\u201d\u201e'


def for_hydra(text: str, interpolates: bool = False) -> str:
    """Return a text as the value of an override, quoted where Hydra would read it otherwise.

    With `interpolates`, `${...}` keeps its meaning.
    """
    if PLAIN.fullmatch(text):
        return text
    if not interpolates:
        text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # OmegaConf's escape
    # Hydra's: the backslashes before a quote are doubled, at the end too.
    return '"' + re.sub(r"(\\+)\Z", r"\1\1", re.sub(r'(\\*)"', r'\1\1\\"', text)) + '"'


def for_shell(word: str) -> str:
    """Return a word as bash, zsh and PowerShell take it from the command line.

    A word that no quotes can hold in all of them is quoted for the usual shell of this system.
    """
    if BARE.fullmatch(word):
        return word
    if not any(quote in word for quote in SINGLE_QUOTES):
        return f"'{word}'"
    if not any(special in word for special in DOUBLE_QUOTES + "$`\\!"):
        return f'"{word}"'
    if os.name == "nt":
        return "'" + re.sub(f"([{SINGLE_QUOTES}])", r"\1\1", word) + "'"
    return shlex.quote(word)


def override(key: str, path: str) -> str:
    """Return `key=path` as a shell takes it, for a setting of `PATHS`.

    A name that means something else gets `./` before it.
    """
    special = path in ("latest", "null", "???") or QUOTED.fullmatch(path) or path[:1] == "~"
    return for_shell(f"{key}=./{path}" if special else f"{key}={path}")


def meaning(setting: str, word: str, name: str) -> str:
    """Return the word that gives a folder word a meaning, such as `data.labels.fake=fake`."""
    return for_shell(f"{setting}.{word}={name}")


def prepared(words: Sequence[str], swept: bool | None = None) -> list[str]:
    """Return the words of a command line as Hydra takes them.

    Words that are prepared already stay as they are.

    Args:
        words: what stands behind the name of the program, or overrides.
        swept: whether a comma separates values; None to see it from the words.
    """
    several = _is_sweep(words) if swept is None else swept
    before = ["", *words]
    return [
        word if last in VALUED or word.startswith("-") else _prepared(word, several)
        for last, word in zip(before, words, strict=False)
    ]


def is_option(word: str) -> bool:
    """Say whether a word is an option of the entry points, maybe cut short, as `--multi` is."""
    name = word.partition("=")[0]
    known = (*VALUED, *OPTIONS)
    return name in known or (len(name) > 3 and any(one.startswith(name) for one in known))


def _is_sweep(words: Iterable[str]) -> bool:
    return any(
        word == "-m"
        or (word.startswith("--mu") and "--multirun".startswith(word))
        or (word.startswith("sweep=") and word not in ("sweep=", "sweep=null"))
        or word.lower() == "hydra.mode=multirun"
        for word in words
    )


def _prepared(word: str, several: bool) -> str:
    key, equals, value = word.partition("=")
    if not equals:
        return word
    name = key.lstrip("+")
    if FREE.fullmatch(key) and not TEXTS.fullmatch(key):
        return f"++{key}={value}"  # what it is an argument of refuses what it has not
    if PATHS.fullmatch(name):
        return f"{key}={_value(value, several and not name.startswith('hydra.'), path=True)}"
    if TEXTS.fullmatch(name):
        return f"{key}={_value(value, several and not name.startswith('hydra.'), path=False)}"
    if found := MEANINGS.fullmatch(word.lstrip("+").rpartition("=")[0]):
        value = _value(word.rpartition("=")[2], several, path=False)
        return f"++{found[1]}.{spelled(found[2])}={value}"
    return word if word.isascii() else f"{key}={_pieces_quoted(value)}"


def _value(value: str, several: bool, path: bool) -> str:
    """Return a path or text for Hydra; in a sweep, `several` of them."""
    if path and os.path.lexists(value) and value.rstrip("/") != "~" and value[:2] != "~/":
        return for_hydra(f"./{value}" if value[0] == "~" or value == "???" else value)
    if value in ("", "null", "???") or QUOTED.fullmatch(value):
        return value
    if several and FUNCTION.fullmatch(value):
        return _pieces_quoted(value)
    parts = _split(value) if several else [value]
    if len(parts) > 1:
        return ",".join(_value(part, False, path) for part in parts)
    return for_hydra(at_home(value) if path else value, not (path and _is_below(value)))


def _is_below(path: str) -> bool:
    """Say whether a path lies below a folder that has `${` in its name."""
    above = map(str, Path(path).parents)
    return any("${" in folder and os.path.lexists(folder) for folder in above)


def at_home(path: str) -> str:
    """Return a path with the home folder for a `~` or `~name` at its start, as a shell does."""
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:  # there is no user of that name
        return path


def _split(text: str) -> list[str]:
    """Split a text at the commas outside of quotes and interpolations."""
    parts = []
    for found in re.finditer(rf"((?:{WHOLE}|[^,])*)(,|\Z)", text):
        parts.append(found[1].strip())
        if not found[2]:
            break
    return parts


def _pieces_quoted(value: str) -> str:
    """Quote what Hydra's lexer does not know in a value of its own form, such as a list."""
    return re.sub(
        rf"({WHOLE})|[^\[\](){{}},\"']+",
        lambda found: found[0] if found[1] or found[0].isascii() else for_hydra(found[0].strip()),
        value,
    )


def spelled(word: str) -> str:
    """Return a word as a part of a key of Hydra's; `as_typed` turns it back.

    Examples:
        >>> spelled("celeb-real"), spelled("0-réel")
        ('celeb-real', '$$$30-r$c3$a9el')
    """
    if KEY.fullmatch(word) and not word.startswith(SPELLED):
        return word
    if _is_spelled(word):
        return word  # by an earlier look at the same words
    codes = [
        chr(code) if re.fullmatch(r"(?a)[\w-]", chr(code)) else f"${code:02x}"
        for code in word.encode("utf-8", "surrogateescape")
    ]
    if re.match(r"[\d-]", codes[0]):
        codes[0] = f"${ord(codes[0]):02x}"
    return SPELLED + "".join(codes)


def as_typed(values: Any) -> Any:
    """Return settings with every word that is spelled as a key as it was typed.

    It stands for the same word in a file of `conf/` too.
    """
    if isinstance(values, Mapping):
        plain = {key: as_typed(one) for key, one in values.items() if not _is_spelled(key)}
        typed = {_typed(key): as_typed(one) for key, one in values.items() if _is_spelled(key)}
        return plain | typed
    return [as_typed(one) for one in values] if isinstance(values, list) else values


def _is_spelled(key: Any) -> bool:
    return isinstance(key, str) and bool(re.fullmatch(r"\$\$[\w-]*(\$[0-9a-f]{2}[\w-]*)+", key))


def _typed(key: str) -> str:
    raw = re.sub(
        rb"\$([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()),
        key.removeprefix(SPELLED).encode(),
    )  # fmt: skip
    return raw.decode("utf-8", "surrogateescape")


def with_allowed(words: Sequence[str]) -> list[str]:
    """Return the words with `--allow NAME`, which other commands take, as the setting `allow`.

    Raises:
        FaceproofError: nothing stands behind the last `--allow`.
    """
    kept, names, rest = list[str](), list[str](), iter(words)
    for word in rest:
        option, equals, name = word.partition("=")
        if option != "--allow":
            kept.append(word)
        elif not (name := name if equals else next(rest, "")):
            raise FaceproofError("--allow names no module; give one, as in --allow my_networks")
        else:
            names += name.split(",")
    if names and any(word.startswith("allow=") for word in kept):
        raise FaceproofError("--allow and allow= are two words for one setting; give one of them")
    return [*kept, f"allow=[{','.join(map(for_hydra, names))}]"] if names else kept


def combined(words: Sequence[str]) -> list[str]:
    """Return the words with `data=[a,b]` as one data set that combines these.

    Each is a file of `conf/data/` with all of its settings, below `data.sets`.

    Raises:
        FaceproofError: a data set is named twice.
    """
    found = [word for word in words if LISTED.fullmatch(word)]
    if not found or any(word.startswith("resume=") for word in words):
        return [*words]
    names = [name.strip().strip("\"'") for name in found[-1][len("data=[") : -1].split(",")]
    if names == [""]:
        raise FaceproofError("data=[] names no data set; name one, or leave it out")
    if twice := [name for name in names if names.count(name) > 1]:
        raise FaceproofError(f"{found[-1]} names {twice[0]} more than once; name each set once")
    if len(names) == 1:
        return [f"data={for_hydra(names[0])}" if word in found else word for word in words]
    keys = [spelled(name) for name in names]
    task = f"data.task=${{data.sets.{keys[0]}.task}}"
    pairs = zip(keys, map(for_hydra, names), strict=True)
    sets = [f"+data@data.sets.{key}={name}" for key, name in pairs]
    # First, so that the user's own data.name stands over this one.
    whole = [f"data={SETS_CHOICE}", f"data.name={for_hydra('+'.join(names))}", task, *sets]
    return [*whole, *(word for word in words if word not in found)]


def train_command(overrides: Sequence[str]) -> str:
    """Return the command that trains with these overrides, as one pastes it into a shell.

    Several data sets, which `combined` has spelled out, are a list again.

    >>> train_command(["model=resnet18", "data.root=my photos"])
    "faceproof train model=resnet18 'data.root=my photos'"
    """
    words = [*overrides]
    start = f"data={SETS_CHOICE}"
    if start in words:
        parts = [word for word in words if word.startswith("+data@data.sets.")]
        spelled_out = ("data.name=", "data.task=${data.sets.", "+data@data.sets.")
        begin, end = words.index(start), words.index(start) + 3 + len(parts)
        if all(word.startswith(spelled_out) for word in words[begin + 1 : end]):
            names = ",".join(part.partition("=")[2].strip('"') for part in parts)
            words[begin:end] = [f"data=[{names}]"]
    return " ".join(["faceproof train", *(for_shell(_as_given(word)) for word in words)])


def _as_given(word: str) -> str:
    """Return an override of a free setting without the pluses that `prepared` puts before it."""
    key = word.partition("=")[0].removeprefix("++")
    is_free = FREE.fullmatch(key) and not TEXTS.fullmatch(key)
    return word.removeprefix("++") if is_free else word


def after_epochs(number: int) -> str:
    """Say when something begins that begins once so many epochs are over.

    >>> after_epochs(0), after_epochs(1), after_epochs(2)
    ('from the start', 'after 1 epoch', 'after 2 epochs')
    """
    if number == 0:
        return "from the start"
    return f"after {number} epoch{'s' * (number != 1)}"


def counted(number: int, word: str) -> str:
    """Return a number with its word, which takes an s for all but one."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def percent(share: float) -> str:
    """Write a share with one decimal, but never a share short of all or none as all or none."""
    if 0 < share < 0.0005:
        return "under 0.1%"
    return "over 99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"


def apart(value: float, limit: float, kind: str = ".1%") -> tuple[str, str]:
    """Write a value and the limit that it is beyond, with so many digits that they differ.

    Examples:
        >>> apart(0.0104, 0.01)
        ('1.04%', '1.00%')
        >>> apart(2.0004, 2.0, ".3g")
        ('2.0004', '2')

        `kind` is the format of both, with the fewest digits.
    """
    fewest, letter = int(kind[1:-1]), kind[-1]
    pairs = [
        tuple(f"{one:.{digits}{letter}}" for one in (value, limit))
        for digits in range(fewest, fewest + 17)
    ]
    first, second = next((pair for pair in pairs if pair[0] != pair[1]), pairs[0])
    return first, second
