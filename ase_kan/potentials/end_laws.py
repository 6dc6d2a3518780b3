"""Laws that the ends of a curve support: what a wall and a tail look like to all the data there, not to one point.

With j the end of the data, t = r/j - 1 and s = j/r, the candidates are sums of linear terms with one shape parameter,

    wall   A s^n + B s^(n/2) (+ D),    A exp(-n t) + B exp(-n t/2) (+ D)
    tail   C s^6 + D s^12,  C s^6 + D s^8 (+ E s^10),  C s^n with 3 < n <= 12,  C exp(-n t) (+ D exp(-n t/2)),  0

A wall with A > 0 that is repulsive at j is so, and convex, everywhere below: E' = -(n/2j) u (2 A u + B) with u = exp(-n
t/2) keeps its sign while u grows (likewise for powers). The first wall holds Lennard-Jones (n = 12), the second Morse
and, to a few per cent over a decade of distance, ab initio noble gases, whose walls are exponentials bent by
dispersion. Below an exponent of 3 the energy of a crystal has no limit, so charges (s^1) are for those who ask. Every
candidate is fitted by weighted least squares to a stretch of data; the Bayesian information criterion, N log(residual)
+ parameters log N, takes one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ase_kan.kan.householder import least_squares
from ase_kan.potentials.continuations import Continuation, Deviation
from ase_kan.types import Array

#: Shape parameters that are tried.
WALL_EXPONENTS = np.arange(5.0, 40.25, 0.25)
TAIL_EXPONENTS = np.arange(3.25, 12.25, 0.25)
TAIL_RATES = np.arange(3.0, 30.25, 0.25)
STEP = 0.25
#: Dispersion is what neutral atoms have: another tail must be better by this much, strong evidence (R. E. Kass, A. E.
#: Raftery, J. Am. Stat. Assoc. 90, 773, 1995).
MARGIN = 10.0
#: And nothing at all is believed unless something is better by this much: noise has a sign too.
NOTHING_MARGIN = 6.0
#: And each further term of dispersion must be: noise that terms of opposite sign take up grows beyond the data.
MORE_MARGIN = 6.0
#: The stretch of a tail, and of a wall, as a part of the range of the data: the longest that a law fits.
TAIL_PARTS = (0.4, 0.3, 0.2)
WALL_PARTS = (0.3, 0.2, 0.15, 0.1, 0.05)
#: A law fits if its residuals are below this part of the energies, or explained by the noise up to this factor.
MISFIT, NOISE_FACTOR = 0.01, 1.5
#: And it is the very law if they are below this part.
EXACT = 1e-7
#: Fewest points that a law is fitted to.
FEWEST = 4
#: Residuals that noise does not explain count as so many independent data.
FORM_DATA = 4.0
#: Laws in the spread of an end: most of them, and the least weight.
MOST_ALTERNATIVES, LEAST_WEIGHT = 8, 1e-3
#: A tail is not determined if its energy beyond the data is known to less than this part.
VAGUE = 0.2


@dataclass(frozen=True)
class Stretch:
    """Part of a curve with its noise.

    Parameters
    ----------
    r, energy : ndarray, shape (m,)
        Angstrom, eV.
    noise : ndarray, shape (m,)
        Standard deviation of the energies, eV.
    force : ndarray, shape (m,), optional
    force_noise : ndarray, shape (m,), optional
        eV/Angstrom.
    """

    r: Array
    energy: Array
    noise: Array
    force: Array | None = None
    force_noise: Array | None = None

    def part(self, low: float, high: float) -> Stretch:
        mask = (self.r >= low) & (self.r <= high)
        return Stretch(*(None if a is None else a[mask] for a in vars(self).values()))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.r)


@dataclass(frozen=True)
class EndLaw:
    """A law that was fitted to an end of the data.

    Parameters
    ----------
    law : Continuation
    errors : ndarray, shape (3,)
        Standard errors of E, r E' and r^2 E'' at the joint, eV.
    misfit : float
        RMS residual over the standard deviation of the energies.
    explained : float
        RMS residual over noise.
    criterion : float
        BIC.
    vague : float
        Standard error of the integral of E r^2 beyond the joint over that integral (tails).
    spread : tuple of Deviation
        The other laws that the data allow, each with the root of its weight, and the errors of this one's terms.
    """

    law: Continuation
    errors: Array
    misfit: float
    explained: float
    criterion: float
    vague: float = 0.0
    spread: tuple[Deviation, ...] = ()

    def derivatives(self) -> Array:
        """E, r E' and r^2 E'' at the joint, eV."""
        return np.concatenate(_derivatives(self.law, np.array([self.law.joint])))

    @property
    def exact(self) -> bool:
        """Whether noise (or rounding) explains the residuals: a law that is only near the data must not bend a fit."""
        return self.explained <= NOISE_FACTOR or self.misfit <= EXACT

    @property
    def fits(self) -> bool:
        return self.misfit <= MISFIT or self.exact


