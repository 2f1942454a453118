"""Looking at a file before it is parsed: is it there, is it what its suffix says, how is it encoded, what is its hash.

One pass over the bytes in pieces of 1 MiB, so that any size of file can be looked at.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from stalkscreen.dataset.problems import RefusedFileError

SUFFIXES = (".jsonl", ".csv", ".parquet")
_PIECE = 1 << 20

_MAGIC = (
    (b"PK\x03\x04", "a zip archive (an Excel workbook is one)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Outlook file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
_MARKUP = re.compile(rb"<(\?xml|!doctype|html)", re.IGNORECASE)
_NOT_1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_SURELY_UTF8 = re.compile(rb"\xe2\x80[\x90-\xaf]|\xc2[\xa0-\xbf]|\xc3[\x80-\xbf]|\xf0\x9f")
"""Pound signs, accents, curly quotes and dashes as UTF-8 writes them. As Windows-1252 they would be gibberish."""

_SAVE_AS = {
    ".csv": "CSV text; in Excel, save as 'CSV UTF-8'",
    ".jsonl": "JSON Lines: one {...} object on each line",
    ".parquet": "a Parquet file",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A file that can be parsed.

    Attributes:
        path: As given.
        suffix: One of `SUFFIXES`.
        encoding: For Python's `open`; Parquet files have none and say `utf-8`.
        sha256: Of its bytes, in hexadecimal.
        notes: What a reader should know, without any of the file's text.
    """

    path: Path
    suffix: str
    encoding: str
    sha256: str
    notes: tuple[str, ...] = ()


def inspect(path: Path) -> Source:
    """Look at one file.

    Raises:
        RefusedFileError: It is missing, a directory, empty, of an unknown suffix, of another type than its suffix says, or
            neither UTF-8 nor Windows-1252.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        raise RefusedFileError(path, "it is a directory", "the files in it, named one by one")
    if not path.exists():
        raise RefusedFileError(path, "there is no such file", "the path of an existing file")
    if suffix not in SUFFIXES:
        wrong = f"the suffix is {suffix!r}" if suffix else "the file name has no suffix"
        raise RefusedFileError(path, wrong, f"{', '.join(SUFFIXES)}; unpack or convert the file first")
    try:
        with path.open("rb") as stream:
            head = stream.read(4096)
        if not head:
            raise RefusedFileError(path, "the file is empty", "at least one record")
        _check_type(path, suffix, head)
        digest, broken = _digest_and_first_broken(path, text=suffix != ".parquet")
        if broken is None:
            return Source(path, suffix, "utf-8-sig" if suffix != ".parquet" else "utf-8", digest)
        return _as_windows(path, suffix, digest, broken)
    except OSError as error:
        raise RefusedFileError(path, f"it cannot be opened ({error.strerror})", "a file that may be read") from None


def _check_type(path: Path, suffix: str, head: bytes) -> None:
    found = next((name for magic, name in _MAGIC if head.startswith(magic)), None)
    if suffix == ".parquet":
        if not head.startswith(b"PAR1"):
            raise RefusedFileError(path, f"its content is {found or 'not Parquet'}", _SAVE_AS[suffix])
        return
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if found is None and _MARKUP.match(start):
        found = "HTML or XML"
    if found is None and head.count(b"\0") * 4 > len(head):
        found = "UTF-16 text or not text at all"
    if found is None and suffix == ".csv" and start.startswith((b'{"', b'[{"')):
        found = "JSON"
    if found is None and suffix == ".jsonl":
        if start.startswith(b"["):
            found = "one JSON array"
        elif start.split(b"\n", 1)[0].strip() == b"{":
            found = "JSON spread over several lines"
        elif start and not start.startswith(b"{"):
            found = "not JSON Lines (its first line is not an object; a CSV file needs the suffix .csv)"
    if found is not None:
        raise RefusedFileError(path, f"its content is {found}", _SAVE_AS[suffix])


def _digest_and_first_broken(path: Path, *, text: bool) -> tuple[str, int | None]:
    """The sha256, and the offset of the first byte that is not UTF-8 (None when all is, or for Parquet)."""
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    broken: int | None = None
    place = 0
    with path.open("rb") as stream:
        while True:
            piece = stream.read(_PIECE)
            digest.update(piece)
            if text and broken is None:
                pending = len(decoder.getstate()[0])
                try:
                    decoder.decode(piece, final=not piece)
                except UnicodeDecodeError as error:
                    broken = place - pending + error.start
            place += len(piece)
            if not piece:
                return digest.hexdigest(), broken


def _as_windows(path: Path, suffix: str, digest: str, broken: int) -> Source:
    """Accept a file as Windows-1252, unless it also has UTF-8, when either reading would garble some of it."""
    lines = 1
    place = 0
    with path.open("rb") as stream:
        mixed = stream.read(3) == codecs.BOM_UTF8
        stream.seek(0)
        while piece := stream.read(_PIECE):
            if place < broken:
                lines += piece.count(b"\n", 0, broken - place)
            mixed = mixed or _SURELY_UTF8.search(piece) is not None
            undefined = _NOT_1252.search(piece)
            if undefined is not None and not mixed:
                raise RefusedFileError(
                    path,
                    f"byte {place + undefined.start() + 1:,} belongs neither to UTF-8 nor to Windows-1252",
                    "UTF-8 (with or without a byte order mark) or Windows-1252",
                )
            place += len(piece)
    if mixed:
        raise RefusedFileError(
            path,
            f"it mixes UTF-8 with other bytes (the first is byte {broken + 1:,}, on line {lines:,} of the file)",
            "one encoding throughout: UTF-8 or Windows-1252",
        )
    note = f"{path}: not UTF-8 (from line {lines:,} of the file); read as Windows-1252"
    return Source(path, suffix, "cp1252", digest, (note,))
