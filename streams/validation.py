"""What pydantic found wrong, as lines for people: the field, and what it should be."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError


@dataclass(frozen=True)
class Complaint:
    """`field` is '' where it is about the whole; parts of a nested field are joined with dots."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


def complaints(error: ValidationError, fields: Iterable[str]) -> list[Complaint]:
    """Everything that is wrong, in the order of the fields. `fields`: those that there are."""
    return [
        Complaint(
            ".".join(str(part) for part in each["loc"]),
            f"there is no such field; the fields are {', '.join(sorted(fields))}"
            if each["type"] == "extra_forbidden"
            else each["msg"].removeprefix("Value error, "),
        )
        for each in error.errors(include_url=False, include_context=False, include_input=False)
    ]