Form = tuple[tuple[float, ...], tuple[float, ...], bool]  # exponents of powers, rates of exponentials, a constant

NOTHING: Form = ((), (), False)
DISPERSION: tuple[Form, ...] = (
    ((6.0,), (), False),
    ((6.0, 12.0), (), False),
    ((6.0, 8.0), (), False),
    ((6.0, 8.0, 10.0), (), False),
)
CHARGES: tuple[Form, ...] = (((1.0,), (), False), ((1.0, 6.0), (), False), ((1.0, 6.0, 12.0), (), False))
TWELVE_SIX: tuple[Form, ...] = (((12.0, 6.0), (), False), ((12.0, 6.0), (), True))
#: Forms without a shape parameter.
RIGID = {NOTHING, *DISPERSION, *CHARGES, *TWELVE_SIX}


def choose_tail(data: Stretch, well: float, coulomb: bool) -> EndLaw | None:
    """The law of the data's far end, or None if none fits.

    Parameters
    ----------
    data : Stretch
        The whole curve.
    well : float
        Where its energy is lowest; the stretch begins beyond it.
    coulomb : bool
        Admit s^1.
    """
    joint = float(data.r[-1])
    start = float(data.r[0])

    def form(n: float, kind: str) -> Form:
        return ((n,), (), False) if kind == "power" else ((), (n,) if kind == "exponential" else (n, n / 2), False)

    rigid = CHARGES if coulomb else (NOTHING, *DISPERSION)
    shaped = {} if coulomb else {"power": TAIL_EXPONENTS, "exponential": TAIL_RATES, "exponentials": TAIL_RATES}
    for part in TAIL_PARTS:
        stretch = data.part(max(joint - part * (joint - start), min(well, (1 - part / 4) * joint)), joint)
        law = _best(stretch, joint, rigid, form, shaped, dies_out, MARGIN)
        if law is not None:
            return law
    return None


def choose_wall(data: Stretch, well: float) -> EndLaw | None:
    """The law of the data's near end, or None if none fits."""
    joint, end = float(data.r[0]), float(data.r[-1])

    def form(n: float, kind: str) -> Form:
        pair, constant = (n, n / 2), kind.endswith("+")
        return (pair, (), constant) if kind.startswith("power") else ((), pair, constant)

    shaped = dict.fromkeys(("power", "power+", "exponential", "exponential+"), WALL_EXPONENTS)
    for part in WALL_PARTS:
        stretch = data.part(joint, min(joint + part * (end - joint), well))
        law = _best(stretch, joint, TWELVE_SIX, form, shaped, repels, 0.0)
        if law is not None:
            return law
    return None


