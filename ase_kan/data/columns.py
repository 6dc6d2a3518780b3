"""Columns of numbers in a text file, as people and programs write them; nothing is guessed where it matters.

A file is comments (lines that start with ``# % @ !``), then perhaps a line of names and one of units, then rows. What
a column is comes from the names that the caller gives, else from the file's own names (in a plain line or in a
comment), else from its place: r, energy, and a third that is still to be held against the energies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ase_kan.data.units import energy_unit, force_unit, is_default, is_unit, length_unit
from ase_kan.types import Array

#: What a column can be; "gradient" is dE/dr, "error" the standard deviation of the energy, "skip" is not used.
KINDS = ("r", "energy", "force", "gradient", "error", "skip")
#: Suffixes, in lower case, of files that hold columns; others are looked into.
SUFFIXES = (".csv", ".dat", ".txt", ".tsv", ".tab", ".asc")
COMMENTS = ("#", "%", "@", "!")

# Fortran writes D for E, and no letter at all before three digits.
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eEdD]([+-]?\d+)|([+-]\d{3}))?")
_SPECIAL = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eEdD][+-]?\d+)?")
_WORD = re.compile(r"""[^\s"'(\[]+(?:\([^\s()]*\)(?=\s|$|\[))?(?:\s*[(\[][^)\]]*[)\]]+)?""")
_NAMES = {
    "r": "r r_ij rij d x dist distance separation bond bondlength length",
    "energy": "e energy e_int eint e_pot epot pot potential v u phi v(r) e(r) u(r) interaction interaction_energy "
    "pair_energy potential_energy total_energy e_tot etot",
    "force": "f force forces f_r fr f(r) -de/dr -dv/dr -du/dr",
    "error": "error err errors std stddev stderr uncertainty unc e_error energy_error error(e) sigma_e",
    "gradient": "g grad gradient slope derivative de/dr dv/dr du/dr",
}
_KIND_OF = {name: kind for kind, names in _NAMES.items() for name in names.split()}


@dataclass(frozen=True)
class Column:
    """A name in a file: the kind it stands for, if it is understood, and the unit that it states, if any."""

    name: str
    kind: str | None
    unit: str | None

    @classmethod
    def parse(cls, text: str) -> Column:
        """``r``, ``Energy (eV)``, ``E [kcal/mol]``, ``E/eV``, ``r_bohr``."""
        name = text.strip().strip("\"'").strip()
        if bare := _KIND_OF.get(_folded(name)):
            return cls(name, bare, None)
        for sign in "/_":
            head, _, unit = name.partition(sign)
            # Not E_K, which is a kinetic energy.
            if (kind := _KIND_OF.get(_folded(head))) and is_unit(unit) and (sign == "/" or len(unit) > 1):
                return cls(name, kind, unit.strip("()[]"))
        if match := re.fullmatch(r"(.+?)\s*[(\[]([^()\[\]]*)[)\]]", name):
            return cls(name, _KIND_OF.get(_folded(match[1])), match[2].strip())
        return cls(name, None, None)


@dataclass(frozen=True)
class Columns:
    """What a file holds, in Angstrom, eV and eV/Angstrom.

    Attributes
    ----------
    values : dict of str to ndarray, shape (rows,)
        ``"r"``, ``"energy"`` and perhaps ``"force"`` or ``"gradient"``, and ``"error"``.
    named_by : "caller", "file" or None
        Who said what the columns are; None: their places.
    energy_unit : float
        eV per unit of the file's energies.
    """

    values: dict[str, Array]
    named_by: str | None
    energy_unit: float


