-- How many tokens the inserts behind a progress row took, and those of all partitions as it was written: an insert takes
-- one for each month that its block touches, so blocks alone say too little. Rows of before, and of sinks of an earlier
-- release, count one a block.
ALTER TABLE $database.progress $on_cluster
    ADD COLUMN IF NOT EXISTS tokens UInt64 DEFAULT blocks AFTER all_blocks,
    ADD COLUMN IF NOT EXISTS all_tokens UInt64 DEFAULT all_blocks AFTER tokens;
