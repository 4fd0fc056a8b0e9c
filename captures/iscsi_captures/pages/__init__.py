"""What pages of one file have in common: their look, a policy that lets nothing else in, and text that stays text.

A page names its style sheet and its script by their digests and allows nothing besides, so that what strangers sent
can neither run nor load anything.
"""

from __future__ import annotations

import base64
from hashlib import sha256
from importlib.resources import files

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from iscsi_captures.legible import legible

_UNSAFE_IN_SCRIPT = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def environment(package: str) -> Environment:
    """Templates from the folder `page` of a package; values are escaped, and legible."""
    return Environment(
        loader=PackageLoader(package, "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: legible(value) if type(value) is str else value,
    )


def parts(package: str, name: str) -> dict[str, Markup | str]:
    """What a template puts into its head: style, script, and the digests of both, for the folder `page` of a package.

    The style is the common one and then the page's own, name.css; the script is name.js.
    """
    folder = files(package).joinpath("page")
    common = files("iscsi_captures.pages").joinpath("base.css").read_text("utf-8")
    style = common + folder.joinpath(f"{name}.css").read_text("utf-8")
    script = folder.joinpath(f"{name}.js").read_text("utf-8")
    return {
        "style": Markup(style),  # noqa: S704 - files of these packages
        "script": Markup(script),  # noqa: S704 - a file of the package
        "style_digest": _digest(style),
        "script_digest": _digest(script),
    }


def in_script(value: object) -> Markup:
    """A value as JSON that may stand in a script element: no text in it can end the element or begin a comment."""
    text = msgspec.json.encode(value).decode()
    return Markup(text.translate(_UNSAFE_IN_SCRIPT))  # noqa: S704 - made safe for its place by the translation


def _digest(text: str) -> str:
    return base64.b64encode(sha256(text.encode()).digest()).decode()
