"""`python -m faceproof` is the `faceproof` command."""

import sys

from faceproof.cli.main import main

sys.exit(main())
