"""One genealogy for all end-to-end tests."""

from pathlib import Path

import pytest

from tests.end_to_end.library_tree import LibraryTree, read_library


@pytest.fixture(scope="session")
def library() -> LibraryTree:
    return read_library()


@pytest.fixture(scope="session")
def library_csv(library: LibraryTree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("library") / "library.csv"
    path.write_text(library.csv_text())
    return path
