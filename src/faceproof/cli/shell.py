"""Makes one command of the command line from a dataclass of settings.

The fields of the dataclass become arguments (those before `KW_ONLY`) and options (those after it),
with its defaults, and its docstring becomes the help.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from cyclopts import App, ArgumentCollection, CoercionError, Parameter

from faceproof.cli.help_page import HelpPage
from faceproof.errors import FaceproofError


def _default_in_help(value: Any) -> str | None:
    """Return a default as the help shows it; None if there is none, "" if it needs no words."""
    if value is None:
        return None
    if value is False or value in ((), {}):
        return ""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:,.10g}" if isinstance(value, float) else str(value)


def _refuse_words(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse words of which cyclopts would make something else than they say.

    Of a fraction it takes the whole part, where a whole number is meant, and an empty path is the
    folder one is in.
    """
    for argument in arguments:
        kinds = get_args(argument.hint) or (argument.hint,)
        for token in argument.tokens if Path in kinds else ():
            if not token.value.strip():
                raise FaceproofError(
                    f"{argument.name} is empty; name a file or folder (. is the one you are in)"
                )
        for token in argument.tokens if int in kinds else ():
            if _is(float, token.value) and not _is(int, token.value):
                raise CoercionError(argument=argument, token=token, target_type=int)


def _is(kind: type, word: str) -> bool:
    try:
        kind(word)
    except ValueError:
        return False
    return True


def make_app(name: str, text: str, example: str = "") -> App:
    """Return a command, or the whole command line, with the settings that all of them share."""
    return App(
        name=name,
        help=text,
        help_epilogue=example and f"example: {example}",
        help_format="plaintext",
        help_formatter=HelpPage(),
        version_flags=(),
        config=_refuse_words,
        suppress_keyboard_interrupt=False,  # the exit code of an interrupted command is set in main
        default_parameter=Parameter(
            negative_iterable=(), consume_multiple=False, show_default=_default_in_help
        ),
    )


def shell(example: str) -> Callable[[Callable[[Any], int | None]], App]:
    """Turn a function of one dataclass, which returns the exit code or None for 0, into a command.

    Its help ends with the example, a command line.
    """

    def decorate(run: Callable[[Any], int | None]) -> App:
        (settings,) = (kind for name, kind in get_type_hints(run).items() if name != "return")
        text, _, _ = (inspect.getdoc(settings) or "").partition("\nAttributes:")
        app = make_app(run.__module__.rpartition(".")[2], text.strip(), example)

        def call(config: Any) -> int | None:
            return run(config)

        call.__annotations__ = {"config": Annotated[settings, Parameter(name="*")]}
        app.default(call)
        return app

    return decorate
