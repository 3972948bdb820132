"""Programs that tests start go without scipy.signal, which takes a fifth of their start.

torchmetrics imports it where SciPy is installed, for a patch of somebody else's package. Users
seldom have SciPy; the tests do, which compute with it themselves.
"""

import sys
from types import ModuleType

stand_in = ModuleType("scipy.signal")
stand_in.hamming = None  # type: ignore[attr-defined]  # so that torchmetrics patches nothing
sys.modules["scipy.signal"] = stand_in
