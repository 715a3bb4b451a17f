"""What Kafka's errors mean to a caller."""

import logging

from confluent_kafka import KafkaError, KafkaException

from tropism.adapters.kafka import codes
from tropism.core.errors import CorruptError, InvalidInputError, TropismError, UnavailableError

LOGGER = logging.getLogger("tropism.kafka")

_LOGIN = {codes.AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, codes.SSL}
_RIGHTS = {
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}
_SIZES = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}


class Complaints:
    """The last refusal to log in that a client reported: calls that time out after it are explained by it."""

    def __init__(self) -> None:
        self.refused: KafkaError | None = None

    def note(self, error: KafkaError) -> None:
        """Take a client's report of an error."""
        if error.code() in _LOGIN:
            self.refused = error


def error_of(raised: BaseException) -> KafkaError | None:
    """Return Kafka's own error within an exception, None where there is none."""
    first = raised.args[0] if isinstance(raised, KafkaException) and raised.args else None
    return first if isinstance(first, KafkaError) else None


def translated(error: KafkaError | None, what: str, name: str, complaints: Complaints) -> TropismError:
    """Return what a caller is told of a failure: ``what`` it wanted, and of which log.

    Kafka's own words are left out, for they may repeat what was configured; its codes say enough.
    """
    code = error.code() if error is not None else None
    told = error.name() if error is not None else "no answer"
    if complaints.refused is not None or code in _LOGIN:
        told = told if complaints.refused is None else complaints.refused.name()
        return UnavailableError(
            f"Cannot {what} {name!r}: the broker did not let it log in ({told}). "
            f"Check security.protocol, sasl.username and the password."
        )
    if code in _RIGHTS:
        return InvalidInputError(
            f"Cannot {what} {name!r}: this user has no right to ({told}). Grant it, or use another."
        )
    if code in _SIZES:
        return InvalidInputError(
            f"Cannot {what} {name!r}: a record is larger than the broker takes ({told}). "
            f"Raise max.message.bytes there, or set message.max.bytes in the URL to what it is."
        )
    if code == codes.BAD_MESSAGE:
        return CorruptError(f"Cannot {what} {name!r}: stored bytes are damaged ({told}). Restore the topic.")
    return UnavailableError(
        f"Cannot {what} {name!r}: the brokers do not answer as they should ({told}). "
        f"See that they run and can be reached, then try again."
    )
