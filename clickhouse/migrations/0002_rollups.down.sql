DROP VIEW IF EXISTS $database.members_15m_view $on_cluster SYNC;
DROP TABLE IF EXISTS $database.members_15m $on_cluster SYNC;
DROP VIEW IF EXISTS $database.usage_15m_view $on_cluster SYNC;
DROP TABLE IF EXISTS $database.usage_15m $on_cluster SYNC;
