"""Is the law found? Lennard-Jones with noise, other laws, curves that are no law, and argon.

python docs/benchmarks/law.py [trials, default 50]

About 15 minutes on two cores. Trial n draws its 50 points on [0.95, 2] and its noise from seed n.
"""

import sys
import time
from collections import Counter

import numpy as np
from joblib import Parallel, delayed
from noise import ARGON, SIGMA_ARGON, real_argon
from numpy.polynomial import chebyshev

from ase_kan import PairCurve, discover, fit
from ase_kan.analysis.law.parameters import name_of, natural
from ase_kan.potentials.formula import Term, values

LENNARD_JONES = (Term(1.0, 12.0), Term(-1.0, 6.0))
BORN_MAYER = (Term(2.25e5, rate=12.5), Term(-0.86, 6.0))
LAWS = {
    "Mie 14-7": (Term(1.0, 14.0), Term(-1.0, 7.0)),
    "Mie 9-6": (Term(1.0, 9.0), Term(-1.0, 6.0)),
    "Morse": (Term(0.25 * np.exp(13.44), rate=12.0), Term(-0.5 * np.exp(6.72), rate=6.0)),
    # exp-6 with epsilon = 0.25, a well at 1.12 and alpha = 14; and softer, with alpha = 9.5
    "Buckingham": BORN_MAYER,
    "Buckingham, soft": (Term(5.7e3, rate=8.5), Term(-1.39, 6.0)),
    "Yukawa": (Term(1.0, 1.0, 2.0),),
    "Born-Mayer": (Term(1e3, rate=7.0),),
    "Gaussian": (Term(2.0, gauss=2.0),),
    "Born-Mayer + damped C6 (Tang-Toennies)": (Term(4e4, rate=11.5), Term(-1.2, 6.0, damping=11.5)),
    "Born-Mayer + charge": (Term(5e4, rate=12.0), Term(-1.0, 1.0)),
}


def sample(energy, noise, seed):
    rng = np.random.default_rng(seed)
    r = np.sort(rng.uniform(0.95, 2.0, 50))
    return PairCurve(r, energy(r) + noise * rng.normal(size=50))


def one(terms, noise, seed):
    """What came of one trial: right form, verdict, largest deviation in standard errors, errors outside, time."""
    start = time.perf_counter()
    law = discover(sample(lambda r: values(terms, r), noise, seed))
    seconds = time.perf_counter() - start
    right = law.name == name_of(terms)
    deviations = [0.0]
    if right:
        for name, (true, _) in natural(terms).items():
            known = law.parameters[name]
            if known.error:
                deviations.append(abs(known.value - true) / known.error)
    r = np.array([0.7, 5.0])
    outside = np.abs(law.energy(r) / values(terms, r) - 1).max()
    return right, law.verdict.split(" ")[0], max(deviations), outside, seconds, law.name


def law_table(laws, noises, trials):
    print(
        "| law | noise | right form | right or undecided | wrong and sure | parameters within 3 errors | "
        "E(0.7), E(5) off by | slowest (s) |\n" + "|---" * 8 + "|"
    )
    for title, terms in laws.items():
        for noise in noises:
            rows = Parallel(2)(delayed(one)(terms, noise, seed) for seed in range(trials))
            right = [row for row in rows if row[0]]
            fine = sum(row[0] or row[1] == "undecided" for row in rows)
            sure = sum(not row[0] and row[1] == "found" for row in rows)
            missed = sum(row[1] == "no" for row in rows)
            close = "" if noise == 0 else f"{100 * sum(row[2] < 3 for row in right) / max(len(right), 1):.0f} %"
            decided = sum(row[1] == "found" for row in right)
            print(
                f"| {title} | {noise:g} | {len(right)} (found {decided}) | {fine} | {sure} | {close} | "
                f"{np.median([row[3] for row in rows]):.1e}, worst {max(row[3] for row in rows):.1e} | "
                f"{max(row[4] for row in rows):.1f} |",
                flush=True,
            )
            wrong = Counter((row[5], row[1]) for row in rows if not row[0])
            if wrong or missed:
                print(f"|  others | {dict(wrong)}, 'no simple law' {missed} |" + " |" * 6, flush=True)


def bent(seed):
    """Lennard-Jones times one plus a random polynomial of 10 %."""
    c = 0.1 * np.random.default_rng([seed, 1]).normal(size=6)
    return lambda r: values(LENNARD_JONES, r) * (1 + chebyshev.chebval((r - 1.475) / 0.525, c))


def polynomial(seed):
    c = np.random.default_rng([seed, 2]).normal(size=9) * 0.7 ** np.arange(9)
    return lambda r: chebyshev.chebval((r - 1.475) / 0.525, c)


def friedel(seed):
    k, phase = np.random.default_rng([seed, 3]).uniform((4, 0), (10, 6))
    return lambda r: r**-12.0 + np.cos(k * r + phase) / r**3


def double_well(seed):
    place, width = np.random.default_rng([seed, 4]).uniform((1.3, 0.1), (1.7, 0.3))
    return lambda r: values(LENNARD_JONES, r) - 0.15 * np.exp(-(((r - place) / width) ** 2))


def verdict(kind, noise, seed):
    return discover(sample(kind(seed), noise, seed)).verdict.split(" ")[0]


def no_law_table(trials):
    print("\n| curve that is no law | noise | no simple law | undecided | found |\n" + "|---" * 5 + "|")
    for kind in (polynomial, bent, friedel, double_well):
        for noise in (0.0, 1e-4, 1e-3):
            found = Counter(Parallel(2)(delayed(verdict)(kind, noise, seed) for seed in range(trials)))
            counts = " | ".join(f"{100 * found[word] / trials:.0f} %" for word in ("no", "undecided", "found"))
            print(f"| {kind.__name__} | {noise:g} | {counts} |", flush=True)


def argon_table():
    print("\nArgon, ab initio, from 3.2 to 10 A; energies at 2.4 A over the true one\n")
    print("| points | noise (meV) | verdict | nearest | law at 2.4 A | KAN at 2.4 A | left of energies (meV) |")
    print("|---" * 7 + "|")
    for n, noise in ((200, 0.0), (50, 0.0), (50, 1e-5), (50, 1e-4), (50, 5e-4)):
        r = np.linspace(3.2, 10.0, n)
        curve = PairCurve(r, real_argon(r) + noise * np.random.default_rng(0).normal(size=n), elements=("Ar", "Ar"))
        law = discover(curve)
        kan = fit(curve).potential
        ratios = [float(p.energy(2.4)) / float(real_argon(2.4)) for p in (law, kan)]
        print(
            f"| {n} | {1e3 * noise:g} | {law.verdict} | {law.formula} | {ratios[0]:.2f} | {ratios[1]:.2f} | "
            f"{1e3 * law.noise['energy']:.2g} |",
            flush=True,
        )
    print(f"\nDepth {1e3 * ARGON:.3f} meV; E = 0 at {SIGMA_ARGON:.3f} A.")


if __name__ == "__main__":
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    law_table({"Lennard-Jones 12-6": LENNARD_JONES}, (0.0, 1e-4, 1e-3, 3e-3, 1e-2), trials)
    print()
    law_table(LAWS, (1e-4, 0.0), trials)
    no_law_table(trials)
    argon_table()
