"""A run of several processes: torchrun's world, DistributedDataParallel, FSDP."""
