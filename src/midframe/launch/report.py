"""Results as tables (Markdown, csv, LaTeX) and as one page of HTML to look at.

RESULTS are folders that `midframe evaluate` has written, or folders above them, and JSON files of
`midframe speed`. With save_images=true an evaluation keeps the pictures that the page compares.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from midframe.errors import UserError
from midframe.launch import guard

MARKERS = ("<!-- midframe report -->", "<!-- end of midframe report -->")
HEADING = "# Results"
_MEBIBYTE = 1 << 20


def main(argv: Sequence[str]) -> int:
    """Make a report from a command line; returns the exit code."""
    parser = argparse.ArgumentParser("midframe report", description=__doc__)
    add_arguments(parser)
    args = parser.parse_args(argv)
    return guard.guarded(lambda: run(args))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe report`."""
    parser.add_argument("results", nargs="+", metavar="RESULTS", help="folders, JSON of speed")
    parser.add_argument("--out", metavar="DIR", help="writes report.md, .csv, .tex and .html there")
    parser.add_argument("--title", default="Frame interpolation results", help="of the page")
    parser.add_argument(
        "--pictures",
        type=int,
        default=6,
        metavar="N",
        help="images of each benchmark that the page shows (default %(default)s)",
    )
    parser.add_argument(
        "--max-mb",
        type=float,
        default=16,
        metavar="MB",
        help="that all pictures take in the page at most (default %(default)s)",
    )
    parser.add_argument(
        "--results-page",
        metavar="FILE",
        help="rewrite the tables between the markers of a text, such as docs/results.md",
    )


def run(args: argparse.Namespace) -> None:
    """Read the results and write what is asked for."""
    if not args.out and not args.results_page:
        raise UserError("say where the report goes: --out DIR, or --results-page FILE")
    if args.pictures < 0 or not 0 <= args.max_mb <= 1000:
        raise UserError(
            f"--pictures {args.pictures} and --max-mb {args.max_mb} must not be below 0, and a "
            "page of more than 1000 MB opens nowhere"
        )
    # Imported here: what is wrong with a command line needs none of them.
    from midframe.launch import output
    from midframe.report import finding, page, sections, texts

    entries, speeds = finding.read([Path(path) for path in args.results])
    count = args.pictures if args.out else 0  # texts show none
    budget = round(args.max_mb * _MEBIBYTE)
    report = sections.build(args.title, entries, speeds, count, budget)
    if args.out:
        out = Path(args.out)
        files = {
            "report.md": texts.markdown(report),
            "report.csv": texts.rows(report),
            "report.tex": texts.latex(report),
            "report.html": page.html(report),
        }
        for name, text in files.items():
            output.write(out / name, text.encode())
    if args.results_page:
        table = texts.markdown(report, level=0).rstrip()
        output.put_table(Path(args.results_page), MARKERS, table, HEADING)
