"""Penn Treebank tokens of a caption, as the official caption metrics count them, without Java.

Equals pycocoevalcap 1.2's `PTBTokenizer`: edu.stanford.nlp.process.PTBTokenizer of
stanford-corenlp-3.4.1.jar with -preserveLines -lowerCase, then its fixed list of punctuation
removed. The rules were inferred from the answers of that program, not read from it.

Quirks kept:
- "(" becomes "-lrb-" and stays, since the list of punctuation has "-LRB-"; so do the others.
- Runs such as "!!" stay; "£" becomes "#", "€" becomes "$" and "½" becomes "1/2".
- The spaces in a telephone number, a mixed fraction ("1 1/2") or a markup tag become no-break
  spaces.

Known differences:
- A caption's tokens never depend on its neighbours. There the lexer reads on into the next line,
  and "reads K." loses its period if the next caption starts with "A" or "The". COCO val2017 has
  three such captions, and no other difference. Nor does the last caption of a file differ from
  the others here.
- CR, VT, FF, U+2028 and U+2029 are spaces. There they end the line, so that every later caption
  gets the tokens of another.
- Letters newer than Unicode 5.2 within the Basic Multilingual Plane stay; there they are dropped.
  Characters beyond that plane are dropped (there an e-mail address keeps them). Some marks of
  Asian scripts split otherwise.
- An address or a tag of more than 256 characters is not one token, which keeps time linear.
- A few rare forms where letters with accents touch punctuation ("al.é"), or a backquote stands
  inside a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["tokenize", "tokenize_all"]

_LONGEST = 256

# ---------------------------------------------------------------- characters

_NOT_LETTERS = "²³¹¼-¾⁰⁴-⁹₀-₉⅐-ↂↅ-ↈ①-⒛⓪-⓿❶-➓〇〡-〩〸-〺㆒-㆕㈠-㈩㉈-㉏㉑-㉟㊀-㊉㊱-㊿"
_LETTER = rf"[^\W\d_{_NOT_LETTERS}]"
_MARKS = (
    "\u02c2-\u02c5\u02d2-\u02df\u02e5-\u02eb\u02ed\u02ef-\u036f\u0375\u0384\u0385\u03f6\u0483-\u0487"
    "\u055a-\u055f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0615-\u061a\u064b-\u065e\u0670"
    "\u06d6-\u06e4\u06e7-\u06ed\u0711\u0730-\u074a\u07a6-\u07b0\u07eb-\u07f3\u0901-\u0903\u093c"
    "\u093e-\u094e\u0951-\u0955\u0962\u0963\u0981-\u0983\u09bc\u09be-\u09cd\u09d7\u09e2\u09e3"
    "\u0a01-\u0a03\u0a3c-\u0a4d\u0a81-\u0a83\u0abc\u0abe-\u0acd\u0b82\u0bbe-\u0bcd\u0c01-\u0c03"
    "\u0c3e-\u0c56\u0d3e-\u0d48\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd"
)
_SYMBOLS = (
    "¡¢-©¬®-±´¶-¸»«¿×÷²³¹¼-¾\u037e\u0387\u0589\u05be\u05c0\u05c3\u05c6\u05f3\u05f4\u0600-\u0603"
    "\u0606-\u060c\u0614\u061b\u061e\u061f\u066a\u066d\u06d4\u0700-\u070d\u07f6-\u07f8\u0964\u0965"
    "\u0e3f\u0e4f\u1fbd\u2010\u2011\u2013-\u2023\u2026\u2030-\u2042\u2044\u2070\u2074-\u207e\u2080-\u208e"
    "\u20a0\u20a4\u20ac\u2100\u2101\u2103-\u2106\u2108\u2109\u2114\u2116-\u2118\u211e-\u2123\u2125\u2127"
    "\u2129\u212e\u213a\u213b\u2140-\u2144\u214a-\u214d\u214f\u2153-\u215e\u2190-\u2bff\u3001\u3002"
    "\u3012\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0\uffe1\uffe5\uffe6"
    "\u0080\u0091-\u0094\u0096\u0097\u00ad"
)
_UNKNOWN = re.compile(
    rf"[\U00010000-\U0010ffff]|(?!{_LETTER})[^\x21-\x7e\d\s{_MARKS}{_SYMBOLS}]|[\x1c-\x1f]"
)

# ---------------------------------------------------------------- the rules, the first of the
# longest wins

_ENTITY = r"&(?:[aeiouAEIOU](?:acute|grave|uml));"
_L = rf"(?:{_LETTER}|[{_MARKS}\u00ad]|{_ENTITY})"
_LD = rf"(?:{_LETTER}|[\d{_MARKS}\u00ad]|{_ENTITY})"
_APOSTROPHE = r"(?:['\u0092\u2019]|&apos;)"
_VERBS = "(?i:s|d|m|ll|ve|re)"
_SUFFIX = rf"(?:[\u0092\u2019]{_VERBS}|{_APOSTROPHE}{_VERBS}(?![A-Za-z]))"
_SPACE = r"[ \u00a0]"
_HYPHEN = r"[-\u058a\u2010\u2011]"

_ANY_CASE = """
    adj adm adv al ala alex apr ariz assn assoc asst atty aug ave bhd bldg blvd brig bros calif capt
    cf cie cmdr co col colo comdr conn corp cos cpl ct dak dec dept det dr drs elec ens esq est etc
    ext feb fla fri ft ga gen gov hon inc ind insp intl invt jan jos jr jul jun kan kans ky lt ltd
    maj mar md messrs mich minn mlle mme mo mon mont mr mrs ms msgr mt natl neb nev nov oct okla
    penn pfc ph plc pres prof pvt rd rep reps rev rt sen sep sept seq sfc sgt spc sq sr st ste supt
    sys tel tenn thu thurs tue tues univ va vs vt wed wis wisc wm wyo
