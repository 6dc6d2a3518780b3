"""Random damage to model files whose checksum is then repaired: what passes the door must be a finite potential.

python -m tests.potentials.mutated_files [COUNT] [SEED]      # 10,000 and 0; pair and embedded-atom potentials;
                                                             # prints how each load ended
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from safetensors.numpy import save

from ase_kan import KANEAM, KANCalculator, KANPotential
from ase_kan.kan.bsplines import uniform_knots
from ase_kan.kan.network import KANLayer, KANNetwork
from ase_kan.potentials import storage
from ase_kan.potentials.continuations import Continuation
from ase_kan.potentials.cutoff import Cutoff
from ase_kan.potentials.pair import Affine, PairFunction
from tests.potentials.test_eam import potential as embedded_example

DEEP = 5000
JUNK = [
    None,
    True,
    False,
    "",
    "x",
    "Ar",
    "1/r",
    [],
    {},
    [[]],
    [1, 2],
    ["Ar", "Ar"],
    {"a": 1},
    -1,
    0,
    1,
    2,
    3,
    200,
    1.5,
    -0.3,
]
JUNK += [
    1e308,
    -1e308,
    1e-308,
    5e-324,
    1e30,
    1e-30,
    1e6,
    10**20,
    10**400,
    -(10**400),
    float("nan"),
    float("inf"),
    -float("inf"),
]


def example() -> KANPotential:
    """Three pairs with everything a file can have: [1, 1] and [1, 2, 1], cores, tails, ZBL, both kinds of cutoff."""
    rng = np.random.default_rng(0)

    def layer(n_in: int, n_out: int, k: int, base: str) -> KANLayer:
        grid = torch.from_numpy(np.stack([uniform_knots(-1.0, 1.0, 5, k)] * n_in))
        weights = (torch.from_numpy(rng.normal(size=shape)) for shape in ((n_in, n_out, 5 + k), (n_in, n_out)))
        return KANLayer(grid, *weights, torch.ones(n_in, n_out), torch.from_numpy(rng.normal(size=n_out)), base)

    x, e = Affine(0.7, 0.35), Affine(0.1, 0.02)
    core, tail = Continuation(1.0, ((0.2, 12.0), (-0.1, 6.0)), 0.3, order=2), Continuation(3.0, ((-0.01, 6.0),))
    zbl = Continuation(1.0, (), 0.1, -0.2, (18, 10))
    one, two = [layer(1, 1, 5, "zero")], [layer(1, 2, 3, "silu"), layer(2, 1, 3, "identity")]
    pairs = {
        ("Ar", "Ar"): PairFunction(KANNetwork(one), (1.0, 3.0), Cutoff(4.5, 4.0), "1/r", x, e, core, tail),
        ("Ar", "Ne"): PairFunction(KANNetwork(two), (1.0, 3.0), Cutoff(4.5, None), "r", x, e, zbl, None),
        ("Ne", "Ne"): PairFunction(KANNetwork(two), (1.0, 3.0), Cutoff(2.5, 2.0), "log r", x, e),
    }
    return KANPotential(pairs, {"Ar": -1.0, "Ne": 0.5}, {"energy_rmse": 1e-3, "width": [1, 1], "note": None})


class Mutator:
    """Makes one damaged file after another out of a sound one."""

    def __init__(self, path: Path, seed: int) -> None:
        self.header, arrays = storage.read(path)
        self.tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        self.rng = np.random.default_rng(seed)

    def write(self, path: Path) -> str:
        """A damaged file at `path`; returns what was done."""
        header, tensors = json.loads(json.dumps(self.header)), {k: v.clone() for k, v in self.tensors.items()}
        content: dict = {"version": storage.FORMAT_VERSION}
        done = []
        for _ in range(self._pick([1, 1, 1, 2, 3])):
            if self.rng.random() < 0.7:
                done.append(self._damage_header(header))
            else:
                done.append(self._damage_array(tensors))
        text = json.dumps(header)
        if self.rng.random() < 0.15:
            text = self._damage_text(text)
            done.append("text")
        if self.rng.random() < 0.05:
            content["version"] = self._pick([*JUNK, 1])
            done.append(f"version {str(content['version'])[:20]}")
        arrays = {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in tensors.items()}
        content |= {"header": text, "sha256": storage._digest(text, arrays, storage.FORMAT_VERSION)}
        if self.rng.random() < 0.02:
            content[self._pick(["header", "sha256"])] = self._pick(JUNK)
            done.append("content")
        path.write_bytes(save(arrays, {"ase_kan": json.dumps(content)}))
        return ", ".join(done)

    def _pick(self, values):
        return values[int(self.rng.integers(len(values)))]

    def _damage_header(self, header) -> str:
        places = list(_places(header))
        holder, key, where = self._pick(places)
        what = self._pick(["junk", "junk", "junk", "delete", "add", "scale", "twice", "string", "deep", "swap", "sign"])
        old = holder[key]
        if what == "junk":
            holder[key] = self._pick(JUNK)
        elif what == "delete":
            del holder[key]
        elif what == "add" and isinstance(old, dict):
            old[self._pick(["x", "joint", "radius", ""])] = self._pick(JUNK)
        elif what == "scale" and isinstance(old, int | float) and not isinstance(old, bool):
            holder[key] = (
                old * 10.0 ** self.rng.uniform(-40, 40) if self.rng.random() < 0.5 else old * self.rng.normal()
            )
        elif what == "twice" and isinstance(old, list):
            old.append(self._pick([*old, *JUNK]))
        elif what == "string":
            holder[key] = str(old)
        elif what == "deep":
            value: list = []
            for _ in range(self._pick([30, 200])):
                value = [value]
            holder[key] = value
        elif what == "sign" and isinstance(old, int | float):
            holder[key] = -old
        else:
            other, name, _ = self._pick(places)
            holder[key] = json.loads(json.dumps(other[name])) if _has(other, name) else None
        return f"{what} {where}"

    def _damage_array(self, tensors) -> str:
        name = self._pick(sorted(tensors))
        array = tensors[name]
        what = self._pick(["value", "value", "value", "scale", "shape", "type", "delete", "add", "flip", "cut"])
        if what == "value" and array.numel():
            junk = [np.nan, np.inf, -np.inf, 1e308, 1e200, 1e31, 1e29, 0.0, -3.0]
            array.view(-1)[int(self.rng.integers(array.numel()))] = self._pick(junk)
        elif what == "scale":
            tensors[name] = array * 10.0 ** self.rng.uniform(-300, 300)
        elif what == "shape":
            tensors[name] = self._pick(
                [array.reshape(-1), array[None], array.reshape(array.shape[::-1]), array.sum()]
            ).clone()
        elif what == "type":
            kinds = [torch.float32, torch.float16, torch.int64, torch.bool, torch.uint8]
            tensors[name] = array.to(self._pick(kinds))
        elif what == "delete":
            del tensors[name]
        elif what == "add":
            tensors[self._pick(["x", name + ".x", name.replace("0", "7", 1)])] = array.clone()
        elif what == "flip":
            tensors[name] = array.flip(-1) if array.ndim else array
        elif array.ndim:
            tensors[name] = array[..., : int(self.rng.integers(array.shape[-1] + 1))].contiguous()
        return f"{what} {name}"

    def _damage_text(self, text: str) -> str:
        at = int(self.rng.integers(len(text)))
        return self._pick([
            text[:at], text[:at] + text[at + 1:], text[:at] + chr(int(self.rng.integers(32, 127))) + text[at + 1:],
            text[:at] + "é\u2028\n" + text[at:], "[" * DEEP + "]" * DEEP, '{"info":' * DEEP + "1" + "}" * DEEP, "",
        ])  # fmt: skip


def _places(value, where="header"):
    """Every (holder, key) inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key, f"{where}.{key}"
        yield from _places(inner, f"{where}.{key}")


