"""Points as Arrow tables and Parquet files: a row for each point. Loads numpy and pyarrow."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import numpy as np

from db.reader import KNOWN_AT, NEVER, BaseReader
from model.errors import ConfigurationError
from query.point_arrays import EPOCH_SINCE_1970, Integers, Points, arrays_of
from query.question import Question, portions, withdrawn_texts
from query.time_arguments import lag_text
from sources import unit_of

try:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter
except ImportError as absent:
    raise ConfigurationError(
        f"Arrow and Parquet need pyarrow ({absent}): {sys.executable} -m pip install pyarrow"
    ) from absent

POINTS_AT_ONCE = 200_000  # in memory: of a record batch, which is one row group of a file
TIME = pa.timestamp("us", tz="UTC")
NAME = pa.dictionary(pa.int32(), pa.string())
NAMES = ("asset", "metric")


def table(reader: BaseReader, question: Question) -> pa.Table:
    """All points of a question in memory, asset by asset; the rows are those of `schema_of`."""
    schema = schema_of(reader, question)
    return pa.Table.from_batches(_batches(reader, question, schema), schema).unify_dictionaries()


def write_parquet(file: BinaryIO, reader: BaseReader, question: Question, names: Sequence[str] = NAMES) -> int:
    """Write the points of a question as a Parquet file, in flat memory; returns their number.

    The rows are those of `schema_of`. A full disk raises OSError.
    """
    schema, count = schema_of(reader, question, names), 0
    with ParquetWriter(file, schema) as writer:
        for batch in _batches(reader, question, schema):
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def write_partitions(folder: Path, reader: BaseReader, question: Question) -> Iterator[tuple[Path, int]]:
    """Write a Parquet file for each source and metric; yields each file and the number of its points.

    A file is `source=artemis/metric_name=PRICE/points.parquet`, as Hive names partitions: special characters are
    written as in URLs, and the columns of these names are not in the file.
    """
    by_file = itemgetter(0, 2)
    for (source, metric), group in groupby(sorted(question.series, key=by_file), key=by_file):
        file = folder / f"source={quote(source, safe='')}" / f"metric_name={quote(metric, safe='')}" / "points.parquet"
        file.parent.mkdir(parents=True)
        with file.open("wb") as out:
            count = write_parquet(out, reader, question._replace(series=list(group)), names=["asset"])
            out.flush()
            os.fsync(out.fileno())
        yield file, count


def schema_of(reader: BaseReader, question: Question, names: Sequence[str] = NAMES) -> pa.Schema:
    """The columns pulled_at, `names`, value and the extras: times in UTC, names as dictionaries; NULL for no value.

    The metadata says the source, the unit of each metric and the withdrawn days, both as JSON; as_of and lag if given.
    """
    extras = [pa.field(extra, TIME if extra == KNOWN_AT else pa.bool_()) for extra in question.extras]
    columns = [pa.field("pulled_at", TIME), *(pa.field(name, NAME) for name in names), pa.field("value", pa.float64())]
    units = {each.metric: unit_of([each]) for each in question.series}
    metadata = {
        "source": ", ".join(dict.fromkeys(each.source for each in question.series)),
        "units": json.dumps(units),
        "withdrawn": json.dumps(withdrawn_texts(reader, question)),
    }
    if question.as_of is not None:
        metadata["as_of"] = question.as_of.isoformat()
    if question.lag is not None:
        metadata["lag"] = lag_text(question.lag)
    return pa.schema([*columns, *extras], metadata=metadata)


def _batches(reader: BaseReader, question: Question, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for part, columns in portions(reader, question, POINTS_AT_ONCE):
        points = arrays_of(columns, part)
        arrays = {name: _names(points, [getattr(each, name) for each in part.series]) for name in NAMES}
        arrays |= {"pulled_at": _times(points.at), "value": pa.array(points.value, from_pandas=True)}
        arrays |= {
            extra: _times(cells) if extra == KNOWN_AT else pa.array(cells) for extra, cells in points.extras.items()
        }
        yield pa.record_batch([arrays[name] for name in schema.names], schema=schema)


def _times(at: Integers) -> pa.Array:
    """UTC times; NULL for NEVER."""
    return pa.array(at + EPOCH_SINCE_1970, mask=at == NEVER).view(TIME)


def _names(points: Points, names: Sequence[str]) -> pa.Array:
    """For each point, the name that its series has among these."""
    codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
    of_series = np.array([codes[name] for name in names], dtype=np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(of_series[points.series]), pa.array(codes, pa.string()))
