"""``python -m shattering``, which ``torchrun -m shattering`` needs."""

from __future__ import annotations

import sys

from shattering.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
