"""Gates at full size: lines of means or shares over replicates, with their bounds, and what is not as it must be."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

import results

HEAD = ("part", "truth", "method", "quantity", "mean (SE)", "bounds", "within")


@dataclass(frozen=True)
class Line:
    """Values of one method over replicates; `bounds` None where nothing is asked."""

    part: str
    truth: str
    method: str
    quantity: str
    values: np.ndarray
    bounds: tuple[float, float] | None

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def within(self) -> bool | None:
        return None if self.bounds is None else self.bounds[0] <= self.mean <= self.bounds[1]

    @property
    def ours(self) -> bool:
        return "ours" in self.method

    @property
    def text(self) -> str:
        error = np.std(self.values, ddof=1) / np.sqrt(len(self.values)) if len(self.values) > 1 else np.nan
        bounds = "–" if self.bounds is None else f"{self.bounds[0]:.3f} to {self.bounds[1]:.3f}"
        said = {None: "–", True: "yes", False: "no"}[self.within]
        cells = (self.part, self.truth, self.method, self.quantity, f"{self.mean:.3f} ({error:.3f})", bounds, said)
        return f"| {' | '.join(cells)} |"


def columns(found: Sequence[Mapping], key: object) -> np.ndarray:
    """One quantity of all replicates."""
    return np.array([f[key] for f in found], dtype=np.float64)


def coverage(replicates: int) -> tuple[float, float]:
    """Bounds of a share that is 0.95: 0.1 % beyond each, so 0.927 to 0.970 in 1000 replicates (METHODS F2)."""
    from scipy.stats import binom

    missed = binom.ppf([0.999, 0.001], replicates, 0.05)
    return float(1 - missed[0] / replicates), float(1 - missed[1] / replicates)


def unbiased(values: np.ndarray, most: float) -> tuple[float, float]:
    """Bounds of a mean error: below `most`, and below three Monte Carlo errors (METHODS §6)."""
    limit = min(most, 3.0 * float(np.std(values, ddof=1)) / float(np.sqrt(len(values))))
    return -limit, limit


Part = Callable[[range], list[Line]]
"""Seeds -> lines."""


def wrong(lines: Sequence[Line]) -> list[str]:
    """What is not as it must be."""
    found = [f"{i.part}: {i.method}, {i.quantity}, {i.truth} is outside" for i in lines if i.ours and i.within is False]
    mutants = {(i.part, i.method) for i in lines if not i.ours and i.bounds is not None}
    never = mutants - {(i.part, i.method) for i in lines if i.within is False}
    return found + [f"{part}: {method} is outside nowhere" for part, method in sorted(never)]


def main(name: str, doc: str, parts: Mapping[str, Part]) -> int:
    """Print the table of each part; exit status 1 if ours is outside somewhere or a mutant nowhere.

    Parameters
    ----------
    name
        Name of the script and of its tables in RESULTS.md.
    doc
        What it is.
    parts
        Name -> lines of a range of seeds.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", nargs="+", choices=list(parts), default=list(parts))
    parser.add_argument("--write", action="store_true", help="put each part into RESULTS.md")
    given = parser.parse_args()
    lines: list[Line] = []
    for part in given.parts:
        with threadpool_limits(1):
            made = parts[part](range(given.seed, given.seed + given.replicates))
        lines += made
        failed = wrong(made)
        said = f"NOT as it must be: {'; '.join(failed)}" if failed else "As it must be."
        table = f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}\n" + "\n".join(line.text for line in made)
        print(f"{table}\n\n{said}\n", flush=True)
        if given.write:
            command = f"`python tests/benchmarks/{name}.py --parts {part} --replicates {given.replicates}`"
            title = f"Gates of {name.removesuffix('_gates')}: {part}"
            results.write_table(f"{name} {part}", title, f"{command}\n\n{table}\n\n{said}")
    return 1 if wrong(lines) else 0
