"""What a statement is, as far as the HTTP interface must know: pure text, no engine.

ClickHouse reads a request as one text: the URL's `query`, a line feed, then the body. For an INSERT with inline data the
text ends where the data begins; `read_statement` finds that place in the first bytes without looking at the data.
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
    verb = ""
    words: list[str] = []  # the last keywords at depth 0
    format_name: str | None = None
    depth = 0
    touches_files = False
    after_format = False
    clause_at = 0
    select_seen = False
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token[0] in b" \t\r\n\f\v" or token[:2] in _SKIPPED:
            continue
        if token == b"(":
            depth += 1
            words.append("(")
            continue
        if token == b")":
            depth -= 1
            words.append(")")
            continue
        word = (
            token.decode("ascii", "replace").upper()
            if token[:1].isalpha() or token[:1] == b"_"
            else token.decode("latin-1")
        )
        if not verb and word.isalpha():
            verb = word
        previous = words[-1] if words else ""
        if depth == 0:
            if after_format:
                after_format = False
                format_name = token.decode("latin-1")
                if verb == "INSERT" and not select_seen:
                    begins = _DATA_START.match(text, match.end())
                    data_at = begins.end() if begins else match.end()
                    return Statement(verb, text[:clause_at], format_name, data_at, touches_files)
            elif word == "FORMAT" and previous not in (".", "AS", "INTO", "TABLE", "FROM"):
                after_format = True
                clause_at = match.start()
            elif verb == "INSERT" and not select_seen and word == "VALUES" and previous not in (".", "INTO", "TABLE"):
                return Statement(verb, text[: match.start()], "Values", match.end(), touches_files)
            elif word in ("SELECT", "WITH") and previous != ".":
                select_seen = True
            elif word == "OUTFILE" and previous == "INTO" or word == "INFILE" and previous == "FROM":
                touches_files = True
        words.append(word)
    return Statement(verb, text, format_name, None, touches_files)
