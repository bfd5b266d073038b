AND $__conditionalAll(has(arrayMap(pair -> decodeURLFormComponent(splitByChar('=', pair)[2]), splitByChar('&', '${provider:queryparam}')), provider), $provider)
AND $__conditionalAll(has(arrayMap(pair -> decodeURLFormComponent(splitByChar('=', pair)[2]), splitByChar('&', '${model:queryparam}')), model), $model)
AND $__conditionalAll(has(arrayMap(pair -> decodeURLFormComponent(splitByChar('=', pair)[2]), splitByChar('&', '${gateway:queryparam}')), ifNull(nullIf(gateway, ''), '(unattributed)')), $gateway)
AND $__conditionalAll(has(arrayMap(pair -> decodeURLFormComponent(splitByChar('=', pair)[2]), splitByChar('&', '${team:queryparam}')), ifNull(nullIf(team, ''), '(unattributed)')), $team)
