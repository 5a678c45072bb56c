"""tests/distribution.py names tests that exist: a renamed one would run twice, or start last."""

from __future__ import annotations

import pytest

from tests.distribution import BY_TEST, FIRST, WITHOUT_DATABASE, depends_on_the_database
from tests.instances import LEFT_OUT, ROOT


@pytest.mark.parametrize("place", sorted({*BY_TEST, *FIRST, *WITHOUT_DATABASE}))
def test_each_place_exists(place: str) -> None:
    path, _, name = place.partition("::")
    assert (ROOT / path).exists()
    if name:
        assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text()


def test_what_starts_a_product_on_the_database_of_the_suite_is_not_left_out() -> None:
    # without a word about it, a started product has the embedded database
    assert "DATABASE_URL" in LEFT_OUT
    files = {place for place in WITHOUT_DATABASE if place.startswith("tests/e2e/")}
    assert files
    for file in files:
        text = (ROOT / file).read_text()
        assert "own_database" not in text
        assert "running_stack" not in text
        assert "stack: Stack" not in text
        assert 'os.environ["DATABASE_URL"]' not in text
    assert depends_on_the_database("tests/e2e/test_restored_copy.py::test_a")
