"""`python -m autokit.cli`."""

from __future__ import annotations

import sys

from autokit.cli import main

if __name__ == "__main__":
    sys.exit(main())
