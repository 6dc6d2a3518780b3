"""Potentials for other programs."""

#: Formats of ``ase-kan export``: the module of each, whose `write_table` writes it.
EXPORTERS = {"lammps": "ase_kan.exports.lammps", "eam": "ase_kan.exports.eam"}
