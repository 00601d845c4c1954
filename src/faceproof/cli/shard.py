"""`faceproof shard`."""

from faceproof.cli.shell import shell
from faceproof.workflows.shard import ShardConfig, write_shards

NUM_NAMED = 10  # files left out that are named


@shell(example="faceproof shard data=demo --to s3://bucket/demo")
def command(config: ShardConfig) -> int:
    """Write a data set as shards, and say what to do next."""
    from faceproof import app

    data = app.compose_data(list(config.settings))
    written = write_shards(data, config)
    index, left_out = written.index, written.unreadable.to_pylist()
    size = sum(shard.bytes for shard in index.shards)
    print(
        f"{data.name}: {index.images:,} images in {len(index.shards):,} shards, "
        f"{size / 1e9:.3g} GB, at {written.root}"
    )
    for row in left_out[:NUM_NAMED]:
        print(f"  left out: {row['path']} ({row['reason']})")
    if len(left_out) > NUM_NAMED:
        more = len(left_out) - NUM_NAMED
        print(f"  and {more:,} more; all are in unreadable.csv beside the shards")
    print(
        f"next:\n  python train.py data=shards data.root={written.root} data.task={data.task.name}"
    )
    return 0
