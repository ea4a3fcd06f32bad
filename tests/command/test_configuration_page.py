"""docs/configuration.md lists every setting, and is fresh."""

from pathlib import Path

from services.shared.config.sections import fields_of
from tools.configuration_page import field_comments, found_sections, page


def test_the_page_is_fresh() -> None:
    path = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert path.read_text(encoding="utf-8") == page(), "docs/configuration.md is stale: run tools/configuration"


def test_every_setting_has_a_comment() -> None:
    sections = found_sections()
    assert "cluster" in sections
    for section, classes in sections.items():
        for settings in classes:
            for name, field in fields_of(settings).items():
                comment = field_comments(field.owner).get(name)
                assert comment, f"[{section}] {name} of {field.owner.__name__} has no `#:` comment"
