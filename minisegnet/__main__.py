"""`python -m minisegnet` is `minisegnet`."""

import sys

from .cli import main

sys.exit(main())
