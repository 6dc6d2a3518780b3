"""Units of a file of distances and energies, in ASE's: what one of each is in Angstrom and in eV.

Values are those of `ase.units` (CODATA 2014). Energies per mole are taken per pair of atoms, temperatures as kB T and
wavenumbers as h c / lambda.
"""

from __future__ import annotations

from ase import units

#: Angstrom per unit. Beside the names of `ase.units` those that papers and programs print, in lower case.
LENGTHS: dict[str, float] = {
    "Angstrom": 1.0,
    "nm": units.nm,
    "pm": 1e-3 * units.nm,
    "Bohr": units.Bohr,
}
#: eV per unit.
ENERGIES: dict[str, float] = {
    "eV": 1.0,
    "meV": 1e-3,
    "Hartree": units.Hartree,
    "mHartree": 1e-3 * units.Hartree,
    "Rydberg": units.Rydberg,
    "kcal/mol": units.kcal / units.mol,
    "kJ/mol": units.kJ / units.mol,
    "K": units.kB,
    "cm^-1": units.invcm,
    "J": units.J,
}
_ALIASES: dict[str, str] = {
    **dict.fromkeys(("a", "å", "ang", "angstroms", "ångström", "ångstrom", "ångstrøm"), "Angstrom"),
    **dict.fromkeys(("a0", "a_0", "bohrs", "bohr radius"), "Bohr"),
    **dict.fromkeys(("ha", "eh", "e_h", "hartrees"), "Hartree"),
    **dict.fromkeys(("mha", "meh", "mhartrees", "millihartree"), "mHartree"),
    **dict.fromkeys(("ry", "rydbergs"), "Rydberg"),
    **dict.fromkeys(("kcal mol^-1", "kcal mol-1", "kcal.mol-1", "kcalmol", "kcal_mol"), "kcal/mol"),
    **dict.fromkeys(("kj mol^-1", "kj mol-1", "kj.mol-1", "kjmol", "kj_mol"), "kJ/mol"),
    **dict.fromkeys(("kelvin", "kb"), "K"),
    **dict.fromkeys(("invcm", "cm-1", "1/cm", "cm^{-1}", "cm**-1", "wavenumbers"), "cm^-1"),
}


def _scale(name: str, known: dict[str, float]) -> float | None:
    word = name.strip()
    # A capital M would be mega, which nobody means and nothing here is: MeV is not meV.
    if word.startswith("M"):
        return None
    word = _ALIASES.get(word.casefold(), word).casefold()
    return {key.casefold(): value for key, value in known.items()}.get(word)


def length_unit(name: str) -> float:
    """Angstrom per unit of length; `ValueError` lists the known names."""
    return _known(name, LENGTHS, "length")


def energy_unit(name: str) -> float:
    """eV per unit of energy; `ValueError` lists the known names."""
    return _known(name, ENERGIES, "energy")


def force_unit(name: str) -> float:
    """eV/Angstrom per unit of force, written energy/length: ``Hartree/Bohr``, ``kcal/mol/Angstrom``."""
    energy, slash, length = name.strip().strip("()[]").rpartition("/")
    if not slash:
        raise ValueError(f"unknown unit of force {name!r}: write energy/length, e.g. Hartree/Bohr")
    return energy_unit(energy.strip("()")) / length_unit(length.strip("()"))


def is_unit(name: str) -> bool:
    """Whether this is the name of a unit of length, energy or force."""
    name = name.strip().strip("()[]")
    if _scale(name, LENGTHS) or _scale(name, ENERGIES):
        return True
    energy, _, length = name.rpartition("/")
    return bool(_scale(energy.strip("()"), ENERGIES) and _scale(length.strip("()"), LENGTHS))


def is_default(name: str) -> bool:
    """Whether this is the name of the Angstrom or of eV."""
    return (_scale(name, LENGTHS) or _scale(name, ENERGIES)) == 1.0


def _known(name: str, known: dict[str, float], what: str) -> float:
    scale = _scale(name, known)
    if scale is None:
        raise ValueError(f"unknown unit of {what} {name!r}: choose one of {', '.join(known)}")
    return scale
