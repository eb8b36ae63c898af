"""What lies where under --data-dir: the folder itself, annotation files, pictures and videos by
name, and which of them are missing. Knows no data set and opens no file."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from harness.errors import BadInput

_NAMED = 3  # so many files of a folder are named one by one


def data_folder(root: Path | None, name: str, mend: str) -> Path:
    """`root` if there is such a folder, else BadInput."""
    if root is None:
        raise BadInput(f"{name} needs --data-dir, the folder of its files; {mend}")
    if not root.is_dir():
        raise BadInput(f"{root}: there is no such folder; correct --data-dir, or {mend}")
    return root


def known_split(name: str, split: str, splits: Collection[str]) -> None:
    """Raises BadInput if `split` is none of `splits`."""
    if split not in splits:
        raise BadInput(f"{name} has no split {split!r}; use one of: {', '.join(splits)}")


def annotation_file(name: str, files: Mapping[str, Path]) -> Path:
    """The file of the role "annotations", else BadInput."""
    if "annotations" not in files:
        raise BadInput(f"{name} needs its annotation file; add --annotations FILE")
    return files["annotations"]


def first_file(root: Path, names: Sequence[str]) -> Path:
    """The first of `names` that is a file in `root`; the first of all if none is."""
    return next((root / name for name in names if (root / name).is_file()), root / names[0])


def first_folder(root: Path, names: Sequence[str]) -> Path:
    """The first of `names` that is a folder in `root`; the first of all if none is."""
    return next((root / name for name in names if (root / name).is_dir()), root / names[0])


# ---------------------------------------------------------------- videos


def video_paths(
    root: Path | None, ids: Iterable[str], folders: Sequence[str], suffixes: Sequence[str]
) -> dict[str, Path | None]:
    """Where the video of each id is, or belongs if it is missing: in the first folder that is
    there, with the first suffix. None without a `root`."""
    if root is None:
        return dict.fromkeys(ids)
    found = videos_in(root, folders, suffixes)
    home = first_folder(root, folders)
    return {id: found.get(id, home / f"{id}{suffixes[0]}") for id in ids}


def videos_in(root: Path, folders: Sequence[str], suffixes: Sequence[str]) -> dict[str, Path]:
    """Name without suffix -> path of the video files in `folders` of `root`; where a name comes
    twice, the earlier folder and the earlier suffix have it. The suffix "" fits any file."""
    found: dict[str, Path] = {}
    for folder in folders:
        names = _listed(root / folder)
        for suffix in suffixes:
            for name in names:
                if name.lower().endswith(suffix):
                    found.setdefault(name[: len(name) - len(suffix)], root / folder / name)
    return found


def _listed(folder: Path) -> list[str]:
    """Names in order; none if there is no such folder."""
    if not folder.is_dir():
        return []
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError as error:
        reason = error.strerror
        raise BadInput(f"{folder}: the folder cannot be read ({reason}); correct that") from None


# ---------------------------------------------------------------- what is missing


def missing_files(root: Path, paths: Iterable[Path], what: str, needed: str = "") -> list[str]:
    """A line for each of `paths`, all below folders of `root`, that is missing or empty; where one
    of these folders lacks more than three, one line for all of them. `what` they are: "pictures".
    The folder `needed` must be there even for no paths. Folders are listed once, files are not
    opened."""
    homes: dict[str, list[Path]] = {needed: []} if needed else {}
    for path in paths:
        homes.setdefault(_below(root, path).parts[0], []).append(path)
    problems = []
    for home, inside in homes.items():
        if not (root / home).is_dir():
            count = f"{len(inside):,}" if inside else "the"
            problems.append(f"{home}/: there is no such folder; it holds {count} {what}")
            continue
        sizes = {folder: _sizes(folder) for folder in {path.parent for path in inside}}
        found = {path: sizes[path.parent].get(path.name) for path in inside}
        for state, size in (("missing", None), ("empty", 0)):
            odd = [_below(root, path) for path in inside if found[path] == size]
            if len(odd) <= _NAMED:
                problems += [f"{path.as_posix()}: {state}; fetch it again" for path in odd]
            else:
                count = f"{len(odd):,} of {len(inside):,} {what}"
                first = odd[0].relative_to(home).as_posix()
                problems.append(f"{count} {state} in {home}/, the first is {first}")
    return problems


def _below(root: Path, path: Path) -> Path:
    """The path from `root` on; the whole path where a file names one that leads elsewhere."""
    return path.relative_to(root) if path.is_relative_to(root) else path


def _sizes(folder: Path) -> dict[str, int]:
    """File name -> bytes."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as found:
        return {file.name: file.stat().st_size for file in found if file.is_file()}