def _has(holder, key) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def outcome_eam(path: Path) -> str:
    """How a load of a damaged embedded-atom file ends."""
    try:
        potential = KANEAM.load(path)
    except ValueError as error:
        return "refused" if "\n" not in str(error) and path.name in str(error) else f"bad message: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {traceback.format_exc()}"
    for pair in potential.domains:
        low, cutoff = potential.domain(pair)[0], potential.cutoff
        if cutoff > 100:
            continue
        atoms = Atoms(pair, [[0, 0, 0], [float(max(low, 0.1 * cutoff)), 0, 0]])
        atoms.calc = KANCalculator(potential, engine="autograd", on_extrapolation="ignore")
        if not np.isfinite([atoms.get_potential_energy(), *atoms.get_forces().ravel()]).all():
            return "not finite in the calculator"
    potential.describe()
    potential.save(path)
    KANEAM.load(path)
    return "finite"


def outcome(path: Path) -> str:
    """How a load of a damaged file ends: "refused", "finite", or what is wrong."""
    try:
        potential = KANPotential.load(path)
    except ValueError as error:
        return "refused" if "\n" not in str(error) and path.name in str(error) else f"bad message: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {traceback.format_exc()}"
    for pair in potential.pairs:
        low, high = potential.domain(pair)
        cutoff = potential.breakpoints(pair)[-1]
        r = np.random.default_rng(1).uniform(max(0.4 * low, 0.02 * cutoff), 1.2 * max(high, cutoff), 200)
        with torch.no_grad():
            bare = potential(torch.from_numpy(r), pair).numpy()
        if not (np.isfinite(bare).all() and np.isfinite(potential.force(r, pair)).all()):
            return "not finite"
        if cutoff > 100:
            continue
        atoms = Atoms(pair or ("Ar", "Ar"), [[0, 0, 0], [float(max(low, 0.1 * cutoff)), 0, 0]])
        atoms.calc = KANCalculator(potential, engine="autograd", on_extrapolation="ignore")
        if not np.isfinite([atoms.get_potential_energy(), *atoms.get_forces().ravel()]).all():
            return "not finite in the calculator"
    potential.describe()
    potential.save(path)
    KANPotential.load(path)
    return "finite"


def run(count: int, seed: int, folder: Path, *, embedded: bool = False) -> tuple[Counter[str], list[tuple[str, str]]]:
    """Load so many damaged files: the outcomes, and what was done to those that ended badly."""
    sound, damaged = folder / "sound.kan", folder / "damaged.kan"
    (embedded_example("finnis-sinclair") if embedded else example()).save(sound)
    mutator = Mutator(sound, seed)
    counts: Counter[str] = Counter()
    wrong = []
    for _ in range(count):
        done = mutator.write(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                found = (outcome_eam if embedded else outcome)(damaged)
            except Exception:
                found = f"after loading: {traceback.format_exc()}"
        counts[found.split(":")[0]] += 1
        if found not in ("refused", "finite"):
            wrong.append((done, found))
    return counts, wrong


if __name__ == "__main__":
    arguments = [int(a) for a in sys.argv[1:]]
    for kind in (False, True):
        with tempfile.TemporaryDirectory() as name:
            totals, bad = run(*(arguments + [10_000, 0][len(arguments) :]), Path(name), embedded=kind)
        for done, found in bad[:20]:
            print(f"{done}\n    {found}")
        print("embedded-atom" if kind else "pair", dict(totals))
