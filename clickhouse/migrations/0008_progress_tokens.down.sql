ALTER TABLE $database.progress $on_cluster
    DROP COLUMN IF EXISTS all_tokens,
    DROP COLUMN IF EXISTS tokens;
