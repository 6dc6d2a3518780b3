from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike, NDArray

class Motion:
    forces: NDArray[Any]
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
    def watch(self, told: int, quiet: int, most_quiet: int) -> None: ...
    def finish(self) -> None: ...
    def take_transferred(self) -> float: ...
    @property
    def told(self) -> int: ...
    @property
    def quiet(self) -> int: ...
    @property
    def done(self) -> int: ...
    @property
    def unfinished(self) -> bool: ...

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
        self, motion: Motion, steps: int
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
