// What of Grafana's published types the dashboards are checked against; README.md says how grafana.schema.json is made.
import type { Dashboard } from "@grafana/schema/dist/types/raw/dashboard/x/types.gen";
import type * as barchart from "@grafana/schema/dist/types/raw/composable/barchart/panelcfg/x/types.gen";
import type * as bargauge from "@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/types.gen";
import type * as piechart from "@grafana/schema/dist/types/raw/composable/piechart/panelcfg/x/types.gen";
import type * as stat from "@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen";
import type * as table from "@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen";
import type * as text from "@grafana/schema/dist/types/raw/composable/text/panelcfg/x/types.gen";
import type * as timeseries from "@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen";

// A panel's options and fieldConfig.defaults.custom; Grafana fills in what is not given.
interface Kind<Options, Custom> {
  options: Partial<Options>;
  custom: Partial<Custom>;
}
type None = Record<string, never>;

export interface Published {
  dashboard: Dashboard;
  barchart: Kind<barchart.Options, barchart.FieldConfig>;
  bargauge: Kind<bargauge.Options, None>;
  piechart: Kind<piechart.Options, piechart.FieldConfig>;
  stat: Kind<stat.Options, None>;
  table: Kind<table.Options, table.FieldConfig>;
  text: Kind<text.Options, None>;
  timeseries: Kind<timeseries.Options, timeseries.FieldConfig>;
}
