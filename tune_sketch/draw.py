"""Opens a local page on which to draw and watch the network of a run recognise it: python -m tune_sketch.draw RUN."""

import argparse
import sys

from tune_sketch.data.paths import path_argument
from tune_sketch.data.screen import print_error
from tune_sketch.inference.cores import leave_a_core_free
from tune_sketch.inference.model import load_classifier


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(prog="python -m tune_sketch.draw", description=__doc__, allow_abbrev=False)
    parser.add_argument("run", type=path_argument, metavar="RUN", help="a run directory")
    parser.add_argument("--port", type=int, default=8765, metavar="N", help="default 8765; 0 takes any free one")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Serve the page until Ctrl-C. Returns the exit code: 2 for an error of the user."""
    arguments = build_parser().parse_args(argv)
    leave_a_core_free()
    try:
        if not 0 <= arguments.port <= 65535:
            raise ValueError(f"--port must be 0 to 65535, got {arguments.port}")
        model = load_classifier(arguments.run)
        # torch, matplotlib and Flask take seconds to import, which errors in the flags need not wait for.
        from tune_sketch.inference.drawing_page import open_server

        server = open_server(model, arguments.port)
    except (ValueError, OSError) as error:
        return print_error(error)
    print(f"draw at  http://{server.host}:{server.server_port}/   (Ctrl-C ends it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
