"""A training that hangs is ended, and leaves behind where every rank stood."""

from __future__ import annotations

import faulthandler
import json
import multiprocessing
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from midframe.data.stacks import stacks_of
from midframe.files import write_text

# Exit code of a training that hung (EX_SOFTWARE of sysexits.h).
HUNG = 70
REQUEST = "request.json"
_DEBUGGERS = {"pdb", "bdb", "ipdb", "pydevd", "_pydevd_bundle", "debugpy"}
_LAST_RESORT = 60.0  # seconds after which the process ends even if its disk does not answer


class Watchdog(Callback):
    """End a training in which a rank makes no progress, with the stacks of all ranks.

    A thread watches for batches, of training and of validation. After too long without one, it
    writes the stacks of all threads and loading processes of its rank to ``stacks/`` of the run
    directory, asks the other ranks by a file there to do so as well, and ends the process. Time in
    which the process was stopped, or stood in a debugger, does not count.

    Args:
        directory: of the run.
        minutes: without a batch; 0 watches nothing. PyTorch gives up on ranks that wait for one
            another after 30, with less to say.
    """

    def __init__(self, directory: str, minutes: float = 20.0) -> None:
        self.run = Path(directory)
        self.folder = self.run / "stacks"
        self.seconds = 60.0 * minutes
        self.interval = min(5.0, self.seconds / 10)
        self.rank, self.world = 0, 1
        self.place = "the start"  # what the last sign of life was
        self._beats = 0
        self._stopped = threading.Event()
        self._ending = threading.Lock()

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        if self.seconds <= 0:
            return
        self.rank, self.world = trainer.global_rank, trainer.world_size
        if self.world > 1:
            if trainer.is_global_zero:  # of a hang before
                (self.folder / REQUEST).unlink(missing_ok=True)
            trainer.strategy.barrier("watchdog")
        self._stopped = threading.Event()
        self._start(self._watch)
        if self.world > 1:
            self._start(self._listen)

    def teardown(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        self._stopped.set()

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        self._stopped.set()

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        self._beat("training", trainer.global_step)

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        self._beat("after the training batch", trainer.global_step)

    def on_validation_batch_start(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        self._beat("validating", trainer.global_step)

    def on_validation_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        self._beat("after a batch of the validation", trainer.global_step)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._beat("after the validation", trainer.global_step)

    def _beat(self, place: str, step: int) -> None:
        self.place = f"{place}, step {step}"
        self._beats += 1

    def _start(self, loop: Callable[[], None]) -> None:
        threading.Thread(target=loop, name="midframe-watchdog", daemon=True).start()

    def _watch(self) -> None:
        """Count the time without a batch; nothing here touches a disk, which may be what hangs."""
        stopped, seen, idle, last = self._stopped, self._beats, 0.0, time.monotonic()
        while not stopped.wait(self.interval):
            now = time.monotonic()
            passed, last = min(now - last, 2 * self.interval), now  # less than a stop took
            if self._beats != seen or _is_debugged():
                seen, idle = self._beats, 0.0
                continue
            idle += passed
            if idle >= self.seconds:
                minutes = self.seconds / 60
                self._end(f"rank {self.rank} made no progress for {minutes:.3g} minutes")

    def _listen(self) -> None:
        """Look for the request of another rank."""
        stopped, request = self._stopped, self.folder / REQUEST
        while not stopped.wait(self.interval):
            try:
                asked = json.loads(request.read_text())
            except (OSError, ValueError):
                continue
            self._end(str(asked["why"]))

    def _end(self, why: str) -> None:
        """Write the stacks, wait for the other ranks to do the same, and end the process."""
        with self._ending:
            timer = threading.Timer(_LAST_RESORT, os._exit, (HUNG,))
            timer.daemon = True
            timer.start()
            if self._stopped.is_set():
                timer.cancel()
                return
            _say(f"error: {why} (last sign: {self.place}); the stacks of all ranks are written to ")
            _say(f"{self.folder}, and the job ends with exit code {HUNG}\n")
            try:
                if self.world > 1 and not (self.folder / REQUEST).exists():
                    write_text(self.folder / REQUEST, json.dumps({"why": why}))
                self._dump(why)
                self._note()
                self._wait_for_others()
            except OSError as error:
                _say(f"error: the stacks cannot be written there: {error}\n")
                faulthandler.dump_traceback(all_threads=True)
            for process in multiprocessing.active_children():
                process.kill()
            os._exit(HUNG)

    def _dump(self, why: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        head = f"{why}\nrank {self.rank} on {platform.node()}, process {os.getpid()}\n"
        with self._file().open("w") as file:
            file.write(f"{head}last sign of life: {self.place}\n\n")
            file.flush()
            faulthandler.dump_traceback(file, all_threads=True)
            for process in multiprocessing.active_children():
                file.write(f"\nloading process {process.name}, {process.pid}\n")
                file.write(stacks_of(process.pid or 0))

    def _file(self, rank: int | None = None) -> Path:
        return self.folder / f"rank{self.rank if rank is None else rank}.txt"

    def _note(self) -> None:
        """Let the record of the run say it; the run's lock is released with the process."""
        path = self.run / "run.json"
        if self.rank == 0 and path.is_file():
            record = {**json.loads(path.read_text()), "status": "hung"}
            write_text(path, json.dumps(record, indent=1) + "\n")

    def _wait_for_others(self) -> None:
        """Give them time for theirs: what started the ranks ends all of them with the first."""
        asked = (self.folder / REQUEST).stat().st_mtime if self.world > 1 else 0.0
        end = time.monotonic() + 3 * self.interval + 3
        while time.monotonic() < end:
            files = (self._file(rank) for rank in range(self.world))
            if all(file.is_file() and file.stat().st_mtime >= asked for file in files):
                break
            time.sleep(self.interval / 10)
        if self.world > 1:  # rank 0 goes first, whose exit code is the job's
            time.sleep(0.5 if self.rank == 0 else 1.5)


def _is_debugged() -> bool:
    """Whether the main thread stands in a debugger."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if str(frame.f_globals.get("__name__")).split(".")[0] in _DEBUGGERS:
            return True
        frame = frame.f_back
    return False


def _say(text: str) -> None:
    """Write past buffers and their locks, which the thread that hangs may hold."""
    os.write(2, text.encode())
