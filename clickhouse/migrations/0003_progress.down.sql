DROP TABLE IF EXISTS $database.progress $on_cluster SYNC;
