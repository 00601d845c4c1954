"""Images packed into shards (tar files), in a folder or an object store."""