def is_curve(path: Path) -> bool:
    """Whether a file holds columns of numbers: by its suffix, else by its first rows."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if not path.is_file():
        return path.suffix.lower() == ".out"
    with open(path, "rb") as file:
        start = file.read(1 << 16)
    try:
        lines = [line for _, line in _content(_decode(start))]
    except ValueError:
        return False
    lines = [line for line in lines if line and not line.startswith(COMMENTS)]
    # Structures begin with a number of atoms, or have symbols in their rows; names and units are two lines at most.
    first = next((n for n, line in enumerate(lines[:3]) if _starts_with_number(line)), None)
    return first is not None and all(map(_is_row, lines[first : first + 3]))


def read_columns(path: Path, columns: Sequence[str] | None, units: tuple[str, str] | None) -> Columns:
    """Read a file.

    Parameters
    ----------
    path : Path
    columns : sequence of str, optional
        What each column is (see `KINDS`), from the left; more columns than that are not used.
    units : (str, str), optional
        Of length and energy; forces are energy over length. Default: as the file says, else Angstrom and eV.

    Raises
    ------
    ValueError
        Names the file and the line that is no row of numbers, the column that is not understood or the unknown unit.
    """
    if columns is not None:
        _check_kinds(columns)
    try:
        content = _content(_decode(path.read_bytes()))
        rows, lines, found, comments = _read_rows(content, columns is not None)
        n = rows.shape[1]
        kinds = _kinds(found, columns, n)
        stated = {kind: c.unit for kind, c in zip(kinds, found or (), strict=False) if kind and c.unit is not None}
        if units is None and not {"r", "energy"} <= stated.keys():
            _refuse_unread_units(comments, set(stated.values()))
        scales = _scales(stated, units)
        values = {kind: rows[:, i] * scales[kind] for i, kind in enumerate(kinds) if kind != "skip"}
        for kind, column in values.items():
            bad = np.flatnonzero(~np.isfinite(column) | ((column <= 0) & (kind == "r")))
            if len(bad):
                what = "distances must be positive" if kind == "r" else "remove such points"
                raise ValueError(f"line {lines[bad[0]]}: {kind} is {rows[bad[0], kinds.index(kind)]:g}: {what}")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Columns(values, "caller" if columns else "file" if found else None, scales["energy"])


def _check_kinds(columns: Sequence[str]) -> None:
    if isinstance(columns, str) or any(name not in KINDS for name in columns):
        raise ValueError(f"columns are a list of {', '.join(KINDS)}, from the left, got {columns!r}")
    used = [name for name in columns if name not in ("skip", "error")]
    once = list(columns).count("error") <= 1
    if not once or sorted(used) not in (["energy", "r"], ["energy", "force", "r"], ["energy", "gradient", "r"]):
        raise ValueError(
            "columns must name r and energy once, and force or gradient and error at most once, "
            f"got {','.join(columns)}"
        )


def _kinds(found: list[Column] | None, columns: Sequence[str] | None, n: int) -> list[str]:
    """What each of the n columns is."""
    if columns is not None:
        if len(columns) > n:
            raise ValueError(f"{len(columns)} columns are named, and the file has {n}")
        return [*columns, *["skip"] * (n - len(columns))]
    hint = "say what each is: --columns r,energy,skip or so, in Python columns="
    if found is not None:
        for number, column in enumerate(found, 1):
            if column.kind is None:
                raise ValueError(f"column {number} is named {column.name!r}, which is not understood: {hint}")
        kinds = [column.kind or "" for column in found]
        try:
            _check_kinds(kinds)
        except ValueError:
            names = ", ".join(column.name for column in found)
            raise ValueError(f"the columns are named {names}: {hint}") from None
        return kinds
    if n not in (2, 3):
        raise ValueError(f"need two or three columns (r, energy, force), got {n}" + (f": {hint}" if n > 3 else ""))
    return ["r", "energy", "force"][:n]


def _scales(stated: dict[str, str], units: tuple[str, str] | None) -> dict[str, float]:
    """Units of each kind; those that the caller gives and those that the file states must agree."""
    scales = {}
    given = units or (None, None)
    for kind, unit, parse, default in zip(
        ("r", "energy"), given, (length_unit, energy_unit), ("Angstrom", "eV"), strict=True
    ):
        own = stated.get(kind)
        scales[kind] = parse(unit or own or default)
        if unit and own and is_unit(own) and abs(parse(own) / scales[kind] - 1) > 1e-9:
            raise ValueError(f"the file says {kind} is in {own}, and the units given say {unit}")
    for kind in ("force", "gradient"):
        own = stated.get(kind)
        # Who gives units has the last word on what is not understood.
        use = own is not None and (units is None or is_unit(own))
        scales[kind] = force_unit(own) if use and own else scales["energy"] / scales["r"]
    own = stated.get("error")
    scales["error"] = energy_unit(own) if own and (units is None or is_unit(own)) else scales["energy"]
    return scales


def _read_rows(content: list[tuple[int, str]], named: bool) -> tuple[Array, list[int], list[Column] | None, list[str]]:
    """The numbers, the line of each row, the file's own names (`named`: by the caller, so they may lack), comments."""
    lines = [(number, line) for number, line in content if line and not line.startswith(COMMENTS)]
    first = next((n for n, (_, line) in enumerate(lines) if _starts_with_number(line)), None)
    if first is None:
        raise ValueError("there is no row of numbers")
    separator = _separator(lines[first][1])
    rows: list[list[float]] = []
    for number, line in lines[first:]:
        rows.append([_number(field, number) for field in _fields(line, separator)])
        if len(rows[-1]) != len(rows[0]):
            raise ValueError(f"line {number} has {len(rows[-1])} columns, and the rows before have {len(rows[0])}")
    headers = [line for _, line in lines[:first]]
    comments = [line.strip("".join(COMMENTS)) for n, line in content if n < lines[first][0] and line not in headers]
    found = _names(headers, comments, separator, len(rows[0]), named)
    return np.array(rows), [number for number, _ in lines[first:]], found, [*headers, *comments]


