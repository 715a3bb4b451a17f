"""Avro and Protobuf payloads in Confluent's framing, with schemas from a Confluent Schema Registry."""
