"""Makes kubernetes.schema.json of what PyPI's kubernetes-validate packs; README.md says with which version of it.

python kubernetes.py SITE_PACKAGES > kubernetes.schema.json
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

VERSION = "v1.31.0-local-strict"  # the oldest that the manifests are for: an API that is stable stays as it is
KINDS = {
    "Deployment": "apps.v1.Deployment",
    "Job": "batch.v1.Job",
    "Namespace": "core.v1.Namespace",
    "NetworkPolicy": "networking.v1.NetworkPolicy",
    "PodDisruptionBudget": "policy.v1.PodDisruptionBudget",
    "Service": "core.v1.Service",
}


def plain(node: Any) -> Any:
    """Without descriptions, and with references into this one document."""
    if isinstance(node, list):
        return [plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {k: plain(v) for k, v in node.items() if not (k == "description" and isinstance(v, str))}
    if "$ref" in kept:
        kept["$ref"] = "#/$defs/" + kept["$ref"].rpartition("/")[2]
    return kept


folder = Path(sys.argv[1], "kubernetes_validate", "kubernetes-json-schema", VERSION)
known = json.loads((folder / "_definitions.json").read_text(encoding="utf-8"))["$defs"]
wanted, found = [f"io.k8s.api.{name}" for name in KINDS.values()], {}
while wanted:
    name = wanted.pop()
    if name not in found:
        found[name] = plain(known[name])
        wanted += re.findall(r'"#/\$defs/([^"]+)"', json.dumps(found[name]))
schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "properties": {kind: {"$ref": f"#/$defs/io.k8s.api.{name}"} for kind, name in KINDS.items()},
    "$defs": dict(sorted(found.items())),
}
print(json.dumps(schema, separators=(",", ":")))
