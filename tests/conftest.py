"""What every test can ask for: `sim`, and the means to test a pytest plugin."""

from collections.abc import Generator

import pytest

pytest_plugins = ["chrono_async.testing.pytest_plugin", "pytester"]


@pytest.hookimpl(wrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One worker more than there are cores: what real servers and processes do takes time in which a core is idle."""
    return (yield) + 1
