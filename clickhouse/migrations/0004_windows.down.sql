DROP TABLE IF EXISTS $database.deliveries $on_cluster SYNC;
DROP TABLE IF EXISTS $database.budget_status $on_cluster SYNC;
DROP TABLE IF EXISTS $database.budgets $on_cluster SYNC;
DROP TABLE IF EXISTS $database.alerts $on_cluster SYNC;
DROP TABLE IF EXISTS $database.windows $on_cluster SYNC;
