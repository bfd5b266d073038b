"""Dead letters: records that could not be counted, as they came, with the reason; and how they are put back.

A dead letter on `spend.dead-letter` has the record's own key and bytes. Its headers, all text:

    reason      a word of REASONS
    detail      what is wrong, for a person
    topic, partition, offset, log_id    where the record is; log_id is the topic's id

A replay puts key and bytes back on `spend.usage` with the header `replay_of` (log id:partition:offset), and then a
marker on `spend.dead-letter`, which has the header `replayed` with the same coordinates. A dead letter was never
accepted, so its first replay is no repeat; a second one is, and is dropped, because it goes to the same partition.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from confluent_kafka import Consumer, KafkaError, Message, Producer

from streams import topics
from streams.errors import Halt, SpendError, Unreachable
from streams.kafka import admin, client_config, read_range, reader, topic_ids, watermarks
from streams.partitioner import partitions_of
from streams.settings import Settings

REASONS: dict[str, str] = {
    "empty": "A tombstone or a record without a byte. Nothing is lost; it is never replayed.",
    "undecodable": "Its bytes are not a record of the schema they name. Mend the producer.",
    "unknown_schema": "Nothing can read its schema. Register the schema or upgrade spendstream, then replay.",
    "trailing_bytes": "It goes on after its end: another schema wrote it than the one it names. Mend the producer.",
    "too_large": "A text, a map or the whole record is larger than allowed. Mend the producer.",
    "out_of_bounds": "A count or a time that cannot be, or an empty identity. Mend the producer.",
    "contradiction": "Counts that contradict each other, such as more cached tokens than input. Mend the producer.",
    "ahead_of_record": "Its time is over 5 minutes ahead of its record. Mend its producer's clock; replay later.",
    "cost_out_of_bounds": "It would cost more than one event can. Look at its counts and your own rates, then replay.",
}


@dataclass(frozen=True)
class DeadLetter:
    """A record that could not be counted. `replayed` is known to whoever reads the whole topic."""

    key: bytes | None
    value: bytes | None
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    log_id: str
    replayed: bool = False

    @property
    def place(self) -> str:
        """`partition:offset`, by which a person names it."""
        return f"{self.partition}:{self.offset}"

    @property
    def coordinates(self) -> str:
        """`log id:partition:offset`, which names it for ever."""
        return f"{self.log_id}:{self.place}"

    def to_kafka(self) -> list[tuple[str, bytes]]:
        """Its headers."""
        texts = {
            "reason": self.reason,
            "detail": self.detail,
            "topic": self.topic,
            "partition": str(self.partition),
            "offset": str(self.offset),
            "log_id": self.log_id,
        }
        return [(name, text.encode("utf-8", "replace")) for name, text in texts.items()]

    @classmethod
    def from_kafka(
        cls, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]] | None
    ) -> "DeadLetter":
        """Read a record of `spend.dead-letter`.

        Raises:
            ValueError: it is not a dead letter.
        """
        texts = {name: (text or b"").decode("utf-8", "replace") for name, text in headers or ()}
        try:
            return cls(
                key=key,
                value=value,
                reason=texts["reason"],
                detail=texts["detail"],
                topic=texts["topic"],
                partition=int(texts["partition"]),
                offset=int(texts["offset"]),
                log_id=texts["log_id"],
            )
        except KeyError as exc:
            raise ValueError(f"no dead letter: it has no header {exc.args[0]}") from exc


def collect(
    records: Iterable[tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]] | None]],
) -> list[DeadLetter]:
    """The dead letters among the records (key, value, headers) of `spend.dead-letter`, each once, in their order.

    A worker that crashed may have written one twice; markers say which were replayed; what is neither is passed over.
    """
    letters: dict[str, DeadLetter] = {}
    replayed = set()
    for key, value, headers in records:
        marker = next((text for name, text in headers or () if name == "replayed"), None)
        if marker is not None:
            replayed.add(marker.decode())
            continue
        try:
            letter = DeadLetter.from_kafka(key, value, headers)
        except ValueError:
            continue
        letters.setdefault(letter.coordinates, letter)
    return [replace(letter, replayed=name in replayed) for name, letter in letters.items()]


def read_all(settings: Settings) -> list[DeadLetter]:
    """Every dead letter that is on the topic as it is read, the oldest first.

    Raises:
        Halt: the topic does not exist. Unreachable: the broker does not answer.
    """
    topic_ids(settings, topics.DEAD_LETTER)
    consumer = reader(settings)
    try:
        return collect(_records(settings, consumer))
    finally:
        consumer.close()


def _records(
    settings: Settings, consumer: Consumer
) -> Iterator[tuple[bytes | None, bytes | None, list[tuple[str, bytes]] | None]]:
    for partition in sorted(_partitions(settings, topics.DEAD_LETTER)):
        low, high = watermarks(consumer, topics.DEAD_LETTER, partition)
        for message in read_range(consumer, topics.DEAD_LETTER, partition, low, high):
            yield message.key(), message.value(), message.headers()  # type: ignore[misc]


def _partitions(settings: Settings, topic: str) -> list[int]:
    return list(admin(settings).list_topics(topic, timeout=10).topics[topic].partitions)


def target_partition(letter: DeadLetter, log_id: str, partitions: int) -> int:
    """Where a replay goes: back to its own partition, where repeats of it are known; on another log, by its key."""
    if letter.log_id == log_id and letter.partition < partitions:
        return letter.partition
    return int(partitions_of([letter.key or letter.coordinates.encode()], partitions)[0])


def replay(settings: Settings, letters: Sequence[DeadLetter]) -> None:
    """Put letters back on `spend.usage` and mark them as replayed, in this order: a crash between repeats, never loses.

    Raises:
        SpendError: one has no bytes. Halt, Unreachable: Kafka does not take them.
    """
    if empty := [letter.place for letter in letters if not letter.value]:
        raise SpendError(f"dead letter {empty[0]} has no bytes: there is nothing to put back")
    log_id = topic_ids(settings, topics.USAGE)[topics.USAGE]
    partitions = len(_partitions(settings, topics.USAGE))
    producer = Producer(
        {**client_config(settings), "enable.idempotence": True, "acks": "all", "message.max.bytes": 64 << 20}
    )

    def put_back(letter: DeadLetter, failed: Callable[[KafkaError | None, Message], None]) -> None:
        producer.produce(
            topics.USAGE,
            letter.value,
            letter.key,
            partition=target_partition(letter, log_id, partitions),
            headers=[("replay_of", letter.coordinates.encode())],
            on_delivery=failed,
        )

    def mark(letter: DeadLetter, failed: Callable[[KafkaError | None, Message], None]) -> None:
        producer.produce(
            topics.DEAD_LETTER,
            None,
            letter.coordinates.encode(),
            headers=[("replayed", letter.coordinates.encode())],
            on_delivery=failed,
        )

    for publish in (put_back, mark):
        _publish_all(producer, letters, publish)


def _publish_all(
    producer: Producer,
    letters: Sequence[DeadLetter],
    publish: Callable[[DeadLetter, Callable[[KafkaError | None, Message], None]], None],
) -> None:
    errors: list[str] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            errors.append(error.str())

    for letter in letters:
        while True:
            try:
                publish(letter, delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    waiting = producer.flush(60)
    if waiting:
        raise Unreachable(f"Kafka has not acknowledged {waiting} messages in 60 s: replay again, repeats are dropped")
    if errors:
        raise Halt(f"Kafka did not take {len(errors)} messages ({errors[0]}): replay again, repeats are dropped")
