"""A command that sees a partition of spend.usage begin later than it does: the embedded broker never expires a record.

python expired.py PARTITION:OFFSET COMMAND...
"""

import sys

from confluent_kafka import Consumer

from streams import kafka, topics

original = kafka.watermarks


def main() -> None:
    expired, begin = map(int, sys.argv[1].split(":"))

    def watermarks(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
        start, end = original(consumer, topic, partition)
        return (begin, end) if (topic, partition) == (topics.USAGE, expired) else (start, end)

    kafka.watermarks = watermarks  # before those who import it
    from streams import cli

    sys.argv = ["spendstream", *sys.argv[2:]]
    cli.main()


if __name__ == "__main__":
    main()
