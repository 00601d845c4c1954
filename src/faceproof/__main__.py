"""`python -m faceproof` is the `faceproof` command."""

import sys

from faceproof.cli import main

sys.exit(main())
