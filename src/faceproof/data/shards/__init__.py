"""Images packed into shards, in a folder or an object store."""