"""
_CAPITALIZED = "ark az del ill la mass miss ore pa tex wash"
_NOT_ALL_CAPITALS = "mfg mtg pte pty ptys"
_BEFORE_NUMBER = "art ca fig figs no nos op pp prop"


def _abbreviations() -> str:
    """Alternatives for the words that keep their period."""
    any_case = "|".join(_ANY_CASE.split())
    cased = [word.capitalize() for word in (_CAPITALIZED + " " + _NOT_ALL_CAPITALS).split()]
    cased += [word.upper() for word in _CAPITALIZED.split()]
    cased += _NOT_ALL_CAPITALS.split()
    numbered = "|".join(_BEFORE_NUMBER.split())
    return rf"(?:(?i:ph\.d|{any_case})|{'|'.join(cased)}|(?i:{numbered})(?=\.\s*\d))\."


_STARTERS = """
    A About According After An As At But Earlier He Her Here However If In It Last Many More Now
    Once One Other Our She Since So Some Such That The Their Then There These They This We What When
    While Yet You
"""


def _starters() -> str:
    """Alternatives for the words that start a sentence: "in C. The", but not "K. Rowling"."""
    return "|".join(form for word in _STARTERS.split() for form in (word, word.upper()))


_EXTENSIONS = """
    bat bmp c cgi class cpp dll docx? exe gif gz h html? jar java jpe?g mov mp3 pdf php pl png ppt
    ps py sql tar txt wav x xml zip
