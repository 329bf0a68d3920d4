"""The HDF5 file of a history: tables in, bytes out, and back.

The file is built in memory and written by plain ``write`` calls: HDF5 never meets a full disk, which would
end its process, and a parallel file system sees one large write in place of many small ones.
"""

from __future__ import annotations

import io
import json
import re
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from dhflow.errors import HistoryCorruptError, HistoryError, HistoryFormatError
from dhflow.history.column import Array, Column, Nullable, Plain, Text
from dhflow.history.event import StudyHeader, StudyRecord, from_json, to_json
from dhflow.history.journal import Place
from dhflow.history.schema import ARRAY_VALUES, CONFIG, FORMAT, TABLES, VERSION
from dhflow.history.table import Table, Tables, to_record

if TYPE_CHECKING:
    import h5py

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Behind the end of the HDF5 data: the checksum of all before it. HDF5 itself, given a file with a damaged
# middle, may hang or crash. A program that changes the file cuts the seal off.
_SEAL = b"\ndhflow-crc32 %08x\n"
_SEAL_LENGTH = 23
_READ_BYTES = 1 << 24
_ELEMENT_VERSION = "1"
_COMPRESS_FROM_BYTES = 16_384
_CHUNK_ROWS = 32_768
# The separator of HDF5's paths, the escape itself, and what no name can hold.
_UNFIT = re.compile("[/%\\x00-\\x1f\\ud800-\\udfff]")


def to_bytes(tables: Tables, place: Place) -> memoryview:
    """Return the whole file that holds `tables`."""
    import h5py

    # Compact groups, and attributes and headers of any size; read by every HDF5 since 1.8 (2008).
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v108", "v108")) as file:
        _mark(file, FORMAT, str(VERSION))
        file.attrs["format"] = FORMAT
        file.attrs["format-version"] = VERSION
        file.attrs["study-id"] = tables.header.study_id
        file.attrs["journal-id"] = place.journal_id
        file.attrs["journal-bytes"] = place.n_bytes
        file.attrs["written-by"] = f"dhflow {_own_version()}"
        file.attrs["written-at"] = time.time()
        # No attribute: those end at 64 KiB in older libraries, and a space may be larger.
        header = file.create_dataset("header", data=json.dumps(to_json(tables.header)), dtype=h5py.string_dtype())
        _mark(header, "header")
        for name, table in tables.tables.items():
            _write_table(file.create_group(name, track_order=True), table)
        config = file["trials"].create_group(CONFIG, track_order=True)
        _write_table(config, tables.config, n_rows=len(tables.tables["trials"]["trial_id"]))
        _mark(_write_numbers(file, ARRAY_VALUES, tables.array_values), "column")
    # HDF5 ignores what lies behind its end, so any reader still reads the file.
    buffer.seek(0, io.SEEK_END)
    buffer.write(_SEAL % zlib.crc32(buffer.getbuffer()))
    return buffer.getbuffer()


def _own_version() -> str:
    try:
        return metadata.version("dhflow")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "(not installed)"


def _write_table(group: h5py.Group, table: Table, n_rows: int | None = None) -> None:
    _mark(group, "table")
    group.attrs["rows"] = len(next(iter(table.values()))) if n_rows is None else n_rows
    for name, column in table.items():
        _write_column(group, name, column)


def _write_column(parent: h5py.Group, name: str, column: Column) -> None:
    import h5py

    link = link_name(name)
    if isinstance(column, Plain):
        element = _write_numbers(parent, link, column.values)
        _mark(element, "column")
    else:
        element = parent.create_group(link)
        if isinstance(column, Nullable):
            _mark(element, "nullable")
            _write_numbers(element, "values", column.values)
            _write_numbers(element, "mask", column.mask)
        else:
            categories, is_json = _storable(column)
            _mark(element, "json" if is_json else "text")
            _write_numbers(element, "codes", column.codes)
            element.create_dataset("categories", data=categories, dtype=h5py.string_dtype(), shape=(len(categories),))


def link_name(name: str) -> str:
    """Return the name within the file of a parameter called `name`; percent-decoding is the inverse."""
    if not name.strip("."):  # HDF5 takes "." for the group itself, and a name cannot be empty
        return name.replace(".", "%2E") or "%"
    return _UNFIT.sub(lambda found: quote(found[0], safe="", errors="surrogatepass"), name)


def _parameter_name(link: str) -> str:
    return "" if link == "%" else unquote(link, errors="surrogatepass")


def _storable(column: Text) -> tuple[list[str], bool]:
    # HDF5 ends a text at its first NUL and wants UTF-8, which has no lone surrogates; JSON escapes both.
    if column.is_json or all(map(_is_storable, column.categories)):
        return column.categories, column.is_json
    return [json.dumps(each) for each in column.categories], True


def _is_storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _write_numbers(group: h5py.Group, name: str, values: Array) -> h5py.Dataset:
    options: dict[str, Any] = {}
    if values.nbytes >= _COMPRESS_FROM_BYTES:
        options = {"chunks": (min(len(values), _CHUNK_ROWS),), "compression": "gzip", "compression_opts": 1}
        options["shuffle"] = values.itemsize > 1
    return group.create_dataset(name, data=values, **options)


