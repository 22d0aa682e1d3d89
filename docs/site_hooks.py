"""Hooks of mkdocs: docstrings have Sphinx roles, which mkdocstrings does not know, so only the names are shown."""

import re

ROLE = re.compile(r":(?:class|data|func|meth|mod|attr):(<code>)~?")


def on_page_content(html: str, **_: object) -> str:
    """Return the page with roles removed, so that ``:func:`read_image``` shows as ``read_image``."""
    return ROLE.sub(r"\1", html)
