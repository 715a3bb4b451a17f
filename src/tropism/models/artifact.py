"""A trained version as bytes, found by the digest of its bytes."""

import math
import pickle
from collections.abc import Sequence
from hashlib import sha256

import msgspec
import numpy as np

from tropism.core.errors import CorruptError, InvalidInputError
from tropism.models.columns import taken
from tropism.models.rows import Predictor, Rows, TrainingRows
from tropism.models.sketch.features import FeatureSketch
from tropism.ports.blobs import Blobs

PROBE_ROWS = 512
"""How many of the newest training rows a version's digest is taken on."""


class _Packed(msgspec.Struct, frozen=True):
    """What an artifact's bytes hold. The pickle is our own: its digest stands in the log."""

    predictor: bytes
    names: tuple[str, ...]
    reference: FeatureSketch


class Version:
    """A version that can decide."""

    def __init__(self, predictor: Predictor, names: tuple[str, ...], reference: FeatureSketch) -> None:
        self.names = names
        self.reference = reference
        self._predictor = predictor

    def predict(self, rows: Rows) -> Sequence[float]:
        """Return an output a row.

        Raises: InvalidInputError if the rows are laid out otherwise, or the predictor gave too many or few.
        """
        if rows.names != self.names:
            raise InvalidInputError(
                f"Cannot decide on features {list(rows.names)}: the version was trained on "
                f"{list(self.names)}. Restore those features, or give the changed model a new name."
            )
        outputs = [float(output) for output in self._predictor.predict(rows)]
        if len(outputs) != len(rows):
            raise InvalidInputError(
                f"Cannot decide: the version gave {len(outputs)} outputs to {len(rows)} rows. "
                f"Mend its predict function, or roll it back."
            )
        return outputs


def pack(predictor: Predictor, names: tuple[str, ...], reference: FeatureSketch) -> tuple[str, bytes]:
    """Return a version's bytes, and the blob name that their digest gives."""
    data = msgspec.msgpack.encode(_Packed(pickle.dumps(predictor, protocol=5), names, reference))
    return f"artifacts/sha256/{sha256(data).hexdigest()}", data


async def load_version(blobs: Blobs, artifact: str) -> Version:
    """Return the version in a blob.

    Raises: NotFoundError; CorruptError if the bytes are not those that the log names; InvalidInputError if
    the predictor's own code is not here.
    """
    data = await blobs.get(artifact)
    if not artifact.endswith(sha256(data).hexdigest()):
        raise CorruptError(
            f"Cannot load {artifact!r}: its bytes have another digest. Restore the blob from a backup, "
            f"or reproduce the version."
        )
    packed = msgspec.msgpack.decode(data, type=_Packed)
    # The digest above is in the log, written by the process that trained it: these are our own bytes.
    try:
        predictor: Predictor = pickle.loads(packed.predictor)  # noqa: S301 (our own bytes, see above)
    except Exception as error:
        raise InvalidInputError(
            f"Cannot load {artifact!r}: its predictor does not come back ({type(error).__name__}: {error}). "
            f"Deploy the code that it was trained with, or roll the version back."
        ) from error
    return Version(predictor, packed.names, packed.reference)


def digest_of(predictor: Predictor, rows: TrainingRows) -> str:
    """Return the digest of what a version predicts on its newest rows, to 9 significant digits.

    Raises: InvalidInputError if the outputs are no probabilities, or all the same, on rows of any time.
    """
    probe = rows.part(max(0, len(rows) - PROBE_ROWS), len(rows)).rows
    outputs = _probabilities(predictor, probe)
    if len(set(outputs)) == 1:
        _check_tells(predictor, rows, outputs[0])
    return sha256("\n".join(f"{output:.9g}" for output in outputs).encode()).hexdigest()


def _check_tells(predictor: Predictor, rows: TrainingRows, output: float) -> None:
    """Refuse a version that answers rows of all times alike: the newest may be alike themselves."""
    places = np.unique(np.linspace(0, len(rows) - 1, PROBE_ROWS).astype(np.int64))
    spread = Rows(rows.names, [taken(column, places) for column in rows.columns])
    if set(_probabilities(predictor, spread)) == {output}:
        raise InvalidInputError(
            f"Cannot use what was trained: it answers {output:g} to all of {len(places)} rows. "
            f"Mend the train function, or give it features that tell."
        )


def _probabilities(predictor: Predictor, rows: Rows) -> list[float]:
    outputs = [float(output) for output in predictor.predict(rows)]
    if len(outputs) != len(rows) or not all(math.isfinite(o) and 0.0 <= o <= 1.0 for o in outputs):
        raise InvalidInputError(
            "Cannot use what was trained: its outputs are not one probability a row. Mend the train function."
        )
    return outputs
