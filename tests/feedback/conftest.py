"""Refinements made by the real commands, once for all tests that look at them."""

import pytest
import refined


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return refined.make(tmp_path_factory.mktemp("refined"))
