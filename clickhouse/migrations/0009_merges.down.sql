ALTER TABLE $database.windows $on_cluster RESET SETTING merge_selector_base;
ALTER TABLE $database.members_15m $on_cluster RESET SETTING merge_selector_base;
ALTER TABLE $database.usage_15m $on_cluster RESET SETTING merge_selector_base;
ALTER TABLE $database.usage $on_cluster RESET SETTING merge_selector_base;
