"""Pages of HTML: the templates with everything that they show escaped, the policy that keeps a page
from running or fetching anything but its own folder's files, and those files. Knows no run."""

from __future__ import annotations

import math
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent

# Scripts and styles come from files of the report alone: text that a model wrote can be no script
# even if a template forgot to escape it. Nothing is fetched, no form is sent, no base is moved.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "media-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)


def render(template: str, *, root: str = "", **values: Any) -> str:
    """A page of a template in templates/. `root`: the way from the page's folder to the report's,
    "" or "../../" and so on. Values are text, escaped; only markupsafe.Markup is not."""
    return _environment().get_template(template).render(root=root, policy=POLICY, **values)


def write_page(path: Path, template: str, *, root: str = "", **values: Any) -> None:
    """Renders into a file, whose folder is made."""
    write_text(path, render(template, root=root, **values))


def write_text(path: Path, text: str) -> None:
    """UTF-8, `text` well-formed or not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(well_formed(text).encode())


def well_formed(text: str) -> str:
    """Half a surrogate pair, which a model may write and UTF-8 has not, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def write_assets(folder: Path, samples: bool = True) -> None:
    """The style and the scripts of the pages, into `folder`/assets; without `samples`, not those of
    the explorer."""
    left_out = None if samples else shutil.ignore_patterns("explorer*")
    shutil.copytree(HERE / "assets", folder / "assets", dirs_exist_ok=True, ignore=left_out)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = (number, signed, interval, signed_interval, probability, count, rate, shorten)
    environment.filters |= {function.__name__: function for function in shown}
    return environment


# ---------------------------------------------------------------- what templates show numbers with


def number(value: float | None, percent: bool = True) -> str:
    """93.9 for .939 in percent; n/a where there is none."""
    if value is None or not math.isfinite(value):
        return "n/a"
    return f"{100 * value:.1f}" if percent else f"{value:,.1f}"


def signed(value: float | None, percent: bool = True) -> str:
    """+1.5, −0.3 (with a minus sign as long as the plus)."""
    if value is None or not math.isfinite(value):
        return "n/a"
    shown = f"{100 * value if percent else value:+,.1f}"
    return shown.replace("-", "\N{MINUS SIGN}")


def interval(ci95: tuple[float, float] | list[float] | None, percent: bool = True) -> str:
    """93.2–94.6; n/a where there is none."""
    if ci95 is None:
        return "n/a"
    return f"{number(ci95[0], percent)}\N{EN DASH}{number(ci95[1], percent)}"


def signed_interval(ci95: tuple[float, float] | None, percent: bool = True) -> str:
    """+0.3 to +2.7; nothing where there is none."""
    return "" if ci95 is None else " to ".join(signed(bound, percent) for bound in ci95)


def probability(p: float | None) -> str:
    """.031, below a thousandth to four places."""
    if p is None:
        return "n/a"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.4f}"


def rate(value: float) -> str:
    """Samples a second: 967, 13.1, 0.42."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def count(value: float | None) -> str:
    """5,000"""
    return "n/a" if value is None else f"{value:,.0f}"


def shorten(text: str, most: int = 60) -> str:
    """At most `most` characters, the last an ellipsis where some are left out."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
