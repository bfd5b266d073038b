"""What a statement is, as far as the HTTP interface must know: pure text, no engine.

ClickHouse reads a request as one text: the URL's `query`, a line feed, then the body. For an INSERT with inline data
the statement ends where the data begins; `read_statement` finds that place without looking at the data.
"""

import re
from dataclasses import dataclass

# Strings, quoted identifiers and comments are one token each, so that a keyword inside them is no keyword.
_TOKEN = re.compile(
    rb"""--[^\n]*|\#[!\ ][^\n]*|/\*.*?\*/
    |'(?:\\.|''|[^'\\])*'|`(?:\\.|``|[^`\\])*`|"(?:\\.|""|[^"\\])*"
    |[A-Za-z_]\w*|\d[\w.]*|\s+|.""",
    re.DOTALL | re.VERBOSE,
)
_SKIPPED = (b"--", b"# ", b"#!", b"/*")
_DATA_START = re.compile(rb"[ \t\f\r]*\n?")
_READS = frozenset({"SELECT", "WITH", "FROM"})


@dataclass(frozen=True)
class Statement:
    """A statement and the place where its inline data begins.

    `verb` is the first keyword in capitals. `format` is what the statement itself says after FORMAT (`Values` for
    VALUES), else None. `data_at` is the offset of inline data, None for a statement without; `text` then ends before
    the FORMAT or VALUES clause.
    """

    verb: str
    text: bytes
    format: str | None
    data_at: int | None
    touches_files: bool

    @property
    def selects(self) -> bool:
        """Whether the engine can stream this statement's result."""
        return self.verb in _READS


def read_statement(text: bytes) -> Statement:
    """Read the statement at the start of `text`; inline data of an INSERT may follow and is not read."""
    verb = format_name = previous = ""
    depth = clause_at = 0
    selects = touches_files = False
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token.isspace() or token[:2] in _SKIPPED:
            continue
        word = token.decode("latin-1").upper()
        verb = verb or (word if word.isalpha() else "")
        depth += (word == "(") - (word == ")")
        named = previous in (".", "INTO", "TABLE", "FROM", "AS")  # a name that is spelled like a keyword
        if depth == 0 and verb == "INSERT" and not selects:
            if previous == "FORMAT" and clause_at:
                return Statement(verb, text[:clause_at], token.decode("latin-1"), _data_at(text, match.end()), False)
            if word == "VALUES" and not named:
                return Statement(verb, text[: match.start()], "Values", match.end(), False)
        if depth == 0:
            if previous == "FORMAT" and clause_at:
                format_name = token.decode("latin-1")
            clause_at = match.start() if word == "FORMAT" and not named else 0
            selects = selects or (word in ("SELECT", "WITH") and not named)
            touches_files = touches_files or (previous, word) in (("INTO", "OUTFILE"), ("FROM", "INFILE"))
        previous = word
    return Statement(verb, text, format_name or None, None, touches_files)


def _data_at(text: bytes, at: int) -> int:
    found = _DATA_START.match(text, at)
    return found.end() if found else at
