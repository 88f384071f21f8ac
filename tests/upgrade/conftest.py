"""The release before, installed once."""

import pytest

from tests.upgrade.release_before import VERSION, Release, install


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Its program is `before.hermod`. Fails when the clone lacks its commit."""
    return install(tmp_path_factory.mktemp("before") / VERSION)
