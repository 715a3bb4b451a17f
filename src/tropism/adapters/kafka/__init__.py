"""The log on Kafka, and on what speaks its protocol: Redpanda, MSK, Event Hubs."""

from tropism.adapters.kafka.log import KafkaLog, open_kafka

__all__ = ["KafkaLog", "open_kafka"]
