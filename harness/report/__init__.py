"""Reports that people look at: the leaderboard as a table of any form, and a folder of pages that
needs no server and no network. Reads run folders; runs no model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def leaderboard(runs: Sequence[Path | str] | Path | str) -> pd.DataFrame:
    """The leaderboard of run folders, or of folders of them: a row a run, in the order of tables
    and ranks; docs/reports.md says what the columns hold. BadInput where there is no run."""
    from .leaderboard import leaderboard_of
    from .leaderboard_files import as_frame

    paths = [runs] if isinstance(runs, (str, Path)) else list(runs)
    return as_frame(leaderboard_of([Path(path) for path in paths]))
