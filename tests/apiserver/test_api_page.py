"""docs/api.md says what the server does."""

from pathlib import Path

from netemu.api import kinds
from netemu.apiserver import reference, verbs

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == reference.render(), "run: python -m netemu.apiserver.reference > docs/api.md"


def test_every_subresource_is_served() -> None:
    shown = {(kind.qualified, sub.name) for kind in kinds.SERVED for sub in kind.subresources}
    served = {(k.qualified, s.name) for k in kinds.SERVED for s in k.subresources if verbs.serves(s)}
    assert shown == served
