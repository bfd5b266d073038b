DROP TABLE IF EXISTS $database.planned $on_cluster SYNC;
