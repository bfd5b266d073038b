"""Speed of the pipeline's parts and of the whole: `make bench`."""
