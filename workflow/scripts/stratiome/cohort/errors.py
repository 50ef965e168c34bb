"""What is wrong with a cohort."""

from __future__ import annotations

from collections.abc import Sequence


class CohortError(ValueError):
    """Data that cannot be analysed as they are."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


def some_ids(ids: Sequence[object], show: bool, limit: int = 5) -> str:
    """The first few identifiers for a message, or only their number where the config forbids identifiers."""
    if not show:
        return f"{len(ids)} patients"
    more = f" and {len(ids) - limit} more" if len(ids) > limit else ""
    return ", ".join(str(i) for i in ids[:limit]) + more
