"""The command ``ase-kan``: one module for each of its commands that is more than a few lines."""
