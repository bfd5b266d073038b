($__conditionalAll(0, $provider) AND $__conditionalAll(0, $model) AND $__conditionalAll(0, $gateway) AND $__conditionalAll(0, $team))