def _best(
    stretch: Stretch,
    joint: float,
    rigid: Sequence[Form],
    form: Callable[[float, str], Form],
    shaped: Mapping[str, Array],
    valid: Callable[[Continuation], bool],
    margin: float,
) -> EndLaw | None:
    """The form of the smallest criterion that fits and is `valid`; shapes are tried coarsely, then finely."""
    if len(stretch) < FEWEST:
        return None
    trials = [_fit(stretch, joint, candidate) for candidate in rigid]
    for kind, shapes in shaped.items():
        tried = {float(n): _fit(stretch, joint, form(float(n), kind), margin) for n in shapes[:: round(1 / STEP)]}
        best: float = min(tried, key=lambda n: tried[n].criterion)
        near = shapes[(np.abs(shapes - float(best)) < 1) & (shapes != best)]
        trials += [tried[best], *(_fit(stretch, joint, form(float(n), kind), margin) for n in near)]
    for trial in sorted(trials, key=lambda trial: trial.criterion):
        if np.isfinite(trial.criterion) and valid(_continuation(joint, trial)):
            law = _judge(stretch, joint, trial)
            if law.fits:
                return replace(law, spread=_spread(law, trial, [t for t in trials if valid(_continuation(joint, t))]))
    return None


def _spread(law: EndLaw, chosen: _Trial, trials: Sequence[_Trial]) -> tuple[Deviation, ...]:
    """What the laws that were tried, weighted by their evidence exp(-BIC / 2), leave open.

    Residuals that noise does not explain are the form's: they are all alike, and count as `FORM_DATA` data.
    """
    count = len(chosen.residual)
    part = 1.0 if law.exact else min(1.0, FORM_DATA / count)
    best = min(trial.criterion for trial in trials)
    weights = [float(np.exp(-part * (trial.criterion - best) / 2)) for trial in trials]
    kept = sorted(range(len(trials)), key=lambda n: -weights[n])[:MOST_ALTERNATIVES]
    total = sum(weights[n] for n in kept)
    joint = law.law.joint
    found = [
        Deviation(float(np.sqrt(weights[n] / total)), _continuation(joint, trials[n]), added=False)
        for n in kept
        if weights[n] > LEAST_WEIGHT * total
    ]
    # Fewer independent residuals than points make the terms' errors larger.
    for column in _roots(chosen) / np.sqrt(part) if len(chosen.coef) else ():
        found.append(Deviation(1.0, _continuation(joint, replace(chosen, coef=column)), added=True))
    return tuple(found)


def _covariance(trial: _Trial) -> Array:
    """Of the terms of a law, eV^2."""
    square = float((trial.residual**2).mean())
    return np.asarray(np.linalg.pinv(trial.matrix.T @ trial.matrix, hermitian=True) * square, dtype=np.float64)


def _roots(trial: _Trial) -> Array:
    """Vectors whose outer products add up to the covariance of the terms, shape (terms, terms)."""
    values, vectors = np.linalg.eigh(_covariance(trial))
    return np.asarray((vectors * np.sqrt(values.clip(0))).T, dtype=np.float64)


def columns(r: Array, joint: float, form: Form) -> tuple[Array, Array, Array]:
    """The terms of a law, and r d/dr and r^2 d^2/dr^2 of them; shapes (m, terms)."""
    powers, rates, constant = form
    s, t = (joint / r)[:, None], (r / joint)[:, None]
    n, b = np.array(powers), np.array(rates)
    power, exponential = s**n, np.exp(-b * (t - 1))
    flat = np.ones((len(r), int(constant)))
    return (
        np.concatenate([power, exponential, flat], axis=1),
        np.concatenate([-n * power, -b * t * exponential, 0 * flat], axis=1),
        np.concatenate([n * (n + 1) * power, (b * t) ** 2 * exponential, 0 * flat], axis=1),
    )


@dataclass(frozen=True)
class _Trial:
    form: Form
    coef: Array
    matrix: Array
    residual: Array
    criterion: float


