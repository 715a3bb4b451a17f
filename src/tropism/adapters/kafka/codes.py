"""librdkafka's own error codes: its Python client gives them no public names."""
# ruff: noqa: SLF001 (the underscore is librdkafka's mark of codes that come from no broker)

from confluent_kafka import KafkaError

AUTHENTICATION = KafkaError._AUTHENTICATION
BAD_MESSAGE = KafkaError._BAD_MSG
FATAL = KafkaError._FATAL
PARTITION_END = KafkaError._PARTITION_EOF
QUEUE_FULL = KafkaError._QUEUE_FULL
SSL = KafkaError._SSL
TIMED_OUT = KafkaError._TIMED_OUT
UNKNOWN_PARTITION = KafkaError._UNKNOWN_PARTITION
UNKNOWN_TOPIC = KafkaError._UNKNOWN_TOPIC
UNSUPPORTED_FEATURE = KafkaError._UNSUPPORTED_FEATURE
