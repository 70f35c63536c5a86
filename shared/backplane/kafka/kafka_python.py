"""All names of kafka-python that we use, as Any: it has no types, and type checkers' stubs are for another version.
Only the watchdog's process imports others.

Written for 3.0.12 and held below 4, since much of it is not the library's public interface.
"""
# pyright: reportAttributeAccessIssue=false

from typing import Any, TypeAlias

from kafka import errors as _errors
from kafka.consumer import fetcher as _fetcher
from kafka.consumer import subscription_state as _subscription_state
from kafka.coordinator import consumer as _coordinator
from kafka.coordinator.assignors import cooperative_sticky as _cooperative_sticky
from kafka.future import Future as _Future
from kafka.net import compat as _compat
from kafka.net import inet as _inet
from kafka.net import manager as _manager
from kafka.net import selector as _selector
from kafka.protocol import admin as _admin
from kafka.protocol import consumer as _consumer
from kafka.protocol import producer as _producer
from kafka.protocol.consumer import metadata as _consumer_metadata
from kafka.record import default_records as _default_records
from kafka.structs import OffsetAndMetadata as _OffsetAndMetadata
from kafka.structs import TopicPartition as _TopicPartition
from kafka.util import WeakMethod as _WeakMethod

Client: TypeAlias = Any
"""A KafkaNetClient: connections to the brokers, and the cluster's metadata."""

Place: TypeAlias = Any
"""A TopicPartition."""

errors: Any = _errors
KafkaError: Any = _errors.KafkaError
Future: Any = _Future
KafkaNetClient: Any = _compat.KafkaNetClient
KafkaNetSocket: Any = _inet.KafkaNetSocket
KafkaConnectionManager: Any = _manager.KafkaConnectionManager
NetworkSelector: Any = _selector.NetworkSelector
Fetcher: Any = _fetcher.Fetcher
SubscriptionState: Any = _subscription_state.SubscriptionState
AsyncConsumerRebalanceListener: Any = _subscription_state.AsyncConsumerRebalanceListener
ConsumerCoordinator: Any = _coordinator.ConsumerCoordinator
ConsumerProtocolAssignment: Any = _consumer_metadata.ConsumerProtocolAssignment
CooperativeStickyAssignor: Any = _cooperative_sticky.CooperativeStickyAssignor
DefaultRecordBatch: Any = _default_records.DefaultRecordBatch
DefaultRecordBatchBuilder: Any = _default_records.DefaultRecordBatchBuilder
OffsetAndMetadata: Any = _OffsetAndMetadata
TopicPartition: Any = _TopicPartition
CreateTopicsRequest: Any = _admin.CreateTopicsRequest
LeaveGroupRequest: Any = _consumer.LeaveGroupRequest
ProduceRequest: Any = _producer.ProduceRequest
WeakMethod: Any = _WeakMethod
InitProducerIdRequest: Any = _producer.InitProducerIdRequest
