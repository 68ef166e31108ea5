"""``python -m hyperagent``: the same as the command ``hyperagent``."""

from __future__ import annotations

import sys

from hyperagent.cli import main

if __name__ == "__main__":
    sys.exit(main())
