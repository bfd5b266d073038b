// What of KEDA's published types the autoscaling is checked against; README.md says how keda.schema.json is made.
import type { IComGithubKedacoreKedaV2ApisKedaV1alpha1ScaledObjectSpec as ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObjectSpec";
import type { IComGithubKedacoreKedaV2ApisKedaV1alpha1TriggerAuthenticationSpec as TriggerAuthentication } from "@kubernetes-models/keda/keda.sh/v1alpha1/TriggerAuthenticationSpec";

export interface Published {
  ScaledObject: ScaledObject;
  TriggerAuthentication: TriggerAuthentication;
}
