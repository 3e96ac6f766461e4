"""Plots need no screen, and are closed after each test."""

from collections.abc import Iterator

import matplotlib as mpl
import pytest
from matplotlib import pyplot


@pytest.fixture(autouse=True)
def _without_a_screen() -> Iterator[None]:
    with mpl.rc_context(), mpl.rc_context({"backend": "Agg"}):
        yield
        pyplot.close("all")
