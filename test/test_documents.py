"""The documents' own specs: each complete one is valid, so no page falls behind the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from robot_qa.spec.loader import load_spec

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'doc').glob('*.md'))]
SPECS = [
    (page.name, text)
    for page in PAGES
    for text in re.findall(r'^```yaml\n(.*?)^```', page.read_text(), re.MULTILINE | re.DOTALL)
    if text.startswith('robot_qa:')
]


@pytest.mark.parametrize('page,text', SPECS)
def test_a_complete_spec_in_a_document_is_valid(page: str, text: str, tmp_path: Path) -> None:
    spec = tmp_path / 'document.qa.yaml'
    spec.write_text(text)
    (tmp_path / 'worlds').mkdir()
    (tmp_path / 'worlds' / 'warehouse.sdf').touch()  # which the documents name
    load_spec(spec)


def test_links_between_documents_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r'\]\(([^)#:]+)\)', page.read_text()):
            assert (page.parent / link).exists(), f'{page.name} links to {link}'


@pytest.mark.parametrize('spec', sorted((ROOT / 'config').glob('*.qa.yaml')), ids=lambda p: p.name)
def test_a_shipped_spec_is_valid(spec: Path) -> None:
    assert load_spec(spec).spec.name
