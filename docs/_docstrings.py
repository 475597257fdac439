"""Lets mkdocstrings show the docstrings of this library.

They are Markdown but for two things, which are put into Markdown here before they are rendered:

* an example is a paragraph that begins with `>>>`, and becomes a block of code;
* a section is a title underlined with dashes and entries up to the next blank line, and becomes a
  list of definitions:

      Parameters
      ----------
      lr : the size of a step
      betas : how much of the moments
          stays from step to step
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.M)
_SECTION = re.compile(
    r"^(Parameters|Attributes|Returns|Raises|Examples)\n-{3,}\n((?:.+\n?)*)", re.M
)
_ENTRY = re.compile(r"^(\S.*?)(?: : (.*))?\n?$")


def markdown(docstring: str) -> str:
    """A docstring of the library as Markdown."""
    return _EXAMPLE.sub(_code, _SECTION.sub(_section, docstring))


def _code(example: re.Match[str]) -> str:
    return f"```pycon\n{example.group().rstrip()}\n```"


def _section(section: re.Match[str]) -> str:
    title, body = section.groups()
    if title == "Examples":
        return body
    lines = [f"**{title}**\n"]
    for line in body.splitlines():
        entry = _ENTRY.match(line)
        if entry is None:  # goes on with the entry above
            first = lines[-1].startswith("`")
            lines.append((":   " if first else "    ") + line.strip())
        else:
            names = ", ".join(f"`{name.strip()}`" for name in entry[1].split(","))
            lines += ["", names] if entry[2] is None else ["", names, f":   {entry[2]}"]
    return "\n".join(lines) + "\n"


class Docstrings(griffe.Extension):
    """Called by griffe for each object that it reads."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
