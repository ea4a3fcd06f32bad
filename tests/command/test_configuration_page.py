"""docs/configuration.md lists every setting, and is fresh."""

from pathlib import Path

from tools.configuration_page import field_comments, found_sections, page


def test_the_page_is_fresh() -> None:
    path = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert path.read_text(encoding="utf-8") == page(), "docs/configuration.md is stale: run tools/configuration"


def test_every_setting_has_a_comment() -> None:
    sections = found_sections()
    assert "cluster" in sections
    for section, classes in sections.items():
        for settings in classes:
            comments = field_comments(settings)
            for field in settings.__struct_fields__:
                assert comments.get(field), f"[{section}] {field} of {settings.__name__} has no `#:` comment"
