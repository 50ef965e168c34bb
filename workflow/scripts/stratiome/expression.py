"""Conditions of the config are SQL expressions over columns, and nothing that could reach a file or the network."""

from __future__ import annotations

import re

FUNCTIONS = frozenset({
    "abs", "cast", "try_cast", "ceil", "ceiling", "coalesce", "concat", "contains", "date", "date_part",
    "ends_with", "exp", "extract", "floor", "greatest", "ifnull", "initcap", "least", "left", "length", "ln",
    "log", "log10", "log2", "lower", "ltrim", "mod", "nullif", "power", "regexp_like", "replace", "right",
    "round", "rtrim", "sign", "sqrt", "starts_with", "strpos", "strptime", "substr", "substring", "trim",
    "upper",
})  # fmt: skip
"""Functions of one patient's values, in lower case."""
_BEFORE_PARENTHESES = frozenset({
    "and", "between", "case", "char", "decimal", "else", "ilike", "in", "is", "like", "not", "numeric", "or",
    "then", "varchar", "when",
})  # fmt: skip
_STATEMENTS = frozenset({
    "alter", "attach", "copy", "create", "delete", "drop", "except", "exists", "explain", "from", "group",
    "having", "insert", "intersect", "into", "join", "lateral", "limit", "order", "over", "partition",
    "pragma", "qualify", "select", "set", "table", "union", "update", "values", "window", "with",
})  # fmt: skip
"""Words of queries and statements, which an expression over the columns of one patient does not need."""
_TOKEN = re.compile(r"(?P<text>'(?:[^']|'')*')|(?P<name>\"(?:[^\"]|\"\")*\"|`[^`]*`)|(?P<word>[^\W\d]\w*)|(?P<sign>\S)")


def refused_part(condition: str) -> str | None:
    """What makes a text more than an expression over the columns of one patient; None if nothing does.

    Looks at what stands outside of quotes: words of queries, functions that are not in `FUNCTIONS`, comments, several
    statements, and quotes that another reader of SQL might end elsewhere.
    """
    if "\\'" in condition or '\\"' in condition:
        return "a backslash before a quotation mark"
    previous, depth = None, 0
    for token in _TOKEN.finditer(condition):
        kind, text = str(token.lastgroup), token.group()
        pair = condition[token.start() : token.start() + 2]
        if kind == "sign" and (text in ";$[]{}\\#'\"`" or pair in ("--", "/*")):
            return f"`{pair if pair in ('--', '/*') else text}`"
        if kind == "word" and text.lower() in _STATEMENTS:
            return f"the word {text.upper()}"
        if text == "(" and previous is not None:
            function = _called(previous)
            if function is not None:
                return f"the function `{function}`"
        if kind == "text" and previous is not None and previous.lastgroup == "word" and previous.end() == token.start():
            return "a letter before a quotation mark"
        depth += {"(": 1, ")": -1}.get(text, 0)
        if depth < 0:
            return "a parenthesis that was never opened"
        previous = token
    return None


def _called(before: re.Match[str]) -> str | None:
    """Name of a function that is not allowed, of what stands before an opening parenthesis."""
    if before.lastgroup == "name":
        return before.group().strip('"`')
    word = before.group().lower()
    known = before.lastgroup != "word" or word in FUNCTIONS or word in _BEFORE_PARENTHESES
    return None if known else before.group()
