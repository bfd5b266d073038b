"""The kinds of event that the sample has on purpose, each told by one condition.

The conditions are SQL that polars and ClickHouse both read, over the columns of a usage event: the generator counts
what it made with them, and the demo counts what arrived in `spend.usage`.
"""

UNATTRIBUTED = ("workload", "customer", "team", "project", "service", '"user"', "gateway", "environment")

KINDS: dict[str, str] = {
    "unknown model": "request_model = 'gpt-7-preview'",
    "batch tier": "coalesce(is_batch, false)",
    "priority tier": "coalesce(service_tier, '') = 'priority'",
    "flex tier": "coalesce(service_tier, '') = 'flex'",
    "cache reads": "coalesce(cache_read_input_tokens, 0) > 0",
    "5-minute cache writes": "coalesce(cache_creation_input_tokens, 0) > coalesce(cache_creation_1h_input_tokens, 0)",
    "1-hour cache writes": "coalesce(cache_creation_1h_input_tokens, 0) > 0",
    "audio tokens": "coalesce(audio_input_tokens, 0) + coalesce(audio_output_tokens, 0) > 0",
    "speech and transcription": "operation = 'speech' OR operation = 'transcription'",
    "embeddings": "operation = 'embeddings'",
    "image calls": "operation = 'image_generation'",
    "document pages": "operation = 'ocr'",
    "GPU seconds": "operation = 'compute' OR operation = 'fine_tuning'",
    "storage and transfer": "operation = 'storage' OR operation = 'data_transfer'",
    "fine-tuned model": "request_model LIKE 'ft:%'",
    "aborted calls": "usage_status = 'partial'",
    "failed calls": "error_type = 'rate_limit_exceeded' OR error_type = 'overloaded' OR error_type = 'server_error'",
    "retries": "coalesce(attempt, 1) > 1",
    "answered by the gateway's cache": "coalesce(cache_outcome, '') = 'hit'",
    "late by a day or more": "emitted_at >= time + INTERVAL '1 day'",
    **{f"without {field.strip(chr(34))}": f"coalesce({field}, '') = ''" for field in UNATTRIBUTED},
}
