"""A real browser for tests: how it is started, waited for and photographed."""

import os
import shutil
import time
from pathlib import Path

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SCREENSHOTS = os.environ.get("TUNE_SKETCH_SCREENSHOTS")  # a folder: keep what the browser showed, to look at it


def start_browser(profile, *flags):
    """A headless Chromium with its own profile folder, and with further flags, "disable-quic"."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", f"user-data-dir={profile}", *flags):
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
