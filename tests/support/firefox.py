"""A real Firefox for tests, by its own WebDriver BiDi: no driver is needed beside it."""

import json
import re
import shutil
import subprocess

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
FINGER = {"type": "pointer", "id": "finger", "parameters": {"pointerType": "touch"}}


class Firefox:
    """A headless Firefox with its own profile folder and a window of this size, until the end of a `with`."""

    def __init__(self, profile, width, height):
        import websocket

        profile.mkdir()
        command = [FIREFOX, "--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", str(profile)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        seen, found = "", None
        while found is None:
            line = self.process.stdout.readline()
            assert line, f"{command} ended: {seen}"
            seen += line
            found = re.search(r"ws://[\w.]+:\d+", line)
        self.socket = websocket.create_connection(f"{found[0]}/session", timeout=90, suppress_origin=True)
        self.num_sent = 0
        self.send("session.new", capabilities={})
        self.page = self.send("browsingContext.getTree")["contexts"][0]["context"]
        self.send("browsingContext.setViewport", context=self.page, viewport={"width": width, "height": height})

    def __enter__(self):
        return self

    def __exit__(self, *error):
        try:
            self.send("browser.close")
            self.process.wait(20)
        finally:
            self.socket.close()
            self.process.kill()
            self.process.communicate()

    def send(self, method, **params):
        """The answer to a command of https://www.w3.org/TR/webdriver-bidi."""
        self.num_sent += 1
        self.socket.send(json.dumps({"id": self.num_sent, "method": method, "params": params}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == self.num_sent:
                assert answer["type"] == "success", answer
                return answer["result"]

    def open(self, address):
        self.send("browsingContext.navigate", context=self.page, url=address, wait="complete")

    def value(self, expression):
        """The value of an expression of the page, or of its promise."""
        code = f"(async () => JSON.stringify(await ({expression})))()"
        answer = self.send("script.evaluate", expression=code, target={"context": self.page}, awaitPromise=True)
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])

    def touch(self, element, points):
        """A finger's stroke over the element of this id, in px from its corner; the finger stays down."""
        left, top = self.value(f"(({{x, y}}) => [x, y])(document.getElementById('{element}').getBoundingClientRect())")
        moves = [{"type": "pointerMove", "x": round(left + x), "y": round(top + y), "duration": 50} for x, y in points]
        actions = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:]]
        self.send("input.performActions", context=self.page, actions=[FINGER | {"actions": actions}])

    def lift(self):
        up = [{"type": "pointerUp", "button": 0}]
        self.send("input.performActions", context=self.page, actions=[FINGER | {"actions": up}])
