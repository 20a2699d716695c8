"""XML elements that know their file, line and column, read with expat.

A world may come from anywhere, so a document type (and with it every entity) is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from robot_qa.errors import Problem

DEEPEST = 100
# Gazebo's own worlds have "--" in comments, which its parser accepts and XML does not.
# Blanks before the declaration are as common, above all in strings.
_DECLARATION = re.compile(rb'\s+<\?xml\s.*?\?>', re.DOTALL)
_COMMENT = re.compile(rb'<!\[CDATA\[.*?\]\]>|<!--(.*?)-->', re.DOTALL)


class XmlError(Exception):
    """A text is not XML, or XML of a kind that is refused; carries the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass
class Source:
    """The text an element stands in: a file, or a string that somebody handed over."""

    name: str
    folder: Path | None
    """Where its relative paths begin; None for a string."""
    version: tuple[int, int] = (1, 11)


@dataclass(eq=False)
class Element:
    """One element; ``line`` and ``column`` of its ``<`` count from 1."""

    name: str
    attributes: dict[str, str]
    source: Source
    line: int
    column: int
    children: list[Element] = field(default_factory=list)
    chunks: list[tuple[int, int, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its own text without the blanks around it."""
        return self.raw_text.strip()

    @property
    def raw_text(self) -> str:
        """Its own text, whose offsets ``place_of_text`` knows."""
        return ''.join(text for _, _, text in self.chunks)

    def child(self, name: str) -> Element | None:
        """Return the first child of that name."""
        return next((one for one in self.children if one.name == name), None)

    def all(self, name: str) -> list[Element]:
        """Return all children of that name."""
        return [one for one in self.children if one.name == name]

    def place(self, message: str) -> Problem:
        """Return a problem at this element."""
        return Problem(self.source.name, self.line, self.column, message)

    def place_of_text(self, offset: int, message: str) -> Problem:
        """Return a problem at a character of ``raw_text``."""
        for line, column, text in self.chunks:
            if offset < len(text):
                return Problem(self.source.name, line, column + offset, message)
            offset -= len(text)
        return self.place(message)


class _Builder:
    """Builds the elements of one text."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.root: Element | None = None
        self.open: list[Element] = []
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters
        self.parser.StartDoctypeDeclHandler = self.doctype

    def here(self, message: str) -> Problem:
        line, column = self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber + 1
        return Problem(self.source.name, line, column, message)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        place = self.here('')
        element = Element(name, attributes, self.source, place.line, place.column)
        if len(self.open) >= DEEPEST:
            raise XmlError(self.here(f'elements are nested deeper than {DEEPEST} levels'))
        if self.open:
            self.open[-1].children.append(element)
        else:
            self.root = element
        self.open.append(element)

    def end(self, name: str) -> None:
        self.open.pop()

    def characters(self, text: str) -> None:
        place = self.here('')
        self.open[-1].chunks.append((place.line, place.column, text))

    def doctype(self, *_: object) -> None:
        raise XmlError(self.here('a document type (<!DOCTYPE>) is not allowed in SDF'))


def _without_dashes(found: re.Match[bytes]) -> bytes:
    """Blank the dashes of a comment; every other character keeps its place."""
    inside: bytes | None = found.group(1)
    return found.group() if inside is None else b'<!--' + inside.replace(b'-', b' ') + b'-->'


def parse(text: bytes, source: Source) -> Element:
    """Return the root element of an XML text; raises XmlError at the first mistake."""
    builder = _Builder(source)
    try:
        found = _DECLARATION.match(text)
        if found is not None:
            text = re.sub(rb'\S', b' ', found.group()) + text[found.end():]
        builder.parser.Parse(_COMMENT.sub(_without_dashes, text), True)
    except expat.ExpatError as error:
        why = expat.ErrorString(error.code)
        place = Problem(source.name, error.lineno, error.offset + 1, f'malformed XML: {why}')
        raise XmlError(place) from None
    except (LookupError, ValueError) as error:
        raise XmlError(builder.here(f'malformed XML: {error}')) from None
    assert builder.root is not None, 'expat accepts no text without an element'
    return builder.root
