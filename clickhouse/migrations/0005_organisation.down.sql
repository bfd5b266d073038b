DROP VIEW IF EXISTS $database.organisation $on_cluster SYNC;
