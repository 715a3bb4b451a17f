"""What proves a system and its adapters; free of any test framework.

``run`` runs an app for a test, in virtual time. ``Simulation`` and ``Faults`` crash and disturb it. The
modules named after ports hold the laws of their adapters. ``python -m tropism.testing.simulate`` runs
systems of several processes in seeded weather.
"""

from tropism.testing.emitted import Emitted
from tropism.testing.faults import Faults
from tropism.testing.run import Run, run
from tropism.testing.simulation import Simulation

__all__ = ["Emitted", "Faults", "Run", "Simulation", "run"]
