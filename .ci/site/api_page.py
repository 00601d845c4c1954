"""The reference of the Python API: the names of `faceproof.__all__`, for mkdocstrings."""

import inspect
import re
import sys

import faceproof

API = """# Python

What a program or a notebook imports: `import faceproof`. A name is loaded when it is first used, so
that the import itself is quick. What is not named here may change.
"""


def where_defined(name: str) -> str:
    """Return the dotted name under which the source of a public name lies."""
    found = getattr(faceproof, name)
    if hasattr(found, "__qualname__"):
        return f"{found.__module__}.{found.__qualname__}"
    for module in [*sys.modules.values()]:
        inside = getattr(module, "__name__", "").startswith("faceproof.")
        if inside and vars(module).get(name) is found:
            source = inspect.getsource(module)
            if re.search(rf"^{name}\b.*=", source, re.MULTILINE):
                return f"{module.__name__}.{name}"
    raise LookupError(f"nothing says where faceproof.{name} is defined")


def public_names() -> list[str]:
    """Return the names that faceproof exports: functions first, then classes and the like."""
    return sorted(faceproof.__all__, key=lambda name: (not name.islower(), name))


def api_page() -> str:
    """Return the reference of the public names; mkdocstrings puts each in its place."""
    blocks = []
    for name in public_names():
        if inspect.ismodule(getattr(faceproof, name)):
            place = getattr(faceproof, name).__name__
        else:
            place = where_defined(name)
        options = f'    options:\n      heading: "faceproof.{name}"\n      toc_label: "{name}"'
        blocks.append(f"::: {place}\n{options}\n")
    return "\n".join([API, *blocks])
