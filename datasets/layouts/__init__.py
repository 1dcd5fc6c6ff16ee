"""Ways of keeping images and labels, one file each: folders, lists, arrays, tables, shards, other libraries' sets."""
