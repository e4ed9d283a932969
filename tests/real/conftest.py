"""The browser that several tests share in turn."""

import pytest

from tests.support.browser import start_browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = start_browser(tmp_path_factory.mktemp("browser"))
    yield driver
    driver.quit()
