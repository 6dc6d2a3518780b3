"""Does a potential of Lennard-Jones give the physics of Lennard-Jones? Each check is a module, each answer a number.

Units are reduced: energies in epsilon, lengths in sigma, masses 1. `suite.validate` runs the checks and `suite.report`
prints them; ``ase-kan validate`` is the command.
"""