"""

_URL_BODY = r'[^\s"<>|(){}]'
_URL_END = r'[^\s"<>|(){}.,!?`-]'
_HOST = r"[^\s\"`'<>|.!?(){},_$/:@&A-Z-]"

_COMPOUNDS = frozenset(["cannot", "gonna", "gotta", "lemme", "gimme", "wanna"])

_RULES: dict[str, str] = {
    # <b>, </b>, <a href="x">, <!-- comment -->, <?xml ?>
    "tag": rf"<(?:[!?][A-Za-z-][^>\n]{{0,{_LONGEST}}}|/?[A-Za-z][A-Za-z0-9_:.-]*"
    rf"(?:\s++[A-Za-z][A-Za-z0-9_:.-]*(?:\s*=\s*(?:\"[^\"<>]{{0,{_LONGEST}}}\""
    rf"|'[^'<>]{{0,{_LONGEST}}}'))?)*\s*/?)>",
    # couldn't, cannot and 'tis: matched whole, then cut by _CUTS
    "negated": rf"[A-Za-z]{{0,{_LONGEST}}}[A-MO-Za-mo-z](?i:n)['\u0092\u2019](?i:t)",
    "negated, entity": rf"[A-Za-z]{{0,{_LONGEST}}}[A-MO-Za-mo-z](?i:n)&apos;(?i:t)",
    "compound": rf"(?i:{'|'.join(sorted(_COMPOUNDS))})(?!{_LD}|{_SUFFIX})",
    "'tis": r"'(?i:tis|twas)",
    "negation": rf"(?i:n){_APOSTROPHE}(?i:t)",
    "suffix": _SUFFIX,
    "word": rf"{_L}{_LD}*+(?:[.!?]{_L}{_LD}*+)*+",
    "digits": rf"(?:{_LETTER}|[\d\u00ad])++",
    # O'Brien, l'amour, e'er, o'clock, ma'am
    "inner apostrophe": rf"(?:[A-HJ-XZdlno](?!{_SUFFIX}){_APOSTROPHE}[^\W\d_]{{2,}}+"
    rf"|[A-Za-z]{{1,{_LONGEST}}}[aeiouyAEIOUY](?!{_SUFFIX}){_APOSTROPHE}[aeiouA-Z][A-Za-z]*+)",
    "apostrophe word": rf"(?![A-Za-z]{_SUFFIX})"
    r"(?i:(?:[dlj]|ol|dunkin|somethin)['\u2019]|y['\u2019](?=[a-z])"
    r"|['\u2019](?:cause|em|till?)"
    r"|['\u2019]n['\u2019]|['\u2019]n(?=\s|$)|c'mon|s'mores|cap'n|e'er|ev'ry|li'l|nat'l|nor'easter)",
    "decade": r"['\u2019]\d\d(?:s|(?=\s|$))",
    "url": rf"(?i:https?)://{_URL_BODY}{{0,{_LONGEST}}}{_URL_END}",
    "site": rf"(?:(?i:www)\.(?:{_HOST}{{1,64}}\.){{1,9}}[A-Za-z]{{2,4}}"
    rf"|(?!\d)(?:{_HOST}{{1,64}}\.){{1,9}}(?i:com|net|org|edu))"
    rf"(?:/{_URL_BODY}{{1,{_LONGEST}}}{_URL_END})?",
    "e-mail": rf"<?[A-Za-z0-9][^\s<>\"|(){{}}]{{0,{_LONGEST}}}@"
    r"(?:[^\s<>\"|().{}]++\.)*[^\s<>\"|().{}]++>?",
    "handle": r"[@#][A-Za-z][A-Za-z0-9_]*+",
    "ampersand": r"[A-Z]++(?:(?:[+&]|&amp;)[A-Z]++)++",
    "language": r"(?i:c\+\+|[cf]#)",
    "number": r"[-+]?\d*+(?:[.,:\u066b\u066c]\d++)++|[-+]\d++",
    "fraction": r"(?:\d{1,4}[- \u00a0])?\d{1,4}[/\u2044]\d{1,4}",
    "telephone": rf"(?:\([0-9]{{2,3}}\){_SPACE}?|(?:\+\+?)?(?:[0-9]{{2,4}}[- \u00a0])?"
    rf"[0-9]{{2,4}}[- \u00a0])[0-9]{{3,4}}[- \u00a0]?[0-9]{{3,5}}"
    r"|(?:(?:\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5}",
    "slashed": r"[A-Za-z0-9]++(?:-[A-Za-z]++){0,2}(?:/[A-Za-z0-9]++(?:-[A-Za-z]++){0,2}){1,2}",
    "hyphened": rf"{_LD}(?:{_LD}|[.,]){{0,{_LONGEST}}}+"
    rf"(?:{_HYPHEN}(?:(?:[A-Za-z]\.){{2,}}|(?:[DdLlOo]{_APOSTROPHE})?{_LD}++))+"
    rf"|[DdLlOo]{_APOSTROPHE}{_LD}++(?:{_HYPHEN}(?:[DdLlOo]{_APOSTROPHE})?{_LD}++)+",
    "underscored": rf"{_LD}++(?:[-_]{_LD}++)++",
    "dollars": r"[A-Z]++\$",
    "initials": rf"[A-Za-z](?:\.[A-Za-z])++\.|[A-Za-z]\.(?!\s+(?:{_starters()})(?:\s|$))",
    "file name": rf"{_LD}++(?:\.{_LD}++)*\.(?i:{'|'.join(_EXTENSIONS.split())})(?=[\s,.!?]|$)",
    "abbreviation": _abbreviations(),
    "period before comma": rf"(?:{_L}{_LD}*+(?:[.!?]{_L}{_LD}*+)*+"
    rf"|{_LD}++(?:{_HYPHEN}{_LD}++)*+)\.(?=[,;:])",
    "entity": r"(?i:&(?:quot|apos|amp|lt|gt|nbsp|[nm]dash);)|&#[0-9]+;",
    "smiley": r"[<>]?[:;=][-o*']?[)(|\]\[DPpO@\\](?![A-Za-z])",
    "face": r"[-^x=~<>']_[-^x=~<>']",
    "run": r"-+|\.{3,}|[!?]+|\*+|_+|#+|@+|<<|>>|''|``|[²³¹⁰⁴-⁹]+|[₀-₉]+"
    r"|[`\u2018\u2019\u201b\u2039\u203a\u201c\u201d«»\u0091-\u0094]{2}",
    "other": r"[^\s]",
}

_TOKEN = re.compile("".join(f"(?:(?=({rule})))?+" for rule in _RULES.values()), re.DOTALL)
_APOSTROPHES = re.compile(_APOSTROPHE)
_NAMES = tuple(_RULES)
# What is kept of a token matched whole; the rest is read again.
_CUTS = {
    "negated": slice(None, -len("n't")),
    "negated, entity": slice(None, -len("n&apos;t")),
    "compound": slice(3),
    "'tis": slice(2),
}

_REPLACED = {
    "(": "-lrb-",
    ")": "-rrb-",
    "[": "-lsb-",
    "]": "-rsb-",
    "{": "-lcb-",
    "}": "-rcb-",
    "&amp;": "&",
    "&lt;": "<",
    "&gt;": ">",
    "£": "#",
    "€": "$",
    "¤": "$",
    "\u0080": "$",
    "\u20a0": "$",
    "¢": "cents",
    "¼": "1/4",
    "½": "1/2",
    "¾": "3/4",
    "⅓": "1/3",
    "⅔": "2/3",
}
_QUOTES = {"`": "`"}
_QUOTES |= dict.fromkeys("\u2018\u201b\u2039\u0091", "`")
_QUOTES |= dict.fromkeys("\u2019\u203a\u0092", "'")
_QUOTES |= dict.fromkeys("\u201c«\u0093", "``")
_QUOTES |= dict.fromkeys("\u201d»\u0094", "''")
_SILENT = frozenset("'‘’‛‹›“”«»–—―…\u0091\u0092\u0093\u0094\u0096\u0097\u00ad\"`.,:;?!-") | {
    "''",
    "``",
    "&quot;",
    "&apos;",
    "&nbsp;",
    "&ndash;",
    "&mdash;",
}
# Where a token may hold a space, or the period of "no." depends on what follows the space.
_SPACED = re.compile(r"\d\)?\s+\(?\d|<|\.\s+\d|\b[A-Za-z]\.\s+[A-Z]")


def tokenize(caption: str) -> str:
    """The tokens of a caption, in lower case and without punctuation, joined by spaces.

    "A man's T-shirt isn't (very) clean." -> "a man 's t-shirt is n't -lrb- very -rrb- clean"
    """
    if not (caption.isascii() and caption.isprintable()):
        caption = _UNKNOWN.sub(" ", caption)
    if _SPACED.search(caption):
        return " ".join(_tokens(" ".join(caption.split())))
    return " ".join(filter(None, map(_chunk, caption.split())))


def tokenize_all(captions: Iterable[str]) -> list[str]:
    """`tokenize` of each caption, in their order."""
    known = _Chunks()
    tokens = []
    for caption in captions:
        try:
            tokens.append(" ".join(filter(None, map(known.__getitem__, caption.split()))))
        except KeyError:
            tokens.append(tokenize(caption))
    return tokens


class _Chunks(dict[str, str]):
    """Chunks without spaces -> their tokens, as they are met. KeyError for those whose tokens may
    depend on their neighbours."""

    def __missing__(self, chunk: str) -> str:
        if _DEPENDENT.search(chunk) or len(chunk) > _LONG_CHUNK:
            raise KeyError(chunk)
        tokens = self[chunk] = _short_chunk(chunk)
        return tokens


_LONG_CHUNK = 64
# Holds what may stand in a token with a space, or ends like "K.", or is not plain ASCII
_DEPENDENT = re.compile(r"[0-9<]|[^\x21-\x7e]|(?<![A-Za-z0-9_])[A-Za-z]\.$")
_ORDINARY = re.compile(r"([A-Za-z]{2,})[.,]")
_WITH_PERIOD = frozenset(" ".join((_ANY_CASE, _CAPITALIZED, _NOT_ALL_CAPITALS)).lower().split())


def _chunk(text: str) -> str:
    """The tokens of a text without spaces."""
    return _short_chunk(text) if len(text) <= _LONG_CHUNK else " ".join(_tokens(text))


@lru_cache(maxsize=65536)
def _short_chunk(text: str) -> str:
    ordinary = _ORDINARY.fullmatch(text)
    word = (ordinary[1] if ordinary else text).lower()
    if word not in _COMPOUNDS and (
        (ordinary and (text[-1] == "," or word not in _WITH_PERIOD))
        or (text.isalpha() and text.isascii())
    ):
        return word
    return " ".join(_tokens(text))


def _tokens(text: str) -> list[str]:
    """The tokens of a text whose only white space is single spaces."""
    tokens = []
    place = 0
    while place < len(text):
        if text[place] == " ":
            place += 1
            continue
        found = _TOKEN.match(text, place)
        assert found is not None
        best = 0
        token = ""
        for number, match in enumerate(found.groups("")):
            if len(match) > len(token):
                best, token = number, match
        cut = _CUTS.get(_NAMES[best])
        if cut is not None:
            token = token[cut]
        place += len(token)
        token = _written(token, _NAMES[best])
        if token:
            tokens.append(token)
    return tokens


def _written(token: str, rule: str) -> str:
    """How a token is written; "" if it is dropped."""
    if token in _SILENT or (rule == "run" and token[0] in "-." and token.strip("-.") == ""):
        return ""
    if rule == "run" and not token.isascii() and token[0] in _QUOTES:
        token = "".join(_QUOTES[quote] for quote in token)
        return "" if token in _SILENT else token
    if rule in ("tag", "fraction", "telephone"):
        token = token.replace(" ", "\u00a0")
    if rule in ("suffix", "negation"):
        return _APOSTROPHES.sub("'", token).lower()
    if token in _REPLACED:
        return _REPLACED[token]
    if rule in ("telephone", "smiley"):
        for bracket in "()":
            token = token.replace(bracket, _REPLACED[bracket])
    return token.replace("\u00ad", "").replace("&amp;", "&").lower()
