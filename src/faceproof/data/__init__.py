"""Images: tables of samples, data sets, splits, loading and augmentation."""

from faceproof.data.listing import (
    DataSet,
    combined_data,
    demo_data,
    folder_data,
    shard_data,
    table_data,
)

__all__ = ["DataSet", "combined_data", "demo_data", "folder_data", "shard_data", "table_data"]
