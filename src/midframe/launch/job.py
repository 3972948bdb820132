"""One benchmark of an evaluation: every model measured, held against one another, and written."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midframe.benchmark import folder as folders
from midframe.benchmark import report, runner
from midframe.benchmark.batches import SINGLY, batching
from midframe.benchmark.journal import JOURNAL, Journal, unwritable
from midframe.benchmark.outcome import Outcome
from midframe.benchmark.pictures import SUBMISSION, Pictures, folder_name
from midframe.benchmark.predictor import Predictor
from midframe.benchmark.protocol import Protocol
from midframe.benchmark.table import show
from midframe.data.records import PartialClips
from midframe.errors import UserError
from midframe.launch.beside import Entry
from midframe.launch.facts import of_device, run_key
from midframe.plain_text import plain

if TYPE_CHECKING:
    from midframe.benchmark.team import Team

BESIDE = "beside"


@dataclass(frozen=True)
class How:
    """Options that all models of a job share.

    Attributes:
        batch: how many clips are predicted at once, see `midframe.benchmark.batches.batching`;
            models that look at the whole batch get one.
        save_images: write the pictures.
        limit: only the first so many clips of every subset.
    """

    batch: int | str
    save_images: bool = False
    limit: int | None = None


class Side:
    """A model on a benchmark: what its numbers depend on, and the folder that they go to.

    Args:
        entry: the model.
        protocol: by which it is measured.
        facts: what its numbers depend on besides the model.
        how: options.
        first: whether it is the model at hand, whose folder holds the true frames.

    Raises:
        UserError: if it cannot take part.
    """

    def __init__(
        self, entry: Entry, protocol: Protocol, facts: dict[str, Any], how: How, first: bool
    ) -> None:
        self.title, self.how, self.first = entry.title, how, first
        self.predictor = Predictor(entry.model, protocol)
        device = self.predictor.device
        self.batching = SINGLY if self.predictor.alone else batching(how.batch, device.type)
        place = {**of_device(device), **facts, "batch": self.batching.settings}
        self.facts = {**entry.facts, **place}
        self.key = run_key(self.facts, protocol)
        self.facts["run_key"] = self.key
        self.facts["pictures"] = how.save_images and not protocol.submission
        self.folder = Path()
        self.journal: Journal | None = None

    def measure(self, clips: Mapping[str, PartialClips], folder: Path, team: Team) -> Outcome:
        """Measure it, as far as that was not done before."""
        self.folder = folder
        protocol = self.predictor.protocol
        self.journal = Journal(folder / JOURNAL, self.key, team.rank)
        if team.rank == 0:
            self._make_room(self.journal)
        pictures = None
        if self.how.save_images or protocol.submission:
            pictures = Pictures(folder, self.first, protocol.submission)
        outcome = runner.run(
            self.predictor,
            protocol,
            None,
            clips=clips,
            device=self.predictor.device,
            journal=self.journal,
            pictures=pictures,
            limit=self.how.limit,
            batching=self.batching,
            team=team,
        )
        self.facts["calls"] = self.predictor.calls(outcome.sizes)
        return outcome

    def _make_room(self, journal: Journal) -> None:
        """Remove the result of another model, or of other options, that is in the folder."""
        before = folders.record_in(self.folder)
        if before is None or before.get("run_key") == self.key:
            return
        journal.open()  # which locks the folder
        try:
            folders.clear(self.folder)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        old = plain(str(before.get("model", "a model")))
        print(f"{self.folder}: the result of {old} there makes room", file=sys.stderr)

    def close(self, finished: bool) -> None:
        """Close the journal, and remove it where all is written."""
        if self.journal is not None:
            self.journal.close(discard=finished)
            self.journal = None


class Job:
    """One benchmark: the model at hand, and those beside.

    Args:
        protocol: by which they are measured.
        root: folder of the data.
        entries: the model at hand first.
        facts: what numbers depend on besides the models.
        how: options.

    Raises:
        UserError: if a model cannot take part.
    """

    def __init__(
        self,
        protocol: Protocol,
        root: Path | None,
        entries: Sequence[Entry],
        facts: dict[str, Any],
        how: How,
    ) -> None:
        self.protocol, self.root = protocol, root
        self.clips: Mapping[str, PartialClips] | None = None
        facts = {**facts, "root": str(root) if root else None}
        self.own, *self.others = (
            Side(entry, protocol, facts, how, first=i == 0) for i, entry in enumerate(entries)
        )

    @property
    def key(self) -> str:
        """By which an interrupted run is known."""
        return self.own.key

    def prepare(self, out: Path, team: Team) -> None:
        """Look for what is needed, before anything takes time; changes nothing.

        Args:
            out: folder of the results.
            team: of this process; the first one, which alone writes there, looks at the folder.

        Raises:
            UserError: if the data is not there, or the folder holds files that are no result.
        """
        self.clips = runner.find_clips(self.protocol, self.root)
        beside = [out / BESIDE / folder_name(side.title) for side in self.others]
        for folder in (out, *beside) if team.rank == 0 else ():
            try:
                folders.check(folder)
            except OSError as error:
                raise unwritable(folder, error) from error

    def run(self, out: Path, team: Team) -> None:
        """Measure all models; the first process writes the results and prints a table.

        Args:
            out: folder of the results.
            team: the processes that share the work.

        Raises:
            UserError: if nothing can be measured, or nothing written.
        """
        finished = False
        try:
            if self.clips is None:
                self.prepare(out, team)
            clips = self.clips or {}
            outcome = self.own.measure(clips, out, team)
            if not outcome.rows:
                problem = outcome.problems[0]
                raise UserError(f"benchmark {self.protocol.name}: nothing measured; {problem}")
            for side in self.others:
                folder = out / BESIDE / folder_name(side.title)
                outcome.beside[side.title] = side.measure(clips, folder, team)
            if team.rank == 0:
                self._write(outcome, out)
            finished = True
        finally:
            for side in (self.own, *self.others):
                side.close(finished)
        if team.rank == 0:
            self._tell(outcome)

    def _write(self, outcome: Outcome, out: Path) -> None:
        sides = [(self.own, outcome)]
        sides += [(side, outcome.beside[side.title]) for side in self.others]
        for side, one in sides:
            try:
                if side.first:  # models beside that were asked for before, and are no more
                    kept = [folder_name(other.title) for other in self.others]
                    folders.clear_others(out / BESIDE, kept)
                report.write(side.folder, one, side.facts)
                folders.tidy(side.folder)
            except OSError as error:
                raise unwritable(side.folder, error) from error

    def _tell(self, outcome: Outcome) -> None:
        show(outcome, self.own.facts)
        reused = outcome.reused + sum(one.reused for one in outcome.beside.values())
        if reused:
            print(f"{reused} images were measured by an earlier, interrupted run")
        if self.protocol.submission:
            print(f"{len(outcome.rows)} pictures to hand in are in {self.own.folder / SUBMISSION}")
        print(f"written to {self.own.folder}")
