"""Image tables, data sets, splits and loading."""

from faceproof.data.combined import CombinedData
from faceproof.data.listing import DataSet, DemoData, FolderData, ShardData, TableData
from faceproof.data.sources import make_source

__all__ = [
    "CombinedData",
    "DataSet",
    "DemoData",
    "FolderData",
    "ShardData",
    "TableData",
    "make_source",
]
