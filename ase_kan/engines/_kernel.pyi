from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike, NDArray

class _Moving:
    forces: NDArray[Any]
    def watch(self, told: int, quiet: int, most_quiet: int) -> None: ...
    def finish(self) -> None: ...
    def undo(self) -> None: ...
    @property
    def told(self) -> int: ...
    @property
    def quiet(self) -> int: ...
    @property
    def done(self) -> int: ...
    @property
    def unfinished(self) -> bool: ...

class Motion(_Moving):
    def __init__(
        self,
        positions: ArrayLike,
        momenta: ArrayLike,
        forces: ArrayLike,
        masses: ArrayLike,
        held: ArrayLike,
        fix_com: bool,
        timestep: float,
    ) -> None: ...
    def langevin(self, keep: float, spread: float) -> None: ...
    def bussi(self, ratio: float, target: float, freedom: float) -> None: ...
    def set_noise(self, noise: ArrayLike) -> None: ...
    def take_transferred(self) -> float: ...

class Relaxation(_Moving):
    fmax: float
    def __init__(
        self,
        positions: ArrayLike,
        forces: ArrayLike,
        masses: ArrayLike,
        held: ArrayLike,
        fix_com: bool,
        maxstep: float,
    ) -> None: ...
    def lbfgs(self, memory: int, damping: float, alpha: float) -> None: ...
    def fire(
        self, dt: float, dtmax: float, nmin: int, finc: float, fdec: float, astart: float, fa: float, a: float
    ) -> None: ...
    def converged(self) -> bool: ...

class Kernel:
    def __init__(
        self,
        n_elements: int,
        table_of: Sequence[int],
        cutoff: float,
        skin: float,
        instructions: str = "best",
        channels: int = 0,
    ) -> None: ...
    def add_table(
        self,
        cutoff: float,
        low: float,
        high: float,
        start: float,
        slope: float,
        at: Sequence[float],
        change: Sequence[float],
        rows: ArrayLike,
        gaps: Sequence[float] = ...,
    ) -> None: ...
    def add_embedding(
        self,
        low: float,
        high: float,
        least: float,
        most: float,
        start: float,
        end: float,
        slope: float,
        at: Sequence[float],
        change: Sequence[float],
        rows: ArrayLike,
        gaps: Sequence[float] = ...,
    ) -> None: ...
    def changes(self, positions: ArrayLike, numbers: ArrayLike, cell: ArrayLike, pbc: ArrayLike) -> int: ...
    def set_structure(
        self,
        numbers: ArrayLike,
        cell: ArrayLike,
        pbc: ArrayLike,
        element: ArrayLike,
        box: ArrayLike,
        inverse: ArrayLike,
        threads: int,
    ) -> None: ...
    def forget(self) -> None: ...
    def last(self) -> tuple[Any, Any, Any, Any] | None: ...
    def compute(
        self, positions: ArrayLike, per_atom: bool
    ) -> tuple[float, NDArray[Any], NDArray[Any], int, int, int, float, bool, Any, Any, int]: ...
    def advance(
        self, moving: Motion | Relaxation, steps: int
    ) -> tuple[float, NDArray[Any], NDArray[Any], int, int, int, float, bool, Any, Any, int]: ...
    def radial(
        self, ends: ArrayLike, grades: ArrayLike, nodes: int, forces: bool
    ) -> tuple[NDArray[Any], Any, Any, NDArray[Any], NDArray[Any]]: ...
    def outside(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]: ...
    def densities(self) -> NDArray[Any]: ...
    @property
    def builds(self) -> int: ...
    @property
    def instructions(self) -> str: ...
