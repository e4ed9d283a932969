"""Finds the best way to train a classifier of free-hand sketches, with evidence that can be published."""

import os

__version__ = "0.1.0"

# Ray reads this once, when it is first imported, so it is set before anything here can import Ray. Without it Ray's
# ports, which listen on every interface, run any code that a stranger sends them (CVE-2023-48022).
os.environ["RAY_AUTH_MODE"] = "token"
