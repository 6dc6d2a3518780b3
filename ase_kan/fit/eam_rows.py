"""Energies, forces and virials of structures as functions of the unknowns of an embedded-atom potential.

With s_im = sum_j b_m(r_ij) and its gradients, which do not depend on the unknowns, and unit vectors u_ij from i to j:

    rho_i = sum_m c_m s_im
    force on i   = sum_j u_ij [ phi'(r_ij) + F'(rho_i) f_ij'(r_ij) + F'(rho_j) f_ji'(r_ij) ]
    dE/dstrain   = sum_i sum_j u_ij r_ij [ phi'(r_ij) / 2 + F'(rho_i) f_ij'(r_ij) ]

They are linear in phi and F; the derivatives by c follow by the chain rule. Index letters: i, j atoms; m spline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import csr_matrix

from ase_kan.data.structures import Sample
from ase_kan.fit.eam_form import Form, Ranges
from ase_kan.fit.equations import pairs_within
from ase_kan.kan.bsplines import local_basis
from ase_kan.types import VOIGT, Array, Index


class Chunk:
    """Some structures: their sums of splines, labels and weights.

    Parameters
    ----------
    form : Form
    samples : sequence of Sample
    held : sequence of bool
        Which of them are held out.
    baseline : mapping of str to float
        Energies per atom to subtract, eV.
    weights : mapping of str to float
        Of the squared error of one structure of weight 1: of its energy per atom, the mean of its force components,
        the mean of the six components of its virial per atom. Properties left out have no rows.
    """

    def __init__(
        self,
        form: Form,
        samples: Sequence[Sample],
        held: Sequence[bool],
        baseline: Mapping[str, float],
        weights: Mapping[str, float],
    ) -> None:
        self.form = form
        self.counts = np.array([len(sample.atoms) for sample in samples])
        self.begins = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        number_of = {symbol: number for number, symbol in enumerate(form.elements)}
        self.kinds = np.array([number_of[s] for sample in samples for s in sample.atoms.symbols])
        self.members = [np.flatnonzero(self.kinds == a) for a in range(len(form.elements))]
        self.groups = [sample.group for sample in samples]
        self.training = np.repeat(~np.asarray(held), self.counts)
        self._pairs(samples, "virial" in weights and any(sample.virial is not None for sample in samples))
        self._labels(samples, held, baseline, weights)

    def _pairs(self, samples: Sequence[Sample], strained: bool) -> None:
        """Every pair from both of its atoms, sorted by the first, and the sums of splines over them."""
        form, atoms = self.form, len(self.kinds)
        first, second, vectors = [], [], []
        for begin, sample in zip(self.begins, samples, strict=True):
            i, j, d, _ = pairs_within(sample, form.cutoff)
            first += [i + begin, j + begin]
            second += [j + begin, i + begin]
            vectors += [d, -d]
        i, d = np.concatenate(first), np.concatenate(vectors)
        order = np.argsort(i, kind="stable")
        self.i, self.j, d = i[order], np.concatenate(second)[order], d[order]
        self.pointers = np.concatenate([[0], np.cumsum(np.bincount(self.i, minlength=atoms))])
        r = np.sqrt(np.einsum("px,px->p", d, d))
        self.unit, self.distances = d / r[:, None], r
        columns, (value, slope) = local_basis(form.knots, form.k, r, 1)
        kept = (columns >= 0) & (columns < form.size)  # not the splines that reach beyond the cutoff
        self.columns = np.where(kept, columns, 0)
        self.slope = slope * kept
        self.sums = self._sum(value * kept)
        self.pulls = np.stack([self._sum(self.slope * self.unit[:, x, None]) for x in range(3)], axis=1)
        self.strains = None
        if strained:
            parts = (self.slope * (self.unit[:, x] * d[:, y])[:, None] for x, y in zip(*VOIGT, strict=True))
            self.strains = np.stack([self._sum(part) for part in parts], axis=1)

    def _sum(self, values: Array) -> Array:
        """Sums over the neighbors of each atom and element, (atoms, elements * size), of values (pairs, k + 1)."""
        n, size = len(self.form.elements), self.form.size
        where = ((self.i * n + self.kinds[self.j]) * size)[:, None] + self.columns
        flat = np.bincount(where.ravel(), values.ravel(), len(self.kinds) * n * size)
        return np.asarray(flat.reshape(len(self.kinds), n * size))

    def _labels(
        self,
        samples: Sequence[Sample],
        held: Sequence[bool],
        baseline: Mapping[str, float],
        weights: Mapping[str, float],
    ) -> None:
        """Data and square roots of weights of all rows: energies, then forces, then virials; and what each is of."""
        energy, forces, virial = [], [], []
        data, squares, owners = [], [], []
        for q, s in enumerate(samples):
            if s.energy is not None and "energy" in weights:
                lone = sum(baseline[symbol] for symbol in s.atoms.symbols)
                energy.append(q)
                data.append(np.array([(s.energy - lone) / len(s.atoms)]))
                squares.append(np.array([weights["energy"] * s.weight_of("energy")]))
                owners.append(np.array([q]))
        for q, s in enumerate(samples):
            if s.forces is not None and "forces" in weights:
                known = np.flatnonzero(s.labeled)
                of_atoms = np.ones(len(known)) if s.atom_weights is None else s.atom_weights[known]
                forces.append(self.begins[q] + known)
                data.append(s.forces[known].ravel())
                squares.append(np.repeat(of_atoms * weights["forces"] * s.weight_of("forces") / (3 * len(known)), 3))
                owners.append(np.full(3 * len(known), q))
        for q, s in enumerate(samples):
            if s.virial is not None and "virial" in weights:
                virial.append(q)
                data.append(-s.virial[VOIGT] / len(s.atoms))
                squares.append(np.full(6, weights["virial"] * s.weight_of("virial") / 6))
                owners.append(np.full(6, q))
        self.energies = np.array(energy, dtype=np.int64)
        self.forces = np.concatenate([*forces, np.empty(0, dtype=np.int64)])
        self.virials = np.array(virial, dtype=np.int64)
        self.target = np.concatenate(data) if data else np.empty(0)
        self.roots = np.sqrt(np.concatenate(squares)) if squares else np.empty(0)
        self.owners = np.concatenate(owners) if owners else np.empty(0, dtype=np.int64)
        self.training_rows = ~np.asarray(held)[self.owners]
        sizes = (len(self.energies), 3 * len(self.forces), 6 * len(self.virials))
        self.properties = np.repeat(np.arange(3), sizes)

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, np.ndarray))

    def densities(self, c: Array) -> Array:
        """rho, shape (channels, atoms), for c of shape (channels, kinds, size)."""
        return np.stack([np.einsum("im,im->i", self.sums, self._of_atoms(f)) for f in c])

    def moments(self) -> tuple[Array, Array, Index]:
        """Of the sums of splines as c meets them, by element: sums (n, kinds * size), of squares, number of atoms."""
        form = self.form
        placed = self._place(form.density_of, form.kinds, self.sums)
        of = [placed[rows[self.training[rows]]] for rows in self.members]
        squares = np.stack([x.T @ x for x in of])
        return np.stack([x.sum(axis=0) for x in of]), squares, np.array([len(x) for x in of])

    def linear(self, c: Array, ranges: Ranges) -> Array:
        """Rows of the linear problem, weighted: shape (rows, form.linear)."""
        form, n = self.form, len(self.form.elements)
        atoms = np.zeros((len(self.kinds), n))
        atoms[np.arange(len(atoms)), self.kinds] = 1.0
        pairs = (form.pair_of, len(form.pairs))
        free = ~np.array(form.pinned)
        energy = [atoms * free, self._place(*pairs, self.sums) / 2]
        force = [np.zeros((len(atoms), 3, n)), self._place(*pairs, self.pulls)]
        strain = [] if self.strains is None else [np.zeros((len(atoms), 6, n)), self._place(*pairs, self.strains) / 2]
        for channel, f in enumerate(c):
            rho, pull, spread = self._channel(f)
            value, slope = self._embedding(channel, rho, ranges, 1)
            energy.append(value)
            force.append(slope[:, None, :] * pull[:, :, None] + spread(slope))
            if self.strains is not None:
                strain.append(slope[:, None, :] * self._strain(f)[:, :, None])
        return self._rows(energy, force, strain)

    def jacobian(self, c: Array, x: Array, ranges: Ranges) -> Array:
        """Derivatives of the rows times x by c, weighted: shape (rows, form.nonlinear)."""
        form = self.form
        place = (form.density_of, form.kinds)
        density = self._place(*place, self.sums)
        pulls = self._place(*place, self.pulls)
        strains = None if self.strains is None else self._place(*place, self.strains)
        energy, force, strain = [], [], []
        for channel, f in enumerate(c):
            rho, pull, spread = self._channel(f)
            at = slice(form.embedding_at(channel, 0).start, form.embedding_at(channel, len(form.elements) - 1).stop)
            _, slope, curvature = (part @ x[at] for part in self._embedding(channel, rho, ranges, 2))
            energy.append(slope[:, None] * density)
            change = curvature[:, None] * density
            mine = slope[:, None, None] * pulls + pull[:, :, None] * change[:, None, :]
            weighted = [self.slope * (self.unit[:, y] * slope[self.j])[:, None] for y in range(3)]
            theirs = np.stack([self._sum(part) for part in weighted], axis=1)
            force.append(mine + spread(change) + self._place(form.density_of.T, form.kinds, theirs))
            if strains is not None:
                strain.append(slope[:, None, None] * strains + self._strain(f)[:, :, None] * change[:, None, :])
        return self._rows(energy, force, strain)

    def _rows(self, energy: list[Array], force: list[Array], strain: list[Array]) -> Array:
        """Blocks of columns per atom (atoms, [3 or 6,] columns) to weighted rows of the labels."""
        whole = np.concatenate(energy, axis=-1)
        size = self.counts.astype(float)
        energies = np.add.reduceat(whole, self.begins, axis=0)[self.energies] / size[self.energies, None]
        forces = np.concatenate(force, axis=-1)[self.forces].reshape(-1, whole.shape[1])
        parts = [energies, forces]
        if len(self.virials):
            sums = np.add.reduceat(np.concatenate(strain, axis=-1), self.begins, axis=0)[self.virials]
            parts.append((sums / size[self.virials, None, None]).reshape(-1, whole.shape[1]))
        rows: Array = np.concatenate(parts) * self.roots[:, None]
        return rows

    def _place(self, table: Index, blocks: int, values: Array) -> Array:
        """Columns (..., elements of the neighbor * size) moved to the block that the table has for both elements."""
        n, size = len(self.form.elements), self.form.size
        if n == 1:
            return values
        placed = np.zeros((*values.shape[:-1], blocks * size))
        for a, rows in enumerate(self.members):
            for b in range(n):
                to = table[a, b] * size
                placed[rows, ..., to : to + size] += values[rows, ..., b * size : (b + 1) * size]
        return placed

    def _of_atoms(self, f: Array) -> Array:
        """The coefficients that each atom's sums are multiplied by, (atoms, elements * size)."""
        n = len(self.form.elements)
        return np.asarray(f[self.form.density_of].reshape(n, -1)[self.kinds])

    def _channel(self, f: Array) -> tuple[Array, Array, Spread]:
        """rho (atoms,), sum_j f_ij' u_ij (atoms, 3), and the operator sum_j f_ji' u_ij X_j."""
        mine = self._of_atoms(f)
        theirs = f[self.form.density_of[self.kinds[self.j], self.kinds[self.i]][:, None], self.columns]
        slopes = np.einsum("pm,pm->p", self.slope, theirs)
        rho = np.einsum("im,im->i", self.sums, mine)
        return rho, np.einsum("ixm,im->ix", self.pulls, mine), Spread(self, slopes)

    def _strain(self, f: Array) -> Array:
        """sum_j f_ij' u_ij r_ij, shape (atoms, 6)."""
        assert self.strains is not None
        return np.asarray(np.einsum("ixm,im->ix", self.strains, self._of_atoms(f)))

    def _embedding(self, channel: int, rho: Array, ranges: Ranges, derivatives: int) -> list[Array]:
        """Splines of F of all elements at the atoms' densities, each (atoms, elements * embedding_size)."""
        size = self.form.embedding_size
        found = [np.zeros((len(rho), len(self.members) * size)) for _ in range(derivatives + 1)]
        for a, rows in enumerate(self.members):
            parts = ranges.splines(self.form, channel, a, rho[rows], derivatives)
            for whole, part in zip(found, parts, strict=True):
                whole[rows, a * size : (a + 1) * size] = part
        return found


class Spread:
    """X (atoms, n) -> sum_j f_ji' u_ij X_j (atoms, 3, n)."""

    def __init__(self, chunk: Chunk, slopes: Array) -> None:
        shape = (len(chunk.kinds),) * 2
        self.parts = [csr_matrix((slopes * chunk.unit[:, x], chunk.j, chunk.pointers), shape) for x in range(3)]

    def __call__(self, values: Array) -> Array:
        return np.stack([part @ values for part in self.parts], axis=1)
