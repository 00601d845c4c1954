"""`faceproof shard`."""

from faceproof.cli.shell import shell
from faceproof.words import for_shell
from faceproof.workflows.shard import ShardConfig, write_shards

NUM_NAMED = 10  # files left out that are named


@shell(example="faceproof shard data=demo --to s3://bucket/demo")
def command(config: ShardConfig) -> None:
    """Write a data set as shards, and say what to do next."""
    from faceproof import app

    data = app.compose_data(list(config.settings))
    written = write_shards(data, config)
    index, left_out = written.index, written.unreadable.to_pylist()
    gigabytes = f"{sum(shard.bytes for shard in index.shards) / 1e9:.3g} GB"
    counts = f"{index.images:,} images in {len(index.shards):,} shards"
    print(f"{data.name}: {counts}, {gigabytes}, at {config.to}")
    for row in left_out[:NUM_NAMED]:
        print(f"  left out: {row['path']} ({row['reason']})")
    if (more := len(left_out) - NUM_NAMED) > 0:
        print(f"  and {more:,} more; all are in unreadable.csv beside the shards")
    root = for_shell(f"data.root={config.to}")
    words = f"data=shards {root} data.task={data.task.name}"
    print(f"next:\n  faceproof train {words}")
