"""A real browser for tests: whether there is one, how it is started, waited for and photographed."""

import importlib.util
import os
import shutil
import time
from pathlib import Path

import pytest

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER and importlib.util.find_spec("selenium")),
    reason="chromium, chromedriver or the package selenium are not installed",
)
SCREENSHOTS = os.environ.get("TUNE_SKETCH_SCREENSHOTS")  # a folder: keep what the browser showed, to look at it


def start_browser(profile):
    """A headless Chromium with its own profile folder."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    flags = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-dev-shm-usage"]
    flags += ["disable-background-networking", "disable-component-update", "disable-sync"]
    flags += ["window-size=1400,1000", f"user-data-dir={profile}"]
    for flag in flags:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    driver.set_page_load_timeout(90)
    return driver


def wait_until(check, seconds=60):
    """The first true answer of `check`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds} s: {check}"
        time.sleep(0.3)


def keep(browser, name):
    """Save what the browser shows, if asked for."""
    if SCREENSHOTS:
        browser.save_screenshot(str(Path(SCREENSHOTS) / f"{name}.png"))
