"""`spendstream priced`"""

import json
from typing import Annotated

import typer

from streams import topics
from streams.blocks import Block, Header
from streams.kafka import admin, read_range, reader, wait_for_brokers, watermarks
from streams.settings import settings


def command(
    partition: Annotated[int | None, typer.Option(help="Only this partition.")] = None,
    start: Annotated[int | None, typer.Option("--from", help="First block offset.")] = None,
    most: Annotated[int, typer.Option(help="Most blocks of a partition, the latest.")] = 10,
    rows: Annotated[bool, typer.Option(help="The rows of each block as well, a JSON line each.")] = False,
) -> None:
    """Show priced blocks as JSON lines: what each covers, and with --rows the priced events in it."""
    conf = settings()
    wait_for_brokers(conf)
    partitions = admin(conf).list_topics(topics.PRICED, timeout=10).topics[topics.PRICED].partitions
    consumer = reader(conf)
    for number in sorted(partitions) if partition is None else [partition]:
        low, high = watermarks(consumer, topics.PRICED, number)
        first = max(low, high - most) if start is None else start
        for message in read_range(consumer, topics.PRICED, number, first, high):
            block = Block(Header.from_kafka(message.headers()), message.value() or b"")  # type: ignore[arg-type]
            print(json.dumps({"block": message.offset(), "bytes": len(block.value), **_header(block.header)}))
            if rows:
                for row in block.batch.to_pylist():
                    print(json.dumps(row, default=str, ensure_ascii=False))
    consumer.close()


def _header(header: Header) -> dict[str, str | int]:
    texts = {key: value.decode() for key, value in header.to_kafka()}
    return {key: int(text) if text.isdigit() else text for key, text in texts.items()}
