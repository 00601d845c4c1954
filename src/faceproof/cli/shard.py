"""`faceproof shard`: a data set's images as shards."""

import argparse

MEGABYTES = 64.0


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    sharder = commands.add_parser(
        "shard",
        help="write a data set's images as shards, to a folder or an object store",
        description="Write the files of a data set, byte for byte, into shards of many images "
        "each, with the image table and what the audit needs beside them. Files that cannot be "
        "read are left out and named. data=shards trains, evaluates and audits from them.",
        epilog="example: faceproof shard data=demo --to s3://bucket/demo",
    )
    sharder.add_argument(
        "settings", nargs="+", metavar="data=NAME", help="the data set, and data.KEY=VALUE"
    )
    sharder.add_argument(
        "--to",
        required=True,
        metavar="PLACE",
        help="a folder that does not exist yet, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER; "
        "AWS_ENDPOINT_URL names another S3-compatible store",
    )
    sharder.add_argument(
        "--megabytes",
        type=float,
        default=MEGABYTES,
        metavar="N",
        help=f"size of a shard: the bytes of its images (default: {MEGABYTES:g})",
    )
    sharder.set_defaults(run=_shard)


def _shard(arguments: argparse.Namespace) -> int:
    from faceproof import app
    from faceproof.workflows.shard import ShardConfig, write_shards

    config = ShardConfig(arguments.to, arguments.megabytes)
    data = app.compose_data(arguments.settings)
    written = write_shards(data, config)
    size = sum(shard.bytes for shard in written.index.shards)
    print(
        f"{data.name}: {written.index.images:,} images in {len(written.index.shards):,} shards, "
        f"{size / 1e9:.3g} GB, at {written.root}"
    )
    left_out = written.unreadable.to_pylist()
    for row in left_out[:10]:
        print(f"  left out: {row['path']} ({row['reason']})")
    if len(left_out) > 10:
        print(f"  and {len(left_out) - 10:,} more; all are in unreadable.csv beside the shards")
    print(
        f"next:\n  python train.py data=shards data.root={written.root} data.task={data.task.name}"
    )
    return 0
