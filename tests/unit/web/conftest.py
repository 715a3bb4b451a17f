from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from tropism.web.flights_report import FlightsReport
from tropism.web.whatif_card import WhatIfCard


def _loaded() -> ModuleType:
    spec = spec_from_file_location("web_samples", Path(__file__).with_name("samples.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_SAMPLES = _loaded()


@pytest.fixture
def flights() -> Callable[..., FlightsReport]:
    """A year of flights, made up from a seed."""
    return _SAMPLES.flights


@pytest.fixture
def card() -> Callable[..., WhatIfCard]:
    """What a table gave, made up from a seed."""
    return _SAMPLES.card