def _fit(stretch: Stretch, joint: float, form: Form, margin: float = 0.0) -> _Trial:
    value, slope, _ = columns(stretch.r, joint, form)
    rows, target = [value / stretch.noise[:, None]], [stretch.energy / stretch.noise]
    if stretch.force is not None and stretch.force_noise is not None:
        rows.append(-slope / (stretch.r * stretch.force_noise)[:, None])
        target.append(stretch.force / stretch.force_noise)
    matrix, y = np.concatenate(rows), np.concatenate(target)
    terms = matrix.shape[1]
    if len(stretch) <= terms + 1:
        return _Trial(form, np.zeros(terms), matrix, y, np.inf)
    coef = least_squares(matrix, y) if terms else np.zeros(0)
    residual = y - np.einsum("it,t->i", matrix, coef)
    # A part of 1e-30 is rounding.
    square = float((residual**2).mean() + 1e-30 * (y**2).mean() + 1e-300)
    parameters = terms + (form not in RIGID)
    margin = 0.0 if form in RIGID else margin
    margin += MORE_MARGIN * (terms - 1) if form in DISPERSION else 0.0
    margin -= NOTHING_MARGIN * (form == NOTHING)
    return _Trial(form, coef, matrix, residual, len(y) * np.log(square) + parameters * np.log(len(y)) + margin)


def _judge(stretch: Stretch, joint: float, trial: _Trial) -> EndLaw:
    """How well a law fits, and how well it is known."""
    size, coef = len(stretch), trial.coef
    energy = trial.residual[:size] * stretch.noise
    # Their changes are what a law explains: total energies are none of it.
    spread = float(np.std(stretch.energy)) + 1e-300
    errors, vague = np.zeros(3), 0.0
    if len(coef):
        covariance = _covariance(trial)
        ends = np.concatenate(columns(np.array([joint]), joint, trial.form))
        errors = np.sqrt(np.einsum("it,tu,iu->i", ends, covariance, ends).clip(0))
        beyond = joint * np.linspace(1, 3, 81)
        weight = columns(beyond, joint, trial.form)[0].T @ beyond**2
        total = abs(float(weight @ coef))
        vague = float(np.sqrt(np.maximum(weight @ covariance @ weight, 0.0))) / total if total else np.inf
    return EndLaw(
        _continuation(joint, trial),
        errors,
        float(np.sqrt((energy**2).mean())) / spread,
        float(np.sqrt((trial.residual**2).mean())),
        trial.criterion,
        vague,
    )


def _continuation(joint: float, trial: _Trial) -> Continuation:
    powers, rates, constant = trial.form
    coef = trial.coef.tolist()
    return Continuation(
        joint,
        tuple(zip(coef[: len(powers)], powers, strict=True)),
        coef[-1] if constant else 0.0,
        exponentials=tuple(zip(coef[len(powers) : len(powers) + len(rates)], rates, strict=True)),
    )


def form_of(law: Continuation) -> Form:
    """The exponents, the rates, and whether there is a constant."""
    return tuple(n for _, n in law.terms), tuple(n for _, n in law.exponentials), bool(law.constant)


def _derivatives(law: Continuation, r: Array) -> tuple[Array, Array, Array]:
    form = form_of(law)
    coef = np.array([c for c, _ in (*law.terms, *law.exponentials)] + ([law.constant] if law.constant else []))
    value, slope, curvature = columns(r, law.joint, form)
    return value @ coef, slope @ coef, curvature @ coef


def dies_out(law: Continuation) -> bool:
    """Whether the energy goes to zero without a turn."""
    energy, slope, _ = _derivatives(law, law.joint * np.geomspace(1, 20, 60))
    return bool((energy * slope <= 0).all())


def repels(law: Continuation) -> bool:
    """Whether the energy rises, ever faster, towards r = 0."""
    _, slope, curvature = _derivatives(law, law.joint * np.linspace(0.05, 1, 60))
    return bool((slope < 0).all() and (curvature > 0).all())
