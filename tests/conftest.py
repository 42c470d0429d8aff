"""Data that several test files share."""

import pytest

import dataloader


@pytest.fixture(scope="session")
def ml_100k(tmp_path_factory):
    """The folder of ML-100K's files and splits, fetched from the package index and prepared once for all tests."""
    folder = tmp_path_factory.mktemp("data") / "ML-100K"
    dataloader.prepare("ML-100K", folder, folder)
    return folder
