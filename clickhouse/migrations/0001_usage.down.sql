DROP TABLE IF EXISTS $database.usage $on_cluster SYNC;
