ALTER TABLE $database.windows $on_cluster
    MODIFY SETTING merge_selector_base = 5;
ALTER TABLE $database.members_15m $on_cluster
    MODIFY SETTING merge_selector_base = 5;
ALTER TABLE $database.usage_15m $on_cluster
    MODIFY SETTING merge_selector_base = 5;
ALTER TABLE $database.usage $on_cluster
    MODIFY SETTING merge_selector_base = 5;
