"""``python -m ase_kan``: the command ``ase-kan``."""

import sys

from ase_kan.cli.main import main

sys.exit(main())