def _decode(raw: bytes) -> str:
    """UTF-8 with or without a byte-order mark, UTF-16 with one, else Latin-1, in which every byte is something."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace")
    if b"\0" in raw:
        raise ValueError("this is not a text file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _content(text: str) -> list[tuple[int, str]]:
    """Numbered lines that are not blank; comments behind a row are cut off."""
    numbered = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [
        (number, line if line.startswith(COMMENTS) else re.split(r"\s*[#!%@]", line, maxsplit=1)[0])
        for number, line in numbered
        if line
    ]


def _separator(row: str) -> str:
    """Of a first row: ";", "," or " " (blanks); "\\t" where commas are decimal ones."""
    if ";" in row:
        return ";"
    if "," in row:
        return "\t" if "\t" in row and re.search(r"\d,\d", row) else ","
    return " "


def _fields(line: str, separator: str) -> list[str]:
    if separator == " ":
        fields = line.split()
    else:
        fields = [field.strip() for field in line.split(separator)]
        if len(fields) > 2 and not fields[-1]:
            fields.pop()  # a separator at the end of the row
    fields = [field.strip("\"'").strip() for field in fields]
    if separator in (";", "\t"):
        fields = [field.replace(",", ".") if _DECIMAL_COMMA.fullmatch(field) else field for field in fields]
    return fields


def _number(field: str, line: int) -> float:
    if match := _NUMBER.fullmatch(field):
        return float(f"{match[1]}e{match[2] or match[3] or 0}")
    if _SPECIAL.fullmatch(field):
        return float(field)
    if not field:
        raise ValueError(f"line {line}: a column is empty")
    hint = ": a decimal comma needs ; or a tab between the columns" if re.search(r"\d\s+[\d.+-]", field) else ""
    raise ValueError(f"line {line}: {field!r} is not a number{hint}")


def _starts_with_number(line: str) -> bool:
    word = re.split(r"[\s;,]", line.lstrip("\"'"), maxsplit=1)[0].strip("\"'")
    return bool(_NUMBER.fullmatch(word) or _SPECIAL.fullmatch(word))


def _is_row(line: str) -> bool:
    if not _starts_with_number(line):
        return False
    try:
        return len([_number(field, 0) for field in _fields(line, _separator(line))]) > 1
    except ValueError:
        return False


def _folded(name: str) -> str:
    return re.sub(r"\s+", "_", name.strip().casefold())


def _split_names(line: str, separator: str, n: int) -> list[Column]:
    """The n names of a line, divided like the rows or in another way; none if there are not n."""
    for sign in dict.fromkeys((separator, ",", ";", "\t")):
        if sign in line and sign != " ":
            columns = [Column.parse(field) for field in line.rstrip(sign).split(sign)]
            if len(columns) == n:
                return columns
    columns = [Column.parse(word) for word in _WORD.findall(line)]
    return columns if len(columns) == n else []


def _names(
    headers: Iterable[str], comments: Iterable[str], separator: str, n: int, lenient: bool
) -> list[Column] | None:
    """The names in the lines before the first row, with the units of a line of units.

    Plain text there must be names, unless `lenient`; of the comments those are taken that name r and energy.
    """
    names: list[Column] | None = None
    plain = list(headers)
    for line in plain or comments:
        columns = _split_names(line, separator, n)
        if columns and names and all(is_unit(c.name) for c in columns):
            names = [Column(a.name, a.kind, b.name.strip("()[]")) for a, b in zip(names, columns, strict=True)]
        elif plain and any(_NUMBER.fullmatch(column.name) for column in columns):
            raise ValueError(f"{line!r} is neither a row of numbers nor names of columns")
        elif columns and ((plain and not names) or {"r", "energy"} <= {c.kind for c in columns}):
            names = columns
        elif plain and not lenient:
            raise ValueError(f"{line!r} does not name {n} columns: put # before it, or say --columns r,energy or so")
    return names


def _refuse_unread_units(comments: Iterable[str], read: set[str]) -> None:
    """Units in free text are not read; other ones than Angstrom and eV there must not be passed over."""
    for line in comments:
        for word in re.split(r"[\s,;:()\[\]=]+", line):
            # Shorter ones, such as K or pm, are words of other kinds too.
            if len(word) > 2 and word not in read and is_unit(word) and not is_default(word):
                raise ValueError(f"a comment speaks of {word!r}: give the units, e.g. --units bohr hartree (or A eV)")
