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
    the FORMAT or VALUES clause. `names_file_function` is whether the function `file` may be called: by it the engine
    lets everybody read any file, unlike by the table function of that name.
    """

    verb: str
    text: bytes
    format: str | None
    data_at: int | None
    touches_files: bool
    names_file_function: bool = False

    @property
    def selects(self) -> bool:
        """Whether the engine can stream this statement's result."""
        return self.verb in _READS


def read_statement(text: bytes) -> Statement:
    """Read the statement at the start of `text`; inline data of an INSERT may follow and is not read."""
    verb = previous = ""
    depth = clause_at = 0
    selects = touches_files = names_file = False
    words: list[str] = []  # outside of parentheses, as written
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token.isspace() or token[:2] in _SKIPPED:
            continue
        word = token.decode("latin-1").upper()
        verb = verb or (word if word.isalpha() else "")
        depth += (word == "(") - (word == ")")
        names_file = (
            names_file or word.strip('`"') == "FILE" or (word[0] in '`"' and "\\" in word)
        )  # an escape hides it
        if depth == 0:
            named = previous in (".", "INTO", "TABLE", "FROM", "AS")  # a name that is spelled like a keyword
            touches_files = touches_files or (previous, word) in (("INTO", "OUTFILE"), ("FROM", "INFILE"))
            if verb == "INSERT" and not selects and not touches_files:
                if clause_at:
                    at = _DATA_START.match(text, match.end())
                    return Statement(verb, text[:clause_at], token.decode("latin-1"), at.end() if at else None, False)
                if word == "VALUES" and not named:
                    return Statement(verb, text[: match.start()], "Values", match.end(), False)
                clause_at = match.start() if word == "FORMAT" and not named else 0
            selects = selects or (word in ("SELECT", "WITH") and not named)
            words.append(token.decode("latin-1"))
        previous = word
    return Statement(verb, text, _format_clause(words), None, touches_files, names_file)


def _format_clause(words: list[str]) -> str | None:
    # FORMAT name, and then nothing but the end or SETTINGS.
    for at in range(len(words) - 2, -1, -1):
        if words[at].upper() == "FORMAT" and [*words, ";"][at + 2].upper() in (";", "SETTINGS"):
            return words[at + 1]
    return None
