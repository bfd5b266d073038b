"""The same work as others would write it, to compare with."""
