DROP TABLE IF EXISTS $database.health $on_cluster SYNC;
