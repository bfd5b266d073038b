"""The Numenta Anomaly Benchmark over the product's own baseline: `python -m benchmarks.nab`."""
