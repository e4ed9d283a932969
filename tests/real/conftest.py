"""The browser that several tests share in turn."""

import pytest

from tests.support.browser import start_browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    quiet = (
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
    )
    driver = start_browser(tmp_path_factory.mktemp("browser"), *quiet, "window-size=1400,1000")
    yield driver
    driver.quit()
