"""How another process finds a train function."""

import sys
from collections.abc import Callable
from typing import Any

from tropism.core.errors import InvalidInputError


def name_of_train(model: str, train: Callable[..., Any]) -> str:
    """Return ``module:name`` of a train function, by which another process finds it.

    Raises: InvalidInputError if none could.
    """
    module, name = getattr(train, "__module__", "?"), getattr(train, "__qualname__", "?")
    if module == "__main__" or getattr(sys.modules.get(module), name, None) is not train:
        raise InvalidInputError(
            f"Cannot train {model!r}: another process could not import its train function "
            f"{f'{module}:{name}'!r}. Define it with 'def' at the top level of an importable module."
        )
    return f"{module}:{name}"


def check_train(model: str, train: Callable[..., Any]) -> None:
    """Refuse, when a model is declared, a lambda, an inner or a partial function: no process could import it.

    Raises: InvalidInputError.
    """
    name = getattr(train, "__qualname__", None)
    if name is None or "<" in name or "." in name:
        raise InvalidInputError(
            f"Cannot make model {model!r}: another process could not import its train function "
            f"{name or repr(train)!r}. Define it with 'def' at the top level of an importable module."
        )