def _mark(element: h5py.HLObject, kind: str, version: str = _ELEMENT_VERSION) -> None:
    element.attrs["encoding-type"] = kind
    element.attrs["encoding-version"] = version


# -- reading


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a history file for reading; errors of HDF5 on the way become those of a history.

    Raises
    ------
    FileNotFoundError
        If there is none.
    HistoryFormatError
        If it is no history, or a newer version wrote it.
    HistoryCorruptError
        If it is damaged; the message says how to recover.
    """
    _check_seal(path)
    import h5py

    try:
        # Never changed in place, so it needs no lock; some file systems have none.
        with h5py.File(path, "r", locking=False) as file:
            _check_format(path, file)
            yield file
    except HistoryError as error:
        if type(error) is not HistoryCorruptError:
            raise
        raise HistoryCorruptError(f"{path} is damaged ({error}); {_recovery_hint(path)}") from error
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise HistoryCorruptError(f"{path} is damaged ({error}); {_recovery_hint(path)}") from error


def _check_seal(path: Path) -> None:
    with path.open("rb") as file:
        signature = file.read(len(_SIGNATURE))
        if signature and signature != _SIGNATURE:
            raise HistoryFormatError(f"{path} is no history of dhflow: it is not even an HDF5 file")
        size = file.seek(0, io.SEEK_END)
        left = max(0, size - _SEAL_LENGTH)
        file.seek(left)
        seal = file.read()
        if not seal.startswith(_SEAL[:14]):
            return
        file.seek(0)
        checksum = 0
        while left and (data := file.read(min(left, _READ_BYTES))):
            checksum = zlib.crc32(data, checksum)
            left -= len(data)
    if seal != _SEAL % checksum:
        raise HistoryCorruptError(f"{path} is damaged (its checksum does not hold); {_recovery_hint(path)}")


def _recovery_hint(path: Path) -> str:
    return (
        f"copy it from a backup; as long as its first journal is there, dhflow.history.recover({str(path)!r}) "
        "builds it anew"
    )


def _check_format(path: Path, file: h5py.File) -> None:
    if file.attrs.get("format") != FORMAT:
        raise HistoryFormatError(f"{path} is no history of dhflow: it is an HDF5 file of something else")
    version = int(file.attrs["format-version"])
    if version > VERSION:
        raise HistoryFormatError(
            f"{path} has version {version} of the history format (written by {file.attrs.get('written-by')}), "
            f"this dhflow reads up to {VERSION}: use the dhflow that wrote it, or a newer one"
        )


def read_place(file: h5py.File) -> Place:
    """Return how much of which journal an opened file holds."""
    return Place(str(file.attrs["journal-id"]), int(file.attrs["journal-bytes"]))


def read_header(file: h5py.File) -> StudyHeader:
    """Return the header of an opened file."""
    header = from_json(json.loads(file["header"].asstr()[()]))
    if not isinstance(header, StudyHeader):
        raise HistoryCorruptError("the header is of something else")
    return header


def read_record(file: h5py.File) -> StudyRecord:
    """Return the record of an opened file."""
    tables = read_tables(file, ("sessions", "trials", "attempts", "values"))
    return to_record(tables)


def read_table(file: h5py.File, name: str) -> Table:
    """Return one table of an opened file, with the columns of the schema."""
    group = file[name]
    table = {spec.name: _read_column(group[spec.name]) for spec in TABLES[name]}
    _check_lengths(name, table, int(group.attrs["rows"]))
    return table


def read_tables(file: h5py.File, names: Iterable[str] = TABLES) -> Tables:
    """Return some tables of an opened file, by default all; configs come with the trials."""
    tables = Tables(read_header(file), {name: read_table(file, name) for name in names})
    tables.array_values = file[ARRAY_VALUES][()]
    if "trials" in tables.tables:
        config = file["trials"][CONFIG]
        tables.config = {_parameter_name(link): _read_column(element) for link, element in config.items()}
        _check_lengths("trials/config", tables.config, len(tables.tables["trials"]["trial_id"]))
    return tables


def _check_lengths(name: str, table: Table, n_rows: int) -> None:
    lengths = {len(column) for column in table.values()} - {n_rows}
    if lengths:
        raise HistoryCorruptError(f"the columns of {name} are not all of {n_rows} rows")


def _read_column(element: h5py.Group | h5py.Dataset) -> Column:
    match element.attrs["encoding-type"]:
        case "column":
            return Plain(element[()])
        case "nullable":
            return Nullable(element["values"][()], element["mask"][()])
        case "text" | "json" as kind:
            categories = element["categories"].asstr()[()].tolist()
            return Text(element["codes"][()], categories, is_json=kind == "json")
        case other:
            raise HistoryCorruptError(f"{element.name} is of unknown encoding-type {other!r}")
